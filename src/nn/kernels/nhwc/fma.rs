//! Products of `f32` with vectors of any width.

use super::format::Format;
use super::product::LineTask;
use super::turns::turns;
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::simd::{Lanes, Task, dispatch_on};

/// Units computed together where there are 32 registers, and fewer for the end of a line.
pub(super) const MANY: [usize; 2] = [14, 8];
/// The same where there are 16 registers.
const FEW: [usize; 2] = [6, 4];
/// Inputs multiplied in one turn of the loop.
pub(super) const INPUTS: usize = 4;
/// Values that lie a multiple of this apart are at one place in the first-level cache: 4 KiB, in all that is x86.
const FIRST_LEVEL_PITCH: usize = 1024;

/// One line of a product whose result is stored as `F`.
struct Line<'a, F: Format>(&'a LineTask<'a, f32, F::Value>);

/// Computes a line.
///
/// # Safety
/// `isa` must be here, and the product packed for it; the task's pointers good for what it reads and writes.
pub(super) unsafe fn line<F: Format>(isa: Isa, task: &LineTask<f32, F::Value>) {
    // SAFETY: the caller's promise.
    unsafe { dispatch_on(isa, Line::<F>(task)) }
}

impl<F: Format> Tiles for Line<'_, F> {
    #[inline(always)]
    unsafe fn tile<L: Lanes, const UNITS: usize, const VECTORS: usize>(&self, first: usize) {
        let task = self.0;
        let product = task.product;
        let first_column = task.block * product.block;
        // SAFETY: the units are the line's; weights and bias are padded to whole vectors, results are counted.
        unsafe {
            let mut sums = [[L::splat(0.0); VECTORS]; UNITS];
            for row in &mut sums {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = L::load(product.bias.start().add(first_column + v * L::WIDTH));
                }
            }
            let mut weights = product.weights.start().add(task.block * product.block_values);
            for (source, (channels, steps)) in product.sources.iter().zip(&product.steps).enumerate() {
                let pitch = product.unit * channels;
                // What the next tile reads and this one does not, a part of it with each turn.
                let turns = steps.len() / INPUTS;
                let fetched = (UNITS * pitch).div_ceil(turns.max(1));
                for line in 0..product.lines {
                    let mut from = task.from[source][line].add(first * pitch);
                    let mut next = from.wrapping_add((UNITS - 1) * pitch + steps.len());
                    for _ in 0..turns {
                        L::fetch(next);
                        L::fetch(next.wrapping_add(fetched / 2));
                        next = next.wrapping_add(fetched);
                        for input in 0..INPUTS {
                            add_products(&mut sums, from.add(input), pitch, weights.add(input * VECTORS * L::WIDTH));
                        }
                        weights = weights.add(INPUTS * VECTORS * L::WIDTH);
                        from = from.add(INPUTS);
                    }
                    for _ in 0..steps.len() % INPUTS {
                        add_products(&mut sums, from, pitch, weights);
                        weights = weights.add(VECTORS * L::WIDTH);
                        from = from.add(1);
                    }
                }
            }
            let floor = L::splat(if product.relu { 0.0 } else { f32::NEG_INFINITY });
            // In an array of their own: sums that a loop picks out by their number would be in memory all along.
            let mut results = [[L::splat(0.0); VECTORS]; UNITS];
            for (results, sums) in results.iter_mut().zip(sums) {
                for (result, sum) in results.iter_mut().zip(sums) {
                    *result = floor.max(sum);
                }
            }
            let columns = (product.columns - first_column).min(product.block);
            for (unit, row) in results.iter().enumerate() {
                let to = task.to.add((first + unit) * product.columns + first_column);
                for (v, result) in row.iter().enumerate() {
                    let count = columns.saturating_sub(v * L::WIDTH).min(L::WIDTH);
                    if count > 0 {
                        F::store(*result, to.add(v * L::WIDTH), task.to_part, count);
                    }
                }
            }
        }
    }
}

/// A matrix product whose result is computed in tiles of some units by some vectors of columns.
pub(super) trait Tiles {
    /// Computes the tile of the units from `first` on.
    ///
    /// # Safety
    /// As for `L`; the units must be there.
    unsafe fn tile<L: Lanes, const UNITS: usize, const VECTORS: usize>(&self, first: usize);

    /// Computes `units` units of one or two vectors of columns, of inputs that begin a `pitch` of values apart.
    ///
    /// # Safety
    /// As for `L`; the units must be there.
    #[inline(always)]
    unsafe fn all<L: Lanes>(&self, units: usize, vectors: usize, pitch: usize) {
        // A first-level cache has room for eight or twelve values that lie so far apart.
        let few = pitch.is_multiple_of(FIRST_LEVEL_PITCH);
        // SAFETY: the caller's promise.
        unsafe {
            match (L::MANY, vectors, few) {
                (true, 1, _) => self.walk::<L, { MANY[0] }, { MANY[1] }, 1>(units),
                (true, _, false) => self.walk::<L, { MANY[0] }, { MANY[1] }, 2>(units),
                (true, _, true) => self.walk::<L, { MANY[1] }, { MANY[1] }, 2>(units),
                (false, 1, _) => self.walk::<L, { FEW[0] }, { FEW[1] }, 1>(units),
                (false, _, _) => self.walk::<L, { FEW[0] }, { FEW[1] }, 2>(units),
            }
        }
    }

    /// # Safety
    /// As for [`Tiles::all`].
    #[inline(always)]
    unsafe fn walk<L: Lanes, const UNITS: usize, const SHORT: usize, const VECTORS: usize>(&self, units: usize) {
        for (first, count) in turns(units, UNITS, SHORT) {
            // SAFETY: the caller's promise; a turn's units are there.
            unsafe {
                if count == UNITS {
                    self.tile::<L, UNITS, VECTORS>(first);
                } else if count == SHORT {
                    self.tile::<L, SHORT, VECTORS>(first);
                } else {
                    self.tile::<L, 1, VECTORS>(first);
                }
            }
        }
    }
}

/// Adds one input of each unit times its weights.
///
/// # Safety
/// As for `L`; `from` good for a value each `pitch`, `weights` for whole vectors.
#[inline(always)]
pub(super) unsafe fn add_products<L: Lanes, const UNITS: usize, const VECTORS: usize>(
    sums: &mut [[L; VECTORS]; UNITS],
    from: *const f32,
    pitch: usize,
    weights: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let row: [L; VECTORS] = std::array::from_fn(|v| L::load(weights.add(v * L::WIDTH)));
        for (unit, sums) in sums.iter_mut().enumerate() {
            let input = L::splat(*from.add(unit * pitch));
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum = sum.plus_product(input, weight);
            }
        }
    }
}

impl<F: Format> Task for Line<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let product = self.0.product;
        let vectors = product.stored(self.0.block, L::WIDTH) / L::WIDTH;
        let widest = product.sources.iter().map(|channels| product.unit * channels).max().unwrap_or(0);
        // SAFETY: the caller's promise.
        unsafe { self.all::<L>(self.0.units, vectors, widest) }
    }
}
