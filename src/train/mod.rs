//! Training: pictures with masks ([`Folder`], [`Simulated`]) → crops ([`CropPlan`], [`Augmentation`]),
//! prepared ahead by worker threads ([`Batches`]) → network and loss → [`Optimiser`] → checkpoints, judged
//! by [`evaluate()`] on whole tiles through the very engine that inspects on the line.
//!
//! A training lives in a [`RunFolder`], from which it can be resumed, and which explains it.

mod data;
mod error;
mod evaluate;
mod fit;
mod optimiser;
mod run;

pub use data::{
    Augmentation, Batch, Batches, Crop, CropPlan, Folder, Grouping, HeldBack, Kinds, Picture, Sampling, Set, Simulated, SimulatedSettings,
    Source, SplitPlan,
};
pub use error::TrainError;
pub use evaluate::{Evaluation, Histogram, Inspected, evaluate, inspect};
pub use fit::{BestBy, Files, FitSettings, Observer, Outcome, StepReport, fit};
pub use optimiser::{Decay, Optimiser, OptimiserSettings, Rule, Schedule};
pub use run::{Best, EventFile, Journal, RunFolder, TrainingState, write_beside};
