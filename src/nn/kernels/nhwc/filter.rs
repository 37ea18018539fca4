//! Convolutions of blocks and layers, each by the method that suits it.

use super::fma;
use super::format::Single;
use super::layers::{Convolution, convolution};
use super::map::View;
use super::multiply::{Multiply, line_tasks};
use super::product::{Order, Product, Sources};
use super::winograd::{self, Winograd};
use crate::nn::kernels::isa::Isa;
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of input that should stay in the second-level cache.
const BAND: usize = 1 << 20;
/// Bytes of weights that should be read as seldom as may be.
pub(super) const LARGE: usize = 5 << 18;

/// How convolutions 3×3 are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Method {
    /// Every weight times every input.
    Direct,
    /// By squares of 4×4 results with a quarter of the products, where sizes allow it; a little less exact.
    Winograd,
}

/// A convolution with ReLU, ready to run.
#[derive(Debug)]
pub(super) enum Filter<F: Multiply> {
    /// Of the picture itself.
    Picture(Product<f32>),
    Direct(Product<F::Value>),
    Winograd(Winograd),
}

/// What there is to multiply in a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::nn) struct Work {
    /// Multiply-adds, as the layers define them.
    pub multiply_adds: u64,
    /// Multiply-adds that are done.
    pub done: u64,
    /// Bytes of weights.
    pub bytes: u64,
}

impl std::ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { multiply_adds: self.multiply_adds + other.multiply_adds, done: self.done + other.done, bytes: self.bytes + other.bytes }
    }
}

/// Where a filter stands in its block or layer, and what it reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub isa: Isa,
    pub w: usize,
    pub sources: Sources<'a>,
    /// Whether it is a block's first. That one reads the picture where it has one channel, and its strips end one line
    /// below those of the second, which reads that line.
    pub first: bool,
}

impl<F: Multiply> Filter<F> {
    /// Packs the weights.
    pub fn new(method: Method, convolved: &Convolution, Place { isa, w, sources, first }: Place) -> Self {
        if first && convolved.inputs == 1 {
            return Self::Picture(convolution(Order::single(isa), convolved, sources, w, Product::single));
        }
        if method == Method::Winograd && convolved.side == 3 && Winograd::fits(isa, sources.channels, convolved.outputs) {
            return Self::Winograd(Winograd::new(isa, convolved, sources.channels, if first { winograd::SIDE - 1 } else { 0 }));
        }
        Self::Direct(convolution(F::order(isa), convolved, sources, w, F::pack))
    }

