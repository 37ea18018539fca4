//! `hairline check`: everything that is wrong with a configuration, at once.

use crate::config::StationConfig;
use crate::station;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `hairline check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The station's configuration
    #[arg(value_name = "FILE")]
    config: PathBuf,
}

/// Checks the configuration, its recipes, calibrations and model. Exits 64 on mistakes.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let Some(config) = load_config(&args.config) else { return Ok(ExitCode::from(super::EXIT_CONFIG)) };
    let problems = station::check(&config);
    if !problems.all().is_empty() {
        eprintln!("{problems}");
    }
    if problems.has_errors() {
        return Ok(ExitCode::from(super::EXIT_CONFIG));
    }
    println!("{}: good; {} lane(s)", args.config.display(), config.lanes.len());
    for lane in &config.lanes {
        println!("  {}: camera {}, recipe {}", lane.name, lane.camera.kind.name(), lane.recipe.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a configuration, telling warnings and mistakes on standard error.
pub(super) fn load_config(file: &Path) -> Option<StationConfig> {
    match StationConfig::load(file) {
        Ok((config, warnings)) => {
            if !warnings.all().is_empty() {
                eprintln!("{warnings}");
            }
            Some(config)
        }
        Err(problems) => {
            eprintln!("{problems}");
            None
        }
    }
}
