use crate::measure::Counts;
use crate::train::{Evaluation, Outcome, StepReport, TrainError};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The log of a training: one JSON object a line, told apart by `event` (`start`, `resume`, `step`,
/// `evaluation`, `warning`, `end`).
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
        let file = File::create(path).map_err(TrainError::file(path, UNWRITABLE))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(json!({ "event": "start", "settings": settings }))?;
        Ok(journal)
    }

    /// Goes on with a log after `step`; what was logged of later steps, which are done again, is taken out.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self, TrainError> {
        let entries = Self::read(path)?;
        let kept = entries.iter().filter(|e| e["event"] != "end" && e["step"].as_u64().is_none_or(|s| s <= step));
        let text: String = kept.map(|entry| format!("{entry}\n")).collect();
        super::write_beside(path, text.as_bytes())?;
        let file = File::options().append(true).open(path).map_err(TrainError::file(path, UNWRITABLE))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(json!({ "event": "resume", "step": step }))?;
        Ok(journal)
    }

    /// All entries of a log; a last line that was cut off by a power failure is left out.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be read.
    pub fn read(path: &Path) -> Result<Vec<Value>, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::file(path, "cannot read the training log"))?;
        Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
    }

    /// One step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.write(json!({
            "event": "step", "step": report.step, "loss": report.loss, "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm, "elapsed_s": report.elapsed.as_secs_f64(), "waited_s": report.waited.as_secs_f64(),
        }))
    }

    /// One evaluation.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn evaluation(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError> {
        self.write(json!({
            "event": "evaluation", "step": step, "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
            "mean_iou": evaluation.means.iou(), "tp": counts.tp, "fp": counts.fp, "fn": counts.fn_, "best": best, "cracked": evaluation.cracked,
            "detected": evaluation.detected, "clean": evaluation.clean, "alarmed": evaluation.alarmed,
        }))
    }

    /// What the user should know, as it was found at a step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn warning(&mut self, step: u64, text: &str) -> Result<(), TrainError> {
        self.write(json!({ "event": "warning", "step": step, "text": text }))
    }

    /// How it ended.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn end(&mut self, outcome: &Outcome) -> Result<(), TrainError> {
        let Outcome { steps, elapsed, waited, stopped, .. } = outcome;
        self.write(json!({
            "event": "end", "steps": steps, "elapsed_s": elapsed.as_secs_f64(), "waited_s": waited.as_secs_f64(), "stopped": stopped,
        }))
    }

    fn write(&mut self, line: Value) -> Result<(), TrainError> {
        writeln!(self.file, "{line}").map_err(TrainError::file(&self.path, UNWRITABLE))
    }
}

const UNWRITABLE: &str = "cannot write the training log (is the disk full?)";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_resumed_log_tells_every_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let report = |step, loss| StepReport {
            step,
            progress: 0.1,
            loss,
            learning_rate: 0.1,
            gradient_norm: 1.0,
            elapsed: Duration::ZERO,
            waited: Duration::ZERO,
        };
        let mut journal = Journal::start(&path, json!({ "seed": 1 })).unwrap();
        (1..=3).for_each(|step| journal.step(&report(step, 1.0)).unwrap());
        journal.warning(2, "odd").unwrap();
        journal.warning(3, "odd, and done again").unwrap();
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"event\":\"st").unwrap();
        let mut journal = Journal::resume(&path, 2).unwrap();
        journal.step(&report(3, 2.0)).unwrap();
        let told: Vec<(String, Option<u64>)> =
            Journal::read(&path).unwrap().iter().map(|e| (e["event"].as_str().unwrap().to_owned(), e["step"].as_u64())).collect();
        let want = [("start", None), ("step", Some(1)), ("step", Some(2)), ("warning", Some(2)), ("resume", Some(2)), ("step", Some(3))];
        assert_eq!(told, want.map(|(event, step)| (event.to_owned(), step)));
    }
}
