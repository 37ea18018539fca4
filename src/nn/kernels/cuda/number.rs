//! What maps and weights are made of.

use super::HALVES;
use crate::config::Precision;
use candle_core::cuda_backend::cudarc::cudnn::CudnnDataType;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use half::{bf16, f16};

/// A number of 16 bits, which devices multiply and add up in `f32`.
pub(in crate::nn) trait Number: CudnnDataType + DeviceRepr + ValidAsZeroBits + Copy + Send + 'static {
    const PRECISION: Precision;
    /// What `inference.cu` is compiled with.
    const OPTIONS: &'static [&'static str];
    /// Whether a network's maps may leave its range, so that they must be looked through.
    const OVERFLOWS: bool;
    const ZERO: Self;
    const ONE: Self;

    /// The nearest one.
    fn rounded(value: f32) -> Self;
}

impl Number for bf16 {
    const PRECISION: Precision = Precision::Bf16;
    const OPTIONS: &'static [&'static str] = &[];
    const OVERFLOWS: bool = false;
    const ZERO: Self = Self::ZERO;
    const ONE: Self = Self::ONE;

    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Number for f16 {
    const PRECISION: Precision = Precision::F16;
    const OPTIONS: &'static [&'static str] = HALVES;
    const OVERFLOWS: bool = true;
    const ZERO: Self = Self::ZERO;
    const ONE: Self = Self::ONE;

    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }
}
