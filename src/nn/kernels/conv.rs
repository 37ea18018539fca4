//! Convolution 3×3 and 1×1 that keeps the size: stride 1, padded with zeros.

use super::fresh::fresh;
use super::panel::{GROUP, Packed, Panel, SLACK};
use super::picture::{Apart, Pictures};
use super::scratch::{block_lines, with_scratch};
use super::weights::{Products, Weights};
use super::{strips, tiled};
use crate::config::Precision;
use rayon::prelude::*;

/// Convolves a batch of pictures; the result holds `[n, outputs, h, w]`.
///
/// The taps of a 3×3 kernel are `dilation` pixels apart. Runs on the current rayon pool,
/// a task for each block of lines. `f32-grade` and `bf16` want at least 8 channels, else they are `f32`; without AMX both
/// have half of the products of 3×3 kernels that are not dilated, in `f32`, or for `bf16` in pairs of bf16 where these are quick.
pub(in crate::nn) fn convolved(x: &Pictures, weights: &Weights, dilation: usize, precision: Precision) -> Vec<f32> {
    let [all, _] = convolved_apart(x, weights, dilation, precision, weights.outputs);
    all
}

/// As [`convolved`], the first `first` outputs and the others each for themselves.
pub(in crate::nn) fn convolved_apart(
    x: &Pictures,
    weights: &Weights,
    dilation: usize,
    precision: Precision,
    first: usize,
) -> [Vec<f32>; 2] {
    let size = x.size();
    assert_eq!(size.c, weights.inputs, "input channels of a convolution");
    let out_size = size.with_channels(weights.outputs);
    let blocks = |out: &Apart| match Products::new(precision, [weights.side, dilation], [weights.inputs, weights.outputs]) {
        Products::Tiles { parts: 2 } => tiled::convolve::<2>(x, weights, dilation, out),
        Products::Tiles { .. } => tiled::convolve::<1>(x, weights, dilation, out),
        Products::HalvedPairs => strips::convolve::<2>(x, weights, out),
        Products::Halved => strips::convolve::<1>(x, weights, out),
        Products::Single => convolve(x, &Packed::new(weights), dilation, out),
    };
    let mut second_part = Vec::new();
    let lengths = [first, weights.outputs - first].map(|channels| out_size.with_channels(channels).len());
    // SAFETY: the blocks cover every line of every output channel, each in its part.
    let first_part = unsafe {
        fresh(lengths[0], |first_part| {
            second_part = fresh(lengths[1], |second_part| blocks(&Apart::new(first_part, second_part, first, out_size)));
        })
    };
    [first_part, second_part]
}

/// Writes all of `out`.
fn convolve(x: &Pictures, packed: &Packed, dilation: usize, out: &Apart) {
    let size = x.size();
    let margin = packed.side / 2 * dilation;
    let line = size.w + margin;
    let lines = block_lines(size.c, size.h, size.w);
    let blocks = size.h.div_ceil(lines);
    let plane = (lines + 2 * margin) * line + margin;
    (0..size.n * blocks).into_par_iter().for_each(|task| {
        let (n, first) = (task / blocks, task % blocks * lines);
        let lines = lines.min(size.h - first);
        let run = lines * line;
        with_scratch(size.c * plane + SLACK + GROUP * run, |scratch| {
            let (input, output) = scratch.split_at_mut(size.c * plane + SLACK);
            for (c, plane) in input.chunks_exact_mut(plane).enumerate().take(size.c) {
                x.copy_bordered([n, c], first, lines, margin, plane);
            }
            input[size.c * plane..].fill(0.0);
            for group in 0..packed.groups() {
                let panel = Panel {
                    packed,
                    group,
                    source: input.as_ptr(),
                    source_plane: plane,
                    line,
                    dilation,
                    target: output.as_mut_ptr(),
                    target_plane: run,
                    length: run - margin,
                };
                // SAFETY: the last tap of the last result reads value (lines - 1 + 2 margin) * line + w - 1 + 2 margin of
                // a plane at most, which `plane` has; SLACK follows; `output` is this task's own and holds GROUP runs.
                unsafe { panel.run() };
                for o in 0..packed.width_of(group) {
                    // SAFETY: each task writes the lines of its own block.
                    unsafe { out.write(n, group * GROUP + o, first, lines, &output[o * run..], line) };
                }
            }
        });
    });
}
