//! `train eval`: how good a model is.

use super::pictures::PictureOptions;
use crate::cell::{CELL_PX, ProbabilityMap};
use crate::commands::arguments::{length_mm, threads, wafer_mm};
use crate::commands::terminal::{note, say};
use crate::config::{DeviceChoice, Precision};
use crate::judge::{Recipe, judge};
use crate::measure::Counts;
use crate::nn::Checkpoint;
use crate::train::{Evaluation, Findings, Gallery, Inspected, evaluate, write_evaluation};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tell how good a model is: IoU, PA and OII at thresholds from 0.1 to 0.9, and on simulated wafers how many
/// cracked ones escape and how many good ones are rejected.
///
/// Pictures are cut into tiles of 448 px and inspected by the same engine as on the line. Simulated
/// wafers are never those that a training has seen, whatever its seed. All pixels are counted
/// together (micro averages). How long the cracks of a folder's pictures are is not known: lengths are for --simulate alone.
#[derive(Debug, clap::Args)]
pub struct TrainEvalArgs {
    /// The checkpoint to look at
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    pictures: PictureOptions,
    /// Look at squares of this side around the cracks of a folder's pictures, as the paper's tables do and `train fit
    /// --validation-crop`, instead of at whole pictures [default: whole]
    #[arg(long, value_name = "PX", conflicts_with = "simulate")]
    validation_crop: Option<usize>,
    /// Write a page with the PR curve and the worst and best pictures
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A simulated wafer escapes if its longest crack is longer than this and it is not rejected, mm
    #[arg(long, value_name = "MM", default_value_t = 3.0, value_parser = length_mm, conflicts_with = "data")]
    recipe_min_length_mm: f64,
    /// Reject simulated wafers on which a crack longer than this is found, mm; several may be given
    #[arg(long, value_name = "MM", value_delimiter = ',', default_values_t = [1.5, 2.0, 2.5, 3.0], value_parser = length_mm,
          conflicts_with = "data")]
    reject_above_mm: Vec<f64>,
    /// Side of a simulated wafer, mm
    #[arg(long, value_name = "MM", default_value_t = 182.0, value_parser = wafer_mm, conflicts_with = "data")]
    wafer_mm: f64,
    /// Where the network runs: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    threads: usize,
    /// How exactly the network is computed: f32, f32-grade, bf16, f16 (U-Nets on CUDA) or int8
    #[arg(long, default_value_t)]
    precision: Precision,
}

