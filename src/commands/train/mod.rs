//! The commands of `train`.

pub mod eval;
pub mod fit;
mod interrupt;
pub mod options;
pub mod synth;
mod watch;
