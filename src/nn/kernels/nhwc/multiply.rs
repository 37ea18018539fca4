//! Which kernel multiplies activations of which format.

use super::fma;
use super::format::{Brain, Byte, Format, Single, Split};
use super::map::View;
use super::product::{LineTask, Order, Product, Recipe, TILE_BYTE_INPUTS, VECTOR_BYTE_INPUTS};
use crate::nn::kernels::isa::Isa;
use std::ops::Range;

/// A format whose activations can be multiplied.
pub(in crate::nn) trait Multiply: Format {
    /// The smallest instruction set that does it.
    const NEEDS: Isa;

    /// The order of weights for `isa`.
    fn order(isa: Isa) -> Order;

    /// Packs weights.
    fn pack(order: Order, recipe: &Recipe) -> Product<Self::Value>;

    /// Computes lines of `units` units.
    ///
    /// # Safety
    /// `isa` must be here and not below [`Multiply::NEEDS`]; every task's pointers good for what it reads and
    /// writes.
    unsafe fn multiply<'a>(isa: Isa, units: usize, tasks: impl Iterator<Item = LineTask<'a, Self::Value, Self::Value>>);
}

impl Multiply for Single {
    const NEEDS: Isa = Isa::Portable;

    fn order(isa: Isa) -> Order {
        Order::single(isa)
    }

    fn pack(order: Order, recipe: &Recipe) -> Product<f32> {
        Product::single(order, recipe)
    }

    unsafe fn multiply<'a>(isa: Isa, _: usize, tasks: impl Iterator<Item = LineTask<'a, f32, f32>>) {
        for task in tasks {
            // SAFETY: the caller's promise.
            unsafe { fma::line::<Self>(isa, &task) }
        }
    }
}

impl Multiply for Brain {
    const NEEDS: Isa = Isa::Avx512Bf16;

    fn order(_: Isa) -> Order {
        Order::Brain { parts: 1 }
    }

    fn pack(order: Order, recipe: &Recipe) -> Product<u16> {
        Product::brain(order, recipe)
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn multiply<'a>(isa: Isa, units: usize, tasks: impl Iterator<Item = LineTask<'a, u16, u16>>) {
        if isa == Isa::Amx {
            // SAFETY: the caller's promise.
            return unsafe { multiply_tiles::<Self>(units, tasks) };
        }
        for task in tasks {
            // SAFETY: the caller's promise.
            unsafe { super::dot::line(&task) }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn multiply<'a>(_: Isa, _: usize, _: impl Iterator<Item = LineTask<'a, u16, u16>>) {
        unreachable!("no instruction set with bf16")
    }
}

impl Multiply for Split {
    const NEEDS: Isa = Isa::Amx;

    fn order(_: Isa) -> Order {
        Order::Brain { parts: 2 }
    }

    fn pack(order: Order, recipe: &Recipe) -> Product<u16> {
        Product::brain(order, recipe)
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn multiply<'a>(_: Isa, units: usize, tasks: impl Iterator<Item = LineTask<'a, u16, u16>>) {
        // SAFETY: the caller's promise.
        unsafe { multiply_tiles::<Self>(units, tasks) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn multiply<'a>(_: Isa, _: usize, _: impl Iterator<Item = LineTask<'a, u16, u16>>) {
        unreachable!("no instruction set with tiles")
    }
}

impl Multiply for Byte {
    const NEEDS: Isa = Isa::Avx512Vnni;

    fn order(isa: Isa) -> Order {
        Order::Byte { inputs: if isa == Isa::Amx { TILE_BYTE_INPUTS } else { VECTOR_BYTE_INPUTS } }
    }

    fn pack(order: Order, recipe: &Recipe) -> Product<u8> {
        Product::byte(order, recipe)
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn multiply<'a>(isa: Isa, units: usize, tasks: impl Iterator<Item = LineTask<'a, u8, u8>>) {
        if isa == Isa::Amx {
            // SAFETY: the caller's promise.
            return unsafe { multiply_tiles::<Self>(units, tasks) };
        }
        for task in tasks {
            // SAFETY: the caller's promise.
            unsafe { super::dot_bytes::line(&task) }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn multiply<'a>(_: Isa, _: usize, _: impl Iterator<Item = LineTask<'a, u8, u8>>) {
        unreachable!("no instruction set with products of bytes")
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn multiply_tiles<'a, F: Format>(units: usize, tasks: impl Iterator<Item = LineTask<'a, F::Value, F::Value>>) {
    // SAFETY: the caller's promise.
    let _tiles = unsafe { super::amx::set_up(units) };
    // SAFETY: the caller's promise; the tiles are set up.
    unsafe { super::amx::lines::<F>(tasks) }
}

/// Tasks for the lines `ys` of `sources`, to the lines that `place` gives, and for the blocks of columns `blocks`:
/// block after block, so that its weights stay in the cache.
pub(super) fn line_tasks<'a, S: Format, F: Format>(
    product: &'a Product<S::Value>,
    sources: [View<S>; 2],
    to: View<F>,
    ys: Range<usize>,
    blocks: Range<usize>,
    place: impl Fn(usize) -> usize + Copy + 'a,
) -> impl Iterator<Item = LineTask<'a, S::Value, F::Value>> {
    let (units, middle) = (sources[0].w / product.unit, product.lines / 2);
    for (source, channels) in sources.iter().zip(&product.sources) {
        assert!(source.c == *channels && source.w == units * product.unit && source.h == sources[0].h, "input of a convolution");
    }
    assert!(units * product.columns == to.w * to.c, "output of a convolution");
    blocks.flat_map(move |block| {
        ys.clone().map(move |y| {
            let line = |source: View<S>, line: usize| {
                let from = source.line((y + line) as isize - middle as isize).cast_const();
                // A product of one line reads no pixel before the first.
                if product.lines == 1 { from.wrapping_add(source.c) } else { from }
            };
            LineTask {
                product,
                block,
                from: sources.map(|source| [0, 1, 2].map(|l| line(source, l.min(product.lines - 1)))),
                from_part: sources.map(|source| source.part()),
                to: to.pixels(place(y)),
                to_part: to.part(),
                units,
            }
        })
    })
}
