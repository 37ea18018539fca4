//! Convolution 3×3 and 1×1 that keeps the size: stride 1, padded with zeros.

use super::fresh::fresh;
use super::isa::Isa;
use super::panel::{GROUP, Packed, Panel, SLACK};
use super::picture::{Apart, Pictures};
use super::{Dims, LEAST_CHANNELS};
use crate::config::Precision;
use rayon::prelude::*;
use std::cell::RefCell;

/// Values of a block's input that should stay in the second-level cache.
pub(super) const BLOCK_VALUES: usize = 96 * 1024;

/// Values of a cache line, at whose beginning scratch begins.
const CACHE_LINE: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<[f32; CACHE_LINE]>> = const { RefCell::new(Vec::new()) };
}

/// Lends `work` a buffer of this thread of `length` values, of any content, that begins at a cache line.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with(|cell| {
        let mut buffer = cell.take();
        let lines = length.div_ceil(CACHE_LINE) + 1;
        if buffer.len() < lines {
            buffer.resize(lines, [0.0; CACHE_LINE]);
        }
        let values = buffer.as_flattened_mut();
        // Every value is a multiple of four bytes away from a cache line, so that one is found.
        let start = values.as_ptr().align_offset(4 * CACHE_LINE).min(CACHE_LINE);
        let result = work(&mut values[start..start + length]);
        cell.replace(buffer);
        result
    })
}

/// Lines of a block with `channels` channels of `w` pixels.
pub(super) fn block_lines(channels: usize, h: usize, w: usize) -> usize {
    (BLOCK_VALUES / (channels * (w + 1))).clamp(1, h.max(1))
}

/// Copies lines `first..first + lines` of each channel of picture `n` into bordered planes of
/// `extent` values, `plane` apart, with `margin` more lines above and below, zero where there is no picture.
#[allow(clippy::too_many_arguments)] // slices and sizes of one loop
pub(super) fn copy_bordered(
    pictures: &Pictures,
    n: usize,
    first: usize,
    lines: usize,
    margin: usize,
    plane: usize,
    extent: usize,
    to: &mut [f32],
) {
    let Dims { c: channels, h, w, .. } = pictures.size();
    let line = w + margin;
    for c in 0..channels {
        let target = &mut to[c * plane..][..extent];
        let source = pictures.plane(n, c);
        for r in 0..lines + 2 * margin {
            let row = &mut target[r * line..(r + 1) * line];
            let y = (first + r).wrapping_sub(margin);
            if y < h {
                row[..margin].fill(0.0);
                source.write(y * w, &mut row[margin..]);
            } else {
                row.fill(0.0);
            }
        }
        target[(lines + 2 * margin) * line..].fill(0.0);
    }
}

/// A convolution's weights as they are to be laid over a picture.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Weights<'a> {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Side of the kernel: 1 or 3.
    pub side: usize,
    values: &'a [f32],
    /// Whether channels are exchanged and the kernel turned.
    backward: bool,
}

impl<'a> Weights<'a> {
    /// `[output, input, side, side]` as they are.
    pub fn forward(values: &'a [f32], outputs: usize, inputs: usize, side: usize) -> Self {
        assert_eq!(values.len(), outputs * inputs * side * side, "weights of a convolution");
        Self { outputs, inputs, side, values, backward: false }
    }

    /// The same for the gradient of the input: channels exchanged, kernel turned.
    pub fn backward(self) -> Self {
        Self { outputs: self.inputs, inputs: self.outputs, backward: !self.backward, ..self }
    }

    /// The weight of a tap, taps counted line by line.
    #[inline(always)]
    pub(super) fn at(&self, output: usize, input: usize, tap: usize) -> f32 {
        let taps = self.side * self.side;
        if self.backward {
            self.values[(input * self.outputs + output) * taps + taps - 1 - tap]
        } else {
            self.values[(output * self.inputs + input) * taps + tap]
        }
    }
}

/// Whether tiles do it: how many bf16 stand for a number, 0 where nothing but `f32` will do.
pub(super) fn parts(precision: Precision, inputs: usize, outputs: usize) -> usize {
    let worthwhile = inputs.min(outputs) >= LEAST_CHANNELS && Isa::best() == Isa::Amx;
    match precision {
        Precision::F32Grade if worthwhile => 2,
        Precision::Bf16 if worthwhile => 1,
        _ => 0,
    }
}

/// Convolves a batch of pictures; the result holds `[n, outputs, h, w]`.
///
/// The taps of a 3×3 kernel are `dilation` pixels apart. Runs on the current rayon pool,
/// a task for each block of lines. `f32-grade` and `bf16` need AMX and at least 8 channels, else they are `f32`.
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
    let blocks = |out: &Apart| {
        #[cfg(target_arch = "x86_64")]
        match parts(precision, weights.inputs, weights.outputs) {
            2 => return super::tiled::convolve::<2>(x, weights, dilation, out),
            1 => return super::tiled::convolve::<1>(x, weights, dilation, out),
            _ => {}
        }
        convolve(x, &Packed::new(weights), dilation, out);
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
            copy_bordered(x, n, first, lines, margin, plane, plane, input);
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
                    let to = unsafe { out.lines(n, group * GROUP + o, first, lines) };
                    for (r, row) in to.chunks_exact_mut(size.w).enumerate() {
                        row.write_copy_of_slice(&output[o * run + r * line..][..size.w]);
                    }
                }
            }
        });
    });
}
