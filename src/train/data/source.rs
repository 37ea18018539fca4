use super::Picture;
use crate::train::TrainError;

/// Which part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Learnt from.
    Training,
    /// Never learnt from.
    Validation,
}

/// Where pictures with known cracks come from. Everything is a function of its arguments and of the
/// source's own seed, so that training can be repeated.
pub trait Source: Send + Sync {
    /// The picture that crops number `draw` are cut from.
    ///
    /// # Errors
    /// A picture that cannot be read any more.
    fn training(&self, draw: u64) -> Result<Picture, TrainError>;

    /// Validation picture `index`, below [`validation_count`](Self::validation_count).
    ///
    /// # Errors
    /// A picture that cannot be read any more.
    fn validation(&self, index: usize) -> Result<Picture, TrainError>;

    /// Number of validation pictures.
    fn validation_count(&self) -> usize;

    /// Number of training pictures, where there is an end of them.
    fn training_count(&self) -> Option<usize> {
        None
    }

    /// Share of [`training`](Self::training)'s pictures that are cracked, 0 to 1, so that crops can be
    /// chosen to show a crack half of the time.
    fn cracked_share(&self) -> f64;

    /// SHA-256 over the data, in hex.
    ///
    /// # Errors
    /// A picture that cannot be read any more.
    fn digest(&self) -> Result<String, TrainError>;

    /// What the data are, for the checkpoint's training summary.
    fn summary(&self) -> serde_json::Value;

    /// Everything that is known about each picture, for the run folder's `manifest.json`.
    fn manifest(&self) -> serde_json::Value {
        self.summary()
    }

    /// The split as lines of `picture,part`, where there are files.
    fn split_csv(&self) -> Option<String> {
        None
    }
}
