use super::log::{Entry, lines};
use crate::train::{TrainError, write_beside};
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
        write_beside(path, text.as_bytes())?;
        let file = File::options().append(true).open(path).map_err(TrainError::file(path, UNWRITABLE))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(&Entry::Resume { step })?;
        Ok(journal)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn write(&mut self, entry: &Entry) -> Result<(), TrainError> {
        let line = serde_json::to_string(entry).map_err(std::io::Error::other);
        line.and_then(|line| writeln!(self.file, "{line}")).map_err(TrainError::file(&self.path, UNWRITABLE))
    }
}

const UNWRITABLE: &str = "cannot write the training log (is the disk full?)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::LoggedStep;
    use serde_json::json;

    #[test]
    fn a_resumed_log_tells_every_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let step =
            |step, loss| Entry::Step(LoggedStep { step, loss, learning_rate: 0.1, gradient_norm: 1.0, elapsed_s: 0.0, waited_s: 0.0 });
        let warning = |step, text: &str| Entry::Warning { step, text: text.to_owned() };
        let mut journal = Journal::start(&path, json!({ "seed": 1 })).unwrap();
        let entries = [step(1, 1.0), step(2, 1.0), step(3, 1.0), warning(2, "odd"), warning(3, "odd, and done again")];
        entries.iter().for_each(|entry| journal.write(entry).unwrap());
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"event\":\"st").unwrap();
        let mut journal = Journal::resume(&path, 2).unwrap();
        journal.write(&step(3, 2.0)).unwrap();
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
