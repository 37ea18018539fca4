//! `hairline check`: everything that is wrong with a configuration, at once.

use super::log;
use super::terminal::say;
use crate::config::{Problems, Severity, StationConfig};
use crate::judge::Recipe;
use crate::station;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::Level;

/// Check a configuration and the files it names, or a recipe, and report every mistake at once.
///
/// Looks at the model, recipes, calibrations and pictures that the configuration names, at this build and this machine, and
/// starts nothing. It ends with status 64 where something is wrong, with 0 where there is nothing but warnings.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The station's configuration, or a recipe
    #[arg(value_name = "FILE")]
    config: PathBuf,
}

/// Checks the configuration, its recipes, calibrations and model, or a recipe alone. Exits 64 on mistakes.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let file = &args.config;
    let is_recipe = Recipe::is_one(file);
    if is_recipe.is_none() {
        let mut problems = Problems::default();
        let remedy = "a station's configuration has [network] and [[lane]], as configs/station.toml; a recipe has [limits], as \
                      configs/recipe.toml";
        problems.error(file, None, "", "is neither a station's configuration nor a recipe", remedy);
        tell(&problems);
        return Ok(ExitCode::from(super::EXIT_CONFIG));
    }
    if is_recipe == Some(true) {
        let (recipe, problems) = match Recipe::load(file) {
            Ok((recipe, warnings)) => (Some(recipe), warnings),
            Err(problems) => (None, problems),
        };
        tell(&problems);
        let Some(recipe) = recipe else { return Ok(ExitCode::from(super::EXIT_CONFIG)) };
        say!("{}: good; the recipe {:?}", file.display(), recipe.name)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (config, problems) = station::check(file);
    tell(&problems);
    let Some(config) = config.filter(|_| !problems.has_errors()) else { return Ok(ExitCode::from(super::EXIT_CONFIG)) };
    say!("{}: good; {} lane(s)", file.display(), config.lanes.len())?;
    for lane in &config.lanes {
        say!("  {}: camera {}, recipe {}", lane.name, lane.camera.kind.name(), lane.recipe.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells each at its own level.
fn tell(problems: &Problems) {
    for problem in problems.all() {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARN,
            Severity::Note => Level::INFO,
        };
        log::tell(level, problem);
    }
}

/// Reads a configuration, telling warnings and mistakes on standard error.
pub(super) fn load_config(file: &Path) -> Option<StationConfig> {
    match StationConfig::load(file) {
        Ok((config, warnings)) => {
            tell(&warnings);
            Some(config)
        }
        Err(problems) => {
            tell(&problems);
            None
        }
    }
}
