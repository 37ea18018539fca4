//! AVX2 and AVX-512.

use super::{Lanes, Task};
use std::arch::x86_64::*;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn avx512_bf16(task: impl Task) {
    // SAFETY: the features are enabled on this function, the rest is the caller's promise.
    unsafe { task.run::<__m512>() }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512(task: impl Task) {
    // SAFETY: the features are enabled on this function, the rest is the caller's promise.
    unsafe { task.run::<__m512>() }
}

#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(task: impl Task) {
    // SAFETY: as above.
    unsafe { task.run::<__m256>() }
}

#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn compiled_for_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// See [`Lanes::then`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn after(mut sum: __m256, mut next: *const f32) -> (__m256, *const f32) {
    // SAFETY: no instruction.
    unsafe { std::arch::asm!("/* {0} {1} */", inout(ymm_reg) sum, inout(reg) next, options(pure, readonly, nostack, preserves_flags)) };
    (sum, next)
}

// SAFETY (both implementations): the trait's contract gives the instruction set and the pointers.
impl Lanes for __m512 {
    const WIDTH: usize = 16;
    const MANY: bool = true;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, ((1_u32 << count) - 1) as __mmask16, self) }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm512_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self) }
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign, _mm512_setzero_ps()), self) }
    }
    #[inline(always)]
    fn fetch(from: *const f32) {
        // SAFETY: all of x86-64 has it, and it fails for no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize, [lines, columns]: [usize; 2]) {
        unsafe {
            let mut rows = [_mm512_setzero_ps(); 16];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(from.add(i * from_pitch));
            }
            // Pairs of rows, then of pairs, within quarters of a vector; then the quarters.
            let mut pairs = rows;
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            for i in 0..4 {
                for half in 0..2 {
                    let (a, b) = (_mm512_castps_pd(pairs[4 * i + half]), _mm512_castps_pd(pairs[4 * i + half + 2]));
                    rows[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    rows[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            for i in 0..4 {
                let [a, b, c, d] = [rows[i], rows[i + 4], rows[i + 8], rows[i + 12]];
                let [ab, cd] = [_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d)];
                let [upper_ab, upper_cd] = [_mm512_shuffle_f32x4::<0xEE>(a, b), _mm512_shuffle_f32x4::<0xEE>(c, d)];
                pairs[i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                pairs[i + 4] = _mm512_shuffle_f32x4::<0xDD>(ab, cd);
                pairs[i + 8] = _mm512_shuffle_f32x4::<0x88>(upper_ab, upper_cd);
                pairs[i + 12] = _mm512_shuffle_f32x4::<0xDD>(upper_ab, upper_cd);
            }
            for (i, row) in pairs.into_iter().enumerate() {
                if i < lines {
                    row.store_up_to(to.add(i * to_pitch), columns);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, count: usize) {
        unsafe {
            let whole = _mm512_cvtps_epi32(_mm512_min_ps(self, _mm512_set1_ps(255.0)));
            let bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
            _mm_mask_storeu_epi8(to.cast(), ((1_u32 << count) - 1) as __mmask16, bytes);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())), 16)) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, count: usize) {
        unsafe {
            let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(self));
            if count == Self::WIDTH {
                _mm256_storeu_si256(to.cast(), rounded);
            } else {
                _mm256_mask_storeu_epi16(to.cast(), ((1_u32 << count) - 1) as __mmask16, rounded);
            }
        }
    }
    #[inline(always)]
    unsafe fn paired(self, second: Self) -> Self {
        unsafe {
            let [first, second] = [self, second].map(|values| {
                let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(values));
                _mm512_cvtepu16_epi32(rounded)
            });
            _mm512_castsi512_ps(_mm512_or_si512(first, _mm512_slli_epi32(second, 16)))
        }
    }
    #[inline(always)]
    unsafe fn plus_pairs(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_dpbf16_ps(self, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b)) }
    }
}

impl Lanes for __m256 {
    const WIDTH: usize = 8;
    const MANY: bool = false;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0_f32; 8];
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), self);
            to.copy_from_nonoverlapping(lanes.as_ptr(), count);
        }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm256_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut lanes = [0.0_f32; 8];
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), self) };
        ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(sign, _mm256_setzero_ps()), self) }
    }
    #[inline(always)]
    unsafe fn then(self, next: *const f32) -> (Self, *const f32) {
        unsafe { after(self, next) }
    }
    #[inline(always)]
    fn fetch(from: *const f32) {
        // SAFETY: all of x86-64 has it, and it fails for no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize, [lines, columns]: [usize; 2]) {
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(from.add(i * from_pitch));
            }
            // Pairs of rows, then of pairs, within halves of a vector; then the halves.
            let mut pairs = rows;
            for i in 0..4 {
                pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            for i in 0..2 {
                for half in 0..2 {
                    let (a, b) = (_mm256_castps_pd(pairs[4 * i + half]), _mm256_castps_pd(pairs[4 * i + half + 2]));
                    rows[4 * i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    rows[4 * i + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            for i in 0..4 {
                pairs[i] = _mm256_permute2f128_ps::<0x20>(rows[i], rows[i + 4]);
                pairs[i + 4] = _mm256_permute2f128_ps::<0x31>(rows[i], rows[i + 4]);
            }
            for (i, row) in pairs.into_iter().enumerate() {
                if i < lines {
                    row.store_up_to(to.add(i * to_pitch), columns);
                }
            }
        }
    }
}
