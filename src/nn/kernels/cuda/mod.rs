//! CUDA: cuDNN called directly, and kernels of our own for what it lacks.

#[cfg(feature = "cudnn")]
mod argument;
#[cfg(feature = "cudnn")]
mod cuda_machine;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cudnn")]
mod fault;
#[cfg(feature = "cudnn")]
mod gpu;
#[cfg(feature = "cudnn")]
mod launch;
mod learning;
#[cfg(feature = "cudnn")]
mod learning_launch;
mod machine;
mod map_operator;
#[cfg(feature = "cudnn")]
mod memory;
#[cfg(feature = "cudnn")]
mod number;
#[cfg(test)]
pub(in crate::nn) mod on_host;
mod operator;
#[cfg(feature = "cudnn")]
pub(in crate::nn) mod training;

#[cfg(feature = "cudnn")]
pub(in crate::nn) use argument::OnCuda;
#[cfg(feature = "cudnn")]
pub(in crate::nn) use cuda_machine::CudaMachine;
#[cfg(feature = "cuda")]
pub(in crate::nn) use device::{hand_back, opened};
#[cfg(feature = "cudnn")]
pub(in crate::nn) use fault::CudaFault;
#[cfg(feature = "cudnn")]
pub(in crate::nn) use gpu::{Filter, Gpu, Graph};
#[cfg(feature = "cudnn")]
pub(in crate::nn) use launch::{computed, ready};
pub(crate) use learning::{Descent, LOSS_SUMS, LossForm, LossTerm};
#[cfg(feature = "cudnn")]
pub(crate) use learning_launch::{descend, loss_gradient, loss_sums, squared_norm, takes};
pub(in crate::nn) use machine::{ConvolutionSize, Machine};
pub(in crate::nn) use map_operator::{FilterLayout, GRADIENT_ROWS, LANES, MapOperator, NORM_ROWS, View};
#[cfg(feature = "cudnn")]
pub(in crate::nn) use memory::{Maps, Memory, Pinned};
#[cfg(feature = "cudnn")]
pub(in crate::nn) use number::Number;
pub(in crate::nn) use operator::Operator;

/// Compiled at run time, by NVRTC.
const INFERENCE: &str = concat!(include_str!("common.cu"), include_str!("sixteen.cu"), include_str!("inference.cu"));
/// What makes [`INFERENCE`] compute in IEEE's halves instead of brain floats.
#[cfg(any(feature = "cudnn", test))]
const HALVES: &[&str] = &["-DHALF"];
/// As [`INFERENCE`].
const OPERATORS: &str = concat!(include_str!("common.cu"), include_str!("operators.cu"));
/// As [`INFERENCE`].
const MAPS: &str = concat!(include_str!("common.cu"), include_str!("sixteen.cu"), include_str!("maps.cu"), include_str!("norm.cu"));
/// As [`INFERENCE`].
const LEARNING: &str = concat!(include_str!("common.cu"), include_str!("learning.cu"));

/// As kernels count: in 31 bits, with room for one step beyond the last item. `None` for more.
fn counted(values: usize) -> Option<u32> {
    i32::try_from(values).ok().map(|values| values as u32)
}
