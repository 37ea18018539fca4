//! `hairline demo`: the line at work on the embedded default, without camera, GPU or server.

use super::log;
use super::overlay;
use super::run::asked_to_stop;
use super::terminal::{note, say};
use crate::cell::VerdictKind;
use crate::config::StationConfig;
use crate::nn::Checkpoint;
use crate::station::{self, CellOutcome, Observer, RunOptions};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

const CONFIG: &str = include_str!("../../configs/demo.toml");
const RECIPE: &str = include_str!("../../configs/demo-recipe.toml");
const MODEL: &[u8] = include_bytes!("../../models/crack-unet8.safetensors");

/// What the demonstration must come to.
const CELLS: u64 = 13;
const PASSES: usize = 4;
const REJECTS: usize = 4;
const HOLDS: usize = 1;

/// Show the line at work on simulated wafers, with pictures of what it found.
///
/// 12 wafers and one of which lines are lost pass under a simulated camera; neither camera nor GPU is needed. It ends with status 1
/// where the verdicts are not those that they should be.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Folder for the pictures, the configuration and the ledger of the demonstration
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
}

/// Runs the line on 12 simulated wafers and one that loses lines. Exits 1 where it does not come out as
/// it should.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    log::start("warn");
    let out = &args.out;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot create {}; give a folder that can be written with --out", out.display()))?;
    let config_file = out.join("demo.toml");
    std::fs::write(&config_file, CONFIG).with_context(|| format!("cannot write {}", config_file.display()))?;
    std::fs::write(out.join("recipe.toml"), RECIPE).with_context(|| format!("cannot write into {}", out.display()))?;
    let (config, _) = StationConfig::load(&config_file).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let checkpoint = Checkpoint::load_bytes(MODEL, "the embedded model")?;

    say!("{:>6}  {:<7}  {:>10}  {:>10}  reason", "cell", "verdict", "longest mm", "ms to verdict")?;
    let board = Arc::new(Board { out: out.clone(), seen: Mutex::default() });
    let options = RunOptions { cells: Some(CELLS), checkpoint: Some(checkpoint), observer: Some(board.clone()), ..Default::default() };
    station::run(&config, options, asked_to_stop())?;
    board.summary()
}

/// Prints a line and draws a picture for every cell.
struct Board {
    out: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    verdicts: Vec<VerdictKind>,
    escapes: usize,
    overkill: usize,
    failures: Vec<String>,
}

impl Observer for Board {
    fn cell(&self, outcome: &CellOutcome<'_>) {
        let message = outcome.message;
        let reason = match (&message.hold, &message.rule) {
            (Some(hold), _) => hold.to_string(),
            (None, Some(rule)) => format!("{} is {:.2}, limit {:.2}", rule.rule, rule.measured, rule.limit),
            (None, None) => String::new(),
        };
        let said = say!(
            "{:>6}  {:<7}  {:>10.2}  {:>13.0}  {reason}",
            message.number,
            message.verdict.name(),
            message.longest_mm,
            outcome.total_ms
        );
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.failures.extend(said.err().map(|e| format!("{e:#}")));
        if let Some(truth) = outcome.truth {
            let cracked = !truth.is_empty();
            seen.escapes += usize::from(cracked && message.verdict == VerdictKind::Pass);
            seen.overkill += usize::from(!cracked && message.verdict == VerdictKind::Reject);
        }
        seen.verdicts.push(message.verdict);
        let file = self.out.join(format!("cell-{:03}-{}.png", message.number, message.verdict.name()));
        if let Err(e) = draw(outcome, &file) {
            seen.failures.push(format!("{}: {e:#}", file.display()));
        }
    }
}

fn draw(outcome: &CellOutcome<'_>, file: &Path) -> anyhow::Result<()> {
    let picture = match outcome.rows {
        Some(rows) => overlay::cell_with_mask(&rows, outcome.mask),
        None => overlay::no_picture(),
    };
    picture.save(file)?;
    Ok(())
}

impl Board {
    fn summary(&self) -> anyhow::Result<ExitCode> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |kind| seen.verdicts.iter().filter(|v| **v == kind).count();
        let (passes, rejects, holds) = (count(VerdictKind::Pass), count(VerdictKind::Reject), count(VerdictKind::Hold));
        say!("\n{} cells: {passes} pass, {rejects} reject, {holds} hold", seen.verdicts.len())?;
        say!("held against the simulation's truth: {} escape(s), {} overkill", seen.escapes, seen.overkill)?;
        say!("pictures with the masks drawn over them: {}", self.out.display())?;
        for failure in &seen.failures {
            note!("hairline: {failure}");
        }
        let good =
            seen.verdicts.len() as u64 == CELLS && passes >= PASSES && rejects >= REJECTS && holds == HOLDS && seen.failures.is_empty();
        if good {
            return Ok(ExitCode::SUCCESS);
        }
        note!("hairline: expected {CELLS} cells with at least {PASSES} pass and {REJECTS} reject, and {HOLDS} hold");
        Ok(ExitCode::FAILURE)
    }
}
