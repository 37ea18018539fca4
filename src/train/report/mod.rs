//! What a training was and came to, as one page that needs nothing else.

mod chart;
mod gallery;
mod page;
mod told;

pub use chart::{Chart, Scale, Series};
pub use gallery::{Gallery, Shown};

use super::{Evaluation, FitSettings, Log, LoggedEvaluation, LoggedStep, RunFolder, TrainError};
use crate::measure::{Counts, Means};
use page::Page;
use serde_json::Value;
use std::path::Path;
use told::{Pace, machine_table, settings_table};

/// What a look at the validation pictures with the best checkpoint gave.
#[derive(Debug)]
pub struct Findings {
    /// Over all pictures.
    pub evaluation: Evaluation,
    /// The probability from which a pixel was called crack.
    pub threshold: f32,
    /// Worst and best pictures.
    pub gallery: Gallery,
}

/// Precision over recall at every threshold, the model's own marked.
pub fn pr_curve(evaluation: &Evaluation, threshold: f32) -> Chart {
    let point = |counts: &Counts| (counts.pa(), counts.precision());
    let all = evaluation.pixels.sweep().iter().rev().map(|at| point(&at.counts)).collect();
    Chart {
        title: format!("Precision over recall (PA); average precision {:.3}", evaluation.pixels.average_precision()),
        x_label: "recall of crack pixels".into(),
        y_range: Some((0.0, 1.0)),
        y_scale: Scale::Even,
        series: vec![
            Series { name: "all thresholds".into(), points: all, dots: false },
            Series { name: format!("at {threshold:.2}"), points: vec![point(&evaluation.pixels.counts(threshold))], dots: true },
        ],
    }
}

/// Writes `report.html` into a run folder from its settings, its manifest, its log and what was found, where somebody has
/// looked; `settings` is what it was trained with.
///
/// # Errors
/// Files of the run folder that cannot be read or written.
pub fn write_report(run: &RunFolder, settings: &FitSettings, findings: Option<Findings>) -> Result<(), TrainError> {
    let log = run.log()?;
    let told: Value = run.read_json("settings.json")?.unwrap_or_default();
    let manifest: Value = run.read_json("manifest.json")?.unwrap_or_default();
    let name = run.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut page = Page::new(&format!("Training {name}"));
    let mut tiles = findings.as_ref().map_or(Vec::new(), figures);
    tiles.extend(headline(&log));
    page.tiles(&tiles);
    let pace = Pace::of(&told["options"], settings);
    page.charts(&format!("By {}", pace.unit), &curves(&log, &pace));
    if let Some(findings) = findings {
        page.charts("At every threshold", &[pr_curve(&findings.evaluation, findings.threshold)]);
        let (worst, best) = findings.gallery.finish();
        page.gallery("Worst validation pictures", &worst);
        page.gallery("Best validation pictures", &best);
    }
    let warnings: Vec<Value> = log.warnings().map(|(step, text)| format!("step {step}: {text}").into()).collect();
    page.list("Warnings of the training", &warnings);
    let summary = if manifest["summary"].is_null() { &manifest } else { &manifest["summary"] };
    page.table("Data", &flat(summary));
    page.list("Odd about the data", manifest["warnings"].as_array().map_or(&[], Vec::as_slice));
    page.table("Settings", &settings_table(&told["options"], settings));
    page.table("Machine", &machine_table(settings));
    page.table("Made by", &[("hairline".into(), text(&told["version"])), ("commit".into(), text(&told["commit"]))]);
    super::write_beside(&run.path("report.html"), page.finish().as_bytes())
}

/// Writes a page about a finished model: figures, PR curve, worst and best pictures, and `facts` about it.
///
/// # Errors
/// A file that cannot be written.
pub fn write_evaluation(path: &Path, title: &str, findings: Findings, facts: &Value) -> Result<(), TrainError> {
    let mut page = Page::new(title);
    page.tiles(&figures(&findings));
    page.charts("At every threshold", &[pr_curve(&findings.evaluation, findings.threshold)]);
    let (worst, best) = findings.gallery.finish();
    page.gallery("Worst pictures", &worst);
    page.gallery("Best pictures", &best);
    page.table("About", &flat(facts));
    super::write_beside(path, page.finish().as_bytes())
}

