//! Products of bf16 with AVX-512: 16 sums of pairs at once, from the same weights as AMX.

use super::amx::store;
use super::product::{BRAIN_INPUTS, COLUMNS, LineTask};
use super::turns::turns;
use std::arch::x86_64::*;

/// Units computed together. With 14 of them the compiler keeps sums in memory.
const LONG: usize = 12;
/// The same at the end of a line.
const SHORT: usize = 8;

/// Computes a line.
///
/// # Safety
/// AVX-512 bf16 must be here; the task's pointers good for what the product reads and writes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn line(task: &LineTask<u16, u16>) {
    let wide = task.product.stored(task.block, COLUMNS) > COLUMNS;
    for (first, count) in turns(task.units, LONG, SHORT) {
        // SAFETY: the caller's promise; a turn's units are the line's.
        unsafe {
            match (wide, count) {
                (true, LONG) => tile::<2, LONG>(task, first),
                (true, SHORT) => tile::<2, SHORT>(task, first),
                (true, _) => tile::<2, 1>(task, first),
                (false, LONG) => tile::<1, LONG>(task, first),
                (false, SHORT) => tile::<1, SHORT>(task, first),
                (false, _) => tile::<1, 1>(task, first),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn tile<const VECTORS: usize, const COUNT: usize>(task: &LineTask<u16, u16>, first: usize) {
    let product = task.product;
    let first_column = task.block * product.block;
    let columns = (product.columns - first_column).min(product.block);
    let mask = if columns == 32 { u32::MAX } else { (1_u32 << columns) - 1 };
    // SAFETY: the units are the line's; weights and bias are padded to whole vectors.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; COUNT];
        for row in &mut sums {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = _mm512_load_ps(product.bias.start().add(first_column + v * COLUMNS));
            }
        }
        let mut weights = product.weights.start().add(task.block * product.block_values);
        for (source, (channels, steps)) in product.sources.iter().zip(&product.steps).enumerate() {
            let pitch = product.unit * channels;
            for line in 0..product.lines {
                let from = task.from[source][line].add(first * pitch);
                for k in steps.iter().flat_map(|step| (*step..step + BRAIN_INPUTS).step_by(2)) {
                    let mut pair = [_mm512_setzero_si512(); VECTORS];
                    for (v, pair) in pair.iter_mut().enumerate() {
                        *pair = _mm512_load_si512(weights.add(v * 32 * COLUMNS).cast());
                    }
                    for (unit, row) in sums.iter_mut().enumerate() {
                        let inputs = _mm512_set1_epi32(from.add(unit * pitch + k).cast::<i32>().read_unaligned());
                        for (sum, pair) in row.iter_mut().zip(pair) {
                            *sum = _mm512_dpbf16_ps(
                                *sum,
                                std::mem::transmute::<__m512i, __m512bh>(inputs),
                                std::mem::transmute::<__m512i, __m512bh>(pair),
                            );
                        }
                    }
                    weights = weights.add(2 * COLUMNS);
                    if k % BRAIN_INPUTS == BRAIN_INPUTS - 2 {
                        weights = weights.add((VECTORS - 1) * 32 * COLUMNS);
                    }
                }
            }
        }
        let floor = _mm512_set1_ps(if product.relu { 0.0 } else { f32::NEG_INFINITY });
        // In an array of their own: sums that a loop picks out by their number would be in memory all along.
        let mut results = [[_mm512_setzero_ps(); VECTORS]; COUNT];
        for (results, sums) in results.iter_mut().zip(sums) {
            for (result, sum) in results.iter_mut().zip(sums) {
                // The second operand is what comes out if one of them is not a number.
                *result = _mm512_max_ps(floor, sum);
            }
        }
        for (unit, row) in results.iter().enumerate() {
            let to = task.to.add((first + unit) * product.columns + first_column);
            let right = if VECTORS == 2 { row[VECTORS - 1] } else { _mm512_setzero_ps() };
            store::<false>(row[0], right, false, to, task.to_part, mask);
        }
    }
}
