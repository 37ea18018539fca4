//! The same operators out of candle's own, for devices other than the CPU.

use super::norm::{BatchNorm, EPSILON, MOMENTUM};
use candle_core::{Result, Tensor};

pub(super) fn conv(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let padding = weight.dim(3)? / 2;
    x.conv2d(weight, padding, 1, 1, 1)
}

pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let by_channel = |t: &Tensor| t.reshape((1, c, 1, 1));
    let (mean, variance) = if train {
        let mean = x.mean_keepdim((0, 2, 3))?;
        let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
        let count = (n * h * w) as f64;
        let update = |running: &Tensor, batch: &Tensor, factor: f64| -> Result<Tensor> {
            running.affine(1.0 - MOMENTUM, 0.0)? + batch.detach().flatten_all()?.affine(MOMENTUM * factor, 0.0)?
        };
        norm.running_mean.set(&update(&norm.running_mean.as_detached_tensor(), &mean, 1.0)?)?;
        norm.running_var.set(&update(&norm.running_var.as_detached_tensor(), &variance, count / (count - 1.0).max(1.0))?)?;
        (mean, variance)
    } else {
        (by_channel(&norm.running_mean.as_detached_tensor())?, by_channel(&norm.running_var.as_detached_tensor())?)
    };
    let deviation = (variance + EPSILON)?.sqrt()?;
    let normal = x.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
    normal.broadcast_mul(&by_channel(&norm.gain)?)?.broadcast_add(&by_channel(&norm.offset)?)?.relu()
}

pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let squares = x.reshape((n * c, h / 2, 2, w / 2, 2))?;
    let corner = |ky, kx| squares.narrow(2, ky, 1)?.narrow(4, kx, 1)?.reshape((n, c, h / 2, w / 2));
    corner(0, 0)?.maximum(&corner(0, 1)?)?.maximum(&corner(1, 0)?.maximum(&corner(1, 1)?)?)
}

/// Interpolation is linear: one product with a fixed matrix for the lines, one for the pixels in a line.
pub(super) fn upsample_bilinear(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let matrix = |n: usize| -> Result<Tensor> {
        let mut values = vec![0.0_f32; 2 * n * n];
        for i in 0..2 * n {
            let at = if n > 1 { i as f32 * ((n - 1) as f32 / (2 * n - 1) as f32) } else { 0.0 };
            let low = (at as usize).min(n.saturating_sub(2));
            values[i * n + low] = 1.0 - (at - low as f32);
            if n > 1 {
                values[i * n + low + 1] = at - low as f32;
            }
        }
        Tensor::from_vec(values, (2 * n, n), x.device())
    };
    matrix(h)?.broadcast_matmul(&x.broadcast_matmul(&matrix(w)?.t()?)?)
}

pub(super) fn conv_transposed(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    super::add_bias(&x.conv_transpose2d(weight, 0, 0, 2, 1)?, bias)
}
