//! Gradient of a convolution's weights.

use super::conv::copy_bordered;
use super::panel::GROUP;
use super::picture::Pictures;
use super::scratch::with_scratch;
use super::simd::{Lanes, Task, dispatch};
use super::split::{Kernel, Part, Split};
use super::tiled;
use super::weights::parts;
use crate::config::Precision;
use rayon::prelude::*;
use std::ops::Range;

/// Products of eight output gradients with three runs of inputs, summed over the pixels.
struct Correlation {
    gradient: *const f32,
    gradient_plane: usize,
    inputs: [*const f32; 3],
    /// A multiple of every vector's width.
    length: usize,
    /// `[8][3]`.
    sums: *mut [[f32; 3]; GROUP],
}

impl Correlation {
    /// Rows `first..first + 2 * HALF`, in two halves, each with an address of its own.
    #[inline(always)]
    unsafe fn rows<L: Lanes, const HALF: usize>(&self, first: usize) {
        // SAFETY: the task's promise: `length` values behind every pointer.
        unsafe {
            let mut sums = [[[L::splat(0.0); 3]; HALF]; 2];
            let mut inputs = self.inputs;
            let upper = self.gradient.add(first * self.gradient_plane);
            let mut gradients = [upper, upper.add(HALF * self.gradient_plane)];
            for _ in 0..self.length / L::WIDTH {
                let taps = inputs.map(|input| L::load(input));
                for (rows, gradient) in sums.iter_mut().zip(gradients) {
                    for (o, row) in rows.iter_mut().enumerate() {
                        let g = L::load(gradient.add(o * self.gradient_plane));
                        for (sum, tap) in row.iter_mut().zip(taps) {
                            *sum = sum.plus_product(tap, g);
                        }
                    }
                }
                inputs = inputs.map(|input| input.add(L::WIDTH));
                gradients = gradients.map(|gradient| gradient.add(L::WIDTH));
            }
            for (o, row) in sums.iter().flatten().enumerate() {
                (*self.sums)[first + o] = row.map(|sum| sum.sum());
            }
        }
    }
}

impl Task for Correlation {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if L::MANY {
                self.rows::<L, 4>(0);
            } else {
                self.rows::<L, 2>(0);
                self.rows::<L, 2>(4);
            }
        }
    }
}

/// Values of a run that are worked on at a time: those of eight output channels fit the first-level cache.
const CHUNK: usize = 1024;

/// Gradient of weights `[outputs, inputs, side, side]` from the input `x` and the output's gradient
/// `[n, outputs, h, w]`, both of one size; side 1 or 3, taps `dilation` apart.
///
/// Blocks of lines, or several small pictures at once, are summed each for itself and then in their order.
pub(in crate::nn) fn weight_gradient(x: &Pictures, gradient: &Pictures, kernel: Kernel, precision: Precision) -> Vec<f32> {
    let dims = x.size();
    assert_eq!(gradient.size(), dims.with_channels(kernel.outputs), "output gradient of a weight gradient");
    match parts(precision, dims.c, kernel.outputs) {
        2 => tiled::weight_gradient::<2>(x, gradient, kernel),
        1 => tiled::weight_gradient::<1>(x, gradient, kernel),
        _ => in_single_precision(x, gradient, kernel),
    }
}

