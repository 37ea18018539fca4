//! The segmentation network: its operators, its checkpoints, and the engine that runs it.
//!
//! [`Network`] can be trained; [`engine()`] compiles a [`Checkpoint`] for inspection.

mod checkpoint;
mod engine;
mod error;
mod import;
mod kernels;
mod layout;
mod network;
mod normalisation;
mod ops;
mod seal;
mod shape;

pub use checkpoint::{Checkpoint, CheckpointMeta, Quantisation, first_not_finite};
pub use engine::{
    BlockCost, Calibration, Engine, Probabilities, Roofline, cuda_device, engine, keep_off, limit_instructions, ranges, unable, unsuited,
};
pub use error::NnError;
pub use kernels::keep_freed_memory;
pub use network::{Mode, Network, trained_in};
pub use normalisation::{Normalisation, mirror_outside};
pub use shape::{Architecture, NetworkShape, Upsampling};

/// What a training on CUDA does beside the network.
#[cfg(any(feature = "cudnn", test))]
pub(crate) mod learning {
    #[cfg(test)]
    pub(crate) use super::kernels::cuda::on_host::Learning;
    pub(crate) use super::kernels::cuda::{Descent, LOSS_SUMS, LossForm, LossTerm};
    #[cfg(feature = "cudnn")]
    pub(crate) use super::kernels::cuda::{descend, loss_gradient, loss_sums, squared_norm, takes};
}
