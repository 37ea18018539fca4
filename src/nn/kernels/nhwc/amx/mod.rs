//! Products of bf16 with the tiles of AMX: 16 × 32 inputs times 32 × 16 weights at once.
//!
//! Two tiles of units times two tiles of columns are summed at once in `tmm0` to `tmm3`; `tmm4` and `tmm5` hold
//! inputs, `tmm6` and `tmm7` weights. The compiler never uses these registers itself, so that they keep their
//! values from one piece of assembly to the next.

use super::format::Format;
use super::product::{COLUMNS, LineTask};
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

/// The tiles' shapes on this thread, until dropped.
pub(super) struct Tiles;

impl Tiles {
    /// Sets the tiles up for lines of `units` units.
    ///
    /// # Safety
    /// AMX must be here.
    pub unsafe fn set_up(units: usize) -> Self {
        let rows = units.min(ROWS) as u8;
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
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([f32; 4 * ROWS * COLUMNS]);

/// Neighbouring units of a line, a row of a tile for each.
#[derive(Clone, Copy)]
struct Units<'a> {
    line: LineTask<'a, u16, u16>,
    first: usize,
}

/// Computes lines of equally many units.
///
/// Tiles of units are taken two by two, also across lines. The last tile of a line overlaps the one before where
/// the units are no multiple of its rows. While two are multiplied, the sums of the two before are rounded and
/// written: tiles and vectors work side by side.
///
/// # Safety
/// [`Tiles`] set up for this number of units on this thread; the tasks' pointers good for what the products read
/// and write.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn lines<'a, F: Format<Value = u16>>(tasks: impl Iterator<Item = LineTask<'a, u16, u16>>) {
    let mut sums = [Sums([0.0; 4 * ROWS * COLUMNS]); 2];
    let mut turn = 0;
    let mut unwritten = Unwritten::NOTHING;
    let mut single: Option<Units> = None;
    let mut pair = |units: [Units; 2]| {
        // SAFETY: the caller's promise; the sums that are unwritten lie in the other buffer.
        unsafe {
            match (F::PARTS == 2, units[0].line.product.stored(units[0].line.block, COLUMNS) > COLUMNS) {
                (false, true) => multiply::<false, true>(units, &mut sums[turn], &mut unwritten),
                (false, false) => multiply::<false, false>(units, &mut sums[turn], &mut unwritten),
                (true, true) => multiply::<true, true>(units, &mut sums[turn], &mut unwritten),
                (true, false) => multiply::<true, false>(units, &mut sums[turn], &mut unwritten),
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
    unsafe { unwritten.write(usize::MAX, F::PARTS == 2) }
}

macro_rules! tile {
    ($text:literal, $($operands:tt)*) => { asm!($text, $($operands)*, options(nostack, preserves_flags)) };
}

/// Sums two tiles of units and leaves the sums to be written; writes those that are left.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn multiply<const SPLIT: bool, const WIDE: bool>(units: [Units; 2], sums: &mut Sums, unwritten: &mut Unwritten) {
    let [a, b] = units;
    let product = a.line.product;
    let (columns, parts) = (if WIDE { 2 } else { 1 }, if SPLIT { 2 } else { 1 });
    let first_column = a.line.block * product.block;
    let all_steps: usize = product.lines * product.steps.iter().map(Vec::len).sum::<usize>();
    let quota = (2 * ROWS).div_ceil(all_steps);
    // SAFETY: rows of the tiles lie within what the units read; weights and bias are padded to whole tiles; the
    // bias is read with a stride of zero, the same for every row.
    unsafe {
        let bias = product.bias.start().add(first_column);
        tile!("tileloadd tmm0, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
        tile!("tileloadd tmm2, [{b} + {zero}]", b = in(reg) bias, zero = in(reg) 0_usize);
        if WIDE {
            tile!("tileloadd tmm1, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
            tile!("tileloadd tmm3, [{b} + {zero} + 64]", b = in(reg) bias, zero = in(reg) 0_usize);
        }
        let mut weights = product.weights.start().add(a.line.block * product.block_values);
        for (source, (channels, steps)) in product.sources.iter().zip(&product.steps).enumerate() {
            let pitch = product.unit * channels;
            let (stride, part) = (pitch * 2, a.line.from_part[source] * 2);
            for line in 0..product.lines {
                let upper = a.line.from[source][line].add(a.first * pitch);
                let lower = b.line.from[source][line].add(b.first * pitch);
                for at in steps {
                    if SPLIT {
                        split_step::<WIDE>(upper.add(*at), lower.add(*at), stride, part, weights);
                    } else {
                        step::<WIDE>(upper.add(*at), lower.add(*at), stride, weights);
                    }
                    weights = weights.add(columns * parts * TILE_BYTES / 2);
                    unwritten.write(quota, SPLIT);
                }
            }
        }
        unwritten.write(usize::MAX, SPLIT);
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

#[inline(always)]
unsafe fn step<const WIDE: bool>(upper: *const u16, lower: *const u16, stride: usize, weights: *const u16) {
    // SAFETY: `multiply`'s.
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
    // SAFETY: `multiply`'s.
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

/// Sums that are still to be rounded and written.
struct Unwritten {
    from: *const f32,
    to: *mut u16,
    /// Rows left of this tile.
    left: usize,
    /// The second tile's first sums, its place and its rows, until it is its turn.
    next: (*const f32, *mut u16, usize),
    /// Distance of units and of parts in the result.
    pitch: usize,
    part: usize,
    mask: u32,
    relu: bool,
}

impl Unwritten {
    const NOTHING: Self = Self {
        from: std::ptr::null(),
        to: std::ptr::null_mut(),
        left: 0,
        next: (std::ptr::null(), std::ptr::null_mut(), 0),
        pitch: 0,
        part: 0,
        mask: 0,
        relu: false,
    };

    /// All of two tiles of units whose sums begin at `from`.
    fn of([a, b]: [Units; 2], from: *const f32) -> Self {
        let product = a.line.product;
        let first_column = a.line.block * product.block;
        let columns = (product.columns - first_column).min(product.block);
        let place = |units: Units| units.line.to.wrapping_add(units.first * product.columns + first_column);
        let rows = a.line.units.min(ROWS);
        Self {
            from,
            to: place(a),
            left: rows,
            next: (from.wrapping_add(2 * ROWS * COLUMNS), place(b), rows),
            pitch: product.columns,
            part: a.line.to_part,
            mask: if columns == 2 * COLUMNS { u32::MAX } else { (1 << columns) - 1 },
            relu: product.relu,
        }
    }

    /// Writes up to `count` rows.
    ///
    /// # Safety
    /// The sums must still be there, and the places good for what the mask lets through.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn write(&mut self, count: usize, split: bool) {
        let mut count = count;
        while count > 0 && self.left > 0 {
            // SAFETY: the caller's promise. Where there is but one tile of columns, the mask leaves out the other.
            unsafe {
                let (left, right) = (_mm512_load_ps(self.from), _mm512_load_ps(self.from.add(ROWS * COLUMNS)));
                if split {
                    store::<true>(left, right, self.relu, self.to, self.part, self.mask);
                } else {
                    store::<false>(left, right, self.relu, self.to, self.part, self.mask);
                }
            }
            self.from = self.from.wrapping_add(COLUMNS);
            self.to = self.to.wrapping_add(self.pitch);
            self.left -= 1;
            count -= 1;
            if self.left == 0 {
                (self.from, self.to, self.left) = std::mem::replace(&mut self.next, (std::ptr::null(), std::ptr::null_mut(), 0));
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
