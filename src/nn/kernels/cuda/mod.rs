//! CUDA: cuDNN called directly, and kernels of our own for what it lacks.

#[cfg(feature = "cudnn")]
mod fault;
#[cfg(feature = "cudnn")]
mod gpu;
#[cfg(feature = "cudnn")]
mod memory;
#[cfg(test)]
pub(in crate::nn) mod on_host;
#[cfg(feature = "cudnn")]
pub(in crate::nn) mod training;

#[cfg(feature = "cudnn")]
pub(in crate::nn) use fault::CudaFault;
#[cfg(feature = "cudnn")]
pub(in crate::nn) use gpu::{Filter, Gpu, Graph};
#[cfg(feature = "cudnn")]
pub(in crate::nn) use memory::{Maps, Memory, Pinned};

/// Compiled at run time, by NVRTC.
#[cfg(any(feature = "cudnn", test))]
const SOURCE: &str = include_str!("kernels.cu");
