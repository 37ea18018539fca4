//! What a training leaves behind: its folder, its log, its state to go on from.

mod events;
mod journal;
mod log;
mod state;

pub use events::EventFile;
pub use journal::Journal;
pub use log::{Entry, Log, LoggedEvaluation, LoggedStep};
pub use state::{Best, TrainingState};

use super::{TrainError, write_beside};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The folder of one training.
///
/// | file | what |
/// |---|---|
/// | `settings.json` | everything the training was told; what `--resume` reads |
/// | `split.csv` | which picture is in which part, as `--split` reads it |
/// | `manifest.json` | the data: each file with digest, size, cracks and split |
/// | `log.jsonl` | every step and evaluation ([`Entry`]) |
/// | `events.out.tfevents.*` | the same for TensorBoard |
/// | `best.safetensors`, `last.safetensors` | checkpoints that the line can load |
/// | `checkpoints/` | one of every evaluation, if asked for |
/// | `state.safetensors` | weights and optimiser to go on from |
/// | `diverged.*` | the batch that ended it, if one did |
/// | `lock` | held by the process that trains |
/// | `result.json` | how it ended; there only when it is finished |
/// | `report.html` | all of it to look at |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    root: PathBuf,
}

/// The right to train in a run folder.
#[derive(Debug)]
pub struct RunLock {
    _held: File,
}

impl RunFolder {
    /// Makes a new run folder with its settings: beside first, then renamed, so that it is whole or not there.
    ///
    /// # Errors
    /// [`TrainError::Data`] where something is there already, [`TrainError::File`] where it cannot be written.
    pub fn create(root: &Path, settings: &serde_json::Value) -> Result<Self, TrainError> {
        if root.exists() {
            let problem = if root.join("settings.json").exists() {
                "holds a training already; continue it with --resume, or choose another folder"
            } else {
                "exists already and is no run folder; choose another name"
            };
            return Err(TrainError::Data { path: root.to_owned(), problem: problem.into() });
        }
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let beside = root.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let unwritable = "cannot make the run folder";
        std::fs::create_dir_all(&beside).map_err(TrainError::file(&beside, unwritable))?;
        let text = serde_json::to_string_pretty(settings).unwrap_or_default();
        let made = write_beside(&beside.join("settings.json"), text.as_bytes())
            .and_then(|()| std::fs::rename(&beside, root).map_err(TrainError::file(root, unwritable)));
        if made.is_err() {
            // The reason of the failure is told; a left-over that cannot be removed adds nothing to it.
            let _ = std::fs::remove_dir_all(&beside);
        }
        made.map(|()| Self { root: root.to_owned() })
    }

    /// A run folder that is there.
    ///
    /// # Errors
    /// [`TrainError::Data`] where it holds no training.
    pub fn open(root: &Path) -> Result<Self, TrainError> {
        let folder = Self { root: root.to_owned() };
        if !folder.path("settings.json").is_file() {
            let problem = "is no run folder (it has no settings.json); give one that `train fit --run` has made".to_owned();
            return Err(TrainError::Data { path: root.to_owned(), problem });
        }
        Ok(folder)
    }

    /// Keeps other processes from training in it, until dropped.
    ///
    /// # Errors
    /// [`TrainError::Data`] where one does, [`TrainError::File`] where that cannot be told.
    pub fn lock(&self) -> Result<RunLock, TrainError> {
        let path = self.path("lock");
        let file = File::create(&path).map_err(TrainError::file(&path, "cannot write it"))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _held: file }),
            Err(TryLockError::WouldBlock) => {
                let problem = "another process is training in this folder; wait for it, or stop it with Ctrl-C or `kill -INT`";
                Err(TrainError::Data { path: self.root.clone(), problem: problem.into() })
            }
            Err(TryLockError::Error(error)) => Err(TrainError::file(&path, "cannot lock it")(error)),
        }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its training has logged.
    ///
    /// # Errors
    /// [`TrainError::File`] where that cannot be read.
    pub fn log(&self) -> Result<Log, TrainError> {
        Log::read(&self.path("log.jsonl"))
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Reads one of its JSON files; `None` where it is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is not what this version writes.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TrainError> {
        let path = self.path(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::file(&path, "cannot read it")(error)),
        };
        let unfit =
            |error| TrainError::Data { path, problem: format!("cannot be understood ({error}); was it written by another version?") };
        serde_json::from_str(&text).map(Some).map_err(unfit)
    }

    /// Writes one of its JSON files, beside first, then renamed.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<(), TrainError> {
        let path = self.path(name);
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| TrainError::Data { path: path.clone(), problem: format!("cannot be written as JSON ({error})") })?;
        write_beside(&path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_is_made_whole_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("runs/first");
        let folder = RunFolder::create(&root, &serde_json::json!({ "seed": 3 })).unwrap();
        assert_eq!(folder.read_json::<serde_json::Value>("settings.json").unwrap().unwrap()["seed"], 3);
        assert_eq!(folder.read_json::<serde_json::Value>("result.json").unwrap(), None);
        let again = RunFolder::create(&root, &serde_json::json!({})).unwrap_err().to_string();
        assert!(again.contains("first") && again.contains("--resume"), "{again}");
        let left: Vec<_> = std::fs::read_dir(dir.path().join("runs")).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn one_training_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&dir.path().join("run"), &serde_json::json!({})).unwrap();
        let lock = folder.lock().unwrap();
        let second = folder.lock().unwrap_err().to_string();
        assert!(second.contains("another process is training") && second.contains("run"), "{second}");
        drop(lock);
        // A process that another test starts meanwhile has the file, lock and all, until it runs its program.
        let started = std::time::Instant::now();
        while folder.lock().is_err() {
            assert!(started.elapsed().as_secs() < 60, "the lock is not given back");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_no_run_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RunFolder::open(dir.path()).unwrap_err().to_string().contains("settings.json"));
    }
}
