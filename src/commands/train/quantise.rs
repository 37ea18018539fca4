//! `train quantise`: prepares a model for eight bits and tells what they cost.

use super::pictures::PictureOptions;
use crate::cell::{SEEN_PX, TILE_PX};
use crate::commands::arguments::{refuse_existing, share, threads};
use crate::commands::terminal::{note, say};
use crate::config::{DeviceChoice, Precision};
use crate::measure::Counts;
use crate::nn::{Calibration, Checkpoint, Quantisation, unable};
use crate::train::{Picture, evaluate};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prepare a model for the precision int8: find out on some pictures how far its activations reach, and on others what
/// eight bits cost.
///
/// The model that is written is the same one with the ranges added; it still runs with every other precision. It is not
/// written where the IoU of int8 is lower than that of f32 by more than --tolerance.
#[derive(Debug, clap::Args)]
pub struct TrainQuantiseArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Where the prepared model goes; it takes no file's place
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    pictures: PictureOptions,
    /// The first so many pictures are for finding the ranges, the others for the comparison
    #[arg(long, value_name = "N", default_value_t = 8)]
    calibrate: usize,
    /// How much lower the IoU may be
    #[arg(long, value_name = "SHARE", default_value_t = 0.005, value_parser = share)]
    tolerance: f64,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    threads: usize,
}

/// Runs the command.
pub fn run(args: TrainQuantiseArgs) -> anyhow::Result<ExitCode> {
    refuse_existing("--out", &args.out)?;
    // Finding ranges takes minutes: what cannot be compared afterwards is told before.
    if let Some(why) = unable(Precision::Int8) {
        bail!("{why}; prepare the model on a machine with AVX-512 VNNI or AMX, or leave it as it is for every other precision");
    }
    let mut checkpoint = Checkpoint::load(&args.model).context("--model")?;
    let pictures = args.pictures.open()?;
    pictures.learnt_by("the model", &args.model, &checkpoint.meta);
    let (count, most) = (pictures.count(), pictures.count().saturating_sub(1));
    if !(1..=most).contains(&args.calibrate) {
        let remedy = if most == 0 { "give at least two pictures".to_owned() } else { format!("give 1 to {most}, or more pictures") };
        bail!(
            "--calibrate {}: there are {count} pictures, of which at least one must find the ranges, and one be left to compare on; {remedy}",
            args.calibrate
        );
    }
    let mut calibration = Calibration::new(&checkpoint).context("--model")?;
    let bar = ProgressBar::new(args.calibrate as u64)
        .with_style(ProgressStyle::with_template("finding ranges {bar:30} {pos}/{len} pictures, {eta} left")?);
    for index in 0..args.calibrate {
        let picture = pictures.get(index)?;
        for tile in tiles(&checkpoint, &picture) {
            calibration.add(&tile)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    checkpoint.meta.quantisation = Some(Quantisation { ranges: calibration.finish(), report: serde_json::Value::Null });

    let compared = pictures.count() - args.calibrate;
    let counts = |precision: Precision| -> anyhow::Result<Counts> {
        let mut engine = crate::nn::engine(&checkpoint, DeviceChoice::Cpu, precision, args.threads)?;
        let (normalisation, threshold) = (&checkpoint.meta.normalisation, checkpoint.meta.threshold);
        let picture = |index| pictures.get(args.calibrate + index);
        let found = evaluate(engine.as_mut(), normalisation, threshold, compared, picture, |_| Ok(()))?.pixels.counts(threshold);
        say!("{precision:10} IoU {:.4}  PA {:.4}  OII {:+.3}   {}", found.iou(), found.pa(), found.oii(), engine.describe())?;
        Ok(found)
    };
    let exact = counts(Precision::F32)?;
    if exact.tp + exact.fn_ == 0 {
        bail!(
            "none of the {compared} pictures that int8 was compared on shows a crack: nothing is known of its cost; give more or other pictures"
        );
    }
    if exact.tp == 0 {
        bail!(
            "the model finds none of the cracks in f32 either: nothing is known of what int8 costs; give a model that has learnt something"
        );
    }
    let coarse = counts(Precision::Int8)?;
    let cost = exact.iou() - coarse.iou();
    say!("on {compared} pictures int8 costs {:.2} points of IoU", 100.0 * cost)?;
    if cost > args.tolerance {
        note!("more than --tolerance {}: not written; run this model with bf16", args.tolerance);
        return Ok(ExitCode::FAILURE);
    }
    let report = serde_json::json!({
        "pictures": pictures.describe()?, "calibrated_on": args.calibrate, "compared_on": compared,
        "iou_f32": exact.iou(), "iou_int8": coarse.iou(),
    });
    if let Some(quantisation) = &mut checkpoint.meta.quantisation {
        quantisation.report = report;
    }
    checkpoint.save(&args.out)?;
    say!("written: {}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Normalised tiles of a picture, side by side; what is beyond its last whole tile is left out, unless it has none.
fn tiles(checkpoint: &Checkpoint, picture: &Picture) -> Vec<Vec<f32>> {
    let starts = |extent: usize| (0..(extent / TILE_PX).max(1)).map(|i| i * TILE_PX);
    let places = starts(picture.height_px).flat_map(|top| starts(picture.width_px).map(move |left| (left, top)));
    let tile = |(left, top)| {
        let (grey, spans) = picture.tile_seen(left, top);
        let mut tile = vec![0.0; SEEN_PX * SEEN_PX];
        checkpoint.meta.normalisation.apply(&grey, SEEN_PX, &spans, &mut tile);
        tile
    };
    places.map(tile).collect()
}
