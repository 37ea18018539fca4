//! The same operators out of candle's own, for devices other than the CPU.

use super::norm::{BatchNorm, EPSILON};
use candle_core::{Result, Tensor};

pub(super) fn conv(x: &Tensor, weight: &Tensor, dilation: usize) -> Result<Tensor> {
    let padding = weight.dim(3)? / 2 * dilation;
    x.conv2d(weight, padding, 1, dilation, 1)
}

pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let by_channel = |t: &Tensor| t.reshape((1, c, 1, 1));
    let (mean, variance) = if train {
        let mean = x.mean_keepdim((0, 2, 3))?;
        let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
        norm.update_on_device(&mean, &variance, n * h * w)?;
        (mean, variance)
    } else {
        (by_channel(&norm.running_mean.as_detached_tensor())?, by_channel(&norm.running_var.as_detached_tensor())?)
    };
    let deviation = (variance + EPSILON)?.sqrt()?;
    let normal = x.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
    normal.broadcast_mul(&by_channel(&norm.gain)?)?.broadcast_add(&by_channel(&norm.offset)?)?.relu()
}

/// The four pixels of each 2×2 square, line by line.
fn corners(x: &Tensor) -> Result<[Tensor; 4]> {
    let (n, c, h, w) = x.dims4()?;
    let squares = x.reshape((n * c, h / 2, 2, w / 2, 2))?;
    let corner = |ky, kx| squares.narrow(2, ky, 1)?.narrow(4, kx, 1)?.reshape((n, c, h / 2, w / 2));
    Ok([corner(0, 0)?, corner(0, 1)?, corner(1, 0)?, corner(1, 1)?])
}

pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let [a, b, c, d] = corners(x)?;
    a.maximum(&b)?.maximum(&c.maximum(&d)?)
}

pub(super) fn max_pool_indices(x: &Tensor) -> Result<Tensor> {
    let [a, b, c, d] = corners(&x.detach())?;
    let greatest = a.maximum(&b)?.maximum(&c.maximum(&d)?)?;
    let place = |index: u8| Tensor::new(index, x.device())?.broadcast_as(greatest.shape());
    let last = c.eq(&greatest)?.where_cond(&place(2)?, &place(3)?)?;
    let right = b.eq(&greatest)?.where_cond(&place(1)?, &last)?;
    a.eq(&greatest)?.where_cond(&place(0)?, &right)
}

pub(super) fn unpool(x: &Tensor, indices: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let corner = |index: u8| x * indices.eq(index)?.to_dtype(x.dtype())?;
    let line = |left: u8| Tensor::stack(&[corner(left)?, corner(left + 1)?], 4);
    Tensor::stack(&[line(0)?, line(2)?], 3)?.reshape((n, c, 2 * h, 2 * w))
}

/// Applies a fixed linear map to the lines and one to the pixels in a line, as two products.
fn map_sides(x: &Tensor, lines: &Tensor, pixels: &Tensor) -> Result<Tensor> {
    lines.broadcast_matmul(&x.broadcast_matmul(&pixels.t()?)?)
}

pub(super) fn average_pool(x: &Tensor, bins: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let matrix = |n: usize| -> Result<Tensor> {
        let mut values = vec![0.0_f32; bins * n];
        for (bin, row) in values.chunks_exact_mut(n).enumerate() {
            let (from, to) = (bin * n / bins, ((bin + 1) * n).div_ceil(bins));
            row[from..to].fill(1.0 / (to - from) as f32);
        }
        Tensor::from_vec(values, (bins, n), x.device())?.to_dtype(x.dtype())
    };
    map_sides(x, &matrix(h)?, &matrix(w)?)
}

pub(super) fn resize_bilinear(x: &Tensor, h: usize, w: usize) -> Result<Tensor> {
    let (_, _, from_h, from_w) = x.dims4()?;
    let matrix = |n: usize, out: usize| -> Result<Tensor> {
        let mut values = vec![0.0_f32; out * n];
        for (i, row) in values.chunks_exact_mut(n).enumerate() {
            let at = if out > 1 { i as f32 * ((n - 1) as f32 / (out - 1) as f32) } else { 0.0 };
            let low = (at as usize).min(n.saturating_sub(2));
            row[low] = 1.0 - (at - low as f32);
            if n > 1 {
                row[low + 1] = at - low as f32;
            }
        }
        Tensor::from_vec(values, (out, n), x.device())?.to_dtype(x.dtype())
    };
    map_sides(x, &matrix(from_h, h)?, &matrix(from_w, w)?)
}

pub(super) fn conv_transposed(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    super::add_bias(&x.conv_transpose2d(weight, 0, 0, 2, 1)?, bias)
}

/// As [`super::resize::Interleave`].
pub(super) fn interleave(squares: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = squares.dims4()?;
    let pixels = squares.reshape(&[n, c / 4, 2, 2, h, w])?.permute((0, 1, 4, 2, 5, 3))?;
    super::add_bias(&pixels.reshape((n, c / 4, 2 * h, 2 * w))?, bias)
}
