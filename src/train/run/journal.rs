use super::log::{Entry, LoggedEvaluation, LoggedStep, lines};
use crate::measure::Counts;
use crate::train::{Evaluation, Outcome, StepReport, TrainError};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes the log of a training: one JSON object a line, an [`Entry`].
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
        journal.write(&Entry::Start { settings })?;
        Ok(journal)
    }

    /// Goes on with a log after `step`; what was logged of later steps, which are done again, is taken out.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self, TrainError> {
        let kept = lines(path)?.into_iter().filter(|(_, entry)| !entry.is_after(step));
        let text: String = kept.map(|(line, _)| line + "\n").collect();
        super::write_beside(path, text.as_bytes())?;
        let file = File::options().append(true).open(path).map_err(TrainError::file(path, UNWRITABLE))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(&Entry::Resume { step })?;
        Ok(journal)
    }

    /// One step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let StepReport { step, loss, learning_rate, gradient_norm, elapsed, waited, .. } = *report;
        let (elapsed_s, waited_s) = (elapsed.as_secs_f64(), waited.as_secs_f64());
        self.write(&Entry::Step(LoggedStep { step, loss, learning_rate, gradient_norm, elapsed_s, waited_s }))
    }

    /// One evaluation.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn evaluation(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError> {
        let Counts { tp, fp, fn_, .. } = *counts;
        let Evaluation { means, cracked, detected, clean, alarmed, .. } = evaluation;
        self.write(&Entry::Evaluation(LoggedEvaluation {
            step,
            iou: counts.iou(),
            pa: counts.pa(),
            oii: counts.oii(),
            mean_iou: Some(means.iou()),
            tp,
            fp,
            fn_,
            best,
            cracked: *cracked,
            detected: *detected,
            clean: *clean,
            alarmed: *alarmed,
        }))
    }

    /// What the user should know, as it was found at a step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn warning(&mut self, step: u64, text: &str) -> Result<(), TrainError> {
        self.write(&Entry::Warning { step, text: text.to_owned() })
    }

    /// How it ended.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn end(&mut self, outcome: &Outcome) -> Result<(), TrainError> {
        let Outcome { steps, elapsed, waited, stopped, .. } = *outcome;
        self.write(&Entry::End { steps, elapsed_s: elapsed.as_secs_f64(), waited_s: waited.as_secs_f64(), stopped })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), TrainError> {
        let line = serde_json::to_string(entry).map_err(std::io::Error::other);
        line.and_then(|line| writeln!(self.file, "{line}")).map_err(TrainError::file(&self.path, UNWRITABLE))
    }
}

const UNWRITABLE: &str = "cannot write the training log (is the disk full?)";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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
        let told: Vec<(String, Option<u64>)> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| {
                let entry: Value = serde_json::from_str(line).unwrap();
                (entry["event"].as_str().unwrap().to_owned(), entry["step"].as_u64())
            })
            .collect();
        let want = [("start", None), ("step", Some(1)), ("step", Some(2)), ("warning", Some(2)), ("resume", Some(2)), ("step", Some(3))];
        assert_eq!(told, want.map(|(event, step)| (event.to_owned(), step)));
    }
}
