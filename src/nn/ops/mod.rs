//! The network's operators on tensors, each with its gradient.
//!
//! On the CPU they are operators of our own ([`super::kernels`]): candle's are slow, and the gradients of its
//! pooling and its upsampling are wrong or missing. On other devices they are put together from those of
//! candle's operators whose gradients are right ([`portable`]); on CUDA convolutions are cuDNN's, there and back, and norm,
//! pooling and interpolation kernels of our own (`on_cuda`).

mod block;
mod conv;
mod norm;
#[cfg(feature = "cudnn")]
mod on_cuda;
mod pool;
mod portable;
mod resize;
mod tape;

use super::kernels::Dims;
use crate::config::Precision;
use candle_core::{CpuStorage, DType, Device, Error, Layout, Result, Storage, Tensor};
use rayon::prelude::*;

pub(super) use conv::Convolution;
pub(super) use norm::{BatchNorm, EPSILON};
pub(super) use tape::{MapId, Tape, tape};

/// Convolution of `[n, i, h, w]` with `[o, i, k, k]` that keeps the size: stride 1, padded with zeros; `k` is 1 or 3,
/// its taps `dilation` pixels apart.
pub(super) fn conv(x: &Tensor, weight: &Tensor, dilation: usize) -> Result<Tensor> {
    convolve(x, weight, Convolution { dilation, precision: Precision::F32 })
}

/// Channels from which on bf16 is worth turning maps into it: the first layer reads a picture's values as they are.
const BF16_CHANNELS: usize = 8;

/// As [`conv`]. Its products are of that precision on the CPU where it has AMX, else exact; on CUDA, where cuDNN is, those of
/// `f32-grade` are of TF32, and those of bf16 of maps and weights turned into it, as are their gradients: what is kept, normed
/// and updated stays `f32`.
fn convolve(x: &Tensor, weight: &Tensor, convolution: Convolution) -> Result<Tensor> {
    let (outputs, inputs, _, _) = weight.dims4()?;
    let in_bf16 = convolution.precision == Precision::Bf16 && x.dtype() == DType::F32 && inputs.min(outputs) >= BF16_CHANNELS;
    if in_bf16 && x.device().is_cuda() && cfg!(feature = "cudnn") {
        return convolve(&x.to_dtype(DType::BF16)?, &weight.to_dtype(DType::BF16)?, convolution)?.to_dtype(DType::F32);
    }
    let dilation = convolution.dilation;
    if dilation == 0 {
        candle_core::bail!("convolution: a dilation of 0, expected at least 1");
    }
    if !has_own_convolution(x) {
        return portable::conv(x, weight, dilation);
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, convolution)
}

/// Batch norm and ReLU.
pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if x.device().is_cuda() && has_own_operators(x) {
        return on_cuda::norm_relu(&x.contiguous()?, norm, train);
    }
    if !x.device().is_cpu() {
        return portable::norm_relu(x, norm, train);
    }
    norm::norm_relu(&x.contiguous()?, norm, train)
}

/// Convolution, with products of its precision as far as this processor has them, batch norm and ReLU; to `train`, by the
/// batch's statistics.
pub(super) fn conv_norm_relu(x: &Tensor, weight: &Tensor, convolution: Convolution, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    if train && x.device().is_cpu() {
        return block::conv_norm_relu(&x.contiguous()?, &weight.contiguous()?, convolution, norm);
    }
    norm_relu(&convolve(x, weight, convolution)?, norm, train)
}

/// Maximum of 2×2 squares, stride 2; sides must be even.
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    if !has_own_operators(x) {
        return portable::max_pool(x);
    }
    x.contiguous()?.apply_op1(pool::MaxPool)
}

/// Place of the first maximum of each 2×2 square (`u8`: 0 and 1 above, 2 and 3 below), for [`unpool`]; sides must
/// be even. Has no gradient.
pub(super) fn max_pool_indices(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::max_pool_indices(x);
    }
    x.contiguous()?.apply_op1_no_bwd(&pool::MaxPoolIndices)
}