fn in_single_precision(x: &Pictures, gradient: &Pictures, kernel: Kernel) -> Vec<f32> {
    let Kernel { outputs, side, dilation } = kernel;
    let dims = x.size();
    let margin = side / 2 * dilation;
    let line = dims.w + margin;
    let taps = side * side;
    let split = Split::new(dims, outputs, GROUP);
    let (runs, shares) = (split.runs(), split.shares());
    // A picture's lines of the block with its margins; the output's gradient is laid out alike.
    let stretch = (split.lines + 2 * margin) * line;
    let run = (split.pictures * stretch).next_multiple_of(16);
    let plane = run + (2 * margin * (line + 1)).next_multiple_of(16) + 16;
    let weights = split.groups * GROUP * dims.c * taps;
    let mut partial = vec![0.0_f32; runs * shares * weights];
    partial.par_chunks_exact_mut(weights.max(1)).enumerate().for_each(|(task, partial)| {
        let Part { pictures, lines, outputs: channels } = split.part(task);
        let groups = channels.len().div_ceil(GROUP);
        with_scratch(dims.c * plane + groups * GROUP * run, |scratch| {
            let (output, input) = scratch.split_at_mut(groups * GROUP * run);
            let last = pictures.len() - 1;
            for (at, n) in pictures.enumerate() {
                let (from, extent) = (at * stretch, |whole: usize| if at == last { whole - at * stretch } else { stretch });
                copy_bordered(x, n, lines.start, lines.len(), margin, plane, extent(plane), &mut input[from..]);
                copy_lines(gradient, n, channels.clone(), lines.clone(), line, run, extent(run), &mut output[from..]);
            }
            output[channels.len() * run..].fill(0.0);
            for group in 0..groups {
                for start in (0..run).step_by(CHUNK) {
                    for_each_triple(dims.c, side, |triple, count| {
                        let mut sums = [[0.0; 3]; GROUP];
                        let offset = |tap: usize| (tap / side * line + tap % side) * dilation;
                        let correlation = Correlation {
                            gradient: output[group * GROUP * run + start..].as_ptr(),
                            gradient_plane: run,
                            inputs: triple.map(|(channel, tap)| input[channel * plane + offset(tap) + start..].as_ptr()),
                            length: CHUNK.min(run - start),
                            sums: &mut sums,
                        };
                        // SAFETY: `output` has eight planes of `run` values for each group; an input plane has as many
                        // and the greatest offset of a tap, 2 margin (line + 1), after them.
                        unsafe { dispatch(correlation) };
                        for (o, row) in sums.iter().enumerate() {
                            for (&(channel, tap), sum) in triple.iter().zip(row).take(count) {
                                partial[((group * GROUP + o) * dims.c + channel) * taps + tap] += *sum;
                            }
                        }
                    });
                }
            }
        });
    });
    let of_output = dims.c * taps;
    let mut total = vec![0.0_f32; outputs * of_output];
    total.par_chunks_exact_mut(of_output.max(1)).enumerate().for_each(|(output, total)| {
        let (share, within) = split.place(output);
        for run in 0..runs {
            let part = &partial[(run * shares + share) * weights + within * of_output..][..of_output];
            total.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
    });
    total
}

/// Calls `visit` with three (channel, tap) at a time: the taps of a line, or three channels of a 1×1 kernel.
fn for_each_triple(channels: usize, side: usize, mut visit: impl FnMut([(usize, usize); 3], usize)) {
    if side == 3 {
        for channel in 0..channels {
            for ky in 0..3 {
                visit([0, 1, 2].map(|kx| (channel, ky * 3 + kx)), 3);
            }
        }
    } else {
        for first in (0..channels).step_by(3) {
            visit([0, 1, 2].map(|k| ((first + k).min(channels - 1), 0)), 3.min(channels - first));
        }
    }
}

/// Copies lines of the output's gradient so that they fall on the lines of the bordered input, zero between them
/// and up to `extent`.
#[allow(clippy::too_many_arguments)] // slices and sizes of one loop
fn copy_lines(
    gradient: &Pictures,
    n: usize,
    channels: Range<usize>,
    lines: Range<usize>,
    line: usize,
    run: usize,
    extent: usize,
    to: &mut [f32],
) {
    let w = gradient.size().w;
    for (o, channel) in channels.enumerate() {
        let source = gradient.plane(n, channel);
        let (target, rest) = to[o * run..][..extent].split_at_mut(lines.len() * line);
        for (row, y) in target.chunks_exact_mut(line).zip(lines.clone()) {
            source.write(y * w, &mut row[..w]);
            row[w..].fill(0.0);
        }
        rest.fill(0.0);
    }
}
