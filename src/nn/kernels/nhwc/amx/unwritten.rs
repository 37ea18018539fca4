//! Sums on their way from the tiles to the map.

use super::{COLUMNS, ROWS, Units};
use crate::nn::kernels::nhwc::format::Format;
use std::arch::x86_64::*;

/// Sums that are still to be rounded and written.
pub(super) struct Unwritten<F: Format> {
    from: *const f32,
    to: *mut F::Value,
    /// Rows left of this tile.
    left: usize,
    /// The second tile's first sums, its place and its rows, until it is its turn.
    next: (*const f32, *mut F::Value, usize),
    /// Distance of units and of parts in the result.
    pitch: usize,
    part: usize,
    mask: u32,
    relu: bool,
    /// Of the first column, for bytes: what a sum is worth, and the bias.
    worth: *const f32,
    bias: *const f32,
}

impl<F: Format> Unwritten<F> {
    pub const NOTHING: Self = Self {
        from: std::ptr::null(),
        to: std::ptr::null_mut(),
        left: 0,
        next: (std::ptr::null(), std::ptr::null_mut(), 0),
        pitch: 0,
        part: 0,
        mask: 0,
        relu: false,
        worth: std::ptr::null(),
        bias: std::ptr::null(),
    };

    /// All of two tiles of units whose sums begin at `from`.
    pub fn of([a, b]: [Units<F::Value>; 2], from: *const f32) -> Self {
        let product = a.line.product;
        let first_column = a.line.block * product.block;
        let columns = (product.columns - first_column).min(product.block);
        let place = |units: Units<F::Value>| units.line.to.wrapping_add(units.first * product.columns + first_column);
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
            worth: product.worth.start().wrapping_add(first_column),
            bias: product.bias.start().wrapping_add(first_column),
        }
    }

    /// Writes up to `count` rows.
    ///
    /// # Safety
    /// The sums must still be there, and the places good for what the mask lets through.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub unsafe fn write(&mut self, count: usize) {
        let mut count = count;
        while count > 0 && self.left > 0 {
            // SAFETY: the caller's promise. Where there is but one tile of columns, the mask leaves out the other.
            unsafe {
                let (left, right) = (_mm512_load_ps(self.from), _mm512_load_ps(self.from.add(ROWS * COLUMNS)));
                match (F::PARTS, size_of::<F::Value>()) {
                    (2, _) => store::<true>(left, right, self.relu, self.to.cast(), self.part, self.mask),
                    (_, 1) => {
                        let whole = |sums: __m512| _mm512_cvtepi32_ps(_mm512_castps_si512(sums));
                        store_bytes(whole(left), whole(right), self.worth, self.bias, self.to.cast(), self.mask);
                    }
                    _ => store::<false>(left, right, self.relu, self.to.cast(), self.part, self.mask),
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
pub(in crate::nn::kernels::nhwc) unsafe fn store<const SPLIT: bool>(
    left: __m512,
    right: __m512,
    relu: bool,
    to: *mut u16,
    part: usize,
    mask: u32,
) {
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

/// Writes 32 sums of products of bytes where `mask` says so: each times its worth and with its bias, as a byte.
///
/// # Safety
/// Good for 32 of `worth` and `bias`, and for the masked values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(in crate::nn::kernels::nhwc) unsafe fn store_bytes(
    left: __m512,
    right: __m512,
    worth: *const f32,
    bias: *const f32,
    to: *mut u8,
    mask: u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = |sums: __m512, column: usize| {
            let value = _mm512_fmadd_ps(sums, _mm512_loadu_ps(worth.add(column)), _mm512_loadu_ps(bias.add(column)));
            let whole = _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(255.0)));
            _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()))
        };
        _mm256_mask_storeu_epi8(to.cast(), mask, _mm256_set_m128i(bytes(right, COLUMNS), bytes(left, 0)));
    }
}
