//! `train synth`: simulated wafers and their crack masks as pictures in a folder.

use crate::cell::Mask;
use crate::commands::arguments::share;
use crate::commands::terminal::say;
use crate::config::WaferKind;
use crate::simulate::{self, Crack, WaferSettings};
use crate::train::{Kinds, Simulated, write_beside};
use anyhow::{Context, bail};
use image::{ExtendedColorType, ImageEncoder, codecs::png};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw simulated wafers with known cracks, to train on or to test with.
///
/// Writes DIR/images/00000.png … (grey, 8 bit, 1344 × 1344; black is outside the wafer),
/// DIR/masks/00000.png … (white where the crack is) and DIR/manifest.json (the settings, and the
/// cracks and checksums of each wafer). The same seed gives the same wafers on every machine of
/// the same kind, and never those that `train fit --simulate` or `train eval --simulate` draws.
#[derive(Debug, clap::Args)]
pub struct TrainSynthArgs {
    /// Folder to write to; it is created where it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of wafers.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// What the wafers look like: uncoated wafers in laser light, finished cells in
    /// electroluminescence, or both in turn.
    #[arg(long, value_enum, default_value_t = Kinds::Laser)]
    pub kind: Kinds,
    /// Any number; another one gives other wafers.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Share of wafers that have cracks, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.6, value_parser = share)]
    pub cracked_share: f64,
    /// Leg of the cut corners in pixels, 0 for full squares [default: each wafer its own].
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(0..=448))]
    pub corner_px: Option<u32>,
    /// Write into a folder that is not empty; wafers of the same number are replaced.
    #[arg(long)]
    pub force: bool,
}

#[derive(Serialize)]
struct Manifest<'a> {
    hairline: &'static str,
    kind: Kinds,
    seed: u64,
    count: u32,
    cracked_share: f64,
    corner_px: Option<u32>,
    wafers: &'a [WaferEntry],
}

#[derive(Serialize)]
struct WaferEntry {
    image: String,
    mask: String,
    kind: WaferKind,
    crack_px: u64,
    cracks: Vec<Crack>,
    /// SHA-256 of the picture's grey levels and of the mask's packed bits, in hexadecimal.
    image_sha256: String,
    mask_sha256: String,
}

/// Draws the wafers and writes them, several at a time.
///
/// # Errors
/// Where the folder cannot be written, or holds something already and `--force` is not given.
pub fn run(args: TrainSynthArgs) -> anyhow::Result<ExitCode> {
    prepare(&args)?;
    let bar = ProgressBar::new(args.count.into())
        .with_style(ProgressStyle::with_template("drawing wafers {bar:40} {pos}/{len}, {eta} left")?.progress_chars("=> "));
    let one = |index: u32| draw(&args, index.into()).inspect(|_| bar.inc(1));
    let wafers: Vec<WaferEntry> = (0..args.count).into_par_iter().map(one).collect::<anyhow::Result<_>>()?;
    bar.finish_and_clear();
    let manifest = Manifest {
        hairline: env!("CARGO_PKG_VERSION"),
        kind: args.kind,
        seed: args.seed,
        count: args.count,
        cracked_share: args.cracked_share,
        corner_px: args.corner_px,
        wafers: &wafers,
    };
    write_beside(&args.out.join("manifest.json"), &serde_json::to_vec_pretty(&manifest)?)?;
    let cracked = wafers.iter().filter(|wafer| wafer.crack_px > 0).count();
    say!("{} wafers, {cracked} of them cracked, in {}", wafers.len(), args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the folder `--out` is there and not empty.
///
/// # Errors
/// A file of that name, or a folder that cannot be read.
pub(super) fn holds_something(out: &Path) -> anyhow::Result<bool> {
    if !out.exists() {
        return Ok(false);
    }
    if !out.is_dir() {
        bail!("--out {}: this is a file; give a folder", out.display());
    }
    let mut entries = fs::read_dir(out).with_context(|| format!("--out {}: cannot be read; give a folder of your own", out.display()))?;
    Ok(entries.next().is_some())
}

fn prepare(args: &TrainSynthArgs) -> anyhow::Result<()> {
    let out = &args.out;
    if holds_something(out)? && !args.force {
        bail!("--out {}: the folder is not empty; give another one, or --force to write into it", out.display());
    }
    for folder in ["images", "masks"] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder)
            .with_context(|| format!("{}: cannot be created; give a folder that you may write to", folder.display()))?;
    }
    Ok(())
}

