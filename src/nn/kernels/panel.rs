//! The inner product of every convolution: eight output channels over a run of pixels.
//!
//! Planes are stored with a border of zeros that neighbouring lines share: a line of `w` pixels
//! takes `w + 1` values, the first of them zero, so that the left border of a line is the right
//! border of the one above. Seen as one flat run, the pixel that a tap of the kernel reads is then
//! always at the same distance from the pixel it adds to, and a whole block of lines is one long
//! loop. What it computes at the border columns is thrown away.

use super::simd::{Lanes, Task, dispatch, pair_of_bf16};
use super::weights::Weights;

/// Output channels computed together.
pub(super) const GROUP: usize = 8;
/// Values past the end of a padded plane that whole vectors may read.
pub(super) const SLACK: usize = 64;

/// Convolution weights in the order in which [`Panel`] reads them.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    /// Output channels.
    pub outputs: usize,
    /// Planes of inputs: channels, or pairs of them.
    planes: usize,
    /// Whether planes and weights are pairs of bf16: of kernels of one line of three taps.
    pairs: bool,
    /// Side of the kernel: 1 or 3.
    pub side: usize,
    /// Its lines: as many, or one of three taps.
    lines: usize,
    /// `[output group][plane][tap][8]`.
    weights: Vec<f32>,
}

impl Packed {
    pub fn new(weights: &Weights) -> Self {
        Self::of::<1>(weights, weights.side, |output, input, tap| weights.at(output, input, tap))
    }

    /// Kernels of so many `lines`, whose values `value` tells by output, input and tap; for planes of `f32`, or of pairs of bf16
    /// where they are of two `CHANNELS`.
    pub fn of<const CHANNELS: usize>(weights: &Weights, lines: usize, value: impl Fn(usize, usize, usize) -> f32) -> Self {
        let Weights { outputs, inputs, side, .. } = *weights;
        let (planes, taps) = (inputs.div_ceil(CHANNELS), lines * side);
        let mut values = vec![0.0; outputs.div_ceil(GROUP) * planes * taps * GROUP];
        for (group, values) in values.chunks_exact_mut((planes * taps * GROUP).max(1)).enumerate() {
            for lane in 0..GROUP.min(outputs - group * GROUP) {
                let output = group * GROUP + lane;
                for (plane, values) in values.chunks_exact_mut(taps * GROUP).enumerate() {
                    for tap in 0..taps {
                        let of = |input| if input < inputs { value(output, input, tap) } else { 0.0 };
                        let first = of(plane * CHANNELS);
                        values[tap * GROUP + lane] = if CHANNELS == 2 { pair_of_bf16(first, of(2 * plane + 1)) } else { first };
                    }
                }
            }
        }
        Self { outputs, planes, pairs: CHANNELS == 2, side, lines, weights: values }
    }

    /// Groups of eight output channels.
    pub fn groups(&self) -> usize {
        self.outputs.div_ceil(GROUP)
    }

    /// Output channels of `group`.
    pub fn width_of(&self, group: usize) -> usize {
        GROUP.min(self.outputs - group * GROUP)
    }
}

/// One run of one group of output channels.
pub(super) struct Panel<'a> {
    /// The weights.
    pub packed: &'a Packed,
    /// Which eight output channels.
    pub group: usize,
    /// First value that the first tap reads, in the first plane of inputs.
    pub source: *const f32,
    /// Distance of planes.
    pub source_plane: usize,
    /// Distance of lines.
    pub line: usize,
    /// Distance of the kernel's taps, in pixels and in lines.
    pub dilation: usize,
    /// First result of the first output channel.
    pub target: *mut f32,
    /// Distance of output channels.
    pub target_plane: usize,
    /// Results in each channel.
    pub length: usize,
}

