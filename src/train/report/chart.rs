//! Line charts as SVG text, to be put into a page or a file: no fonts to load, no script.

use std::fmt::Write;

/// A chart of lines over common axes.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis.
    pub x_label: String,
    /// The vertical axis's range; absent: what the points need.
    pub y_range: Option<(f64, f64)>,
    /// Decades on the vertical axis; values of 0 and below are left out.
    pub log_y: bool,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// One line of a [`Chart`].
#[derive(Debug, Clone)]
pub struct Series {
    /// In the legend. Without one a series belongs to the one before and has its colour.
    pub name: String,
    /// (x, y), by rising x where a line is wanted.
    pub points: Vec<(f64, f64)>,
    /// Draw dots at the points.
    pub dots: bool,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 52.0;
/// A row of the legend.
const ROW: f64 = 18.0;
const BOTTOM: f64 = 44.0;
/// Told apart by people who see few colours, too (Okabe and Ito 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Chart {
    /// The chart as an `<svg>` element that stands for itself.
    pub fn svg(&self) -> String {
        let drawn: Vec<Vec<(f64, f64)>> = self.series.iter().map(|series| self.drawable(&series.points)).collect();
        let all = || drawn.iter().flatten();
        let x = Axis::of(all().map(|p| p.0), None, false);
        let y = Axis::of(all().map(|p| p.1), self.y_range, self.log_y);
        let legend = self.legend();
        let top = TOP + legend.last().map_or(0.0, |last| last.1);
        let height = HEIGHT + top - TOP;
        let place_x = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
        let place_y = |value: f64| height - BOTTOM - y.share(value) * (height - top - BOTTOM);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"600\">{}</text>",
            escape(&self.title)
        );
        for (value, label) in y.ticks() {
            let at = place_y(value);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0
            );
        }
        for (value, label) in x.ticks() {
            let _ =
                write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", place_x(value), height - BOTTOM + 18.0);
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            height - 8.0,
            escape(&self.x_label)
        );
        if all().next().is_none() {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#999\">nothing yet</text>",
                WIDTH / 2.0,
                height / 2.0
            );
        }
        for (index, (series, points)) in self.series.iter().zip(&drawn).enumerate() {
            let named = self.series[..=index].iter().filter(|series| !series.name.is_empty()).count();
            let (round, colour) = (named.saturating_sub(1) / COLOURS.len(), COLOURS[named.saturating_sub(1) % COLOURS.len()]);
            // A colour that comes again is dashed.
            let dashes = if round == 0 { String::new() } else { format!(" stroke-dasharray=\"6 {}\"", 2 * round) };
            let line: String = points.iter().map(|(px, py)| format!("{:.1},{:.1} ", place_x(*px), place_y(*py))).collect();
            let _ = write!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dashes}/>",
                line.trim_end()
            );
            // A line of a single point would not be seen.
            if series.dots || points.len() == 1 {
                for (px, py) in points {
                    let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.2\" fill=\"{colour}\"/>", place_x(*px), place_y(*py));
                }
            }
            if !series.name.is_empty() {
                let (x, down) = legend[named - 1];
                let _ = write!(
                    svg,
                    "<line x1=\"{x}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"{dashes}/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    x + 16.0,
                    36.0 + down,
                    36.0 + down,
                    x + 21.0,
                    40.0 + down,
                    escape(&series.name)
                );
            }
        }
        svg.push_str("</svg>");
        svg
    }

    /// Where each name begins, and how far below the first row.
    fn legend(&self) -> Vec<(f64, f64)> {
        let (mut x, mut down) = (LEFT, 0.0);
        let mut places = Vec::new();
        for name in self.series.iter().map(|series| &series.name).filter(|name| !name.is_empty()) {
            let width = 36.0 + 7.0 * name.chars().count() as f64;
            if x > LEFT && x + width > WIDTH {
                (x, down) = (LEFT, down + ROW);
            }
            places.push((x, down));
            x += width;
        }
        places
    }

    fn drawable(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite() && (!self.log_y || *y > 0.0)).collect()
    }
}

