//! One step of the sums: up to four tiles of them, of up to four left and four right factors.
//!
//! Sums are in `tmm0` to `tmm3`, left factors in `tmm4` and `tmm5`, right ones in `tmm6` and `tmm7`. The compiler never
//! uses these registers itself, so that they keep their values from one piece of assembly to the next.
//!
//! All of it needs the tiles set up, and factors good for what the tiles' shapes read of them.

use crate::nn::kernels::tiles::ROW_BYTES;
use std::arch::asm;

/// Tiles of bf16 in memory.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    /// The first row.
    pub at: *const u8,
    /// Bytes between rows.
    pub stride: usize,
    /// Bytes from a number's first part to its second.
    pub part: usize,
}

impl Factor {
    /// The factor `bytes` further on.
    pub fn plus(self, bytes: usize) -> Self {
        Self { at: self.at.wrapping_add(bytes), ..self }
    }
}

/// Which factors there are of each kind.
pub(super) trait Block {
    /// Left factors.
    const LEFT: usize;
    /// Right factors.
    const RIGHT: usize;

    /// Adds the products of all left factors, `left_next` bytes apart, with all right ones.
    ///
    /// # Safety
    /// See the module.
    unsafe fn step<const PARTS: usize>(left: Factor, left_next: &[usize], right: Factor, right_next: usize);
}

macro_rules! load {
    ($tile:literal, $factor:expr) => {
        asm!(concat!("tileloadd ", $tile, ", [{at} + {stride}]"), at = in(reg) $factor.at, stride = in(reg) $factor.stride,
            options(nostack, readonly, preserves_flags))
    };
}

macro_rules! dot {
    ($($sums:literal, $left:literal, $right:literal;)*) => {
        asm!($(concat!("tdpbf16ps ", $sums, ", ", $left, ", ", $right),)* options(nostack, nomem, preserves_flags))
    };
}

/// The lower part.
fn low(factor: Factor) -> Factor {
    factor.plus(factor.part)
}

/// Two left, two right: sums of left 0 and 1 with right 0, then with right 1, are 0, 2 and 1, 3.
pub(super) struct Square;

impl Block for Square {
    const LEFT: usize = 2;
    const RIGHT: usize = 2;

    #[inline(always)]
    unsafe fn step<const PARTS: usize>(left: Factor, left_next: &[usize], right: Factor, right_next: usize) {
        let (left, right) = ([left.plus(left_next[0]), left.plus(left_next[1])], [right, right.plus(right_next)]);
        // SAFETY: the module's conditions. Lower times lower parts are below what counts.
        unsafe {
            if PARTS == 2 {
                load!("tmm4", low(left[0]));
                load!("tmm5", low(left[1]));
            } else {
                load!("tmm4", left[0]);
                load!("tmm5", left[1]);
            }
            load!("tmm6", right[0]);
            load!("tmm7", right[1]);
            dot!("tmm0", "tmm4", "tmm6"; "tmm1", "tmm4", "tmm7"; "tmm2", "tmm5", "tmm6"; "tmm3", "tmm5", "tmm7";);
            if PARTS == 2 {
                load!("tmm4", left[0]);
                load!("tmm5", left[1]);
                dot!("tmm0", "tmm4", "tmm6"; "tmm1", "tmm4", "tmm7"; "tmm2", "tmm5", "tmm6"; "tmm3", "tmm5", "tmm7";);
                load!("tmm6", low(right[0]));
                load!("tmm7", low(right[1]));
                dot!("tmm0", "tmm4", "tmm6"; "tmm1", "tmm4", "tmm7"; "tmm2", "tmm5", "tmm6"; "tmm3", "tmm5", "tmm7";);
            }
        }
    }
}

/// One left, four right.
pub(super) struct Row;

impl Block for Row {
    const LEFT: usize = 1;
    const RIGHT: usize = 4;

    #[inline(always)]
    unsafe fn step<const PARTS: usize>(left: Factor, left_next: &[usize], right: Factor, right_next: usize) {
        let left = left.plus(left_next[0]);
        macro_rules! one {
            ($number:literal, $sums:literal, $tile:literal) => {
                load!($tile, right.plus($number * right_next));
                dot!($sums, "tmm4", $tile;);
                if PARTS == 2 {
                    dot!($sums, "tmm5", $tile;);
                    load!($tile, low(right.plus($number * right_next)));
                    dot!($sums, "tmm4", $tile;);
                }
            };
        }
        // SAFETY: the module's conditions.
        unsafe {
            load!("tmm4", left);
            if PARTS == 2 {
                load!("tmm5", low(left));
            }
            one!(0, "tmm0", "tmm6");
            one!(1, "tmm1", "tmm7");
            one!(2, "tmm2", "tmm6");
            one!(3, "tmm3", "tmm7");
        }
    }
}

/// Four left, one right.
pub(super) struct Column;

impl Block for Column {
    const LEFT: usize = 4;
    const RIGHT: usize = 1;

    #[inline(always)]
    unsafe fn step<const PARTS: usize>(left: Factor, left_next: &[usize], right: Factor, _: usize) {
        macro_rules! one {
            ($number:literal, $sums:literal, $tile:literal) => {
                load!($tile, left.plus(left_next[$number]));
                dot!($sums, $tile, "tmm6";);
                if PARTS == 2 {
                    dot!($sums, $tile, "tmm7";);
                    load!($tile, low(left.plus(left_next[$number])));
                    dot!($sums, $tile, "tmm6";);
                }
            };
        }
        // SAFETY: the module's conditions.
        unsafe {
            load!("tmm6", right);
            if PARTS == 2 {
                load!("tmm7", low(right));
            }
            one!(0, "tmm0", "tmm4");
            one!(1, "tmm1", "tmm5");
            one!(2, "tmm2", "tmm4");
            one!(3, "tmm3", "tmm5");
        }
    }
}

/// Sets all sums to zero.
#[inline(always)]
pub(super) unsafe fn clear() {
    // SAFETY: the module's conditions.
    unsafe { asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem, preserves_flags)) };
}

/// Reads the sums, each from a tile whose rows follow each other.
#[inline(always)]
pub(super) unsafe fn read(from: [*const f32; 4]) {
    let [a, b, c, d] = from.map(|at| Factor { at: at.cast(), stride: ROW_BYTES, part: 0 });
    // SAFETY: the module's conditions.
    unsafe {
        load!("tmm0", a);
        load!("tmm1", b);
        load!("tmm2", c);
        load!("tmm3", d);
    }
}

/// Writes the sums with `stride` values between rows.
#[inline(always)]
pub(super) unsafe fn write(to: [*mut f32; 4], stride: usize) {
    macro_rules! one {
        ($number:literal, $tile:literal) => {
            asm!(concat!("tilestored [{at} + {stride}], ", $tile), at = in(reg) to[$number], stride = in(reg) stride * 4,
                options(nostack, preserves_flags))
        };
    }
    // SAFETY: the module's conditions.
    unsafe {
        one!(0, "tmm0");
        one!(1, "tmm1");
        one!(2, "tmm2");
        one!(3, "tmm3");
    }
}
