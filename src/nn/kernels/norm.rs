//! Batch normalisation followed by ReLU.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015): `y = max(0, γ (x - μ) / σ + β)` for each channel.

use super::Dims;
use super::shared::Shared;
use super::simd::widened;
use rayon::prelude::*;

/// Mean and variance of each channel over the batch (variance without Bessel's correction).
#[derive(Debug, Clone)]
pub(in crate::nn) struct Moments {
    /// Mean by channel.
    pub mean: Vec<f64>,
    /// Variance by channel.
    pub variance: Vec<f64>,
}

/// Sums of `value(i)` for `0..length`: sixteen sums side by side, gathered every few thousand values.
#[inline(always)]
fn sum_of(length: usize, value: impl Fn(usize) -> f32) -> f64 {
    let mut total = 0.0;
    let mut start = 0;
    while start < length {
        let end = length.min(start + 4096);
        let mut lanes = [0.0_f32; 16];
        let whole = (end - start) / 16 * 16;
        for at in (start..start + whole).step_by(16) {
            for (k, lane) in lanes.iter_mut().enumerate() {
                *lane += value(at + k);
            }
        }
        for (k, at) in (start + whole..end).enumerate() {
            lanes[k] += value(at);
        }
        total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
        start = end;
    }
    total
}

/// Mean and variance of each channel of `x`.
///
/// Plane by plane, first the mean and then the squares about it, put together by Chan's formula
/// (Chan, Golub, LeVeque 1979), so that a large mean does not eat the variance.
pub(in crate::nn) fn moments(x: &[f32], dims: Dims) -> Moments {
    assert_eq!(x.len(), dims.len(), "input of batch moments");
    let pixels = dims.plane();
    let planes: Vec<(f64, f64)> = x
        .par_chunks_exact(pixels)
        .map(|plane| {
            widened(|| {
                let mean = sum_of(pixels, |i| plane[i]) / pixels as f64;
                let centre = mean as f32;
                let squares = sum_of(pixels, |i| (plane[i] - centre) * (plane[i] - centre));
                (mean, squares - pixels as f64 * (mean - f64::from(centre)).powi(2))
            })
        })
        .collect();
    let (mut mean, mut variance) = (Vec::with_capacity(dims.c), Vec::with_capacity(dims.c));
    for c in 0..dims.c {
        let of_channel = || (0..dims.n).map(|n| planes[n * dims.c + c]);
        let m = of_channel().map(|(mean, _)| mean).sum::<f64>() / dims.n as f64;
        let squares: f64 = of_channel().map(|(mean, squares)| squares + pixels as f64 * (mean - m).powi(2)).sum();
        mean.push(m);
        variance.push((squares / (dims.n * pixels) as f64).max(0.0));
    }
    Moments { mean, variance }
}

/// `max(0, x * scale[c] + shift[c])`.
pub(in crate::nn) fn norm_relu(x: &[f32], dims: Dims, scale: &[f32], shift: &[f32], out: &mut [f32]) {
    assert!(x.len() == dims.len() && out.len() == dims.len(), "size of a normalisation");
    let pixels = dims.plane();
    out.par_chunks_exact_mut(pixels).zip(x.par_chunks_exact(pixels)).enumerate().for_each(|(plane, (out, x))| {
        let (scale, shift) = (scale[plane % dims.c], shift[plane % dims.c]);
        widened(|| {
            for (out, x) in out.iter_mut().zip(x) {
                let y = x * scale + shift;
                *out = if y < 0.0 { 0.0 } else { y };
            }
        });
    });
}

/// Sums that the gradients of normalisation and ReLU need, by channel: of the gradient `g` where the
/// output `y` is positive, and of `g * (x - mean) * inverse_deviation` there.
pub(in crate::nn) fn channel_gradients(
    x: &[f32],
    y: &[f32],
    g: &[f32],
    dims: Dims,
    mean: &[f32],
    inverse_deviation: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    assert!(x.len() == dims.len() && y.len() == dims.len() && g.len() == dims.len(), "size of a normalisation's gradient");
    let pixels = dims.plane();
    let planes: Vec<(f64, f64)> = (0..dims.n * dims.c)
        .into_par_iter()
        .map(|plane| {
            let part = plane * pixels..(plane + 1) * pixels;
            let (x, y, g) = (&x[part.clone()], &y[part.clone()], &g[part]);
            let mean = mean[plane % dims.c];
            widened(|| {
                let passed = |i: usize| if y[i] > 0.0 { g[i] } else { 0.0 };
                (sum_of(pixels, passed), sum_of(pixels, |i| passed(i) * (x[i] - mean)))
            })
        })
        .collect();
    (0..dims.c)
        .map(|c| {
            let (sum, product) = (0..dims.n).map(|n| planes[n * dims.c + c]).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            (sum, product * f64::from(inverse_deviation[c]))
        })
        .unzip()
}

/// Gradient of the input: `gain * (g where y > 0) + slope * x + offset`, each of them by channel.
///
/// With batch statistics, `slope` and `offset` carry what the statistics pass on; else they are zero.
#[allow(clippy::too_many_arguments)] // slices and sizes of one loop
pub(in crate::nn) fn norm_relu_input_gradient(
    x: &[f32],
    y: &[f32],
    g: &[f32],
    dims: Dims,
    gain: &[f32],
    slope: &[f32],
    offset: &[f32],
    out: &mut [f32],
) {
    assert!(
        x.len() == dims.len() && y.len() == dims.len() && g.len() == dims.len() && out.len() == dims.len(),
        "size of a normalisation's gradient"
    );
    let pixels = dims.plane();
    let target = Shared::new(out);
    (0..dims.n * dims.c).into_par_iter().for_each(|plane| {
        let part = plane * pixels..(plane + 1) * pixels;
        let (x, y, g) = (&x[part.clone()], &y[part.clone()], &g[part]);
        let c = plane % dims.c;
        let (gain, slope, offset) = (gain[c], slope[c], offset[c]);
        // SAFETY: each task writes its own plane.
        let out = unsafe { target.part(plane * pixels, pixels) };
        widened(|| {
            for (((out, x), y), g) in out.iter_mut().zip(x).zip(y).zip(g) {
                *out = gain * if *y > 0.0 { *g } else { 0.0 } + slope * x + offset;
            }
        });
    });
}
