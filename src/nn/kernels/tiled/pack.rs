//! From planes of `f32` to what the tiles read.

use super::ROWS;
use crate::nn::kernels::Dims;
use crate::nn::kernels::picture::{Pictures, Plane};
use crate::nn::kernels::simd::Lanes;
use std::arch::x86_64::*;
use std::ops::Range;

/// Lines of a picture that a task works on, in planes whose lines share a border of zeros.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// The first line.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Lines of zeros or of the picture above and below, and pixels of zeros before each line.
    pub margin: usize,
    /// Values of a plane that are written: lines, margins and zeros up to there.
    pub extent: usize,
}

/// Packs two planes into one of pairs: the first's number in the lower half, the second's (zero where there is
/// none) in the upper. The lower parts, if there are any, are `part` pairs further on.
///
/// # Safety
/// AVX-512 bf16; `extent` pairs behind `to`, in every part.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pairs<const PARTS: usize>(planes: [Option<Plane>; 2], dims: Dims, lines: Lines, to: *mut u32, part: usize) {
    let [first, second] = planes;
    assert!(planes.iter().flatten().all(|plane| plane.values.len() == dims.plane()), "size of a plane");
    // SAFETY: the caller's promise; rows lie within their planes.
    unsafe {
        bordered(dims, lines, |row, target, count| {
            let Some(from) = row else {
                for p in 0..PARTS {
                    to.add(p * part + target).write_bytes(0, count);
                }
                return;
            };
            for at in (0..count).step_by(16) {
                let mask = ((1_u32 << (count - at).min(16)) - 1) as __mmask16;
                let load = |plane: &Option<Plane>| plane.as_ref().map_or(_mm512_setzero_ps(), |plane| worth(plane, from + at, mask));
                let (a, b) = (load(&first), load(&second));
                let (upper_a, upper_b) = (rounded(a), rounded(b));
                let target = to.add(target + at);
                _mm512_mask_storeu_epi32(target.cast(), mask, _mm512_or_si512(upper_a, _mm512_slli_epi32(upper_b, 16)));
                if PARTS == 2 {
                    let (lower_a, lower_b) = (rounded(rest(a, upper_a)), rounded(rest(b, upper_b)));
                    _mm512_mask_storeu_epi32(target.add(part).cast(), mask, _mm512_or_si512(lower_a, _mm512_slli_epi32(lower_b, 16)));
                }
            }
        });
    }
}

/// Packs a plane into one of bf16; the lower parts, if there are any, are `part` values further on.
///
/// # Safety
/// AVX-512 bf16; `extent` values behind `to`, in every part.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn plain<const PARTS: usize>(plane: Option<Plane>, dims: Dims, lines: Lines, to: *mut u16, part: usize) {
    assert!(plane.is_none_or(|plane| plane.values.len() == dims.plane()), "size of a plane");
    // SAFETY: the caller's promise; rows lie within their planes.
    unsafe {
        bordered(dims, lines, |row, target, count| {
            let Some((plane, from)) = plane.zip(row) else {
                for p in 0..PARTS {
                    to.add(p * part + target).write_bytes(0, count);
                }
                return;
            };
            for at in (0..count).step_by(16) {
                let mask = ((1_u32 << (count - at).min(16)) - 1) as __mmask16;
                let value = worth(&plane, from + at, mask);
                let upper = rounded(value);
                let target = to.add(target + at);
                _mm256_mask_storeu_epi16(target.cast(), mask, _mm512_cvtepi32_epi16(upper));
                if PARTS == 2 {
                    let lower = rounded(rest(value, upper));
                    _mm256_mask_storeu_epi16(target.add(part).cast(), mask, _mm512_cvtepi32_epi16(lower));
                }
            }
        });
    }
}

/// Calls `write(first value of the source, target, count)` for every run of a bordered plane, in order; without a source
/// it is zeros.
#[inline(always)]
fn bordered(dims: Dims, lines: Lines, mut write: impl FnMut(Option<usize>, usize, usize)) {
    let line = dims.w + lines.margin;
    let rows = lines.count + 2 * lines.margin;
    assert!(rows * line <= lines.extent, "lines beyond the extent of a plane");
    for row in 0..rows {
        let y = (lines.first + row).wrapping_sub(lines.margin);
        if y < dims.h {
            write(None, row * line, lines.margin);
            write(Some(y * dims.w), row * line + lines.margin, dims.w);
        } else {
            write(None, row * line, line);
        }
    }
    write(None, rows * line, lines.extent - rows * line);
}

/// The nearest bf16, ties to even, in the lower half of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn rounded(values: __m512) -> __m512i {
    // SAFETY: `__m256bh` and `__m256i` are the same 256 bits.
    unsafe { _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values))) }
}

/// What rounding took.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn rest(values: __m512, rounded: __m512i) -> __m512 {
    _mm512_sub_ps(values, _mm512_castsi512_ps(_mm512_slli_epi32(rounded, 16)))
}

/// Turns 16 rows of 16 pairs, `pitch` pairs apart: pairs become rows.
///
/// # Safety
/// AVX-512; rows and 256 pairs behind `to` in bounds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn turned(from: *const u32, pitch: usize, to: *mut u32) {
    // SAFETY: the caller's promise. Nothing is computed: these are 32 bits each, numbers or not.
    unsafe { __m512::transpose(from.cast(), pitch, to.cast(), ROWS, [ROWS; 2]) }
}

/// Planes `channels` of picture `n`, and `None` up to a whole number of `step` planes.
pub(super) fn planes<'a>(
    pictures: &Pictures<'a>,
    n: usize,
    channels: Range<usize>,
    step: usize,
) -> impl Iterator<Item = Option<Plane<'a>>> {
    let padded = channels.start..channels.start + channels.len().next_multiple_of(step);
    padded.map(move |c| channels.contains(&c).then(|| pictures.plane(n, c)))
}

/// What 16 values from `at` on are worth, as far as `mask` lets them be read, and 0 beyond.
///
/// # Safety
/// AVX-512; values of the plane in bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn worth(plane: &Plane, at: usize, mask: __mmask16) -> __m512 {
    // SAFETY: the caller's promise.
    let values = unsafe { _mm512_maskz_loadu_ps(mask, plane.values.as_ptr().add(at)) };
    // Two roundings, as wherever else it is told whether a value is positive.
    let scaled = _mm512_maskz_add_ps(mask, _mm512_mul_ps(values, _mm512_set1_ps(plane.scale)), _mm512_set1_ps(plane.shift));
    // The second operand is what comes out if one of them is not a number.
    _mm512_max_ps(_mm512_set1_ps(plane.floor), scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernels::isa::Isa;

    #[test]
    fn rows_of_pairs_are_turned_bit_for_bit() {
        if !Isa::Avx512.is_here() {
            return crate::skipped!("vectors of {}, which this processor has not", Isa::Avx512);
        }
        const PITCH: usize = 20;
        // Among them what would be no number as an `f32`.
        let from: Vec<u32> =
            (0..ROWS * PITCH).map(|i| (i as u32).wrapping_mul(0x9E37_79B9) | if i % 3 == 0 { 0x7F80_0000 } else { 0 }).collect();
        let mut to = [0; ROWS * ROWS];
        // SAFETY: AVX-512 is here; both hold 16 rows.
        unsafe { turned(from.as_ptr(), PITCH, to.as_mut_ptr()) };
        for (i, value) in to.iter().enumerate() {
            assert_eq!(*value, from[i % ROWS * PITCH + i / ROWS], "pair {i}");
        }
    }
}
