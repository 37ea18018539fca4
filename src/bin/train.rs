//! The training tool: simulated wafers, training, evaluation.
use clap::{Parser, Subcommand};
use hairline::commands::{train_eval, train_fit, train_synth};
use std::process::ExitCode;

/// Teaches networks to find hair-fine cracks in solar cells.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // made once
enum Command {
    /// Write simulated wafers and their crack masks as pictures
    Synth(train_synth::TrainSynthArgs),
    /// Train a network on pictures with masks, or on simulated wafers
    Fit(train_fit::TrainFitArgs),
    /// Tell how good a model is: IoU, PA, OII, escapes and overkill at every threshold
    Eval(train_eval::TrainEvalArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Synth(args) => train_synth::run(args),
        Command::Fit(args) => train_fit::run(args),
        Command::Eval(args) => train_eval::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
