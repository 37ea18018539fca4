//! One step of the sums: two tiles of units times one or two tiles of columns.
//!
//! All of it needs the tiles set up, rows of inputs within what the units read, and weights padded to whole tiles.

use super::ROW_BYTES;
use std::arch::asm;

/// Defines a step with the instruction that multiplies.
macro_rules! define_step {
    ($(#[$doc:meta])* $name:ident, $product:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) unsafe fn $name<const WIDE: bool>(upper: *const u8, lower: *const u8, stride: usize, weights: *const u8) {
            // SAFETY: the caller's promise.
            unsafe {
                if WIDE {
                    asm!(
                        "tileloadd tmm6, [{w} + {row}]",
                        "tileloadd tmm4, [{u} + {s}]",
                        concat!($product, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm7, [{w} + {row} + 1024]",
                        concat!($product, " tmm1, tmm4, tmm7"),
                        "tileloadd tmm5, [{l} + {s}]",
                        concat!($product, " tmm2, tmm5, tmm6"),
                        concat!($product, " tmm3, tmm5, tmm7"),
                        u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                        options(nostack, readonly, preserves_flags)
                    );
                } else {
                    asm!(
                        "tileloadd tmm6, [{w} + {row}]",
                        "tileloadd tmm4, [{u} + {s}]",
                        concat!($product, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm5, [{l} + {s}]",
                        concat!($product, " tmm2, tmm5, tmm6"),
                        u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                        options(nostack, readonly, preserves_flags)
                    );
                }
            }
        }
    };
}

define_step! {
    /// Of bf16.
    step, "tdpbf16ps"
}

define_step! {
    /// Of bytes: inputs without a sign, weights with one.
    byte_step, "tdpbusd"
}

/// Upper times lower, upper times upper, lower times upper parts; lower times lower is below what counts.
#[inline(always)]
pub(super) unsafe fn split_step<const WIDE: bool>(upper: *const u8, lower: *const u8, stride: usize, part: usize, weights: *const u8) {
    // SAFETY: the caller's promise.
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
                u = in(reg) upper, l = in(reg) lower, up = in(reg) upper.add(part), lp = in(reg) lower.add(part),
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
                u = in(reg) upper, l = in(reg) lower, up = in(reg) upper.add(part), lp = in(reg) lower.add(part),
                s = in(reg) stride, w = in(reg) weights, row = in(reg) ROW_BYTES,
                options(nostack, readonly, preserves_flags)
            );
        }
    }
}
