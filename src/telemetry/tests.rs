//! The metrics as they are told.

use super::*;
use crate::cell::{CellId, HoldReason, LossCause, Mask, Span, Verdict, VerdictKind};
use crate::config;
use crate::review::{Found, Review, Truth};
use std::io::Write;
use std::sync::Arc;

fn metrics() -> Metrics {
    Metrics::new(&["a".into(), "b".into()]).unwrap()
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    metrics.render().unwrap().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn model(name: &str) -> ModelLabels {
    ModelLabels { name: name.into(), digest: "d".into(), device: "cpu".into(), shape: "unet-16".into() }
}

/// A review that remembers the first cell of lane `a`, rejected for a crack.
fn review() -> (Review, CellId) {
    let review = Review::new(&config::Review { keep_cells: 1, window_cells: 1 });
    let cell = CellId { lane: "a".into(), number: 1 };
    let mut mask = Mask::new(8, 8);
    mask.set(3, 3, true);
    let judged = vec![Span { start: 0, end: 8 }; 8].into();
    review.remember(cell.clone(), Found { mask: Arc::new(mask), judged }, VerdictKind::Reject.into());
    (review, cell)
}

#[test]
fn the_build_is_told_with_its_commit() {
    let metrics = metrics();
    metrics.built_from("a1b2c3d").unwrap();
    let told = metrics.render().unwrap();
    assert!(told.contains(r#"hairline_build_info{commit="a1b2c3d","#), "{told}");
}

#[test]
fn a_refused_recipe_is_told_until_one_is_accepted() {
    let metrics = metrics();
    let refused = || value(&metrics, r#"hairline_recipe_refused{lane="a"}"#);
    assert_eq!(refused(), Some(0.0));
    for (accepted, told) in [(false, 1.0), (false, 1.0), (true, 0.0)] {
        metrics.recipe_reload("a", accepted);
        assert_eq!(refused(), Some(told));
    }
}

#[test]
fn verdicts_are_counted_by_reason() {
    let metrics = metrics();
    metrics.verdict("a", &Verdict::Reject, Some("longest_crack_mm"), 3);
    metrics.verdict("a", &Verdict::Pass, None, 0);
    // Found cracked in the part that came back, and ejected for that.
    metrics.verdict("a", &Verdict::Hold(HoldReason::Deadline), None, 2);
    metrics.lines_lost("a", LossCause::FramesMissing, 512);
    metrics.camera_connected("a", true);
    for (series, cells) in [
        (r#"hairline_cells_total{lane="a",reason="longest_crack_mm",verdict="reject"}"#, 1.0),
        (r#"hairline_cells_total{lane="a",reason="deadline",verdict="hold"}"#, 1.0),
        (r#"hairline_cells_total{lane="b",reason="deadline",verdict="hold"}"#, 0.0),
        (r#"hairline_defects_total{lane="a"}"#, 3.0),
    ] {
        assert_eq!(value(&metrics, series), Some(cells), "{series}");
    }
    let totals = LaneTotals {
        pass: 1,
        reject: 1,
        hold: 1,
        holds: vec![("deadline", 1)],
        lines_lost: 512,
        camera_connected: true,
        no_wafer: false,
        no_gap: false,
    };
    assert_eq!(metrics.totals("a"), totals);
}

#[test]
fn only_the_model_in_use_is_told() {
    let metrics = metrics();
    metrics.model_in_use(&model("old"));
    metrics.model_in_use(&model("new"));
    let text = metrics.render().unwrap();
    let models: Vec<&str> = text.lines().filter(|l| l.starts_with("hairline_model_info")).collect();
    assert!(models.len() == 1 && models[0].contains(r#"name="new""#), "{models:?}");
}

#[test]
fn a_truth_reaches_counters_and_gauges() {
    let (metrics, (review, cell)) = (metrics(), review());
    assert_eq!(value(&metrics, r#"hairline_running_oii{lane="a"}"#), None);
    apply_truth(&review, &metrics, &cell, &Truth::NoDefect).unwrap();
    assert_eq!(value(&metrics, r#"hairline_reviewed_cells_total{lane="a",truth="good",verdict="reject"}"#), Some(1.0));
    assert_eq!(value(&metrics, r#"hairline_running_oii{lane="a"}"#), Some(1.0));
}

#[test]
fn the_metrics_follow_the_conventions_of_prometheus() {
    let (metrics, (review, cell)) = (metrics(), review());
    metrics.model_in_use(&model("m"));
    metrics.queue_depth("a", Queue::Rows, 1, 8);
    apply_truth(&review, &metrics, &cell, &Truth::NoDefect).unwrap();
    let text = metrics.render().unwrap();
    let named = |line: &str| line.starts_with('#') || line.starts_with("hairline_");
    assert!(text.lines().all(named), "every metric is named hairline_…: {text}");

    let checker = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        crate::skipped!("promtool (Debian package prometheus) is not installed");
        return;
    };
    checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = checker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.trim().is_empty(), "{said}");
}