fn figures(findings: &Findings) -> Vec<(String, String)> {
    let counts = findings.evaluation.pixels.counts(findings.threshold);
    let Evaluation { cracked, detected, clean, alarmed, .. } = findings.evaluation;
    vec![
        ("IoU".into(), format!("{:.3}", counts.iou())),
        (mean_of(&findings.evaluation.means), format!("{:.3}", findings.evaluation.means.iou())),
        ("PA".into(), format!("{:.3}", counts.pa())),
        ("OII".into(), format!("{:+.3}", counts.oii())),
        ("cracked cells found".into(), format!("{detected} of {cracked}")),
        ("clean cells alarmed".into(), format!("{alarmed} of {clean}")),
    ]
}

/// The mean over pictures is told with how many flatter it.
fn mean_of(means: &Means) -> String {
    match means.nothing_to_find() {
        0 => "IoU, mean over pictures".into(),
        passed => format!("IoU, mean over pictures, {passed} of them clean and counted as 1"),
    }
}

/// Figures of the training.
fn headline(log: &Log) -> Vec<(String, String)> {
    let best = log.evaluations().rev().find(|evaluation| evaluation.best);
    let elapsed_s = log.steps().next_back().map_or(0.0, |step| step.elapsed_s);
    let waited_s: f64 = log.steps().map(|step| step.waited_s).sum();
    vec![
        (format!("best step of {}", log.steps().count()), best.map_or("–".into(), |best| best.step.to_string())),
        ("time".into(), format!("{:.1} min", elapsed_s / 60.0)),
        ("waiting for data".into(), format!("{:.1} %", 100.0 * waited_s / elapsed_s.max(1e-9))),
    ]
}

fn curves(log: &Log, pace: &Pace) -> Vec<Chart> {
    let at = |step: u64| step as f64 / pace.steps;
    let chart = |title: &str, y_range, y_scale, series| Chart { title: title.into(), x_label: pace.unit.into(), y_range, y_scale, series };
    let batches = |name: &str, figure: fn(&LoggedStep) -> f64| {
        let points: Vec<(f64, f64)> = log.steps().map(|step| (at(step.step), figure(step))).collect();
        vec![Series { name: name.into(), points: averaged(&points), dots: false }]
    };
    let validation = |name: &str, figure: fn(&LoggedEvaluation) -> f64| {
        let points = log.evaluations().map(|evaluation| (at(evaluation.step), figure(evaluation))).collect();
        Series { name: name.into(), points, dots: false }
    };
    let quality = vec![validation("IoU", |of| of.iou), validation("PA", |of| of.pa)];
    let in_error = vec![validation("false alarms (FP)", |of| of.fp as f64), validation("missed (FN)", |of| of.fn_ as f64)];
    let imbalance = vec![validation("OII", |of| of.oii)];
    vec![
        chart("Loss of the batches", None, Scale::Even, batches("loss", |step| step.loss)),
        chart("Validation IoU and PA", Some((0.0, 1.0)), Scale::Even, quality),
        chart("Validation OII: above 0 false alarms, below 0 misses", Some((-1.0, 1.0)), Scale::Even, imbalance),
        chart("Validation pixels in error", None, Scale::Counts, in_error),
        chart("Gradient norm before clipping", None, Scale::Decades, batches("norm", |step| step.gradient_norm)),
        chart("Learning rate", None, Scale::Even, batches("rate", |step| step.learning_rate)),
    ]
}

