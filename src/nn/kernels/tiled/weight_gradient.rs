//! Gradient of a convolution's weights.

use super::pack::{self, Lines};
use super::step::{self, Block, Column, Factor, Square};
use super::{ROWS, SUMS};
use crate::nn::kernels::Dims;
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::picture::{Pictures, Plane};
use crate::nn::kernels::scratch::{BLOCK_VALUES, with_scratch};
use crate::nn::kernels::split::{Kernel, Part, Split, Tasks};
use crate::nn::kernels::tiles::{ROW_BYTES, TILE_BYTES, Tiles};
use rayon::prelude::*;

/// Pixels of a step.
const STEP: usize = 2 * ROWS;
/// Steps that are done at a time for each tile of sums: their factors fit the first-level cache.
const CHUNK: usize = 16;

/// Gradient of weights as [`weight_gradient`](crate::nn::kernels::weight_gradient) gives it.
///
/// # Panics
/// Without AMX.
pub(in crate::nn::kernels) fn weight_gradient<const PARTS: usize>(x: &Pictures, gradient: &Pictures, kernel: Kernel) -> Vec<f32> {
    let Kernel { outputs, side, dilation } = kernel;
    assert!(Isa::Amx.is_here(), "weight gradient on tiles without AMX");
    let dims = x.size();
    let (margin, taps) = (side / 2 * dilation, side * side);
    let line = dims.w + margin;
    let split = Split::new(dims, outputs, Tasks { group: ROWS, lines: 1, values: BLOCK_VALUES });
    let (runs, shares) = (split.runs(), split.shares());
    let stretch = (split.lines + 2 * margin) * line;
    let run = (split.pictures * stretch).next_multiple_of(STEP);
    let plane = (run + 2 * margin * (line + 1)).next_multiple_of(STEP) + STEP;
    // A row of a tile of sums stands for an input channel; few of them make a tile of fewer rows.
    let rows = dims.c.min(ROWS);
    let channel_groups = dims.c.div_ceil(rows);
    let items = (channel_groups * taps).next_multiple_of(Column::LEFT);
    let sums = split.groups * items * SUMS;
    if runs == 0 {
        return vec![0.0; outputs * dims.c * taps];
    }
    let mut partial = vec![0.0_f32; runs * shares * sums];
    partial.par_chunks_exact_mut(sums.max(1)).enumerate().for_each(|(task, partial)| {
        let Part { pictures, lines, outputs: channels } = split.part(task);
        let groups = channels.len().div_ceil(ROWS);
        let (input_part, flat_part, turned_part) = (channel_groups * rows * plane, ROWS * run, groups * ROWS * run);
        // Two numbers of bf16 take the place of one of the scratch.
        let halves = [PARTS * input_part, PARTS * flat_part, PARTS * turned_part].map(|values| values.div_ceil(2).next_multiple_of(ROWS));
        with_scratch(halves.iter().sum(), |scratch| {
            let start = scratch.as_mut_ptr();
            // SAFETY: three parts of the scratch, one behind the other.
            let (turned, flat, input): (*mut u32, *mut u16, *mut u16) =
                unsafe { (start.cast(), start.add(halves[2]).cast(), start.add(halves[2] + halves[1]).cast()) };
            let last = pictures.len() - 1;
            let extent = |at: usize, whole: usize| if at == last { whole - at * stretch } else { stretch };
            for (at, n) in pictures.clone().enumerate() {
                let lines = Lines { first: lines.start, count: lines.len(), margin, extent: extent(at, plane) };
                for (c, channel) in pack::planes(x, n, 0..dims.c, rows).enumerate() {
                    // SAFETY: AMX comes with AVX-512 bf16; a picture's stretch lies within its channel's plane.
                    unsafe { pack::plain::<PARTS>(channel, dims, lines, input.add(c * plane + at * stretch), input_part) };
                }
            }
            for group in 0..groups {
                let of_group = channels.start + group * ROWS..channels.end.min(channels.start + (group + 1) * ROWS);
                for (at, n) in pictures.clone().enumerate() {
                    for (c, channel) in pack::planes(gradient, n, of_group.clone(), ROWS).enumerate() {
                        let lines = lines.clone();
                        // SAFETY: as above; the lines fall on those of the input.
                        unsafe {
                            flat_lines::<PARTS>(channel, dims.w, line, lines, extent(at, run), flat.add(c * run + at * stretch), flat_part)
                        };
                    }
                }
                for part in 0..PARTS {
                    for step in 0..run / STEP {
                        // SAFETY: 16 planes of `run` numbers, and as many places for them.
                        unsafe {
                            let from = flat.add(part * flat_part + step * STEP).cast::<u32>();
                            let to = turned.add((part * turned_part + group * ROWS * run) / 2 + step * ROWS * ROWS);
                            pack::turned(from, run / 2, to);
                        }
                    }
                }
            }
            // SAFETY: AMX is here.
            let _tiles = unsafe { Tiles::set_up(std::array::from_fn(|tile| (if tile < 6 { rows } else { ROWS }, ROW_BYTES))) };
            let pass =
                Products { rows, taps, side, items, line, dilation, steps: run / STEP, plane, run, input, input_part, turned, turned_part };
            for first in (0..pass.steps).step_by(CHUNK) {
                for group in (0..groups).step_by(2) {
                    let to = partial[group * items * SUMS..].as_mut_ptr();
                    // SAFETY: a tap's greatest offset is 2 margin (line + 1), which the planes have behind `run`; `partial`
                    // holds `items` tiles for each group.
                    unsafe {
                        if group + 1 < groups {
                            pass.run::<PARTS, Square>(first, group, channel_groups * taps, to);
                        } else {
                            pass.run::<PARTS, Column>(first, group, channel_groups * taps, to);
                        }
                    }
                }
            }
        });
    });
    let (total, others) = partial.split_at_mut(shares * sums);
    total.par_chunks_mut(16 * SUMS).enumerate().for_each(|(chunk, total)| {
        for other in others.chunks_exact(shares * sums) {
            let other = &other[chunk * 16 * SUMS..][..total.len()];
            total.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
        }
    });
    let mut weights = vec![0.0_f32; outputs * dims.c * taps];
    weights.par_chunks_exact_mut((dims.c * taps).max(1)).enumerate().for_each(|(output, weights)| {
        let (share, within) = split.place(output);
        let tiles = &total[share * sums + within / ROWS * items * SUMS..][..items * SUMS];
        for (c, weights) in weights.chunks_exact_mut(taps).enumerate() {
            for (tap, weight) in weights.iter_mut().enumerate() {
                *weight = tiles[(c / rows * taps + tap) * SUMS + c % rows * ROWS + within % ROWS];
            }
        }
    });
    weights
}

