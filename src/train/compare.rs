//! Losses × networks × data sets, several seeds each, as the paper's Tables 3 to 5 print them.

use super::paper::paper_iou;
use std::fmt::Write;

/// A finished training of a comparison.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Compared {
    /// The data set's name.
    pub data: String,
    /// The network's, as `--network` takes it.
    pub network: String,
    /// The loss's, as `--loss` takes it.
    pub loss: String,
    /// Its seed.
    pub seed: u64,
    /// Validation IoU, PA and OII of the best checkpoint, over all pixels.
    pub iou: f64,
    /// Its IoU as the mean over pictures, where the training tells it.
    pub mean_iou: Option<f64>,
    /// See `iou`.
    pub pa: f64,
    /// See `iou`.
    pub oii: f64,
    /// The first evaluation that reached half of the last one's IoU; absent where that is 0.
    pub half_step: Option<u64>,
}

/// One table a data set, in Markdown: a row for each loss, columns for each network; mean and sample standard
/// deviation over the seeds, how early half of the final IoU was reached (on average over those that ended above 0; over how many
/// stands beside where these are not all), the paper's figure beside.
pub fn comparison_tables(all: &[Compared]) -> String {
    let mut text = String::new();
    for data in distinct(all, |c| &c.data) {
        let of_data: Vec<&Compared> = all.iter().filter(|c| c.data == data).collect();
        let networks = distinct(all, |c| &c.network);
        // Writing to a string cannot fail.
        let _ = write!(text, "### {data}\n\n| loss |");
        networks
            .iter()
            .for_each(|network| _ = write!(text, " {network}: IoU | its mean over pictures | PA | OII | half at step | paper's IoU |"));
        text.push_str("\n|---|");
        networks.iter().for_each(|_| text.push_str("---|---|---|---|---|---|"));
        text.push('\n');
        for loss in distinct(all, |c| &c.loss) {
            let _ = write!(text, "| {loss} |");
            for network in &networks {
                let cell: Vec<&&Compared> = of_data.iter().filter(|c| c.loss == loss && c.network == *network).collect();
                let of = |value: fn(&Compared) -> f64| spread(&cell.iter().map(|c| value(c)).collect::<Vec<_>>());
                let halves: Vec<f64> = cell.iter().filter_map(|c| c.half_step).map(|step| step as f64).collect();
                let half = match halves.len() {
                    0 => "–".into(),
                    some => {
                        let mean = halves.iter().sum::<f64>() / some as f64;
                        format!("{mean:.0}") + &if some < cell.len() { format!(" ({some} of {})", cell.len()) } else { String::new() }
                    }
                };
                let paper = paper_iou(data, network, loss).map_or("–".into(), |iou| format!("{iou:.3}"));
                let means = spread(&cell.iter().filter_map(|c| c.mean_iou).collect::<Vec<_>>());
                let _ = write!(text, " {} | {means} | {} | {} | {half} | {paper} |", of(|c| c.iou), of(|c| c.pa), of(|c| c.oii));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// `mean ± deviation (count)`; of one value the value alone.
fn spread(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    match values.len() {
        0 => "–".into(),
        1 => format!("{mean:.3}"),
        n => {
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
            format!("{mean:.3} ± {:.3} ({n})", variance.sqrt())
        }
    }
}

/// The values that occur, in the order of their first occurrence.
fn distinct<'a>(all: &'a [Compared], of: impl Fn(&'a Compared) -> &'a String) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for value in all.iter().map(of) {
        if !found.contains(&value.as_str()) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_tell_mean_spread_and_the_papers_figure() {
        let one = |loss: &str, seed, iou| Compared {
            data: "Crack".into(),
            network: "unet".into(),
            loss: loss.into(),
            seed,
            iou,
            mean_iou: (seed == 1).then_some(0.65),
            pa: 0.8,
            oii: 0.1,
            half_step: Some(10 * seed),
        };
        let text = comparison_tables(&[one("dibe", 1, 0.7), one("dibe", 2, 0.72), one("tversky", 1, 0.6)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "### Crack");
        assert_eq!(lines[4], "| dibe | 0.710 ± 0.014 (2) | 0.650 | 0.800 ± 0.000 (2) | 0.100 ± 0.000 (2) | 15 | 0.723 |");
        assert_eq!(lines[5], "| tversky | 0.600 | 0.650 | 0.800 | 0.100 | 10 | – |");
        let found_nothing = Compared { half_step: None, ..one("dibe", 2, 0.72) };
        let text = comparison_tables(&[one("dibe", 1, 0.7), found_nothing.clone()]);
        assert!(text.contains("| 10 (1 of 2) | 0.723 |"), "{text}");
        assert!(comparison_tables(&[found_nothing]).contains("| – | 0.723 |"));
    }
}
