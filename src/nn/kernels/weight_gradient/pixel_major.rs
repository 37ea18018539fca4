//! Channels laid out pixel by pixel, for sums over pixels: the channels of a pixel are then a vector.

use super::super::Dims;
use super::super::picture::Pictures;
use super::super::simd::{Lanes, Task};
use super::super::winograd::{POINTS, SIDE, Strip, ToPoints};
use std::ops::Range;

/// Channels in blocks, for each point `[block][pixel][channel of the block]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelMajor {
    /// Which strips go to the points of [`winograd`](super::super::winograd); without, lines stay what they are.
    pub filter: Option<Strip>,
    /// How many are asked for; what fills up the last block are the pictures' next ones, or zeros.
    pub channels: usize,
    /// Channels of a block.
    pub of_block: usize,
    /// Pixels of each.
    pub pixels: usize,
}

/// Lines of a picture, and where they go.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    /// The first; those outside of the picture (above it: wrapped around) are zero.
    pub first: usize,
    /// How many strips.
    pub count: usize,
    /// Zeros before each.
    pub margin: usize,
    /// Pixels of each block that they take, zero after the last one.
    pub place: Range<usize>,
}

impl PixelMajor {
    /// Points at which there are lines.
    pub fn points(&self) -> usize {
        self.filter.map_or(1, |_| POINTS)
    }

    /// Lines from one strip to the next.
    pub fn step(&self) -> usize {
        self.filter.map_or(1, |_| SIDE)
    }

    /// How many blocks.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.of_block)
    }

    /// Values of all of them.
    pub fn values(&self) -> usize {
        self.points() * self.blocks() * self.pixels * self.of_block
    }

    /// Where a pixel of a block lies.
    pub fn at(&self, point: usize, block: usize, pixel: usize) -> usize {
        ((point * self.blocks() + block) * self.pixels + pixel) * self.of_block
    }

    /// Values of the scratch that [`PixelMajor::lay`] wants for lines of `w` pixels and vectors of `width` values.
    pub fn scratch(w: usize, width: usize) -> usize {
        ToPoints::<1>::room(w, width) + POINTS * width * w.next_multiple_of(width)
    }

    /// Lays out lines of picture `n`, of its channels from `first` on as far as there are any.
    ///
    /// # Safety
    /// As for `L`.
    #[inline(always)]
    pub unsafe fn lay<L: Lanes>(&self, pictures: &Pictures, n: usize, first: usize, lines: Lines, to: &mut [f32], scratch: &mut [f32]) {
        let w = pictures.size().w;
        let pitch = w.next_multiple_of(L::WIDTH);
        let line = lines.margin + w;
        let end = lines.place.start + lines.count * line;
        assert!(end <= lines.place.end && lines.place.end <= self.pixels && to.len() >= self.values());
        assert!(scratch.len() >= Self::scratch(w, L::WIDTH));
        let (raw, scratch) = scratch.split_at_mut(ToPoints::<1>::room(w, L::WIDTH));
        for block in 0..self.blocks() {
            for strip in 0..lines.count {
                let start = lines.place.start + strip * line;
                let y = lines.first.wrapping_add(strip * self.step());
                for part in (0..self.of_block).step_by(L::WIDTH) {
                    let channels = L::WIDTH.min(self.of_block - part);
                    for c in 0..channels {
                        let channel = first + block * self.of_block + part + c;
                        // SAFETY: lines of the scratch, in whole vectors.
                        unsafe { self.strip::<L>(pictures, [n, channel], y, raw, &mut scratch[c * pitch..], L::WIDTH * pitch) };
                    }
                    for point in 0..self.points() {
                        for x in (0..w).step_by(L::WIDTH) {
                            let from = scratch[point * L::WIDTH * pitch + x..].as_ptr();
                            let to = to[self.at(point, block, start + lines.margin + x) + part..].as_mut_ptr();
                            // SAFETY: a square of the scratch; pixels of the block that are this line's.
                            unsafe { L::transpose(from, pitch, to, self.of_block, [w - x, channels]) };
                        }
                    }
                }
            }
            for point in 0..self.points() {
                for strip in 0..lines.count {
                    let start = lines.place.start + strip * line;
                    to[self.at(point, block, start)..self.at(point, block, start + lines.margin)].fill(0.0);
                }
                to[self.at(point, block, end)..self.at(point, block, lines.place.end)].fill(0.0);
            }
        }
    }

    /// Makes of what was laid out a pair of bf16 of each pixel and the next one; that of a block's last pixel tells nothing. As many
    /// values must follow as a pixel and a vector have.
    ///
    /// # Safety
    /// As for `L`.
    #[inline(always)]
    pub unsafe fn pair<L: Lanes>(&self, values: &mut [f32]) {
        let count = self.values();
        assert!(values.len() >= count + self.of_block + L::WIDTH, "room for pairs");
        for at in (0..count).step_by(L::WIDTH) {
            let (first, second) = (values[at..].as_mut_ptr(), values[at + self.of_block..].as_ptr());
            // SAFETY: a vector is left behind either, checked above; what was not read yet is not written. The instruction set is the
            // caller's promise.
            unsafe { L::load(first).paired(L::load(second)).store_up_to(first, count - at) };
        }
    }

    /// A channel's strip that begins at line `y`, a line for each point, `of_point` values apart.
    #[inline(always)]
    unsafe fn strip<L: Lanes>(
        &self,
        pictures: &Pictures,
        [n, channel]: [usize; 2],
        y: usize,
        raw: &mut [f32],
        to: &mut [f32],
        of_point: usize,
    ) {
        let Dims { c, h, w, .. } = pictures.size();
        if channel >= c || (self.filter.is_none() && y >= h) {
            (0..self.points()).for_each(|point| to[point * of_point..][..w].fill(0.0));
            return;
        }
        let plane = pictures.plane(n, channel);
        let Some(strip) = self.filter else { return plane.write(y * w, &mut to[..w]) };
        assert!(to.len() >= (POINTS - 1) * of_point + w, "room for a strip");
        let points = ToPoints { strip, planes: [plane], size: [h, w], first: y, scratch: raw, to: to.as_mut_ptr(), of_point };
        // SAFETY: a line of the scratch for each point, checked above; the instruction set is the caller's promise.
        unsafe { points.run::<L>() }
    }
}
