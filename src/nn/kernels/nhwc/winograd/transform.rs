//! Squares to the points, and back.

use super::{REACH, SIDE};
use crate::nn::kernels::nhwc::format::Format;
use crate::nn::kernels::simd::{Lanes, Task};

/// Points in one direction: 0, ±[`NEAR`], ±[`FAR`], and infinity.
pub(super) const POINTS: usize = 6;
/// Of all points these leave the smallest errors among those whose squares are short in binary.
const NEAR: f32 = 0.625;
const FAR: f32 = 1.5;
const NEAR2: f32 = NEAR * NEAR;
const FAR2: f32 = FAR * FAR;

/// What a kernel's three taps in one direction count for at each point: the point's powers, divided by its differences from
/// the other points.
const TAPS: [[f64; 3]; POINTS] = {
    const fn row(point: f64, differences: f64) -> [f64; 3] {
        [1.0 / differences, point / differences, point * point / differences]
    }
    let (near, far) = (NEAR as f64, FAR as f64);
    let (near2, far2) = (near * near, far * far);
    let (of_near, of_far) = (2.0 * near2 * (near2 - far2), 2.0 * far2 * (far2 - near2));
    [row(0.0, near2 * far2), row(near, of_near), row(-near, of_near), row(far, of_far), row(-far, of_far), [0.0, 0.0, 1.0]]
};

/// A 3×3 kernel's value at a pair of points, `POINTS` times the one downward and the one across.
pub(super) fn at_pair(kernel: &[f32], pair: usize) -> f32 {
    let (down, across) = (TAPS[pair / POINTS], TAPS[pair % POINTS]);
    let lines = kernel.chunks_exact(3).map(|line| line.iter().zip(across).map(|(tap, share)| f64::from(*tap) * share).sum::<f64>());
    lines.zip(down).map(|(line, share)| line * share).sum::<f64>() as f32
}

/// `a + b` and `a - b`.
///
/// # Safety
/// As for `L`.
#[inline(always)]
unsafe fn sum_and_difference<L: Lanes>(a: L, b: L) -> [L; 2] {
    // SAFETY: the caller's promise.
    unsafe { [a.plus_product(b, L::splat(1.0)), a.plus_product(b, L::splat(-1.0))] }
}

/// Six neighbours to the points.
///
/// # Safety
/// As for `L`.
#[inline(always)]
unsafe fn gather<L: Lanes>([d0, d1, d2, d3, d4, d5]: [L; REACH]) -> [L; POINTS] {
    // SAFETY: the caller's promise.
    unsafe {
        let both = L::splat(-(NEAR2 + FAR2));
        let product = L::splat(NEAR2 * FAR2);
        let (even, odd) = (d4.plus_product(d2, L::splat(-FAR2)), d3.plus_product(d1, L::splat(-FAR2)));
        let near = [even.plus_product(odd, L::splat(NEAR)), even.plus_product(odd, L::splat(-NEAR))];
        let (even, odd) = (d4.plus_product(d2, L::splat(-NEAR2)), d3.plus_product(d1, L::splat(-NEAR2)));
        let far = [even.plus_product(odd, L::splat(FAR)), even.plus_product(odd, L::splat(-FAR))];
        let zero = d4.plus_product(d2, both).plus_product(d0, product);
        let infinity = d5.plus_product(d3, both).plus_product(d1, product);
        [zero, near[0], near[1], far[0], far[1], infinity]
    }
}

/// What is at the points back to four neighbours.
///
/// # Safety
/// As for `L`.
#[inline(always)]
unsafe fn scatter<L: Lanes>([zero, near, minus_near, far, minus_far, infinity]: [L; POINTS]) -> [L; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let [near_even, near_odd] = sum_and_difference(near, minus_near);
        let [far_even, far_odd] = sum_and_difference(far, minus_far);
        let nothing = L::splat(0.0);
        let [first, _] = sum_and_difference(near_even, far_even);
        [
            sum_and_difference(zero, first)[0],
            nothing.plus_product(near_odd, L::splat(NEAR)).plus_product(far_odd, L::splat(FAR)),
            nothing.plus_product(near_even, L::splat(NEAR2)).plus_product(far_even, L::splat(FAR2)),
            infinity.plus_product(near_odd, L::splat(NEAR * NEAR2)).plus_product(far_odd, L::splat(FAR * FAR2)),
        ]
    }
}

