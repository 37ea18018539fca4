//! The training tool: simulated wafers, training, search and comparison, evaluation, model care.
use clap::{Parser, Subcommand};
use hairline::commands::failed;
use hairline::commands::train::{augment, compare, eval, fit, import, promote, quantise, search, synth};
use std::process::ExitCode;

/// Teaches networks to find hair-fine cracks in solar cells.
#[derive(Debug, Parser)]
#[command(name = "train", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // made once
enum Command {
    /// Write simulated wafers and their crack masks as pictures
    Synth(synth::TrainSynthArgs),
    /// Store every training picture five times, as the DIBE paper's data were
    Augment(augment::TrainAugmentArgs),
    /// Train a network on pictures with masks, or on simulated wafers
    Fit(fit::TrainFitArgs),
    /// Tell how good a model is: IoU, PA, OII, escapes and overkill at every threshold
    Eval(eval::TrainEvalArgs),
    /// Find the weight of false alarms against missed cracks (alpha) that suits the data
    Search(search::TrainSearchArgs),
    /// Train losses x networks x data sets with several seeds and print the paper's tables
    Compare(compare::TrainCompareArgs),
    /// Check a new model against the current one and write it into models/ with a model card
    Promote(promote::TrainPromoteArgs),
    /// Prepare a model for int8 and tell what eight bits cost
    Quantise(quantise::TrainQuantiseArgs),
    /// Turn the weights of a PyTorch U-Net into a checkpoint
    Import(import::TrainImportArgs),
}

/// The commit that this is built from, where whoever builds it tells (the Makefile does). Read here, so that with another
/// commit nothing but this file is compiled anew. Empty outside a checkout.
const COMMIT: Option<&str> = option_env!("HAIRLINE_COMMIT");

fn main() -> ExitCode {
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    let result = match Cli::parse().command {
        Command::Synth(args) => synth::run(args),
        Command::Augment(args) => augment::run(args),
        Command::Fit(args) => fit::run(args, commit),
        Command::Eval(args) => eval::run(args),
        Command::Search(args) => search::run(args, commit),
        Command::Compare(args) => compare::run(args, commit),
        Command::Promote(args) => promote::run(args),
        Command::Quantise(args) => quantise::run(args),
        Command::Import(args) => import::run(args),
    };
    result.unwrap_or_else(|error| failed("error", &error))
}