impl Panel<'_> {
    /// Computes the run.
    ///
    /// # Safety
    /// `source` must be good for `source_plane * (planes - 1) + (line + 1) * (side - 1) * dilation + length`
    /// values and [`SLACK`] more; `target` for `length` values in each of the group's channels, which
    /// nobody else touches meanwhile.
    pub unsafe fn run(self) {
        // SAFETY: the caller's promise is the task's.
        unsafe { dispatch(self) }
    }

    /// `VECTORS` vectors of results of channels `first..first + OUTPUTS`, from pixel `at` on.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const VECTORS: usize, const OUTPUTS: usize, const LINES: usize, const SIDE: usize, const PAIRS: bool>(
        &self,
        at: usize,
        first: usize,
        count: usize,
    ) {
        let taps = LINES * SIDE;
        let planes = self.packed.planes;
        // SAFETY: the weights hold `groups * planes * taps * GROUP` values; source and target are the caller's promise;
        // only the group's own channels are stored.
        unsafe {
            let mut sums = [[L::splat(0.0); VECTORS]; OUTPUTS];
            let mut weights = self.packed.weights.as_ptr().add(self.group * planes * taps * GROUP + first);
            let mut plane = self.source.add(at);
            for _ in 0..planes {
                for ky in 0..LINES {
                    for kx in 0..SIDE {
                        let from = plane.add((ky * self.line + kx) * self.dilation);
                        let mut pixels = [L::splat(0.0); VECTORS];
                        for (v, pixel) in pixels.iter_mut().enumerate() {
                            *pixel = L::load(from.add(v * L::WIDTH));
                        }
                        for (o, row) in sums.iter_mut().enumerate() {
                            let weight = L::splat(*weights.add(o));
                            for (sum, pixel) in row.iter_mut().zip(pixels) {
                                *sum = if PAIRS { sum.plus_pairs(pixel, weight) } else { sum.plus_product(pixel, weight) };
                            }
                        }
                        weights = weights.add(GROUP);
                    }
                }
                plane = plane.add(self.source_plane);
            }
            let outputs = self.packed.width_of(self.group).saturating_sub(first);
            for (o, row) in sums.iter().enumerate().take(outputs) {
                let to = self.target.add((first + o) * self.target_plane + at);
                for (v, sum) in row.iter().enumerate() {
                    sum.store_up_to(to.add(v * L::WIDTH), count - v * L::WIDTH);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn column<L: Lanes, const VECTORS: usize, const LINES: usize, const SIDE: usize, const PAIRS: bool>(
        &self,
        at: usize,
        count: usize,
    ) {
        // SAFETY: as `tile`.
        unsafe {
            if L::MANY {
                self.tile::<L, VECTORS, 8, LINES, SIDE, PAIRS>(at, 0, count);
            } else {
                self.tile::<L, VECTORS, 4, LINES, SIDE, PAIRS>(at, 0, count);
                self.tile::<L, VECTORS, 4, LINES, SIDE, PAIRS>(at, 4, count);
            }
        }
    }

    /// `VECTORS` vectors at a time.
    #[inline(always)]
    unsafe fn walk<L: Lanes, const VECTORS: usize, const LINES: usize, const SIDE: usize, const PAIRS: bool>(&self) {
        let step = VECTORS * L::WIDTH;
        let mut at = 0;
        // SAFETY: `tile` loads whole vectors (at most SLACK values past the run) and stores `count` values.
        unsafe {
            while at + step <= self.length {
                self.column::<L, VECTORS, LINES, SIDE, PAIRS>(at, step);
                at += step;
            }
            let rest = self.length - at;
            match rest.div_ceil(L::WIDTH) {
                0 => {}
                1 => self.column::<L, 1, LINES, SIDE, PAIRS>(at, rest),
                2 => self.column::<L, 2, LINES, SIDE, PAIRS>(at, rest),
                _ => self.column::<L, VECTORS, LINES, SIDE, PAIRS>(at, rest),
            }
        }
    }
}

impl Task for Panel<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            // Three vectors of four outputs would be all of 16 registers, and compilers want one more to move loads ahead.
            match (L::MANY, self.packed.pairs, self.packed.side, self.packed.lines) {
                (true, true, ..) => self.walk::<L, 3, 1, 3, true>(),
                (true, _, 1, _) => self.walk::<L, 3, 1, 1, false>(),
                (true, _, _, 1) => self.walk::<L, 3, 1, 3, false>(),
                (true, ..) => self.walk::<L, 3, 3, 3, false>(),
                (false, true, ..) => self.walk::<L, 2, 1, 3, true>(),
                (false, _, 1, _) => self.walk::<L, 2, 1, 1, false>(),
                (false, _, _, 1) => self.walk::<L, 2, 1, 3, false>(),
                (false, ..) => self.walk::<L, 2, 3, 3, false>(),
            }
        }
    }
}
