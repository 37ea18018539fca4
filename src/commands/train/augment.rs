//! `train augment`: the paper's five-fold set, stored.

use super::synth::holds_something;
use crate::commands::terminal::say;
use crate::train::{HeldBack, SplitPlan, store_five_fold};
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;

/// Store every training picture five times, as the DIBE paper's data were: as it is, mirrored, with more contrast, brighter,
/// and more saturated.
///
/// Writes OUT/images and OUT/masks (PNG) and OUT/split.csv; validation pictures are copied once, as they are. Train with
/// `train fit --data OUT --split OUT/split.csv --augment none`; without --split that is refused, as variants of one picture
/// would be learnt from and validated with.
///
/// Contrast and brightness change the pictures' own values here. The network normalises every tile by its own mean and
/// deviation, which undoes them but for what became white or black; and it sees grey, which saturation leaves as it is. So
/// what it learns more from is mostly the mirror image. `train fit --augment five-fold` stores nothing and changes contrast
/// (by 1.25) and brightness (by a quarter of a deviation) after normalising, so that the network does see them.
#[derive(Debug, clap::Args)]
pub struct TrainAugmentArgs {
    /// Folder with images/NAME.png and masks/NAME.png, as `train fit` takes it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder to write to; it must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which pictures are held back for validation: a file of lines `picture,training` or `picture,validation`
    #[arg(long, value_name = "FILE.csv")]
    split: Option<PathBuf>,
    /// Share of the pictures that is held back, where no file says which
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, conflicts_with = "split")]
    validation_share: f64,
    /// Seed of that choice
    #[arg(long, default_value_t = 1, conflicts_with = "split")]
    seed: u64,
}

/// Stores the set.
///
/// # Errors
/// Faults of the data, and a folder that cannot be written to or holds something.
pub fn run(args: TrainAugmentArgs) -> anyhow::Result<ExitCode> {
    if holds_something(&args.out)? {
        bail!("--out {}: the folder is not empty; give another one", args.out.display());
    }
    let share = SplitPlan::share(args.validation_share, args.seed);
    let plan = match args.split {
        Some(file) => SplitPlan { held_back: HeldBack::File(file), ..share },
        None => share,
    };
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("storing pictures {bar:40} {pos}/{len}, {eta} left")?.progress_chars("=> "));
    let stored = store_five_fold(&args.data, &plan, &args.out, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    say!("{} pictures to learn from and {} to validate with, in {}", stored.training, stored.validation, args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
