use super::{Evaluation, StepReport, TrainError};
use crate::measure::Counts;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The log of a training: one JSON object a line, told apart by `event` (`start`, `step`, `evaluation`, `end`).
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Starts a new log at `path` with what the training was told.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn start(path: &Path, settings: Value) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(TrainError::file(path, "cannot write the training log"))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(json!({ "event": "start", "settings": settings }))?;
        Ok(journal)
    }

    /// One step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.write(json!({
            "event": "step", "step": report.step, "loss": report.loss, "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm, "elapsed_s": report.elapsed.as_secs_f64(),
        }))
    }

    /// One evaluation.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn evaluation(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError> {
        self.write(json!({
            "event": "evaluation", "step": step, "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
            "tp": counts.tp, "fp": counts.fp, "fn": counts.fn_, "best": best, "cracked": evaluation.cracked,
            "detected": evaluation.detected, "clean": evaluation.clean, "alarmed": evaluation.alarmed,
        }))
    }

    /// How it ended.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn end(&mut self, steps: u64, elapsed_s: f64, stopped: bool) -> Result<(), TrainError> {
        self.write(json!({ "event": "end", "steps": steps, "elapsed_s": elapsed_s, "stopped": stopped }))
    }

    fn write(&mut self, line: Value) -> Result<(), TrainError> {
        writeln!(self.file, "{line}").map_err(TrainError::file(&self.path, "cannot write the training log"))
    }
}
