//! The network's operators on tensors, each with its gradient.
//!
//! On the CPU they are operators of our own ([`super::kernels`]): candle's are slow, and the gradients of its
//! pooling and its upsampling are wrong or missing. On other devices they are put together from those of
//! candle's operators whose gradients are right ([`portable`]).

mod conv;
mod norm;
mod portable;
mod resize;

use super::kernels::Dims;
use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor};

pub(super) use norm::{BatchNorm, EPSILON};

/// Convolution of `[n, i, h, w]` with `[o, i, k, k]`, stride 1, padding `k / 2`; `k` is 1 or 3.
pub(super) fn conv(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::conv(x, weight);
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, conv::Convolution)
}

/// Batch norm and ReLU.
pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::norm_relu(x, norm, train);
    }
    norm::norm_relu(&x.contiguous()?, norm, train)
}

/// Maximum of 2×2 squares, stride 2; sides must be even.
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::max_pool(x);
    }
    x.contiguous()?.apply_op1(resize::MaxPool)
}

/// Twice the size by bilinear interpolation, corners aligned.
pub(super) fn upsample_bilinear(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::upsample_bilinear(x);
    }
    x.contiguous()?.apply_op1(resize::Bilinear)
}

/// Transposed convolution of `[n, i, h, w]` with `[i, o, 2, 2]`, stride 2.
///
/// No output pixel gets more than one input pixel, so that this is a 1×1 convolution to the four pixels of each
/// square, which are then put in their places.
pub(super) fn conv_transposed(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::conv_transposed(x, weight, bias);
    }
    let (inputs, outputs, _, _) = weight.dims4()?;
    let flat = weight.reshape((inputs, outputs * 4))?.t()?.contiguous()?.reshape((outputs * 4, inputs, 1, 1))?;
    conv(x, &flat)?.apply_op2(bias, resize::Interleave)
}

/// Adds a value to each channel.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)
}

/// Size of a 4-dimensional layout.
fn dims_of(layout: &Layout) -> Result<Dims> {
    let (n, c, h, w) = layout.shape().dims4()?;
    Ok(Dims { n, c, h, w })
}

/// Size of a 4-dimensional tensor.
fn dims(t: &Tensor) -> Result<Dims> {
    dims_of(t.layout())
}

/// The values of a contiguous `f32` storage.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [f32]> {
    let slice = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => slice.get(start..end).ok_or_else(|| Error::Msg(format!("{op}: layout beyond its storage"))),
        None => Err(Error::Msg(format!("{op}: argument is not contiguous"))),
    }
}

/// Lends the values of contiguous `f32` tensors on the CPU.
fn with_values<const N: usize, R>(tensors: [&Tensor; N], op: &str, work: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let guards = tensors.map(|t| t.storage_and_layout());
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slot, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slot = match &**storage {
            Storage::Cpu(storage) => values(storage, layout, op)?,
            _ => return Err(Error::Msg(format!("{op}: argument is not on the CPU"))),
        };
    }
    Ok(work(slices))
}

#[cfg(test)]
mod tests;
