//! Convolution 3×3 and 1×1 that keeps the size: stride 1, padded with zeros.

use super::Dims;
use super::fresh::fresh;
use super::panel::{GROUP, Packed, Panel, SLACK};
use super::shared::Shared;
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

/// Convolves a batch: `x` holds `[n, inputs, h, w]`, the result `[n, outputs, h, w]`.
///
/// `dims` are those of `x`; the taps of a 3×3 kernel are `dilation` pixels apart. Runs on the current rayon pool,
/// a task for each block of lines.
pub(in crate::nn) fn conv_nchw(x: &[f32], dims: Dims, packed: &Packed, dilation: usize) -> Vec<f32> {
    assert_eq!(x.len(), dims.len(), "input of a convolution");
    assert_eq!(dims.c, packed.inputs, "input channels of a convolution");
    // SAFETY: the blocks cover every line of every output channel.
    unsafe { fresh(dims.with_channels(packed.outputs).len(), |out| conv_blocks(x, dims, packed, dilation, out)) }
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
                    relu: false,
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
