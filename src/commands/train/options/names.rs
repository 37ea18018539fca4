//! Words that options take.

use serde::{Deserialize, Serialize};

/// What `--schedule` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // told by the option
pub enum DecayName {
    Poly,
    Cosine,
    Step,
    Constant,
}

/// What `--augment` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AugmentName {
    /// As a camera and a lamp may vary them
    Camera,
    /// The paper's set: original, flip, contrast, brightness, saturation (the original again)
    FiveFold,
    /// Not at all
    None,
}

/// What `--optimiser` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleName {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// Adam with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
}
