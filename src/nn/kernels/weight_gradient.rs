//! Gradient of a convolution's weights.

use super::Dims;
use super::conv::{block_lines, copy_bordered, with_scratch};
use super::panel::{GROUP, SLACK};
use super::shared::Shared;
use super::simd::{Lanes, Task, dispatch};
use rayon::prelude::*;

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
    #[inline(always)]
    unsafe fn rows<L: Lanes, const ROWS: usize>(&self, first: usize) {
        // SAFETY: the task's promise: `length` values behind every pointer.
        unsafe {
            let mut sums = [[L::splat(0.0); 3]; ROWS];
            let gradient = self.gradient.add(first * self.gradient_plane);
            let mut at = 0;
            while at < self.length {
                let inputs = [L::load(self.inputs[0].add(at)), L::load(self.inputs[1].add(at)), L::load(self.inputs[2].add(at))];
                for (o, row) in sums.iter_mut().enumerate() {
                    let g = L::load(gradient.add(o * self.gradient_plane + at));
                    for (sum, input) in row.iter_mut().zip(inputs) {
                        *sum = sum.plus_product(g, input);
                    }
                }
                at += L::WIDTH;
            }
            for (o, row) in sums.iter().enumerate() {
                for (k, sum) in row.iter().enumerate() {
                    (*self.sums)[first + o][k] = sum.sum();
                }
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
                self.rows::<L, 8>(0);
            } else {
                self.rows::<L, 4>(0);
                self.rows::<L, 4>(4);
            }
        }
    }
}

/// Gradient of weights `[outputs, inputs, side, side]` from the input `x` (of `dims`) and the
/// gradient of the output `gradient` (`[n, outputs, h, w]`), both of one size; side 1 or 3, taps `dilation` apart.
///
/// Blocks of lines are summed each for itself and then in their order.
pub(in crate::nn) fn weight_gradient(x: &[f32], dims: Dims, gradient: &[f32], outputs: usize, side: usize, dilation: usize) -> Vec<f32> {
    let out_dims = dims.with_channels(outputs);
    assert_eq!(x.len(), dims.len(), "input of a weight gradient");
    assert_eq!(gradient.len(), out_dims.len(), "output gradient of a weight gradient");
    let margin = side / 2 * dilation;
    let line = dims.w + margin;
    let taps = side * side;
    let groups = outputs.div_ceil(GROUP);
    let lines = block_lines(dims.c + outputs, dims.h, dims.w);
    let blocks = dims.h.div_ceil(lines);
    let run = (lines * line).next_multiple_of(16);
    let plane = (lines + 2 * margin) * line + margin + 16;
    let weights = groups * GROUP * dims.c * taps;
    let mut partial = vec![0.0_f32; dims.n * blocks * weights];
    partial.par_chunks_exact_mut(weights).enumerate().for_each(|(task, partial)| {
        let (n, first) = (task / blocks, task % blocks * lines);
        let lines = lines.min(dims.h - first);
        with_scratch(dims.c * plane + SLACK + groups * GROUP * run, |scratch| {
            let (input, output) = scratch.split_at_mut(dims.c * plane + SLACK);
            copy_bordered(&x[n * dims.c * dims.plane()..][..dims.c * dims.plane()], dims, first, lines, margin, plane, input);
            input[dims.c * plane..].fill(0.0);
            copy_lines(&gradient[n * outputs * dims.plane()..], out_dims, first, lines, line, run, output);
            for group in 0..groups {
                for_each_triple(dims.c, side, |triple, count| {
                    let mut sums = [[0.0; 3]; GROUP];
                    let inputs =
                        triple.map(|(channel, tap)| input[channel * plane + (tap / side * line + tap % side) * dilation..].as_ptr());
                    let correlation = Correlation {
                        gradient: output[group * GROUP * run..].as_ptr(),
                        gradient_plane: run,
                        inputs,
                        length: run,
                        sums: &mut sums,
                    };
                    // SAFETY: `output` has eight planes of `run` values for each group; an input plane has the
                    // lines of the block with its margin, and SLACK follows the last.
                    unsafe { dispatch(correlation) };
                    for (o, row) in sums.iter().enumerate() {
                        for (&(channel, tap), sum) in triple.iter().zip(row).take(count) {
                            partial[((group * GROUP + o) * dims.c + channel) * taps + tap] = *sum;
                        }
                    }
                });
            }
        });
    });
    let mut total = vec![0.0_f32; outputs * dims.c * taps];
    let target = Shared::new(&mut total);
    let step = 4096;
    (0..target_chunks(outputs * dims.c * taps, step)).into_par_iter().for_each(|chunk| {
        let from = chunk * step;
        let length = step.min(outputs * dims.c * taps - from);
        // SAFETY: chunks do not overlap.
        let sums = unsafe { target.part(from, length) };
        for part in partial.chunks_exact(weights) {
            for (sum, value) in sums.iter_mut().zip(&part[from..from + length]) {
                *sum += value;
            }
        }
    });
    total
}

fn target_chunks(length: usize, step: usize) -> usize {
    length.div_ceil(step)
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

/// Copies lines of the output's gradient so that they fall on the lines of the bordered input, zero between
/// them and in the channels that fill the last group.
fn copy_lines(gradient: &[f32], dims: Dims, first: usize, lines: usize, line: usize, run: usize, to: &mut [f32]) {
    for (channel, target) in to.chunks_exact_mut(run).enumerate() {
        if channel >= dims.c {
            target.fill(0.0);
            continue;
        }
        let source = &gradient[channel * dims.plane()..(channel + 1) * dims.plane()];
        for r in 0..lines {
            let row = &mut target[r * line..(r + 1) * line];
            row[..dims.w].copy_from_slice(&source[(first + r) * dims.w..(first + r + 1) * dims.w]);
            row[dims.w..].fill(0.0);
        }
        target[lines * line..].fill(0.0);
    }
}
