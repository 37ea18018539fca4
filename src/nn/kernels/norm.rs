//! Batch normalisation followed by ReLU.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015): `y = max(0, γ (x - μ) / σ + β)` for each channel.

use super::Dims;
use super::fresh::fresh;
use super::simd::{Lanes, Task, dispatch, widened};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Mean and variance of each channel over the batch (variance without Bessel's correction).
#[derive(Debug, Clone)]
pub(in crate::nn) struct Moments {
    /// Mean by channel.
    pub mean: Vec<f64>,
    /// Variance by channel.
    pub variance: Vec<f64>,
}

/// Values that are summed in single precision before they join the sum in double precision.
const SPAN: usize = 4096;
/// Sums kept side by side, so that the compiler can put them in vectors.
const LANES: usize = 16;

/// Sums of `value(v)` over `values`.
#[inline(always)]
fn sum_of(values: &[f32], value: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for span in values.chunks(SPAN) {
        let mut lanes = [0.0_f32; LANES];
        let (whole, rest) = span.as_chunks::<LANES>();
        for values in whole {
            for (lane, v) in lanes.iter_mut().zip(values) {
                *lane += value(*v);
            }
        }
        for (lane, v) in lanes.iter_mut().zip(rest) {
            *lane += value(*v);
        }
        total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
    }
    total
}

/// Sums of `g` where `y` is positive, and of `g * (x - mean)` there.
struct GradientSums<'a> {
    x: &'a [f32],
    y: &'a [f32],
    g: &'a [f32],
    mean: f32,
    sums: &'a mut (f64, f64),
}

impl Task for GradientSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { x, y, g, mean, sums } = self;
        for ((x, y), g) in x.chunks(SPAN).zip(y.chunks(SPAN)).zip(g.chunks(SPAN)) {
            let whole = x.len() / (2 * L::WIDTH) * (2 * L::WIDTH);
            // SAFETY: vectors are read below `whole`, which is within all three slices (their lengths are equal).
            let (mut sum, mut product) = unsafe {
                let centre = L::splat(-mean);
                let one = L::splat(1.0);
                let (mut total, mut products) = ([L::splat(0.0); 2], [L::splat(0.0); 2]);
                for at in (0..whole).step_by(2 * L::WIDTH) {
                    for half in 0..2 {
                        let at = at + half * L::WIDTH;
                        let passed = L::load(g.as_ptr().add(at)).where_positive(L::load(y.as_ptr().add(at)));
                        total[half] = total[half].plus_product(passed, one);
                        products[half] = products[half].plus_product(passed, centre.plus_product(L::load(x.as_ptr().add(at)), one));
                    }
                }
                (
                    total.map(|half| f64::from(half.sum())).iter().sum::<f64>(),
                    products.map(|half| f64::from(half.sum())).iter().sum::<f64>(),
                )
            };
            for ((x, y), g) in x[whole..].iter().zip(&y[whole..]).zip(&g[whole..]) {
                let passed = if *y > 0.0 { *g } else { 0.0 };
                sum += f64::from(passed);
                product += f64::from(passed * (x - mean));
            }
            sums.0 += sum;
            sums.1 += product;
        }
    }
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
                let mean = sum_of(plane, |v| v) / pixels as f64;
                let centre = mean as f32;
                let squares = sum_of(plane, |v| (v - centre) * (v - centre));
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
pub(in crate::nn) fn norm_relu(x: &[f32], dims: Dims, scale: &[f32], shift: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), dims.len(), "size of a normalisation");
    let pixels = dims.plane();
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_exact_mut(pixels).zip(x.par_chunks_exact(pixels)).enumerate().for_each(|(plane, (out, x))| {
            let (scale, shift) = (scale[plane % dims.c], shift[plane % dims.c]);
            widened(|| {
                for (out, x) in out.iter_mut().zip(x) {
                    let y = x * scale + shift;
                    out.write(if y < 0.0 { 0.0 } else { y });
                }
            });
        })
    };
    // SAFETY: as many planes are written as there are in `x`, each whole.
    unsafe { fresh(dims.len(), fill) }
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
            let mut sums = (0.0, 0.0);
            // SAFETY: the three slices are parts of the same length.
            unsafe { dispatch(GradientSums { x, y, g, mean, sums: &mut sums }) };
            sums
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
) -> Vec<f32> {
    assert!(x.len() == dims.len() && y.len() == dims.len() && g.len() == dims.len(), "size of a normalisation's gradient");
    let pixels = dims.plane();
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_exact_mut(pixels).enumerate().for_each(|(plane, out)| {
            let part = plane * pixels..(plane + 1) * pixels;
            let (x, y, g) = (&x[part.clone()], &y[part.clone()], &g[part]);
            let c = plane % dims.c;
            let (gain, slope, offset) = (gain[c], slope[c], offset[c]);
            widened(|| {
                for (((out, x), y), g) in out.iter_mut().zip(x).zip(y).zip(g) {
                    out.write(gain * if *y > 0.0 { *g } else { 0.0 } + slope * x + offset);
                }
            });
        })
    };
    // SAFETY: as many planes are written as there are in `x`, each whole.
    unsafe { fresh(dims.len(), fill) }
}
