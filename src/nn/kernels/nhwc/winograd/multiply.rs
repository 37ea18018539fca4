//! What squares have at one pair of points, times the weights there.

use crate::nn::kernels::nhwc::buffer::Buffer;
use crate::nn::kernels::nhwc::fma::{INPUTS, Tiles, add_products};
use crate::nn::kernels::simd::{Lanes, Task};

/// The weights at one pair of points: by blocks of outputs, by input, by output.
#[derive(Debug)]
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    /// Outputs of a block.
    pub block: usize,
    weights: Buffer<f32>,
}

impl Matrix {
    /// Without weights, for vectors of `width` values.
    pub fn new([inputs, outputs]: [usize; 2], width: usize) -> Self {
        assert!(inputs.is_multiple_of(INPUTS) && outputs.is_multiple_of(width), "channels that come out even");
        Self { inputs, outputs, block: 2 * width, weights: Buffer::zeroed(inputs * outputs) }
    }

    /// The weights of each block of outputs: by input, by output.
    pub fn blocks(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.weights.values_mut().chunks_mut(self.inputs * self.block)
    }

    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }
}

/// The product of some squares' inputs.
pub(super) struct Multiply<'a> {
    pub matrix: &'a Matrix,
    pub squares: usize,
    /// Square after square its inputs.
    pub from: *const f32,
    /// Square after square its outputs.
    pub to: *mut f32,
}

/// A block of outputs.
struct OfBlock<'a> {
    of: &'a Multiply<'a>,
    first: usize,
}

impl Tiles for OfBlock<'_> {
    #[inline(always)]
    unsafe fn tile<L: Lanes, const UNITS: usize, const VECTORS: usize>(&self, first: usize) {
        let Matrix { inputs, outputs, weights, .. } = self.of.matrix;
        let (inputs, outputs) = (*inputs, *outputs);
        // SAFETY: the squares are there; outputs are whole vectors, and the block has as many as are summed.
        unsafe {
            let mut sums = [[L::splat(0.0); VECTORS]; UNITS];
            let mut from = self.of.from.add(first * inputs);
            let mut weights = weights.start().add(self.first * inputs);
            for _ in 0..inputs / INPUTS {
                for input in 0..INPUTS {
                    add_products(&mut sums, from.add(input), inputs, weights.add(input * VECTORS * L::WIDTH));
                }
                from = from.add(INPUTS);
                weights = weights.add(INPUTS * VECTORS * L::WIDTH);
            }
            let mut to = self.of.to.add(first * outputs + self.first);
            for row in sums {
                for (v, sum) in row.into_iter().enumerate() {
                    sum.store(to.add(v * L::WIDTH));
                }
                to = to.add(outputs);
            }
        }
    }
}

impl Task for Multiply<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Matrix { outputs, block, .. } = *self.matrix;
        for first in (0..outputs).step_by(block) {
            let vectors = block.min(outputs - first) / L::WIDTH;
            // SAFETY: the caller's promise.
            unsafe { OfBlock { of: &self, first }.all::<L>(self.squares, vectors, self.matrix.inputs) }
        }
    }
}
