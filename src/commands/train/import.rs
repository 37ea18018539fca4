//! `train import`: PyTorch weights become a checkpoint.

use crate::commands::arguments::refuse_existing;
use crate::commands::terminal::say;
use crate::nn::{Architecture, Checkpoint, CheckpointMeta, NetworkShape, Normalisation, Upsampling};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turn the weights of a PyTorch U-Net into a checkpoint that the line can load and `train fit --init` can go
/// on from.
///
/// Reads a state dict (.pth, .pt) or .safetensors of a U-Net with one grey input channel and one logit a pixel,
/// whose tensors are named inc, down1 ... down4, up1 ... up4, outc. Width and upsampling are recognised.
#[derive(Debug, clap::Args)]
pub struct TrainImportArgs {
    /// The weights
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// Where the checkpoint goes; it takes no file's place
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Name of the model, told in every verdict it gives [default: the file's]
    #[arg(long)]
    name: Option<String>,
    /// The network was trained on grey values (0 to 1) less this, over --std [default: each tile by its own mean
    /// and deviation]
    #[arg(long, requires = "std")]
    mean: Option<f32>,
    /// See --mean
    #[arg(long, requires = "mean")]
    std: Option<f32>,
    /// Probability from which a pixel is called crack
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    threshold: f32,
    /// Smallest pixel pitch the model is good for, mm
    #[arg(long, value_name = "MM", default_value_t = 0.10)]
    mm_per_px_min: f64,
    /// Largest pixel pitch the model is good for, mm
    #[arg(long, value_name = "MM", default_value_t = 0.20)]
    mm_per_px_max: f64,
}

/// Runs the command.
pub fn run(args: TrainImportArgs) -> anyhow::Result<ExitCode> {
    refuse_existing("--out", &args.out)?;
    let stem = args.out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let weights = args.weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = args.name.unwrap_or(stem);
    anyhow::ensure!(
        CheckpointMeta::is_name(&name),
        "--name {name:?}: becomes a file's name; give one without / and \\, and other than . and .."
    );
    // What the weights say takes its place.
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
    let meta = CheckpointMeta {
        normalisation: args.mean.zip(args.std).map_or(Normalisation::Tile, |(mean, std)| Normalisation::Fixed { mean, std }),
        threshold: args.threshold,
        mm_per_px_min: args.mm_per_px_min,
        mm_per_px_max: args.mm_per_px_max,
        training: serde_json::json!({ "imported_from": weights }),
        ..CheckpointMeta::of(shape, &name)
    };
    let checkpoint = Checkpoint::import(&args.weights, meta)?;
    checkpoint.save(&args.out)?;
    say!("{}: {}", args.out.display(), checkpoint.meta.shape)?;
    Ok(ExitCode::SUCCESS)
}