/// Thresholds that are looked at, beside the model's own.
const THRESHOLDS: [f32; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// What is known and found of one simulated wafer.
#[derive(Debug, Clone)]
struct Wafer {
    /// Length of its longest crack, mm; 0 without any.
    true_mm: f64,
    /// Length of the longest crack found, mm, for each threshold.
    found_mm: Vec<f64>,
}

/// Runs the command.
pub fn run(args: TrainEvalArgs) -> anyhow::Result<ExitCode> {
    let checkpoint = Checkpoint::load(&args.model).context("--model")?;
    let mut engine = crate::nn::engine(&checkpoint, args.device, args.precision, args.threads)?;
    let meta = &checkpoint.meta;
    note!("{} ({}), {}", meta.name, meta.shape, engine.describe());
    let mut thresholds = THRESHOLDS.to_vec();
    if !thresholds.contains(&meta.threshold) {
        thresholds.push(meta.threshold);
        thresholds.sort_by(f32::total_cmp);
    }

    let whole = args.pictures.open()?;
    whole.learnt_by("the model", &args.model, meta);
    let pictures = match args.validation_crop {
        Some(side_px) => whole.around_cracks(side_px)?,
        None => whole,
    };
    let count = pictures.count();
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} left {eta}") {
        bar.set_style(style);
    }
    let mm_per_px = args.wafer_mm / CELL_PX as f64;
    let mut wafers = Vec::new();
    let mut gallery = Gallery::new(meta.threshold, SHOWN);
    let each = |inspected: &Inspected| {
        bar.inc(1);
        if args.report.is_some() {
            gallery.add(inspected)?;
        }
        if let (Some(longest_px), Some(map)) = (inspected.picture.longest_crack_px, inspected.map()) {
            let found_mm = thresholds.iter().map(|threshold| longest_mm(&map, *threshold, mm_per_px)).collect();
            wafers.push(Wafer { true_mm: longest_px * mm_per_px, found_mm });
        }
        Ok(())
    };
    let evaluation = evaluate(engine.as_mut(), &meta.normalisation, meta.threshold, count, |index| pictures.get(index), each)?;
    bar.finish_and_clear();
    let counted = if args.validation_crop.is_some() { "squares" } else { "cells" };
    say!("{}", pixel_table(&evaluation, &thresholds, meta.threshold, counted))?;
    if !wafers.is_empty() {
        say!("{}", wafer_table(&wafers, &thresholds, args.recipe_min_length_mm, &args.reject_above_mm))?;
    }
    if let Some(path) = &args.report {
        let facts = serde_json::json!({ "model": meta.name, "network": meta.shape.to_string(), "pictures": pictures.describe()?, "training": meta.training });
        write_evaluation(
            path,
            &format!("Evaluation of {}", meta.name),
            Findings { evaluation, threshold: meta.threshold, gallery },
            &facts,
        )?;
        note!("report: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Pictures of each kind in a report.
const SHOWN: usize = 6;

/// `counted` is what was evaluated: cells, or squares of them.
fn pixel_table(evaluation: &Evaluation, thresholds: &[f32], own: f32, counted: &str) -> String {
    let mut table = String::from("threshold     IoU      PA     OII   crack px found / missed / false alarms\n");
    for threshold in thresholds {
        let counts = evaluation.pixels.counts(*threshold);
        let Counts { tp, fp, fn_ } = counts;
        let mark = if *threshold == own { "*" } else { " " };
        let _ =
            writeln!(table, "{threshold:>8.2}{mark}  {:.4}  {:.4}  {:+.3}   {tp} / {fn_} / {fp}", counts.iou(), counts.pa(), counts.oii());
    }
    let Evaluation { cracked, detected, clean, alarmed, means, pixels } = evaluation;
    let called = means.called();
    let flattering = match means.nothing_to_find() {
        0 => String::new(),
        passed => format!(" ({passed} of {} are clean ones in which nothing was found: they count as 1)", means.pictures()),
    };
    let _ = writeln!(
        table,
        "mean over pictures{flattering} at {own:.2}: IoU {:.4}, OII {:+.3}, F1 {:.4}; PA {:.4} over the {cracked} with a crack, precision \
         {:.4} over the {called} in which something was called one; over all pixels precision {:.4}, F1 {:.4}",
        means.iou(),
        means.oii(),
        means.f1(),
        means.pa(),
        means.precision(),
        pixels.counts(own).precision(),
        pixels.counts(own).f1(),
    );
    let _ = write!(
        table,
        "* the model's own: of {cracked} cracked {counted} {detected} show their crack, of {clean} clean ones {alarmed} show one"
    );
    table
}

fn wafer_table(wafers: &[Wafer], thresholds: &[f32], long_mm: f64, limits_mm: &[f64]) -> String {
    let long = wafers.iter().filter(|w| w.true_mm > long_mm).count();
    let clean = wafers.iter().filter(|w| w.true_mm == 0.0).count();
    let mut table = format!(
        "escapes of {long} wafers with a crack longer than {long_mm} mm, overkill of {clean} clean wafers, if rejected above\nthreshold"
    );
    for limit in limits_mm {
        let _ = write!(table, "  {limit:>14.2} mm");
    }
    for (index, threshold) in thresholds.iter().enumerate() {
        let _ = write!(table, "\n{threshold:>9.2}");
        for limit_mm in limits_mm {
            let rejected = |w: &&Wafer| w.found_mm[index] > *limit_mm;
            let escaped = wafers.iter().filter(|w| w.true_mm > long_mm && !rejected(w)).count();
            let overkilled = wafers.iter().filter(|w| w.true_mm == 0.0 && rejected(w)).count();
            let percent = |part: usize, of: usize| if of == 0 { 0.0 } else { 100.0 * part as f64 / of as f64 };
            let _ = write!(table, "  {:>7.2}% {:>7.2}%", percent(escaped, long), percent(overkilled, clean));
        }
    }
    table
}

/// Length of the longest crack that the judge finds at a threshold, mm.
fn longest_mm(map: &ProbabilityMap, threshold: f32, mm_per_px: f64) -> f64 {
    judge(map, mm_per_px, &[], threshold, &Recipe::default()).longest_mm()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: TrainEvalArgs,
    }

    #[test]
    fn lengths_are_for_simulated_wafers_alone() {
        let parse = |words: &str| Line::try_parse_from(format!("eval --model m {words}").split_whitespace());
        for option in ["--reject-above-mm 2", "--recipe-min-length-mm 2", "--wafer-mm 156"] {
            let told = parse(&format!("--data d {option}")).unwrap_err().to_string();
            let name = option.split_whitespace().next().unwrap();
            assert!([name, "--data <DIR>", "cannot be used with"].iter().all(|part| told.contains(part)), "{told}");
            parse(&format!("--simulate both {option}")).unwrap();
        }
        parse("--data d").unwrap();
    }

    #[test]
    fn escapes_and_overkill_are_counted_for_every_threshold_and_limit() {
        let wafer = |true_mm: f64, found_mm: [f64; 2]| Wafer { true_mm, found_mm: found_mm.to_vec() };
        let wafers =
            [wafer(0.0, [4.0, 0.0]), wafer(0.0, [2.5, 0.0]), wafer(2.0, [0.0, 0.0]), wafer(5.0, [5.0, 2.5]), wafer(9.0, [9.0, 0.0])];
        let table = wafer_table(&wafers, &[0.1, 0.9], 3.0, &[2.0, 3.0]);
        let figures: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(table.starts_with("escapes of 2 wafers"), "{table}");
        assert_eq!(figures[2], ["0.10", "0.00%", "100.00%", "0.00%", "50.00%"]);
        assert_eq!(figures[3], ["0.90", "50.00%", "0.00%", "100.00%", "0.00%"]);
    }
}
