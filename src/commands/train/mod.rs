//! The commands of `train`.

pub mod augment;
pub mod compare;
pub mod eval;
pub mod fit;
pub mod import;
mod interrupt;
mod learnt;
mod machine;
mod options;
pub mod pictures;
pub mod promote;
pub mod quantise;
pub mod search;
pub mod synth;
pub mod trials;
mod watch;