/// Twice the size, each value in the place that `indices` (as [`max_pool_indices`] gives them) name and zeros
/// around it.
pub(super) fn unpool(x: &Tensor, indices: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return portable::unpool(x, indices);
    }
    x.contiguous()?.apply_op2(indices, pool::Unpool)
}

/// Means over `bins × bins` parts of the picture, which overlap by a pixel where `bins` does not divide its size:
/// part `i` of `n` pixels reaches from `⌊i n / bins⌋` to `⌈(i + 1) n / bins⌉`.
pub(super) fn average_pool(x: &Tensor, bins: usize) -> Result<Tensor> {
    portable::average_pool(x, bins)
}

/// Bilinear interpolation to `h × w`, corners aligned.
pub(super) fn resize_bilinear(x: &Tensor, h: usize, w: usize) -> Result<Tensor> {
    if !has_own_operators(x) {
        return portable::resize_bilinear(x, h, w);
    }
    x.contiguous()?.apply_op1(resize::Bilinear { h, w })
}

/// Twice the size by bilinear interpolation, corners aligned.
pub(super) fn upsample_bilinear(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    resize_bilinear(x, 2 * h, 2 * w)
}

/// Transposed convolution of `[n, i, h, w]` with `[i, o, 2, 2]`, stride 2.
///
/// No output pixel gets more than one input pixel, so that this is a 1×1 convolution to the four pixels of each
/// square, which are then put in their places.
pub(super) fn conv_transposed(x: &Tensor, weight: &Tensor, bias: &Tensor, precision: Precision) -> Result<Tensor> {
    if !has_own_convolution(x) {
        return portable::conv_transposed(x, weight, bias);
    }
    let (inputs, outputs, _, _) = weight.dims4()?;
    let flat = weight.reshape((inputs, outputs * 4))?.t()?.contiguous()?.reshape((outputs * 4, inputs, 1, 1))?;
    let squares = convolve(x, &flat, Convolution { dilation: 1, precision })?;
    if x.device().is_cpu() { squares.apply_op2(bias, resize::Interleave) } else { portable::interleave(&squares, bias) }
}

/// Whether convolutions of `x` are not candle's: on the CPU, and in `f32` or bf16 where cuDNN is.
fn has_own_convolution(x: &Tensor) -> bool {
    x.device().is_cpu() || cfg!(feature = "cudnn") && x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// Whether norm, pooling and interpolation of `x` are not candle's: on the CPU, and in `f32` on CUDA where our kernels can be had.
fn has_own_operators(x: &Tensor) -> bool {
    #[cfg(feature = "cudnn")]
    if let Device::Cuda(device) = x.device() {
        return x.dtype() == DType::F32 && crate::nn::kernels::cuda::ready(device);
    }
    x.device().is_cpu()
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

/// Runs `work(index, target plane)` for every plane of `planes` planes of `pixels`, and returns them all.
fn by_plane<T: Default + Clone + Send>(planes: usize, pixels: usize, work: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out = vec![T::default(); planes * pixels];
    if pixels > 0 {
        out.par_chunks_exact_mut(pixels).enumerate().for_each(|(plane, target)| work(plane, target));
    }
    out
}

/// Sums of each channel over a batch.
fn channel_sums(values: &[f32], size: Dims) -> Result<Tensor> {
    let planes: Vec<f64> = values.par_chunks_exact(size.plane()).map(|plane| plane.iter().map(|v| f64::from(*v)).sum()).collect();
    let sums: Vec<f32> = (0..size.c).map(|c| (0..size.n).map(|n| planes[n * size.c + c]).sum::<f64>() as f32).collect();
    Tensor::new(sums, &Device::Cpu)
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
mod on_cuda_tests;
#[cfg(test)]
mod tests;
