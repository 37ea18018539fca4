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
    /// How values are spread over the vertical axis.
    pub y_scale: Scale,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Even,
    /// Each decade as long as the next; a line has a gap where a value is 0 or below.
    Decades,
    /// Numbers of something, n at log(1 + n): as [`Decades`](Self::Decades), but none at all has its place.
    Counts,
}

impl Scale {
    /// Where a value lies; not finite where it has no place.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Even => value,
            Self::Decades if value > 0.0 => value.log10(),
            Self::Counts if value >= 0.0 => (1.0 + value).log10(),
            Self::Decades | Self::Counts => f64::NAN,
        }
    }
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
        let all = || self.series.iter().flat_map(|series| &series.points).filter(|point| self.draws(point));
        let x = Axis::of(all().map(|p| p.0), None, Scale::Even);
        let y = Axis::of(all().map(|p| p.1), self.y_range, self.y_scale);
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
        for (index, series) in self.series.iter().enumerate() {
            let named = self.series[..=index].iter().filter(|series| !series.name.is_empty()).count();
            let (round, colour) = (named.saturating_sub(1) / COLOURS.len(), COLOURS[named.saturating_sub(1) % COLOURS.len()]);
            // A colour that comes again is dashed.
            let dashes = if round == 0 { String::new() } else { format!(" stroke-dasharray=\"6 {}\"", 2 * round) };
            for points in series.points.split(|point| !self.draws(point)).filter(|points| !points.is_empty()) {
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

    /// Whether a point has a place; where one has none, the line has a gap.
    fn draws(&self, (x, y): &(f64, f64)) -> bool {
        x.is_finite() && self.y_scale.place(*y).is_finite()
    }
}

/// A range of values on one side of a chart.
struct Axis {
    /// Where the smallest value has its [place](Scale::place).
    low: f64,
    high: f64,
    scale: Scale,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, range: Option<(f64, f64)>, scale: Scale) -> Self {
        let (low, high) = range.unwrap_or_else(|| values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v))));
        let (low, high) = if low > high { (if scale == Scale::Decades { 0.1 } else { 0.0 }, 1.0) } else { (low, high) };
        let (low, high) = (scale.place(low), scale.place(high));
        // Values that are nearly the same would have no tick between them.
        let margin = match scale {
            Scale::Counts => return Self { low: 0.0, high: high.max(scale.place(1.0)), scale },
            Scale::Decades if high - low < 0.5 => 0.25,
            Scale::Even if low == high && low == 0.0 => 1.0,
            Scale::Even if low == high => low.abs() / 2.0,
            Scale::Decades | Scale::Even => 0.0,
        };
        Self { low: low - margin, high: high + margin, scale }
    }

    fn share(&self, value: f64) -> f64 {
        ((self.scale.place(value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values within the range with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        if self.scale != Scale::Even {
            let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
            // Few decades are divided, many are thinned out.
            let mantissas: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let every = ((last - first) / 6).max(1) as usize;
            let none = (self.scale == Scale::Counts).then_some(0.0);
            let decades = (first..=last).step_by(every).flat_map(|d| mantissas.iter().map(move |m| m * 10f64.powi(d)));
            let within = |v: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&self.scale.place(*v));
            return none.into_iter().chain(decades).filter(within).map(|v| (v, label(v, if v > 0.0 { v } else { 1.0 }))).collect();
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

    fn ticks(low: f64, high: f64, scale: Scale) -> Vec<String> {
        Axis::of([low, high].into_iter(), None, scale).ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 1.0, Scale::Even), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(-1.0, 1.0, Scale::Even), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(ticks(0.0, 60_000.0, Scale::Even), ["0", "20k", "40k", "60k"]);
        assert_eq!(ticks(0.1, 5.0, Scale::Decades), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(ticks(3.0, 2e6, Scale::Decades), ["10", "100", "1000", "10k", "100k", "1M"]);
        assert!(!ticks(5.0, 5.0, Scale::Even).is_empty() && !ticks(5.0, 5.0, Scale::Decades).is_empty());
        assert_eq!(ticks(0.0, 40_000.0, Scale::Counts), ["0", "1", "10", "100", "1000", "10k"]);
        assert_eq!(ticks(3.0, 20.0, Scale::Counts), ["0", "1", "2", "5", "10", "20"]);
        assert_eq!(ticks(0.0, 0.0, Scale::Counts), ["0", "1"]);
    }

    #[test]
    fn points_lie_where_their_values_say() {
        let chart = Chart {
            title: "a < b".into(),
            x_label: "step".into(),
            y_range: Some((0.0, 1.0)),
            y_scale: Scale::Even,
            series: vec![Series { name: "s".into(), points: vec![(0.0, 0.0), (10.0, 1.0), (5.0, f64::NAN)], dots: false }],
        };
        let svg = chart.svg();
        assert!(svg.contains("points=\"56.0,256.0 536.0,52.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>"));
    }

    #[test]
    fn no_error_at_all_has_its_place_and_what_has_none_is_a_gap() {
        let points = vec![(0.0, 99.0), (1.0, 0.0), (2.0, 9.0)];
        let lines = |y_scale| {
            let series = vec![Series { name: "s".into(), points: points.clone(), dots: false }];
            let svg = Chart { title: String::new(), x_label: String::new(), y_range: None, y_scale, series }.svg();
            svg.split("<polyline points=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines(Scale::Counts), ["56.0,52.0 296.0,256.0 536.0,154.0"]);
        let gap = lines(Scale::Decades);
        assert!(gap.len() == 2 && gap.iter().all(|line| !line.contains(' ')), "{gap:?}");
    }

    #[test]
    fn a_series_without_a_name_has_the_colour_of_the_one_before() {
        let level = |name: &str, at: f64| Series { name: name.into(), points: vec![(0.0, at), (1.0, at)], dots: false };
        let series = vec![level("low", 0.1), level("", 0.2), level("high", 0.3)];
        let svg = Chart { title: String::new(), x_label: String::new(), y_range: None, y_scale: Scale::Even, series }.svg();
        let lines = |colour: &str| svg.matches(&format!("fill=\"none\" stroke=\"{colour}\"")).count();
        assert_eq!(COLOURS.map(lines), [2, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_legend_that_is_too_long_goes_on_below() {
        let series = (0..12).map(|i| Series { name: format!("the {i}th of the losses"), points: vec![(0.0, 0.0)], dots: false }).collect();
        let chart = Chart { title: String::new(), x_label: String::new(), y_range: None, y_scale: Scale::Even, series };
        let places = chart.legend();
        assert!(places.iter().all(|(x, _)| *x < WIDTH - 150.0) && places.len() == 12);
        assert_eq!(chart.svg().matches("stroke-dasharray=\"6 2\"").count(), 12, "lines and names of those whose colours come again");
        assert!(places[11].1 > 2.0 * ROW && chart.svg().contains(&format!("viewBox=\"0 0 560 {}\"", HEIGHT + places[11].1)));
    }

    #[test]
    fn a_chart_of_nothing_says_so() {
        let chart = Chart { title: String::new(), x_label: String::new(), y_range: None, y_scale: Scale::Decades, series: Vec::new() };
        assert!(chart.svg().contains("nothing yet"));
    }
}