fn draw(args: &TrainSynthArgs, index: u64) -> anyhow::Result<WaferEntry> {
    let kind = args.kind.of(index);
    let settings = WaferSettings { kind, seed: args.seed, cracked_share: args.cracked_share, corner_px: args.corner_px };
    let wafer = simulate::wafer(&settings, Simulated::FIRST_WRITTEN + index);
    let (image, mask) = (format!("images/{index:05}.png"), format!("masks/{index:05}.png"));
    write_beside(&args.out.join(&image), &grey_png(&wafer.pixels, wafer.side_px)?)?;
    write_beside(&args.out.join(&mask), &grey_png(&black_and_white(&wafer.mask), wafer.side_px)?)?;
    Ok(WaferEntry {
        image,
        mask,
        kind,
        crack_px: wafer.mask.count(),
        image_sha256: digest(&wafer.pixels),
        mask_sha256: digest(wafer.mask.bits()),
        cracks: wafer.cracks,
    })
}

fn black_and_white(mask: &Mask) -> Vec<u8> {
    (0..mask.height_px()).flat_map(|y| (0..mask.width_px()).map(move |x| if mask.get(x, y) { 255 } else { 0 })).collect()
}

fn grey_png(pixels: &[u8], side_px: usize) -> anyhow::Result<Vec<u8>> {
    let side = u32::try_from(side_px)?;
    let mut file = vec![];
    png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Fast, png::FilterType::Adaptive).write_image(
        pixels,
        side,
        side,
        ExtendedColorType::L8,
    )?;
    Ok(file)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{SimulatedSettings, Source};

    fn args(out: PathBuf) -> TrainSynthArgs {
        TrainSynthArgs { out, count: 2, kind: Kinds::Both, seed: 4, cracked_share: 1.0, corner_px: Some(60), force: false }
    }

    #[test]
    fn writes_pictures_masks_and_a_manifest_that_agree() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        run(args(out.clone())).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        for (index, kind) in ["laser", "electroluminescence"].into_iter().enumerate() {
            let entry = &manifest["wafers"][index];
            assert_eq!(entry["kind"], kind);
            let picture = |name: &str| image::open(out.join(entry[name].as_str().unwrap())).unwrap().into_luma8();
            let (image, mask) = (picture("image"), picture("mask"));
            assert_eq!((image.dimensions(), mask.dimensions()), ((1344, 1344), (1344, 1344)));
            assert_eq!(entry["image_sha256"], digest(image.as_raw()));
            let white = mask.pixels().filter(|pixel| pixel.0[0] == 255).count() as u64;
            assert!(white > 0 && mask.pixels().all(|pixel| matches!(pixel.0[0], 0 | 255)));
            assert_eq!(entry["crack_px"], white);
            assert!(!entry["cracks"].as_array().unwrap().is_empty());
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.txt"), "").unwrap();
        let error = run(args(folder.path().into())).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("--force"), "{error}");
        assert!(!folder.path().join("images").exists());
        run(TrainSynthArgs { force: true, count: 1, ..args(folder.path().into()) }).unwrap();
        assert!(folder.path().join("mine.txt").exists() && folder.path().join("images/00000.png").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = run(args(file.clone())).unwrap_err().to_string();
        assert!(error.contains("this is a file"), "{error}");
        let error = run(args(file.join("below"))).unwrap_err().to_string();
        assert!(error.contains("cannot be created") && error.contains("file/below"), "{error}");
    }

    #[test]
    fn what_is_written_is_none_of_the_wafers_that_a_training_or_evaluation_draws() {
        let folder = tempfile::tempdir().unwrap();
        run(TrainSynthArgs { kind: Kinds::Laser, count: 1, corner_px: None, ..args(folder.path().into()) }).unwrap();
        let written = image::open(folder.path().join("images/00000.png")).unwrap().into_luma16().into_raw();
        let settings = SimulatedSettings { kinds: Kinds::Laser, seed: 4, cracked_share: 1.0, validation_wafers: 1 };
        let drawn = Simulated::new(settings).unwrap();
        let test = Simulated::test_wafer(Kinds::Laser, 4, 1.0, 0);
        for other in [drawn.training(0), drawn.validation(0), test] {
            assert!(other.unwrap().pixels != written);
        }
    }
}