/// A range of values on one side of a chart.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, range: Option<(f64, f64)>, log: bool) -> Self {
        let (low, high) = range.unwrap_or_else(|| values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v))));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        if log {
            let (low, high) = (low.max(1e-300).log10(), high.max(1e-300).log10());
            // Values that are nearly the same would have no tick between them.
            let margin = if high - low < 0.5 { 0.25 } else { 0.0 };
            return Self { low: low - margin, high: high + margin, log };
        }
        if low == high {
            let margin = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            return Self { low: low - margin, high: high + margin, log };
        }
        Self { low, high, log }
    }

    fn share(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values within the range with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        if self.log {
            let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
            // Few decades are divided, many are thinned out.
            let mantissas: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let every = ((last - first) / 6).max(1) as usize;
            let all = (first..=last).step_by(every).flat_map(|d| mantissas.iter().map(move |m| m * 10f64.powi(d)));
            let within = |v: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&v.log10());
            return all.filter(within).map(|v| (v, label(v, v))).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| *s >= rough * 0.999).unwrap_or(rough);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| (i as f64 * step, label(i as f64 * step, step))).collect()
    }
}

fn label(value: f64, step: f64) -> String {
    match value.abs() {
        v if v >= 1e6 && step >= 1e5 => format!("{}M", (value / 1e4).round() / 1e2),
        v if v >= 1e4 && step >= 1e2 => format!("{}k", (value / 10.0).round() / 1e2),
        _ => {
            let digits = (-step.log10().floor()).max(0.0) as usize;
            format!("{:.digits$}", value + 0.0)
        }
    }
}

/// Text within a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(low: f64, high: f64, log: bool) -> Vec<String> {
        Axis::of([low, high].into_iter(), None, log).ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 1.0, false), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(-1.0, 1.0, false), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(ticks(0.0, 60_000.0, false), ["0", "20k", "40k", "60k"]);
        assert_eq!(ticks(0.1, 5.0, true), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(ticks(3.0, 2e6, true), ["10", "100", "1000", "10k", "100k", "1M"]);
        assert!(!ticks(5.0, 5.0, false).is_empty() && !ticks(5.0, 5.0, true).is_empty());
    }

    #[test]
    fn points_lie_where_their_values_say() {
        let chart = Chart {
            title: "a < b".into(),
            x_label: "step".into(),
            y_range: Some((0.0, 1.0)),
            log_y: false,
            series: vec![Series { name: "s".into(), points: vec![(0.0, 0.0), (10.0, 1.0), (5.0, f64::NAN)], dots: false }],
        };
        let svg = chart.svg();
        assert!(svg.contains("points=\"56.0,256.0 536.0,52.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>"));
    }

    #[test]
    fn a_series_without_a_name_has_the_colour_of_the_one_before() {
        let level = |name: &str, at: f64| Series { name: name.into(), points: vec![(0.0, at), (1.0, at)], dots: false };
        let series = vec![level("low", 0.1), level("", 0.2), level("high", 0.3)];
        let svg = Chart { title: String::new(), x_label: String::new(), y_range: None, log_y: false, series }.svg();
        let lines = |colour: &str| svg.matches(&format!("fill=\"none\" stroke=\"{colour}\"")).count();
        assert_eq!(COLOURS.map(lines), [2, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_legend_that_is_too_long_goes_on_below() {
        let series = (0..12).map(|i| Series { name: format!("the {i}th of the losses"), points: vec![(0.0, 0.0)], dots: false }).collect();
        let chart = Chart { title: String::new(), x_label: String::new(), y_range: None, log_y: false, series };
        let places = chart.legend();
        assert!(places.iter().all(|(x, _)| *x < WIDTH - 150.0) && places.len() == 12);
        assert_eq!(chart.svg().matches("stroke-dasharray=\"6 2\"").count(), 12, "lines and names of those whose colours come again");
        assert!(places[11].1 > 2.0 * ROW && chart.svg().contains(&format!("viewBox=\"0 0 560 {}\"", HEIGHT + places[11].1)));
    }

    #[test]
    fn a_chart_of_nothing_says_so() {
        let chart = Chart { title: String::new(), x_label: String::new(), y_range: None, log_y: true, series: Vec::new() };
        assert!(chart.svg().contains("nothing yet"));
    }
}
