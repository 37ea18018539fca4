//! Training: pictures with masks ([`Folder`], [`Simulated`]) → crops ([`CropPlan`], [`Augmentation`]),
//! prepared ahead by worker threads ([`Batches`]) → network and loss → [`Optimiser`] → checkpoints, judged
//! by [`evaluate()`] on whole tiles through the very engine that inspects on the line.
//!
//! A training lives in a [`RunFolder`], from which it can be resumed, and which explains it.

mod compare;
mod data;
mod error;
mod evaluate;
mod file;
mod fit;
mod optimiser;
mod paper;
mod report;
mod run;
mod search;

pub use compare::{Compared, comparison_tables};
pub use data::{
    Augmentation, Batch, Batches, Crop, CropPlan, Folder, Grouping, HeldBack, Kinds, Learnt, Picture, Sampling, Set, Simulated,
    SimulatedSettings, Source, SplitPlan, Squares, Stored, store_five_fold,
};
pub use error::TrainError;
pub use evaluate::{Evaluation, Inspected, evaluate, inspect};
pub use file::write_beside;
pub use fit::{BestBy, Files, FitSettings, Observer, Outcome, StepReport, fit};
pub use optimiser::{Decay, Optimiser, OptimiserSettings, Rule, Schedule};
pub use report::{Chart, Findings, Gallery, Scale, Series, Shown, pr_curve, write_evaluation, write_report};
pub use run::{Best, Entry, EventFile, Journal, Log, LoggedEvaluation, LoggedStep, RunFolder, TrainingState};
pub use search::{Goal, Guide, SearchRow, centroids, guide, most_trainings, search_table, trainings_table};
