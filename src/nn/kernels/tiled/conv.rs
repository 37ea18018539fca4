//! Convolution.

use super::pack::{self, Lines};
use super::step::{self, Block, Factor, Row, Square};
use super::{ROWS, TILE_VALUES};
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::picture::{Apart, Pictures};
use crate::nn::kernels::scratch::{block_lines, with_scratch};
use crate::nn::kernels::tiles::{ROW_BYTES, TILE_BYTES, Tiles};
use crate::nn::kernels::weights::Weights;
use rayon::prelude::*;

/// A tile of weights, whose rows do not cross cache lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Tile([u16; TILE_VALUES]);

/// Weights in tiles of 16 outputs × 32 inputs.
struct Packed {
    /// `[group of outputs][block of inputs][tap][part]`, each a tile.
    values: Vec<Tile>,
    groups: usize,
    /// Blocks of 32 inputs.
    blocks: usize,
    /// Pairs of inputs in a block.
    pairs: usize,
    side: usize,
    outputs: usize,
}

impl Packed {
    fn new<const PARTS: usize>(weights: &Weights) -> Self {
        let taps = weights.side * weights.side;
        let (groups, blocks) = (weights.outputs.div_ceil(ROWS), weights.inputs.div_ceil(2 * ROWS));
        let mut values = vec![Tile([0; TILE_VALUES]); groups * blocks * taps * PARTS];
        values.par_chunks_exact_mut(blocks * taps * PARTS).enumerate().for_each(|(group, values)| {
            for output in group * ROWS..weights.outputs.min((group + 1) * ROWS) {
                for input in 0..weights.inputs {
                    for tap in 0..taps {
                        let weight = weights.at(output, input, tap);
                        let upper = half::bf16::from_f32(weight);
                        let tile = (input / (2 * ROWS) * taps + tap) * PARTS;
                        let place = output % ROWS * 2 * ROWS + input % (2 * ROWS);
                        values[tile].0[place] = upper.to_bits();
                        if PARTS == 2 {
                            values[tile + 1].0[place] = half::bf16::from_f32(weight - upper.to_f32()).to_bits();
                        }
                    }
                }
            }
        });
        let pairs = weights.inputs.div_ceil(2).min(ROWS);
        Self { values, groups, blocks, pairs, side: weights.side, outputs: weights.outputs }
    }
}

/// Writes all of `out`, as [`convolved`](crate::nn::kernels::convolved) does it.
///
/// # Panics
/// Without AMX.
pub(in crate::nn::kernels) fn convolve<const PARTS: usize>(x: &Pictures, weights: &Weights, dilation: usize, out: &Apart) {
    assert!(Isa::Amx.is_here(), "convolution on tiles without AMX");
    let packed = &Packed::new::<PARTS>(weights);
    let size = x.size();
    let margin = packed.side / 2 * dilation;
    let line = size.w + margin;
    let lines = block_lines(size.c, size.h, size.w);
    let blocks = size.h.div_ceil(lines);
    // Whole tiles read past the last pixel.
    let plane = (lines + 2 * margin) * line + 2 * margin + 4 * ROWS;
    let part = packed.blocks * packed.pairs * plane;
    (0..size.n * blocks).into_par_iter().for_each(|task| {
        let (n, first) = (task / blocks, task % blocks * lines);
        let lines = lines.min(size.h - first);
        let run = (lines * line).next_multiple_of(4 * ROWS);
        with_scratch(PARTS * part + 2 * ROWS * run, |scratch| {
            let (input, output) = scratch.split_at_mut(PARTS * part);
            let input: *mut u32 = input.as_mut_ptr().cast();
            let mut planes = pack::planes(x, n, 0..size.c, 2 * packed.pairs);
            for pair in 0..packed.blocks * packed.pairs {
                let two = [planes.next().flatten(), planes.next().flatten()];
                let extent = Lines { first, count: lines, margin, extent: plane };
                // SAFETY: AMX comes with AVX-512 bf16; the planes lie one behind the other in each part.
                unsafe { pack::pairs::<PARTS>(two, size, extent, input.add(pair * plane), part) };
            }
            // Left factors are weights of 16 outputs, right ones 16 pixels of so many pairs.
            let shapes = std::array::from_fn(|tile| match tile {
                4 | 5 => (ROWS, 4 * packed.pairs),
                6 | 7 => (packed.pairs, ROW_BYTES),
                _ => (ROWS, ROW_BYTES),
            });
            // SAFETY: AMX is here.
            let _tiles = unsafe { Tiles::set_up(shapes) };
            for group in (0..packed.groups).step_by(2) {
                let pass = Groups { packed, group, dilation, line, input, plane, part, output: output.as_mut_ptr(), run };
                let groups = 2.min(packed.groups - group);
                // SAFETY: border columns are computed too, so that the last tap of the last tile reads pair
                // run - 1 + 2 margin (line + 1) of a plane, and `run` is less than 64 more than lines * line: `plane` has
                // that; `output` is this task's own and holds 32 runs.
                unsafe { if groups == 2 { pass.run::<PARTS, Square>() } else { pass.run::<PARTS, Row>() } }
                for o in 0..(groups * ROWS).min(packed.outputs - group * ROWS) {
                    // SAFETY: each task writes the lines of its own block.
                    unsafe { out.write(n, group * ROWS + o, first, lines, &output[o * run..], line) };
                }
            }
        });
    });
}

/// One or two groups of outputs over a block of lines.
struct Groups<'a> {
    packed: &'a Packed,
    /// The first group.
    group: usize,
    dilation: usize,
    line: usize,
    input: *const u32,
    /// Pairs of a plane, and of all planes of a part.
    plane: usize,
    part: usize,
    output: *mut f32,
    /// Values of an output channel.
    run: usize,
}

impl Groups<'_> {
    /// # Safety
    /// Tiles set up; input and output in bounds.
    unsafe fn run<const PARTS: usize, B: Block>(&self) {
        let Packed { blocks, pairs, side, .. } = *self.packed;
        let tiles_of_group = blocks * side * side * PARTS;
        let left_next = [0, tiles_of_group * TILE_BYTES];
        for at in (0..self.run).step_by(B::RIGHT * ROWS) {
            // SAFETY: the caller's promise; the weights hold a tile for every step of every group.
            unsafe {
                step::clear();
                let weights = self.packed.values.as_ptr().add(self.group * tiles_of_group);
                let mut left = Factor { at: weights.cast(), stride: ROW_BYTES, part: TILE_BYTES };
                for block in 0..blocks {
                    for ky in 0..side {
                        for kx in 0..side {
                            let pixel = self.input.add(block * pairs * self.plane + at + (ky * self.line + kx) * self.dilation);
                            let right = Factor { at: pixel.cast(), stride: 4 * self.plane, part: 4 * self.part };
                            B::step::<PARTS>(left, &left_next, right, ROW_BYTES);
                            left = left.plus(PARTS * TILE_BYTES);
                        }
                    }
                }
                let place = |left: usize, right: usize| self.output.add(left * ROWS * self.run + at + right * ROWS);
                let places = std::array::from_fn(|i| place(i / B::RIGHT, i % B::RIGHT));
                step::write(places, self.run);
            }
        }
    }
}
