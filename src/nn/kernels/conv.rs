//! Convolution 3×3 and 1×1 that keeps the size: stride 1, padded with zeros.

use super::fresh::fresh;
use super::isa::Isa;
use super::panel::{GROUP, Packed, Panel, SLACK};
use super::shared::Shared;
use super::{Dims, LEAST_CHANNELS};
use crate::config::Precision;
use rayon::prelude::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;

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

/// Copies lines `first..first + lines` of each channel of a picture into bordered planes of
/// `extent` values, `plane` apart, with `margin` more lines above and below, zero where there is no picture.
#[allow(clippy::too_many_arguments)] // slices and sizes of one loop
pub(super) fn copy_bordered(
    picture: &[f32],
    dims: Dims,
    first: usize,
    lines: usize,
    margin: usize,
    plane: usize,
    extent: usize,
    to: &mut [f32],
) {
    let line = dims.w + margin;
    for c in 0..dims.c {
        let target = &mut to[c * plane..][..extent];
        let source = &picture[c * dims.plane()..(c + 1) * dims.plane()];
        for r in 0..lines + 2 * margin {
            let row = &mut target[r * line..(r + 1) * line];
            let y = (first + r).wrapping_sub(margin);
            if y < dims.h {
                row[..margin].fill(0.0);
                row[margin..].copy_from_slice(&source[y * dims.w..(y + 1) * dims.w]);
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

/// Convolves a batch: `x` holds `[n, inputs, h, w]`, the result `[n, outputs, h, w]`.
///
/// `dims` are those of `x`; the taps of a 3×3 kernel are `dilation` pixels apart. Runs on the current rayon pool,
/// a task for each block of lines. `f32-grade` and `bf16` need AMX and at least 8 channels, else they are `f32`.
pub(in crate::nn) fn convolved(x: &[f32], dims: Dims, weights: &Weights, dilation: usize, precision: Precision) -> Vec<f32> {
    assert_eq!(x.len(), dims.len(), "input of a convolution");
    assert_eq!(dims.c, weights.inputs, "input channels of a convolution");
    #[cfg(target_arch = "x86_64")]
    match parts(precision, weights.inputs, weights.outputs) {
        2 => return super::tiled::convolved::<2>(x, dims, weights, dilation),
        1 => return super::tiled::convolved::<1>(x, dims, weights, dilation),
        _ => {}
    }
    let packed = Packed::new(weights);
    // SAFETY: the blocks cover every line of every output channel.
    unsafe { fresh(dims.with_channels(packed.outputs).len(), |out| conv_blocks(x, dims, &packed, dilation, out)) }
}

/// Writes all of `out`.
fn conv_blocks(x: &[f32], dims: Dims, packed: &Packed, dilation: usize, out: &mut [MaybeUninit<f32>]) {
    let margin = packed.side / 2 * dilation;
    let line = dims.w + margin;
    let lines = block_lines(dims.c, dims.h, dims.w);
    let blocks = dims.h.div_ceil(lines);
    let plane = (lines + 2 * margin) * line + margin;
    let pixels = dims.plane();
    let target = Shared::new(out);
    (0..dims.n * blocks).into_par_iter().for_each(|task| {
        let (n, first) = (task / blocks, task % blocks * lines);
        let lines = lines.min(dims.h - first);
        let picture = &x[n * dims.c * pixels..(n + 1) * dims.c * pixels];
        let run = lines * line;
        with_scratch(dims.c * plane + SLACK + GROUP * run, |scratch| {
            let (input, output) = scratch.split_at_mut(dims.c * plane + SLACK);
            copy_bordered(picture, dims, first, lines, margin, plane, plane, input);
            input[dims.c * plane..].fill(0.0);
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
                    let channel = n * packed.outputs + group * GROUP + o;
                    // SAFETY: each task writes the lines of its own block.
                    let to = unsafe { target.part(channel * pixels + first * dims.w, lines * dims.w) };
                    for (r, row) in to.chunks_exact_mut(dims.w).enumerate() {
                        row.write_copy_of_slice(&output[o * run + r * line..][..dims.w]);
                    }
                }
            }
        });
    });
}
