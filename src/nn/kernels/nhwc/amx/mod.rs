//! Products with the tiles of AMX: of bf16, 16 × 32 inputs times 32 × 16 weights at once, of bytes 16 × 64 times 64 × 16.
//!
//! Two tiles of units times two tiles of columns are summed at once in `tmm0` to `tmm3`; `tmm4` and `tmm5` hold
//! inputs, `tmm6` and `tmm7` weights. The compiler never uses these registers itself, so that they keep their
//! values from one piece of assembly to the next.

mod steps;
mod unwritten;

use super::buffer::Number;
use super::format::Format;
use super::product::{COLUMNS, LineTask};
use crate::nn::kernels::tiles::{ROW_BYTES, ROWS, TILE_BYTES, Tiles};
use std::arch::asm;
use steps::{byte_step, split_step, step};
use unwritten::Unwritten;
pub(super) use unwritten::{store, store_bytes};

/// Sums as they come out of the tiles: `[tile][row][column]`; of bytes they are whole numbers of 32 bits in the same
/// places.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([f32; 4 * ROWS * COLUMNS]);

/// Neighbouring units of a line, a row of a tile for each.
#[derive(Clone, Copy)]
struct Units<'a, V: Number> {
    line: LineTask<'a, V, V>,
    first: usize,
}

/// Sets the tiles up for lines of `units` units.
///
/// # Safety
/// AMX must be here.
pub(super) unsafe fn set_up(units: usize) -> Tiles {
    // SAFETY: the caller's promise.
    unsafe { Tiles::set_up(std::array::from_fn(|tile| (if tile < 6 { units.min(ROWS) } else { ROWS }, ROW_BYTES))) }
}

/// Computes lines of equally many units.
///
/// Tiles of units are taken two by two, also across lines. The last tile of a line overlaps the one before where
/// the units are no multiple of its rows. While two are multiplied, the sums of the two before are rounded and
/// written: tiles and vectors work side by side.
///
/// # Safety
/// Tiles [`set_up`] for this number of units on this thread; the tasks' pointers good for what the products read
/// and write.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn lines<'a, F: Format>(tasks: impl Iterator<Item = LineTask<'a, F::Value, F::Value>>) {
    let mut sums = [Sums([0.0; 4 * ROWS * COLUMNS]); 2];
    let mut turn = 0;
    let mut unwritten = Unwritten::<F>::NOTHING;
    let mut single: Option<Units<F::Value>> = None;
    let mut pair = |units: [Units<F::Value>; 2]| {
        // SAFETY: the caller's promise; the sums that are unwritten lie in the other buffer.
        unsafe {
            if units[0].line.product.stored(units[0].line.block, COLUMNS) > COLUMNS {
                multiply::<F, true>(units, &mut sums[turn], &mut unwritten);
            } else {
                multiply::<F, false>(units, &mut sums[turn], &mut unwritten);
            }
        }
        turn = 1 - turn;
    };
    for line in tasks {
        let rows = line.units.min(ROWS);
        for first in (0..line.units).step_by(rows) {
            let units = Units { line, first: first.min(line.units - rows) };
            match single.take() {
                None => single = Some(units),
                Some(other) if other.line.block == line.block => pair([other, units]),
                Some(other) => {
                    pair([other; 2]);
                    single = Some(units);
                }
            }
        }
    }
    if let Some(last) = single {
        pair([last; 2]);
    }
    // SAFETY: as above.
    unsafe { unwritten.write(usize::MAX) }
}

macro_rules! tile {
    ($text:literal, $($operands:tt)*) => { asm!($text, $($operands)*, options(nostack, preserves_flags)) };
}

/// Sums two tiles of units and leaves the sums to be written; writes those that are left.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn multiply<F: Format, const WIDE: bool>(units: [Units<F::Value>; 2], sums: &mut Sums, unwritten: &mut Unwritten<F>) {
    let [a, b] = units;
    let product = a.line.product;
    let (columns, size) = (if WIDE { 2 } else { 1 }, size_of::<F::Value>());
    let first_column = a.line.block * product.block;
    let all_steps: usize = product.lines * product.steps.iter().map(Vec::len).sum::<usize>();
    let quota = (2 * ROWS).div_ceil(all_steps);
    // SAFETY: rows of the tiles lie within what the units read; weights and bias are padded to whole tiles; the
    // bias is read with a stride of zero, the same for every row.
    unsafe {
        if size == 1 {
            // Whole numbers know nothing of the bias, which comes when they are written.
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem, preserves_flags));
        } else {
            let bias = product.bias.start().add(first_column);
            tile!("tileloadd tmm0, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
            tile!("tileloadd tmm2, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
            if WIDE {
                tile!("tileloadd tmm1, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
                tile!("tileloadd tmm3, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
            }
        }
        let mut weights = product.weights.start().add(a.line.block * product.block_values).cast::<u8>();
        for (source, (channels, steps)) in product.sources.iter().zip(&product.steps).enumerate() {
            let pitch = product.unit * channels;
            let (stride, part) = (pitch * size, a.line.from_part[source] * size);
            for line in 0..product.lines {
                let upper = a.line.from[source][line].add(a.first * pitch);
                let lower = b.line.from[source][line].add(b.first * pitch);
                for at in steps {
                    let (upper, lower) = (upper.add(*at).cast::<u8>(), lower.add(*at).cast::<u8>());
                    match (F::PARTS, size) {
                        (2, _) => split_step::<WIDE>(upper, lower, stride, part, weights),
                        (_, 1) => byte_step::<WIDE>(upper, lower, stride, weights),
                        _ => step::<WIDE>(upper, lower, stride, weights),
                    }
                    weights = weights.add(columns * F::PARTS * TILE_BYTES);
                    unwritten.write(quota);
                }
            }
        }
        unwritten.write(usize::MAX);
        let to = sums.0.as_mut_ptr();
        tile!("tilestored [{t} + {row}], tmm0", t = in(reg) to, row = in(reg) ROW_BYTES);
        tile!("tilestored [{t} + {row} + 2048], tmm2", t = in(reg) to, row = in(reg) ROW_BYTES);
        if WIDE {
            tile!("tilestored [{t} + {row} + 1024], tmm1", t = in(reg) to, row = in(reg) ROW_BYTES);
            tile!("tilestored [{t} + {row} + 3072], tmm3", t = in(reg) to, row = in(reg) ROW_BYTES);
        }
        *unwritten = Unwritten::of(units, to);
    }
}