/// Six lines to the points downward.
pub(super) struct GatherDown<F: Format> {
    /// At the pixel before the first.
    pub lines: [*const F::Value; REACH],
    pub part: usize,
    /// Values of a line, whole vectors.
    pub values: usize,
    pub to: *mut f32,
    /// Distance of points.
    pub pitch: usize,
}

impl<F: Format> Task for GatherDown<F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for at in (0..self.values).step_by(L::WIDTH) {
            // Loops, not closures: a closure that is not inlined has no vectors.
            // SAFETY: lines and points hold that many values.
            unsafe {
                let mut values = [L::splat(0.0); REACH];
                for (value, line) in values.iter_mut().zip(self.lines) {
                    *value = F::load::<L>(line.add(at), self.part);
                }
                for (point, value) in gather(values).into_iter().enumerate() {
                    value.store(self.to.add(point * self.pitch + at));
                }
            }
        }
    }
}

/// The pixels of squares side by side to the points across.
pub(super) struct GatherAcross {
    /// At the pixel before the first square.
    pub from: *const f32,
    /// Channels, whole vectors.
    pub c: usize,
    pub squares: usize,
    pub to: *mut f32,
    /// Distance of squares.
    pub pitch: usize,
    /// Distance of points.
    pub plane: usize,
}

impl Task for GatherAcross {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for square in 0..self.squares {
            for channel in (0..self.c).step_by(L::WIDTH) {
                // SAFETY: there are `SIDE` pixels for each square and one on either side; a plane holds every square.
                unsafe {
                    let mut values = [L::splat(0.0); REACH];
                    for (x, value) in values.iter_mut().enumerate() {
                        *value = L::load(self.from.add((SIDE * square + x) * self.c + channel));
                    }
                    for (point, value) in gather(values).into_iter().enumerate() {
                        value.store(self.to.add(point * self.plane + square * self.pitch + channel));
                    }
                }
            }
        }
    }
}

/// Squares side by side from the points across back to pixels.
pub(super) struct ScatterAcross {
    pub from: *const f32,
    /// Channels, whole vectors.
    pub c: usize,
    pub squares: usize,
    /// Distance of points.
    pub plane: usize,
    pub to: *mut f32,
}

impl Task for ScatterAcross {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for square in 0..self.squares {
            for channel in (0..self.c).step_by(L::WIDTH) {
                // SAFETY: a plane holds every square; there are `SIDE` pixels for each.
                unsafe {
                    let mut values = [L::splat(0.0); POINTS];
                    for (point, value) in values.iter_mut().enumerate() {
                        *value = L::load(self.from.add(point * self.plane + square * self.c + channel));
                    }
                    for (x, value) in scatter(values).into_iter().enumerate() {
                        value.store(self.to.add((SIDE * square + x) * self.c + channel));
                    }
                }
            }
        }
    }
}

/// Lines from the points downward back to four, with bias and ReLU.
pub(super) struct ScatterDown<'a, F: Format> {
    pub from: *const f32,
    /// Distance of points.
    pub pitch: usize,
    /// Pixels of a line.
    pub w: usize,
    /// By channel, whole vectors.
    pub bias: &'a [f32],
    /// First pixels of the lines that are wanted.
    pub lines: [Option<*mut F::Value>; SIDE],
    pub part: usize,
}

impl<F: Format> Task for ScatterDown<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let c = self.bias.len();
        for channel in (0..c).step_by(L::WIDTH) {
            // SAFETY: channels are whole vectors.
            let bias = unsafe { L::load(self.bias.as_ptr().add(channel)) };
            for at in (channel..self.w * c).step_by(c) {
                // SAFETY: lines and points hold `w` pixels.
                unsafe {
                    let mut values = [L::splat(0.0); POINTS];
                    for (point, value) in values.iter_mut().enumerate() {
                        *value = L::load(self.from.add(point * self.pitch + at));
                    }
                    for (line, value) in self.lines.iter().zip(scatter(values)) {
                        let Some(line) = line else { continue };
                        // The second of the two comes out where it is no number.
                        F::store(L::splat(0.0).max(sum_and_difference(value, bias)[0]), line.add(at), self.part, L::WIDTH);
                    }
                }
            }
        }
    }
}
