//! Training: pictures with masks ([`Folder`], [`Simulated`]) → crops ([`CropPlan`], [`Augmentation`]),
//! prepared ahead by worker threads ([`Batches`]) → network and loss → [`Sgd`] → checkpoints, judged
//! by [`evaluate()`] on whole tiles through the very engine that inspects on the line.

mod augment;
mod batches;
mod crop;
mod error;
mod evaluate;
mod fit;
mod folder;
mod journal;
mod picture;
mod sgd;
mod simulated;
mod source;
#[cfg(test)]
mod tests;

pub use augment::Augmentation;
pub use batches::{Batch, Batches};
pub use crop::{Crop, CropPlan};
pub use error::TrainError;
pub use evaluate::{Evaluation, Inspected, evaluate, inspect};
pub use fit::{FitSettings, Observer, Outcome, StepReport, fit, last_path};
pub use folder::Folder;
pub use journal::Journal;
pub use picture::Picture;
pub use sgd::{Schedule, Sgd, SgdSettings};
pub use simulated::{Kinds, Simulated, SimulatedSettings};
pub use source::{Set, Source};
