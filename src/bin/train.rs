//! The training tool: simulated wafers, training, evaluation.
use clap::{Parser, Subcommand};
use hairline::commands::train::{eval, fit, synth};
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
    Synth(synth::TrainSynthArgs),
    /// Train a network on pictures with masks, or on simulated wafers
    Fit(fit::TrainFitArgs),
    /// Tell how good a model is: IoU, PA, OII, escapes and overkill at every threshold
    Eval(eval::TrainEvalArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Synth(args) => synth::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Eval(args) => eval::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
