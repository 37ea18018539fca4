//! Squares to the points, and back.

use crate::nn::kernels::nhwc::format::Format;
use crate::nn::kernels::simd::{Lanes, Task};
use crate::nn::kernels::winograd::{POINTS, REACH, SIDE, TAPS, gather, plus, scatter};

/// A 3×3 kernel's values at all pairs of points, by the one downward, then by the one across.
pub(super) fn at_pairs(kernel: &[f32]) -> [f32; POINTS * POINTS] {
    let mut across = [[0.0; 3]; POINTS];
    for (y, line) in kernel.chunks_exact(3).enumerate() {
        for (point, shares) in across.iter_mut().zip(TAPS) {
            point[y] = f64::from(line[0]) * shares[0] + f64::from(line[1]) * shares[1] + f64::from(line[2]) * shares[2];
        }
    }
    let mut values = [0.0; POINTS * POINTS];
    for (values, shares) in values.chunks_exact_mut(POINTS).zip(TAPS) {
        for (value, lines) in values.iter_mut().zip(&across) {
            *value = (lines[0] * shares[0] + lines[1] * shares[1] + lines[2] * shares[2]) as f32;
        }
    }
    values
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
                        F::store(L::splat(0.0).max(plus(value, bias)), line.add(at), self.part, L::WIDTH);
                    }
                }
            }
        }
    }
}
