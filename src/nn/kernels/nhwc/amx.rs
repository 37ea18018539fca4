//! Products of bf16 with the tiles of AMX: 16 × 32 inputs times 32 × 16 weights at once.
//!
//! Two tiles of units times two tiles of columns are summed at once in `tmm0` to `tmm3`; `tmm4` and `tmm5` hold
//! inputs, `tmm6` and `tmm7` weights. The compiler never uses these registers itself, so that they keep their
//! values from one piece of assembly to the next.

use super::format::Format;
use super::product::{COLUMNS, LineTask, Product};
use std::arch::asm;
use std::arch::x86_64::*;

/// Rows of a tile at most.
const ROWS: usize = 16;
/// Bytes of a tile's row.
const ROW_BYTES: usize = 64;
/// Bytes of a tile.
const TILE_BYTES: usize = 1024;

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// How the units of a line are shared out to tiles: pairs of tiles of `rows` units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tiling {
    rows: usize,
    pairs: usize,
}

impl Tiling {
    fn of(units: usize) -> Self {
        let pairs = units.div_ceil(2 * ROWS);
        Self { rows: units.div_ceil(2 * pairs), pairs }
    }
}

/// The tiles' shapes on this thread, until dropped.
pub(super) struct Tiles;

impl Tiles {
    /// Sets the tiles up for lines of `units` units.
    ///
    /// # Safety
    /// AMX must be here.
    pub unsafe fn set_up(units: usize) -> Self {
        let rows = Tiling::of(units).rows as u8;
        let mut config = TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for tile in 0..8 {
            config.row_bytes[tile] = ROW_BYTES as u16;
            config.rows[tile] = if tile < 6 { rows } else { ROWS as u8 };
        }
        // SAFETY: AMX is here; the configuration is one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, preserves_flags)) };
        Self
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `set_up` ran, so that AMX is here.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Sums as they come out of the tiles: `[tile][row][column]`.
#[repr(C, align(64))]
struct Sums([f32; 4 * ROWS * COLUMNS]);

/// Computes a line.
///
/// # Safety
/// [`Tiles`] set up for this number of units on this thread; the task's pointers good for what the product reads
/// and writes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn line<F: Format<Value = u16>>(task: &LineTask<u16, u16>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (F::PARTS == 2, task.product.stored(task.block, COLUMNS) > COLUMNS) {
            (false, true) => walk::<false, true>(task),
            (false, false) => walk::<false, false>(task),
            (true, true) => walk::<true, true>(task),
            (true, false) => walk::<true, false>(task),
        }
    }
}