/// At most [`MOST_POINTS`](averaged) means of neighbours: single batches scatter, and a page has few pixels.
fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const MOST_POINTS: usize = 200;
    let mean = |some: &[(f64, f64)]| {
        let n = some.len() as f64;
        (some.iter().map(|p| p.0).sum::<f64>() / n, some.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(points.len().div_ceil(MOST_POINTS).max(1)).map(mean).collect()
}

/// A JSON object as rows of path and value, without those that were not told.
fn flat(value: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = value else { return Vec::new() };
    let row = |(key, value): (&String, &Value)| match value {
        Value::Null => Vec::new(),
        Value::Object(_) => flat(value).into_iter().map(|(inner, text)| (format!("{key} · {inner}"), text)).collect(),
        other => vec![(key.clone(), text(other))],
    };
    fields.iter().flat_map(row).map(|(key, text)| (key.replace('_', " "), text)).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "not known".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), |f| format!("{}", f as f32))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fit::tests::settings;
    use serde_json::json;

    #[test]
    fn a_report_shows_curves_pictures_and_settings_and_asks_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(
            &dir.path().join("crack-unet"),
            &json!({ "version": "1.2.3", "options": { "alpha": 0.3, "omega": null, "init": null } }),
        )
        .unwrap();
        run.write_json("manifest.json", &json!({ "summary": { "training": { "pictures": 46 } }, "warnings": ["twin.png: <a copy>"] }))
            .unwrap();
        let entries = [
            json!({ "event": "step", "step": 1, "loss": 0.9, "elapsed_s": 60.0, "waited_s": 3.0 }),
            json!({ "event": "evaluation", "step": 1, "iou": 0.25, "pa": 0.5, "oii": -0.2, "fp": 3, "fn": 4, "best": true }),
            json!({ "event": "warning", "step": 1, "text": "weights grow" }),
        ];
        std::fs::write(run.path("log.jsonl"), entries.map(|e| format!("{e}\n")).concat()).unwrap();
        let findings = Findings { evaluation: Evaluation::default(), threshold: 0.5, gallery: Gallery::new(0.5, 2) };
        let page = |findings: Option<Findings>| {
            write_report(&run, &settings(dir.path(), 90), findings).unwrap();
            std::fs::read_to_string(run.path("report.html")).unwrap()
        };
        let unseen = page(None);
        assert!(
            unseen.matches("<svg").count() == 6 && unseen.contains("5.0 %") && !unseen.contains("IoU, mean"),
            "without a look at pictures"
        );
        let page = page(Some(findings));
        for word in ["Training crack-unet", "46", "1.2.3", "twin.png: &lt;a copy&gt;", "5.0 %", "Validation OII", "step 1: weights grow"] {
            assert!(page.contains(word), "{word}");
        }
        for [option, value] in [
            ["alpha", "0.3"],
            ["omega", "0.75 (by default)"],
            ["gamma reg", "0.3 (by default)"],
            ["steps", "90 (by default)"],
            ["eval every", "20 evaluations in all (by default)"],
            ["device", "cpu"],
            ["workers", "2"],
        ] {
            assert!(page.contains(&format!("<tr><td>{option}</td><td>{value}</td></tr>")), "{option}");
        }
        assert!(page.contains("<td>threads</td>") && page.contains(">By step<"));
        assert_eq!(page.matches("<svg").count(), 7);
        assert!(!page.contains("<script") && !page.contains("src=\"http") && !page.contains("init</"), "nothing is fetched");
    }

    #[test]
    fn a_training_told_in_epochs_has_curves_over_epochs() {
        let entry = |step| serde_json::from_value(json!({ "event": "evaluation", "step": step, "iou": 0.5 })).unwrap();
        let log = Log([10, 20, 30].map(entry).into());
        let settings = settings(Path::new("run"), 30);
        let chart = |options: Value| curves(&log, &Pace::of(&options, &settings)).swap_remove(1);
        let (by_epoch, by_step) = (chart(json!({ "epochs": 3 })), chart(json!({ "epochs": null })));
        let x = |chart: &Chart| chart.series[0].points.iter().map(|point| point.0).collect::<Vec<_>>();
        assert_eq!((by_epoch.x_label.as_str(), x(&by_epoch)), ("epoch", vec![1.0, 2.0, 3.0]));
        assert_eq!((by_step.x_label.as_str(), x(&by_step)), ("step", vec![10.0, 20.0, 30.0]));
    }

    #[test]
    fn long_curves_are_averaged_to_what_can_be_seen() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let few = averaged(&points);
        assert_eq!((few.len(), few[0]), (200, (2.0, 0.4)));
        assert_eq!(averaged(&points[..3]), points[..3]);
    }
}
