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

/// Sums of `g` where `scale x + shift` is positive, and of `g * (x - mean)` there.
struct GradientSums<'a> {
    x: &'a [f32],
    g: &'a [f32],
    scale: f32,
    shift: f32,
    mean: f32,
    sums: &'a mut (f64, f64),
}

impl Task for GradientSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { x, g, scale, shift, mean, sums } = self;
        for (x, g) in x.chunks(SPAN).zip(g.chunks(SPAN)) {
            let whole = x.len() / (2 * L::WIDTH) * (2 * L::WIDTH);
            // SAFETY: vectors are read below `whole`, which is within both slices (their lengths are equal).
            let (mut sum, mut product) = unsafe {
                let centre = L::splat(-mean);
                let (one, scale, shift) = (L::splat(1.0), L::splat(scale), L::splat(shift));
                let (mut total, mut products) = ([L::splat(0.0); 2], [L::splat(0.0); 2]);
                for at in (0..whole).step_by(2 * L::WIDTH) {
                    for half in 0..2 {
                        let at = at + half * L::WIDTH;
                        let value = L::load(x.as_ptr().add(at));
                        // Two roundings, as wherever else it is told whether a value is positive.
                        let scaled = L::splat(0.0).plus_product(value, scale);
                        let passed = L::load(g.as_ptr().add(at)).where_positive(shift.plus_product(scaled, one));
                        total[half] = total[half].plus_product(passed, one);
                        products[half] = products[half].plus_product(passed, centre.plus_product(value, one));
                    }
                }
                (
                    total.map(|half| f64::from(half.sum())).iter().sum::<f64>(),
                    products.map(|half| f64::from(half.sum())).iter().sum::<f64>(),
                )
            };
            for (x, g) in x[whole..].iter().zip(&g[whole..]) {
                let passed = if x * scale + shift > 0.0 { *g } else { 0.0 };
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

/// What normalisation and ReLU make of a value: `max(0, scale x + shift)`.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Affine {
    /// Factor of each channel.
    pub scale: Vec<f32>,
    /// Added to each channel after scaling.
    pub shift: Vec<f32>,
}

/// What normalisation and ReLU make of all values.
pub(in crate::nn) fn norm_relu(x: &[f32], dims: Dims, Affine { scale, shift }: &Affine) -> Vec<f32> {
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

/// What a normalisation and ReLU did, and what by.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Normalised<'a> {
    /// What it did.
    pub affine: &'a Affine,
    /// Of the values, by channel.
    pub mean: &'a [f32],
    /// One over the values' standard deviation.
    pub inverse_deviation: &'a [f32],
}

/// Sums that the gradients of normalisation and ReLU need, by channel: of the gradient `g` where the
/// result is positive, and of `g * (x - mean) * inverse_deviation` there.
pub(in crate::nn) fn channel_gradients(x: &[f32], g: &[f32], dims: Dims, by: Normalised) -> (Vec<f64>, Vec<f64>) {
    assert!(x.len() == dims.len() && g.len() == dims.len(), "size of a normalisation's gradient");
    let pixels = dims.plane();
    let planes: Vec<(f64, f64)> = (0..dims.n * dims.c)
        .into_par_iter()
        .map(|plane| {
            let part = plane * pixels..(plane + 1) * pixels;
            let (x, g, c) = (&x[part.clone()], &g[part], plane % dims.c);
            let mut sums = (0.0, 0.0);
            let (scale, shift) = (by.affine.scale[c], by.affine.shift[c]);
            // SAFETY: the two slices are parts of the same length.
            unsafe { dispatch(GradientSums { x, g, scale, shift, mean: by.mean[c], sums: &mut sums }) };
            sums
        })
        .collect();
    (0..dims.c)
        .map(|c| {
            let (sum, product) = (0..dims.n).map(|n| planes[n * dims.c + c]).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            (sum, product * f64::from(by.inverse_deviation[c]))
        })
        .unzip()
}

/// Puts the gradient of the input in the place of `g`: `scale * (g where scale x + shift > 0) + slope * x + offset`, each
/// of them by channel.
///
/// With batch statistics, `slope` and `offset` carry what the statistics pass on; else they are zero.
pub(in crate::nn) fn norm_relu_input_gradient(
    x: &[f32],
    g: &mut [f32],
    dims: Dims,
    Affine { scale, shift }: &Affine,
    slope: &[f32],
    offset: &[f32],
) {
    assert!(x.len() == dims.len() && g.len() == dims.len(), "size of a normalisation's gradient");
    let pixels = dims.plane();
    g.par_chunks_exact_mut(pixels).zip(x.par_chunks_exact(pixels)).enumerate().for_each(|(plane, (g, x))| {
        let c = plane % dims.c;
        let (scale, shift, slope, offset) = (scale[c], shift[c], slope[c], offset[c]);
        widened(|| {
            for (g, x) in g.iter_mut().zip(x) {
                let passed = if x * scale + shift > 0.0 { *g } else { 0.0 };
                *g = scale * passed + slope * x + offset;
            }
        });
    });
}
