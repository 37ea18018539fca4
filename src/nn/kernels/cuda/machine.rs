//! What a tape asks of a device.

use super::map_operator::MapOperator;
use crate::nn::kernels::Dims;
use candle_core::{Result, Tensor};

/// A convolution that keeps the size: of maps of `size` with `[outputs, side, side, size.c]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct ConvolutionSize {
    pub size: Dims,
    pub outputs: usize,
    pub side: usize,
}

/// What a tape in a device's memory is worked with.
pub(in crate::nn) trait Machine {
    /// Numbers in its memory.
    type Memory;

    /// What the operator makes of its arguments.
    ///
    /// # Errors
    /// Arguments of another size, maps that are too large, or a device that fails.
    fn computed(&self, operator: MapOperator, size: Dims, arguments: &[&Self::Memory]) -> Result<Self::Memory>;

    /// The convolved maps.
    fn convolved(&self, maps: &Self::Memory, filter: &Self::Memory, of: ConvolutionSize) -> Result<Self::Memory>;

    /// Gradient of maps whose results have this gradient.
    fn map_gradient(&self, filter: &Self::Memory, gradient: &Self::Memory, of: ConvolutionSize) -> Result<Self::Memory>;

    /// Gradient of the filter.
    fn filter_gradient(&self, maps: &Self::Memory, gradient: &Self::Memory, of: ConvolutionSize) -> Result<Self::Memory>;

    /// `f32` of candle's as they lie.
    fn memory(&self, tensor: &Tensor) -> Result<Self::Memory>;

    /// `f32` for candle.
    fn tensor(&self, memory: &Self::Memory, shape: &[usize]) -> Result<Tensor>;
}
