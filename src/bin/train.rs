//! The training tool: simulated wafers, training, search and comparison, evaluation, model care.
use clap::{Parser, Subcommand};
use hairline::commands::train::{augment, compare, eval, fit, import, promote, quantise, search, synth};
use hairline::commands::{failed, version};
use std::process::ExitCode;
use std::sync::LazyLock;

/// Teaches networks to find hair-fine cracks in solar cells.
#[derive(Debug, Parser)]
#[command(name = "train", version = VERSION.as_str())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// What a command's help says of it stands at its arguments; a comment here would take its place.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // made once
enum Command {
    Synth(synth::TrainSynthArgs),
    Augment(augment::TrainAugmentArgs),
    Fit(fit::TrainFitArgs),
    Eval(eval::TrainEvalArgs),
    Search(search::TrainSearchArgs),
    Compare(compare::TrainCompareArgs),
    Promote(promote::TrainPromoteArgs),
    Quantise(quantise::TrainQuantiseArgs),
    Import(import::TrainImportArgs),
}

/// The commit that this is built from, where whoever builds it tells (the Makefile does). Read here, so that with another
/// commit nothing but this file is compiled anew. Empty outside a checkout.
const COMMIT: Option<&str> = option_env!("HAIRLINE_COMMIT");

static VERSION: LazyLock<String> = LazyLock::new(|| version(commit()));

fn commit() -> Option<&'static str> {
    COMMIT.filter(|commit| !commit.is_empty())
}

fn main() -> ExitCode {
    let commit = commit();
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_explains_every_command_and_the_list_names_what_each_does() {
        let mut train = Cli::command();
        let list = train.render_long_help().to_string();
        assert!(list.contains("Find the weight of false alarms") && !list.contains("bisects"), "{list}");
        let mut help = |name: &str| train.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        for (name, explained) in
            [("compare", "  seeds = [1, 2, 3]\n"), ("fit", "goes to a folder of its own"), ("promote", "The golden set is a folder")]
        {
            assert!(help(name).contains(explained), "{}", help(name));
        }
    }
}