    /// Bytes of weights; a picture's filter has too few to count.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Picture(_) => 0,
            Self::Direct(product) => product.bytes(),
            Self::Winograd(winograd) => winograd.bytes(),
        }
    }

    /// What there is to multiply in `h` lines of `w` pixels.
    pub fn work(&self, h: usize, w: usize) -> Work {
        let (inputs, side) = match self {
            Self::Picture(_) => (1, 3),
            Self::Direct(product) => (product.sources.iter().sum(), product.lines),
            Self::Winograd(winograd) => (winograd.inputs(), 3),
        };
        let multiply_adds = (side * side * h * w * inputs * self.outputs()) as u64;
        let done = if let Self::Winograd(winograd) = self { winograd.products(h, w) } else { multiply_adds };
        Work { multiply_adds, done, bytes: self.bytes() as u64 }
    }

    /// Lines of `w` pixels to compute at once, where the block's weights are `large` or not; none where that is the whole
    /// picture.
    pub fn step(&self, w: usize, large: bool) -> Option<usize> {
        match self {
            Self::Direct(_) if large => None,
            Self::Picture(_) | Self::Direct(_) => Some(winograd::SIDE),
            Self::Winograd(_) => Winograd::step(w, large),
        }
    }

    /// Channels of the result.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Picture(product) => product.columns / product.unit,
            Self::Direct(product) => product.columns / product.unit,
            Self::Winograd(winograd) => winograd.outputs(),
        }
    }

    /// How far above the first line that a block's first filter is asked for the lines lie that it reads. That line is the
    /// last but one of a strip.
    pub fn reach(&self) -> usize {
        match self {
            Self::Picture(_) | Self::Direct(_) => 1,
            Self::Winograd(_) => winograd::SIDE - 1,
        }
    }

    /// Values of room that [`Filter::whole`] needs for `h` lines of `w` pixels.
    pub fn room(&self, h: usize, w: usize) -> usize {
        match self {
            Self::Picture(_) | Self::Direct(_) => 0,
            Self::Winograd(winograd) => winograd.room(h, w),
        }
    }

    /// Computes lines `ys` on the current thread.
    ///
    /// # Safety
    /// `isa` must be here and the one that the filter was made for; no other thread may write those lines of `to`, nor
    /// any that is read.
    pub unsafe fn lines(&self, isa: Isa, from: Input<F>, to: View<F>, ys: Range<usize>) {
        match (self, from) {
            (Self::Winograd(winograd), Input::Maps(sources)) => {
                // SAFETY: the caller's promise.
                unsafe { winograd.lines(sources, to, ys) }
            }
            // SAFETY: the caller's promise.
            _ => unsafe { self.blocks_of_lines(isa, from, to, ys, 0..self.blocks()) },
        }
    }

    /// Computes the whole picture on the current pool, each weight read by as few threads as may be.
    ///
    /// # Safety
    /// As for [`Filter::lines`].
    pub unsafe fn whole(&self, isa: Isa, from: Input<F>, to: View<F>, room: &mut [f32]) {
        if let (Self::Winograd(winograd), Input::Maps(sources)) = (self, from) {
            // SAFETY: the caller's promise.
            return unsafe { winograd.whole(sources, to, room) };
        }
        let channels = match self {
            Self::Direct(product) => product.sources.iter().sum(),
            _ => 1,
        };
        // SAFETY: the caller's promise; lines and columns are shared out.
        let step = |ys: Range<usize>, blocks: Range<usize>| unsafe { self.blocks_of_lines(isa, from, to, ys, blocks) };
        let bands = (to.h * to.w * channels * F::PARTS * size_of::<F::Value>()).div_ceil(BAND);
        if bands == 1 {
            return (0..self.blocks()).into_par_iter().for_each(|block| step(0..to.h, block..block + 1));
        }
        let lines = to.h.div_ceil(bands.next_multiple_of(4));
        (0..to.h.div_ceil(lines)).into_par_iter().for_each(|band| {
            step(band * lines..((band + 1) * lines).min(to.h), 0..self.blocks());
        });
    }

    fn blocks(&self) -> usize {
        match self {
            Self::Picture(product) => product.blocks(),
            Self::Direct(product) => product.blocks(),
            Self::Winograd(_) => 1,
        }
    }

    /// # Safety
    /// As for [`Filter::lines`].
    unsafe fn blocks_of_lines(&self, isa: Isa, from: Input<F>, to: View<F>, ys: Range<usize>, blocks: Range<usize>) {
        match (self, from) {
            (Self::Picture(product), Input::Picture(picture)) => {
                for task in line_tasks(product, [picture; 2], to, ys, blocks, |y| y) {
                    // SAFETY: `line_tasks` checks the sizes; the rest is the caller's promise.
                    unsafe { fma::line::<F>(isa, &task) }
                }
            }
            (Self::Direct(product), Input::Maps(sources)) => {
                let units = to.w / product.unit;
                // SAFETY: as above.
                unsafe { F::multiply(isa, units, line_tasks(product, sources, to, ys, blocks, |y| y)) }
            }
            _ => panic!("a block got another kind of source than it was made for"),
        }
    }
}

/// What a filter reads.
#[derive(Clone, Copy)]
pub(super) enum Input<F: Multiply> {
    Picture(View<Single>),
    /// One source, twice, or two that are joined.
    Maps([View<F>; 2]),
}
