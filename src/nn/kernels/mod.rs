//! The loops in which the network's time is spent: training on plain slices of `f32` in NCHW order, inference in `nhwc`.
//!
//! The only place with `unsafe`. Every result is a chain of operations in an order that depends on
//! the layer alone, so that maps are the same bit for bit whatever the batch, and all of it whatever the number of threads.
#![allow(unsafe_code)]

mod conv;
#[cfg(any(feature = "cudnn", test))]
pub(super) mod cuda;
mod fresh;
mod isa;
mod memory;
pub(super) mod nhwc;
mod norm;
mod panel;
mod peak;
mod picture;
mod pool;
mod scratch;
mod shared;
mod simd;
mod split;
mod strips;
#[cfg_attr(not(target_arch = "x86_64"), path = "tiled/absent.rs")]
mod tiled;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod upsample;
mod weight_gradient;
mod weights;
mod winograd;

pub(super) use conv::{convolved, convolved_apart};
pub(super) use isa::Isa;
pub use memory::keep_freed_memory;
pub(super) use norm::{Affine, Moments, Normalised, channel_gradients, moments, norm_relu, norm_relu_input_gradient};
pub(super) use peak::multiply_adds_a_second;
pub(super) use picture::{Channels, Pictures};
pub(super) use pool::{max_pool, max_pool_gradient, max_pool_indices, unpool, unpool_gradient};
pub(super) use split::Kernel;
pub(super) use upsample::{interleave, interleave_gradient, resize, resize_gradient};
pub(super) use weight_gradient::weight_gradient;
pub(super) use weights::{Weights, products_in_words};

/// Size of a batch of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dims {
    /// Pictures.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Lines.
    pub h: usize,
    /// Pixels in a line.
    pub w: usize,
}

impl Dims {
    /// Pixels of a plane.
    pub fn plane(self) -> usize {
        self.h * self.w
    }

    /// All values.
    pub fn len(self) -> usize {
        self.n * self.c * self.h * self.w
    }

    /// The same pictures with another number of channels.
    pub fn with_channels(self, c: usize) -> Self {
        Self { c, ..self }
    }
}
