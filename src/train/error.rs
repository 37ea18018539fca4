use crate::picture_file::PictureFileError;
use std::path::PathBuf;

/// Why training cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file or folder could not be read or written.
    #[error("{}: {doing}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A picture's or mask's file cannot be read or decoded.
    #[error(transparent)]
    PictureFile(#[from] PictureFileError),
    /// A picture has no mask.
    #[error("{}: no mask for this picture; expected {} (or .jpg); an empty mask says that nothing is cracked", picture.display(), expected.display())]
    MissingMask {
        /// The picture.
        picture: PathBuf,
        /// Where its mask should be.
        expected: PathBuf,
    },
    /// Picture and mask differ in size.
    #[error("{}: the mask is {}x{} px, its picture {}x{} px; save the mask in the picture's size", mask.display(), found.0, found.1, expected.0, expected.1)]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// Its width and height.
        found: (u32, u32),
        /// The picture's.
        expected: (u32, u32),
    },
    /// Several files have faults.
    #[error("{} files have faults:{}", .0.len(), .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Several(Vec<TrainError>),
    /// The data cannot be trained on.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The folder or picture.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A setting makes no sense.
    #[error("{name}: {problem}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Several settings make no sense.
    #[error("{} settings make no sense:{}", .0.len(), .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Settings(Vec<TrainError>),
    /// It was asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// A number of the training is none any more, or infinite.
    #[error(
        "{what} at step {step} (learning rate {learning_rate:.2e}, gradient norm {gradient_norm:.2e}); \
         nothing was saved after it{}: lower --learning-rate, or continue from the last checkpoint with --init",
        batch.as_ref().map(|path| format!(" but the batch that did it, {}", path.display())).unwrap_or_default()
    )]
    Diverged {
        /// What has left all bounds.
        what: String,
        /// The step, from 1.
        step: u64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The gradient's norm in the last step that moved the weights; 0 where there was none.
        gradient_norm: f64,
        /// Where the batch was written, in a run folder.
        batch: Option<PathBuf>,
    },
    /// The network answers with something that is no number.
    #[error(
        "{picture}: the network's answer is not a number; go back to an earlier checkpoint, or, with `--precision f16`, which ends at 65504, \
         take bf16"
    )]
    NoNumber {
        /// The picture that it was shown.
        picture: String,
    },
    /// A worker thread ended without a word.
    #[error("the thread {0} that prepares training crops ended unexpectedly; see the message above it")]
    Worker(String),
    /// The loss's numbers.
    #[error(transparent)]
    Loss(#[from] crate::loss::LossError),
    /// The network or its checkpoint.
    #[error(transparent)]
    Network(#[from] crate::nn::NnError),
    /// The tensor library failed.
    #[error("tensors: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl TrainError {
    /// Whether the weights are of no use any more.
    pub fn is_divergence(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::NoNumber { .. })
    }

    /// Wraps what the system said about `path`.
    pub(super) fn file(path: &std::path::Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |reason| Self::File { path: path.to_owned(), doing, reason }
    }
}
