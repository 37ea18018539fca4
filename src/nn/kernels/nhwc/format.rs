//! How activations are stored.

use super::buffer::Number;
use crate::nn::kernels::simd::Lanes;

/// A way to store activations.
pub(in crate::nn) trait Format: Copy + Send + Sync + 'static {
    /// What is stored.
    type Value: Number;
    /// Values stored for one number.
    const PARTS: usize;

    /// Reads `L::WIDTH` numbers; their second parts begin `part` values after the first ones.
    ///
    /// # Safety
    /// Good for `L::WIDTH` values in every part; the instruction set of `L`.
    unsafe fn load<L: Lanes>(from: *const Self::Value, part: usize) -> L;

    /// Writes the first `count` numbers.
    ///
    /// # Safety
    /// Good for `count` values in every part; the instruction set of `L`.
    unsafe fn store<L: Lanes>(numbers: L, to: *mut Self::Value, part: usize, count: usize);
}

/// Plain `f32`.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Single;

/// bf16: the upper half of an `f32`, 8 significant bits.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Brain;

/// A number as the sum of two bf16: what rounding takes from the first is in the second, 16 significant bits
/// in all.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Split;

/// A whole number of 0 to 255: eight bits without a sign, for what a ReLU leaves. There is nothing in it that is no
/// number.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Byte;

impl Format for Byte {
    type Value = u8;
    const PARTS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u8, _: usize) -> L {
        // SAFETY: the trait's contract.
        unsafe { L::load_u8(from) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(numbers: L, to: *mut u8, _: usize, count: usize) {
        // SAFETY: the trait's contract.
        unsafe { numbers.store_u8(to, count) }
    }
}

impl Format for Single {
    type Value = f32;
    const PARTS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32, _: usize) -> L {
        // SAFETY: the trait's contract.
        unsafe { L::load(from) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(numbers: L, to: *mut f32, _: usize, count: usize) {
        // SAFETY: the trait's contract.
        unsafe { numbers.store_up_to(to, count) }
    }
}

impl Format for Brain {
    type Value = u16;
    const PARTS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u16, _: usize) -> L {
        // SAFETY: the trait's contract.
        unsafe { L::load_bf16(from) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(numbers: L, to: *mut u16, _: usize, count: usize) {
        // SAFETY: the trait's contract.
        unsafe { numbers.store_bf16(to, count) }
    }
}

impl Format for Split {
    type Value = u16;
    const PARTS: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u16, part: usize) -> L {
        // SAFETY: the trait's contract.
        unsafe { L::load_bf16(from).plus_product(L::load_bf16(from.add(part)), L::splat(1.0)) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(numbers: L, to: *mut u16, part: usize, count: usize) {
        let mut upper = [0_u16; 16];
        // SAFETY: the trait's contract; no vector is longer than the array.
        unsafe {
            numbers.store_bf16(upper.as_mut_ptr(), L::WIDTH);
            numbers.store_bf16(to, count);
            let rest = numbers.plus_product(L::load_bf16(upper.as_ptr()), L::splat(-1.0));
            rest.store_bf16(to.add(part), count);
        }
    }
}
