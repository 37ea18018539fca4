//! Ways back of our own for training.
//!
//! Candle's goes from tensor to tensor: it zeroes every gradient, adds to it and copies what is joined or split. Maps of a network
//! are large, and the memory is what a step of training waits for.

#[cfg(any(feature = "cudnn", test))]
mod device;
#[cfg(test)]
mod device_tests;
mod host;

use super::norm::BatchNorm;
use crate::config::Precision;
use candle_core::{Device, Result, Tensor, Var};

/// A map of a [`Tape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct MapId(usize);

/// Gradients by variable.
pub(in crate::nn) type Gradients = Vec<(Var, Tensor)>;

/// A network's way forward, for its way back.
pub(in crate::nn) trait Tape {
    /// The pictures that a network is shown; they get no gradient.
    fn pictures(&mut self, x: &Tensor) -> Result<MapId>;

    /// Convolution of the channels of one or two maps, batch norm by the batch's statistics, ReLU; brings the running
    /// statistics up to date.
    fn conv_norm_relu(&mut self, from: &[MapId], weight: &Var, dilation: usize, norm: &BatchNorm) -> Result<MapId>;

    /// Convolution with a bias, always in `f32`.
    fn conv_bias(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId>;

    /// Transposed convolution with `[i, o, 2, 2]`, stride 2: a 1×1 convolution to four planes for each output, which are
    /// then put in their places.
    fn conv_transposed(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId>;

    /// Maximum of 2×2 squares.
    fn max_pool(&mut self, from: MapId) -> Result<MapId>;

    /// Twice the size by bilinear interpolation, corners aligned.
    fn upsample_bilinear(&mut self, from: MapId) -> Result<MapId>;

    /// A map's values.
    ///
    /// # Errors
    /// One that is still to be normalised.
    fn tensor(&self, map: MapId) -> Result<Tensor>;

    /// Gradients of all variables, of which a network uses each once, from that of a map.
    fn backward(self: Box<Self>, map: MapId, gradient: &Tensor) -> Result<Gradients>;
}

/// An empty tape for networks whose maps have a multiple of `channels` channels; `None` where candle's way has to do.
#[cfg_attr(not(feature = "cudnn"), expect(unused_variables, reason = "only tapes of devices ask for so many channels"))]
pub(in crate::nn) fn tape(device: &Device, precision: Precision, channels: usize) -> Option<Box<dyn Tape>> {
    match device {
        Device::Cpu => Some(Box::new(host::HostTape::new(precision))),
        #[cfg(feature = "cudnn")]
        Device::Cuda(device) if precision == Precision::Bf16 && channels.is_multiple_of(crate::nn::kernels::cuda::LANES) => {
            let machine = crate::nn::kernels::cuda::CudaMachine::new(device)?;
            Some(Box::new(device::DeviceTape::new(machine)))
        }
        _ => None,
    }
}
