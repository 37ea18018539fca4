//! The command line of the inspection station.

use clap::{Parser, Subcommand};
use hairline::commands::{bench, calibrate, check, demo, failed, listen, run};
use std::process::ExitCode;

/// Finds hair-fine cracks in solar cells while they are being made.
///
/// A line-scan camera sees the cells pass; Hairline stitches its lines into whole cells, looks for cracks
/// with a trained network, and publishes masks and pass/reject verdicts in time for the reject gate.
#[derive(Debug, Parser)]
#[command(name = "hairline", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Inspect: run the station as the configuration says
    Run(run::RunArgs),
    /// Check a configuration and the files it names, or a recipe, and report every mistake at once
    Check(check::CheckArgs),
    /// Subscribe to a station and show its verdicts as they come
    Listen(listen::ListenArgs),
    /// Make a camera's calibration: dark, flat field and scale
    Calibrate(calibrate::CalibrateArgs),
    /// Time each stage of the line on this machine
    Bench(bench::BenchArgs),
    /// Show the line at work on simulated wafers, with pictures of what it found
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Demo(args) => demo::run(args),
    };
    result.unwrap_or_else(|error| failed("hairline", &error))
}
