//! `hairline check`: everything that is wrong with a configuration, at once.

use super::log;
use super::terminal::say;
use crate::config::{Problems, Reader, Severity, StationConfig, read_document};
use crate::judge::Recipe;
use crate::station;
use crate::stitch::Calibration;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::Level;

/// Check a configuration and the files it names, a recipe, or a calibration, and report every mistake at once.
///
/// Looks at the model, recipes, calibrations and pictures that the configuration names, at this build and this machine, and
/// starts nothing. It ends with status 64 where something is wrong, with 0 where there is nothing but warnings.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The station's configuration, a recipe, or a calibration
    #[arg(value_name = "FILE")]
    config: PathBuf,
}

/// Checks a station's configuration with all it names, a recipe or a calibration alone. Exits 64 on mistakes.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let file = &args.config;
    let is_good = match Document::of(file) {
        Some(Document::Station) => station_is_good(file)?,
        Some(Document::Recipe) => recipe_is_good(file)?,
        Some(Document::Calibration) => calibration_is_good(file)?,
        None => {
            let mut problems = Problems::default();
            let remedy = "a station's configuration has [network] and [[lane]], as configs/station.toml; a recipe has [limits], as \
                          configs/recipe.toml; `hairline calibrate` writes calibrations";
            problems.error(file, None, "", "is neither a station's configuration nor a recipe nor a calibration", remedy);
            tell(&problems);
            false
        }
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_CONFIG) })
}

/// What a file is meant to be.
#[derive(Clone, Copy)]
enum Document {
    Station,
    Recipe,
    Calibration,
}

impl Document {
    /// By its keys, the first kind that has one of them; those of a recipe's `[limits]` in the wrong place are a recipe's. `None`: no kind
    /// has. A file that cannot be read is taken for a station's configuration, which tells why.
    fn of(file: &Path) -> Option<Self> {
        const KEYS: [(Document, &[&str]); 3] = [
            (Document::Station, &["station", "network", "publish", "http", "review", "album", "lane"]),
            (
                Document::Recipe,
                &[
                    "name",
                    "precision",
                    "threshold",
                    "minimum_length_mm",
                    "minimum_area_mm2",
                    "join_gap_mm",
                    "hold_gate",
                    "limits",
                    "edge",
                    "corners",
                    "longest_crack_mm",
                    "total_length_mm",
                    "area_mm2",
                    "count",
                ],
            ),
            (Document::Calibration, &["camera_id", "width_px", "dark", "flat"]),
        ];
        let has_one = |reader: &mut Reader, keys: &[&str]| keys.iter().any(|key| reader.has(key));
        let (found, _) =
            read_document(file, |reader| KEYS.into_iter().find(|(_, keys)| has_one(reader, keys)).map(|(document, _)| document));
        found.unwrap_or(Some(Self::Station))
    }
}

fn recipe_is_good(file: &Path) -> anyhow::Result<bool> {
    let (recipe, problems) = match Recipe::load(file) {
        Ok((recipe, warnings)) => (Some(recipe), warnings),
        Err(problems) => (None, problems),
    };
    tell(&problems);
    if let Some(recipe) = &recipe {
        say!("{}: good; the recipe {:?}", file.display(), recipe.name)?;
    }
    Ok(recipe.is_some())
}

fn station_is_good(file: &Path) -> anyhow::Result<bool> {
    let (config, problems) = station::check(file);
    tell(&problems);
    let Some(config) = config.filter(|_| !problems.has_errors()) else { return Ok(false) };
    say!("{}: good; {} lane(s)", file.display(), config.lanes.len())?;
    for lane in &config.lanes {
        say!("  {}: camera {}, recipe {}", lane.name, lane.camera.kind.name(), lane.recipe.display())?;
    }
    Ok(true)
}

fn calibration_is_good(file: &Path) -> anyhow::Result<bool> {
    let calibration = match Calibration::load(file) {
        Ok(calibration) => calibration,
        Err(e) => {
            log::tell(Level::ERROR, e);
            return Ok(false);
        }
    };
    let of = match calibration.camera_id.as_str() {
        "" => "any camera".to_owned(),
        id => format!("the camera {id:?}"),
    };
    say!("{}: good; the calibration of {of}, {} px wide", file.display(), calibration.width_px)?;
    Ok(true)
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
