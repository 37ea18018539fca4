//! Products of bytes with AVX-512: 16 sums of four at once.

use super::amx::store_bytes;
use super::product::{COLUMNS, LineTask, VECTOR_BYTE_INPUTS};
use super::turns::turns;
use std::arch::x86_64::*;

/// Units computed together.
const LONG: usize = 14;
/// The same at the end of a line.
const SHORT: usize = 8;
/// Bytes of a vector of weights: four inputs of each column.
const VECTOR: usize = VECTOR_BYTE_INPUTS * COLUMNS;

/// Computes a line.
///
/// # Safety
/// AVX-512 with VNNI must be here; the task's pointers good for what the product reads and writes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn line(task: &LineTask<u8, u8>) {
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const VECTORS: usize, const COUNT: usize>(task: &LineTask<u8, u8>, first: usize) {
    let product = task.product;
    let first_column = task.block * product.block;
    let columns = (product.columns - first_column).min(product.block);
    let mask = if columns == 32 { u32::MAX } else { (1_u32 << columns) - 1 };
    // SAFETY: the units are the line's; weights, their worth and the bias are padded to whole vectors.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; COUNT];
        let mut weights = product.weights.start().add(task.block * product.block_values);
        for (source, (channels, steps)) in product.sources.iter().zip(&product.steps).enumerate() {
            let pitch = product.unit * channels;
            for line in 0..product.lines {
                let from = task.from[source][line].add(first * pitch);
                for step in 0..steps.len() {
                    let mut four = [_mm512_setzero_si512(); VECTORS];
                    for (v, four) in four.iter_mut().enumerate() {
                        *four = _mm512_load_si512(weights.add(v * VECTOR).cast());
                    }
                    for (unit, row) in sums.iter_mut().enumerate() {
                        let inputs = _mm512_set1_epi32(from.add(unit * pitch + VECTOR_BYTE_INPUTS * step).cast::<i32>().read_unaligned());
                        for (sum, four) in row.iter_mut().zip(four) {
                            *sum = _mm512_dpbusd_epi32(*sum, inputs, four);
                        }
                    }
                    weights = weights.add(VECTORS * VECTOR);
                }
            }
        }
        let (worth, bias) = (product.worth.start().add(first_column), product.bias.start().add(first_column));
        // In an array of their own: sums that a loop picks out by their number would be in memory all along.
        let mut results = [[_mm512_setzero_ps(); VECTORS]; COUNT];
        for (results, sums) in results.iter_mut().zip(sums) {
            for (result, sum) in results.iter_mut().zip(sums) {
                *result = _mm512_cvtepi32_ps(sum);
            }
        }
        for (unit, row) in results.iter().enumerate() {
            let to = task.to.add((first + unit) * product.columns + first_column);
            let right = if VECTORS == 2 { row[VECTORS - 1] } else { _mm512_setzero_ps() };
            store_bytes(row[0], right, worth, bias, to, mask);
        }
    }
}
