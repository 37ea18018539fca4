//! The command line of the inspection station.

use clap::{Parser, Subcommand};
use hairline::commands::{bench, calibrate, check, demo, failed, listen, run, version};
use std::process::ExitCode;
use std::sync::LazyLock;

/// Finds hair-fine cracks in solar cells while they are being made.
///
/// A line-scan camera sees the cells pass; Hairline stitches its lines into whole cells, looks for cracks
/// with a trained network, and publishes masks and pass/reject verdicts in time for the reject gate.
#[derive(Debug, Parser)]
#[command(name = "hairline", version = VERSION.as_str())]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// What a command's help says of it stands at its arguments; a comment here would take its place.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Listen(listen::ListenArgs),
    Calibrate(calibrate::CalibrateArgs),
    Bench(bench::BenchArgs),
    Demo(demo::DemoArgs),
}

/// The commit that this is built from, where whoever builds it tells (the Makefile does). Read here, so that with another
/// commit nothing but this file is compiled anew. Empty outside a checkout.
const COMMIT: Option<&str> = option_env!("HAIRLINE_COMMIT");

static VERSION: LazyLock<String> = LazyLock::new(|| version(commit()));

fn commit() -> Option<&'static str> {
    COMMIT.filter(|commit| !commit.is_empty())
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(args) => run::run(args, commit()),
        Command::Check(args) => check::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Demo(args) => demo::run(args),
    };
    result.unwrap_or_else(|error| failed("hairline", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_explains_every_command_and_the_list_names_what_each_does() {
        let mut hairline = Arguments::command();
        let list = hairline.render_long_help().to_string();
        assert!(list.contains("Make the calibration file of a camera") && !list.contains("Arguments of"), "{list}");
        let mut help = |name: &str| hairline.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help("calibrate").contains("whatever is not given as pictures"), "{}", help("calibrate"));
        assert!(help("run").contains("SIGHUP"), "{}", help("run"));
    }
}
