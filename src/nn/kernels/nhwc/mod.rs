//! Inference: convolutions as matrix products on activations in NHWC order.

#[cfg(target_arch = "x86_64")]
mod amx;
mod arrangement;
mod between;
mod block;
mod buffer;
#[cfg(target_arch = "x86_64")]
mod dot;
#[cfg(target_arch = "x86_64")]
mod dot_bytes;
mod filter;
mod fma;
mod format;
mod layer;
mod layers;
mod map;
mod multiply;
mod product;
mod resize;
#[cfg(test)]
mod tests;
mod turns;
mod winograd;

pub(in crate::nn) use between::{average, head, interpolate, pool_with_places, unpool};
pub(in crate::nn) use block::{Block, Logits, Sinks, Source};
pub(in crate::nn) use buffer::Buffer;
pub(in crate::nn) use filter::{Method, Work};
pub(in crate::nn) use format::{Brain, Byte, Single, Split};
pub(in crate::nn) use layer::{Layer, Shape};
pub(in crate::nn) use layers::{Convolution, Raising};
pub(in crate::nn) use map::Map;
pub(in crate::nn) use multiply::Multiply;