macro_rules! tile {
    ($text:literal, $($operands:tt)*) => { asm!($text, $($operands)*, options(nostack, preserves_flags)) };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn walk<const SPLIT: bool, const WIDE: bool>(task: &LineTask<u16, u16>) {
    let product = task.product;
    let tiling = Tiling::of(task.units);
    let first_column = task.block * product.block;
    let mut sums = Sums([0.0; 4 * ROWS * COLUMNS]);
    for pair in 0..tiling.pairs {
        // The last tiles overlap those before, where the units are no multiple of the rows.
        let units = [0, 1].map(|half| ((2 * pair + half) * tiling.rows).min(task.units - tiling.rows));
        // SAFETY: rows of the tiles lie within what the units read; weights and bias are padded to whole tiles;
        // the bias is read with a stride of zero, the same for every row.
        unsafe {
            let bias = product.bias.start().add(first_column);
            tile!("tileloadd tmm0, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
            tile!("tileloadd tmm2, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
            if WIDE {
                tile!("tileloadd tmm1, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
                tile!("tileloadd tmm3, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
            }
            multiply::<SPLIT, WIDE>(task, units);
            let to = sums.0.as_mut_ptr();
            tile!("tilestored [{t} + {row}], tmm0", t = in(reg) to, row = in(reg) ROW_BYTES);
            tile!("tilestored [{t} + {row} + 2048], tmm2", t = in(reg) to, row = in(reg) ROW_BYTES);
            if WIDE {
                tile!("tilestored [{t} + {row} + 1024], tmm1", t = in(reg) to, row = in(reg) ROW_BYTES);
                tile!("tilestored [{t} + {row} + 3072], tmm3", t = in(reg) to, row = in(reg) ROW_BYTES);
            }
            finish::<SPLIT, WIDE>(task, &sums, units, tiling.rows);
        }
    }
}

/// Adds all products to `tmm0` to `tmm3`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn multiply<const SPLIT: bool, const WIDE: bool>(task: &LineTask<u16, u16>, units: [usize; 2]) {
    let product: &Product<u16> = task.product;
    let (columns, parts) = (if WIDE { 2 } else { 1 }, if SPLIT { 2 } else { 1 });
    // SAFETY: `walk`'s.
    unsafe {
        let mut weights = product.weights.start().add(task.block * product.block_values);
        for (source, (channels, run)) in product.sources.iter().zip(&product.runs).enumerate() {
            let pitch = product.unit * channels;
            let stride = pitch * 2;
            let part = task.from_part[source] * 2;
            for line in 0..product.lines {
                let from = task.from[source][line];
                let (mut upper, mut lower) = (from.add(units[0] * pitch), from.add(units[1] * pitch));
                for _ in 0..run / 32 {
                    if SPLIT {
                        split_step::<WIDE>(upper, lower, stride, part, weights);
                    } else {
                        step::<WIDE>(upper, lower, stride, weights);
                    }
                    upper = upper.add(32);
                    lower = lower.add(32);
                    weights = weights.add(columns * parts * TILE_BYTES / 2);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn step<const WIDE: bool>(upper: *const u16, lower: *const u16, stride: usize, weights: *const u16) {
    // SAFETY: `walk`'s.
    unsafe {
        if WIDE {
            asm!(
                "tileloadd tmm6, [{w} + {row}]",
                "tileloadd tmm4, [{u} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{w} + {row} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{l} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                options(nostack, readonly, preserves_flags)
            );
        } else {
            asm!(
                "tileloadd tmm6, [{w} + {row}]",
                "tileloadd tmm4, [{u} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{l} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                options(nostack, readonly, preserves_flags)
            );
        }
    }
}

/// Upper times lower, upper times upper, lower times upper parts; lower times lower is below what counts.
#[inline(always)]
unsafe fn split_step<const WIDE: bool>(upper: *const u16, lower: *const u16, stride: usize, part: usize, weights: *const u16) {
    // SAFETY: `walk`'s.
    unsafe {
        if WIDE {
            asm!(
                "tileloadd tmm6, [{w} + {row} + 2048]",
                "tileloadd tmm4, [{u} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{w} + {row} + 3072]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{l} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm6, [{w} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{w} + {row} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{up} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lp} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                u = in(reg) upper, l = in(reg) lower, up = in(reg) upper.byte_add(part), lp = in(reg) lower.byte_add(part),
                s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                options(nostack, readonly, preserves_flags)
            );
        } else {
            asm!(
                "tileloadd tmm6, [{w} + {row} + 1024]",
                "tileloadd tmm4, [{u} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{l} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{w} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm7",
                "tileloadd tmm4, [{up} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm7",
                "tileloadd tmm5, [{lp} + {s}]",
                "tdpbf16ps tmm2, tmm5, tmm7",
                u = in(reg) upper, l = in(reg) lower, up = in(reg) upper.byte_add(part), lp = in(reg) lower.byte_add(part),
                s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                options(nostack, readonly, preserves_flags)
            );
        }
    }
}

/// Writes the sums of two tiles of units, rounded.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn finish<const SPLIT: bool, const WIDE: bool>(task: &LineTask<u16, u16>, sums: &Sums, units: [usize; 2], rows: usize) {
    let product = task.product;
    let first_column = task.block * product.block;
    let columns = (product.columns - first_column).min(product.block);
    let mask = if columns == 32 { u32::MAX } else { (1_u32 << columns) - 1 };
    // SAFETY: the mask leaves out what is no column; rows are units of the line.
    unsafe {
        for (half, first) in units.into_iter().enumerate() {
            let mut from = sums.0.as_ptr().add(half * 2 * ROWS * COLUMNS);
            let mut to = task.to.add(first * product.columns + first_column);
            for _ in 0..rows {
                let left = _mm512_load_ps(from);
                let right = if WIDE { _mm512_load_ps(from.add(ROWS * COLUMNS)) } else { _mm512_setzero_ps() };
                store::<SPLIT>(left, right, product.relu, to, task.to_part, mask);
                from = from.add(COLUMNS);
                to = to.add(product.columns);
            }
        }
    }
}

/// Writes 32 numbers where `mask` says so, negative ones as zero with `relu`.
///
/// # Safety
/// Good for the masked values in every part.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn store<const SPLIT: bool>(left: __m512, right: __m512, relu: bool, to: *mut u16, part: usize, mask: u32) {
    // SAFETY: the caller's promise; `__m512bh` and `__m512i` are the same 512 bits.
    unsafe {
        let (mut left, mut right) = (left, right);
        if relu {
            // The second operand is what comes out if one of them is not a number.
            left = _mm512_max_ps(_mm512_setzero_ps(), left);
            right = _mm512_max_ps(_mm512_setzero_ps(), right);
        }
        let upper: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(right, left));
        _mm512_mask_storeu_epi16(to.cast(), mask, upper);
        if SPLIT {
            let widened = |half: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
            let rest_left = _mm512_sub_ps(left, widened(_mm512_castsi512_si256(upper)));
            let rest_right = _mm512_sub_ps(right, widened(_mm512_extracti64x4_epi64(upper, 1)));
            let lower: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(rest_right, rest_left));
            _mm512_mask_storeu_epi16(to.add(part).cast(), mask, lower);
        }
    }
}