/// Packs lines of an output's gradient so that they fall on the lines of the bordered input, zeros between and behind.
///
/// # Safety
/// AVX-512 bf16; `extent` values behind `to`, in every part.
unsafe fn flat_lines<const PARTS: usize>(
    plane: Option<Plane>,
    w: usize,
    line: usize,
    lines: std::ops::Range<usize>,
    extent: usize,
    to: *mut u16,
    part: usize,
) {
    let one = Dims { n: 1, c: 1, h: 1, w };
    let count = lines.len();
    for (r, y) in lines.enumerate() {
        let row = plane.map(|plane| Plane { values: &plane.values[y * w..(y + 1) * w], ..plane });
        let extent = if r + 1 == count { extent - r * line } else { line };
        // SAFETY: the caller's promise.
        unsafe { pack::plain::<PARTS>(row, one, Lines { first: 0, count: 1, margin: 0, extent }, to.add(r * line), part) };
    }
}

/// Products of a task's inputs and gradients.
struct Products {
    /// Input channels of a tile.
    rows: usize,
    taps: usize,
    side: usize,
    /// Tiles of sums for each group of outputs.
    items: usize,
    line: usize,
    dilation: usize,
    steps: usize,
    plane: usize,
    run: usize,
    input: *const u16,
    input_part: usize,
    turned: *const u32,
    turned_part: usize,
}

impl Products {
    /// Adds a chunk of steps from `first` on to the sums of one or two groups of outputs.
    ///
    /// # Safety
    /// Tiles set up; inputs, gradients and sums in bounds.
    unsafe fn run<const PARTS: usize, B: Block>(&self, first: usize, group: usize, used: usize, sums: *mut f32) {
        let tap_offset = |tap: usize| (tap / self.side * self.line + tap % self.side) * self.dilation;
        // The last tiles, which nobody reads, repeat the last item.
        let offset = |item: usize| {
            let item = item.min(used - 1);
            2 * (item / self.taps * self.rows * self.plane + tap_offset(item % self.taps))
        };
        for item in (0..used).step_by(B::LEFT) {
            let left_next: [usize; 4] = std::array::from_fn(|i| offset(item + i.min(B::LEFT - 1)));
            let tile = |i: usize| sums.wrapping_add((i % B::RIGHT * self.items + item + i / B::RIGHT) * SUMS);
            let tiles: [*mut f32; 4] = std::array::from_fn(tile);
            // SAFETY: the caller's promise.
            unsafe {
                step::read(tiles.map(|tile| tile.cast_const()));
                let mut left = Factor { at: self.input.add(first * STEP).cast(), stride: 2 * self.plane, part: 2 * self.input_part };
                let gradient = self.turned.add(group * ROWS * self.run / 2 + first * ROWS * ROWS);
                let mut right = Factor { at: gradient.cast(), stride: ROW_BYTES, part: 2 * self.turned_part };
                for _ in first..self.steps.min(first + CHUNK) {
                    B::step::<PARTS>(left, &left_next, right, 2 * ROWS * self.run);
                    left = left.plus(2 * STEP);
                    right = right.plus(TILE_BYTES);
                }
                step::write(tiles, ROWS);
            }
        }
    }
}
