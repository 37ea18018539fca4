//! Half the size, interpolation, and the last layer, a line at a time.

use super::format::Format;
use super::map::View;
use crate::nn::kernels::simd::{Lanes, Task};

/// The greatest of 2×2 values, those above first. What is no number comes out where it stands above left, else not always: nothing is lost
/// by that in a network, because the convolution before has spread it, and hands it on past the pooling, too.
///
/// # Safety
/// The instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn greatest<L: Lanes>([[above_left, above_right], [below_left, below_right]]: [[L; 2]; 2]) -> L {
    // Of two the second comes out if one of them is not a number.
    // SAFETY: the caller's promise.
    unsafe { below_right.max(below_left).max(above_right.max(above_left)) }
}

/// Maxima of 2×2 pixels: two lines to one of half the width.
pub(super) struct Pool<F: Format> {
    pub above: *const F::Value,
    pub below: *const F::Value,
    pub part: usize,
    pub to: *mut F::Value,
    pub to_part: usize,
    /// Pixels of the result.
    pub w: usize,
    pub c: usize,
}

impl<F: Format> Task for Pool<F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for x in 0..self.w {
            for c in (0..self.c).step_by(L::WIDTH) {
                let (left, right) = (2 * x * self.c + c, (2 * x + 1) * self.c + c);
                // SAFETY: the lines hold 2 w pixels and the result w; maps may be read a vector past the end.
                unsafe {
                    let load = |line: *const F::Value, at| F::load::<L>(line.add(at), self.part);
                    let four = [[load(self.above, left), load(self.above, right)], [load(self.below, left), load(self.below, right)]];
                    F::store(greatest(four), self.to.add(x * self.c + c), self.to_part, L::WIDTH.min(self.c - c));
                }
            }
        }
    }
}

/// Two lines blended, and the result interpolated to another width.
pub(super) struct Raise<'a, F: Format> {
    pub upper: *const F::Value,
    pub lower: *const F::Value,
    /// Share of the lower line.
    pub weight: f32,
    pub part: usize,
    /// For each pixel of the result the left of its two neighbours and the share of the right one.
    pub taps: &'a [(usize, f32)],
    /// Pixels of the two lines.
    pub w: usize,
    pub c: usize,
    /// Room for `(w + 1) c` values and a vector.
    pub blended: &'a mut [f32],
    pub to: *mut F::Value,
    pub to_part: usize,
    /// Distance of the result's pixels.
    pub to_pitch: usize,
}

impl<'a, F: Format> Raise<'a, F> {
    /// Line `y` of `to`, its channels from `first_channel` on, from the two lines of `from` that it lies between.
    pub fn line(
        from: View<F>,
        (low, weight): (usize, f32),
        taps: &'a [(usize, f32)],
        to: View<F>,
        y: usize,
        first_channel: usize,
        blended: &'a mut [f32],
    ) -> Self {
        assert!(to.c >= first_channel + from.c, "channels of what is interpolated");
        Self {
            upper: from.pixels(low),
            lower: from.pixels((low + 1).min(from.h - 1)),
            weight,
            part: from.part(),
            taps,
            w: from.w,
            c: from.c,
            blended,
            to: to.pixels(y).wrapping_add(first_channel),
            to_part: to.part(),
            to_pitch: to.c,
        }
    }
}

impl<F: Format> Task for Raise<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let values = self.w * self.c;
        assert!(self.blended.len() >= values + self.c + 16, "room for a blended line");
        let blended = self.blended.as_mut_ptr();
        // SAFETY: the lines hold `values` values, `blended` one pixel and a vector more; maps may be read a vector
        // past the end; results are counted.
        unsafe {
            let (up, down) = (L::splat(1.0 - self.weight), L::splat(self.weight));
            for at in (0..values).step_by(L::WIDTH) {
                let (u, l) = (F::load::<L>(self.upper.add(at), self.part), F::load::<L>(self.lower.add(at), self.part));
                L::splat(0.0).plus_product(u, up).plus_product(l, down).store(blended.add(at));
            }
            blended.add(values).copy_from_nonoverlapping(blended.add(values - self.c), self.c);
            for (x, &(low, weight)) in self.taps.iter().enumerate() {
                let (left, right) = (L::splat(1.0 - weight), L::splat(weight));
                for c in (0..self.c).step_by(L::WIDTH) {
                    let from = blended.add(low * self.c + c).cast_const();
                    let value = L::splat(0.0).plus_product(L::load(from), left).plus_product(L::load(from.add(self.c)), right);
                    F::store(value, self.to.add(x * self.to_pitch + c), self.to_part, L::WIDTH.min(self.c - c));
                }
            }
        }
    }
}

/// A 1×1 convolution to one `f32` a pixel.
pub(super) struct Head<'a, F: Format> {
    pub from: *const F::Value,
    pub part: usize,
    /// One a channel, and zeros up to a whole vector.
    pub weights: &'a [f32],
    pub bias: f32,
    pub c: usize,
    pub to: &'a mut [f32],
}

impl<'a, F: Format> Head<'a, F> {
    /// The logits of line `y`.
    pub fn line(from: View<F>, y: usize, weights: &'a [f32], bias: f32, to: &'a mut [f32]) -> Self {
        Self { from: from.pixels(y), part: from.part(), weights, bias, c: from.c, to }
    }
}

impl<F: Format> Task for Head<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        assert!(self.weights.len() >= self.c.next_multiple_of(16), "weights of whole vectors");
        for (x, to) in self.to.iter_mut().enumerate() {
            // SAFETY: the vectors are here.
            let mut sums = unsafe { L::splat(0.0) };
            for c in (0..self.c).step_by(L::WIDTH) {
                // SAFETY: the line holds a pixel for each result; maps may be read a vector past the end.
                unsafe {
                    let mut inputs = F::load::<L>(self.from.add(x * self.c + c), self.part);
                    if self.c - c < L::WIDTH {
                        // What follows is the next pixel, which may be no number.
                        let mut lanes = [0.0; 16];
                        inputs.store_first(lanes.as_mut_ptr(), self.c - c);
                        inputs = L::load(lanes.as_ptr());
                    }
                    sums = sums.plus_product(inputs, L::load(self.weights.as_ptr().add(c)));
                }
            }
            // SAFETY: the vectors are here.
            *to = unsafe { sums.sum() } + self.bias;
        }
    }
}
