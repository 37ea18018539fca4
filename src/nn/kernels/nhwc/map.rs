//! Activations: lines of pixels, a pixel's channels side by side (NHWC).

use super::arrangement::Arrangement;
use super::buffer::{Buffer, Number};
use super::format::Format;
use crate::nn::kernels::winograd::SIDE;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Lines of a picture, each with one pixel of zeros before it, one after it, and as many more as make its length even for
/// squares ([`SIDE`]). Lines outside the picture are one line of zeros. Where another number stands for zero ([`Raising::Transposed`](super::Raising)), it is that one. It may hold fewer
/// lines than the picture has: line `y` then takes the place of an earlier one.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Map<F: Format> {
    buffer: Buffer<F::Value>,
    slots: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl<F: Format> Map<F> {
    /// A map of `h` lines of `w` pixels of `c` channels, of which `slots` are kept.
    pub fn new(h: usize, w: usize, c: usize, slots: usize) -> Self {
        let slots = slots.min(h);
        Self { buffer: Buffer::zeroed(Self::length(w, c, slots)), slots, h, w, c }
    }

    /// An empty map of its size that keeps as many lines, of `c` channels; made without the pool's other threads.
    pub(super) fn like(&self, c: usize) -> Self {
        let Self { slots, h, w, .. } = *self;
        Self { buffer: Buffer::zeroed_alone(Self::length(w, c, slots)), slots, h, w, c }
    }

    fn length(w: usize, c: usize, slots: usize) -> usize {
        (slots + 1) * F::PARTS * part(w, c)
    }

    /// The same map where `zero` stands for nothing; it has no other values yet.
    pub fn with_zero(mut self, zero: u8) -> Self {
        self.buffer.values_mut().fill(F::Value::whole(zero));
        self
    }

    /// Copies a picture of one channel, line by line.
    pub fn set_picture(&mut self, picture: &[F::Value]) {
        assert!(self.c == 1 && self.slots == self.h && picture.len() == self.h * self.w, "size of a picture");
        let (line, w) = (F::PARTS * part(self.w, 1), self.w);
        for (to, from) in self.buffer.values_mut().chunks_exact_mut(line).zip(picture.chunks_exact(w)) {
            to[1..=w].copy_from_slice(from);
        }
    }

    /// Lines, and pixels in a line, of a picture that is a square.
    pub fn side(&self) -> usize {
        self.h
    }

    /// Lines, and pixels in a line.
    pub fn size(&self) -> [usize; 2] {
        [self.h, self.w]
    }

    /// Values of a pixel.
    pub fn channels(&self) -> usize {
        self.c
    }

    /// Puts the pixels of another map into the places that `lines` and `pixels` have for them. The others stay as they are.
    pub(super) fn arrange(&mut self, from: &Self, lines: &Arrangement, pixels: &Arrangement) {
        assert!(self.is_whole() && from.is_whole() && self.c == from.c, "maps to be arranged");
        assert!(self.size() == [lines.length, pixels.length] && from.size() == [lines.places.len(), pixels.places.len()], "an arrangement");
        let mut sources = vec![None; self.h];
        lines.places.iter().enumerate().for_each(|(y, place)| sources[*place] = Some(y));
        let (line, part, c) = (F::PARTS * part(self.w, self.c), part(self.w, self.c), self.c);
        self.buffer.values_mut().par_chunks_exact_mut(line).zip(sources).for_each(|(to, source)| {
            let Some(y) = source else { return };
            for (to, from) in to.chunks_exact_mut(part).zip(from.parts(y)) {
                for (x, place) in pixels.places.iter().enumerate() {
                    to[(place + 1) * c..][..c].copy_from_slice(&from[(x + 1) * c..][..c]);
                }
            }
        });
    }

    /// Takes pixels of another map from the places that `lines` and `pixels` have for them, into the channels from
    /// `first_channel` on.
    pub(super) fn restore(&mut self, from: &Self, lines: &Arrangement, pixels: &Arrangement, first_channel: usize) {
        assert!(self.is_whole() && from.is_whole() && self.c >= first_channel + from.c, "maps to be arranged");
        assert!(from.size() == [lines.length, pixels.length] && self.size() == [lines.places.len(), pixels.places.len()], "an arrangement");
        let (line, part, c) = (F::PARTS * part(self.w, self.c), part(self.w, self.c), self.c);
        self.buffer.values_mut().par_chunks_exact_mut(line).zip(&lines.places).for_each(|(to, y)| {
            for (to, from_part) in to.chunks_exact_mut(part).zip(from.parts(*y)) {
                for (x, place) in pixels.places.iter().enumerate() {
                    to[(x + 1) * c + first_channel..][..from.c].copy_from_slice(&from_part[(place + 1) * from.c..][..from.c]);
                }
            }
        });
    }

    /// Whether every line has a place of its own.
    pub(super) fn is_whole(&self) -> bool {
        self.slots == self.h
    }

    /// The parts of line `y` of a whole map.
    fn parts(&self, y: usize) -> std::slice::ChunksExact<'_, F::Value> {
        let part = part(self.w, self.c);
        self.buffer.values()[y * F::PARTS * part..][..F::PARTS * part].chunks_exact(part)
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> usize {
        self.h * self.w * self.c * F::PARTS * size_of::<F::Value>()
    }

    /// For kernels that read it.
    pub(super) fn view(&self) -> View<F> {
        View { start: self.buffer.start().cast_mut(), slots: self.slots, h: self.h, w: self.w, c: self.c, of: PhantomData }
    }

    /// For kernels that write it.
    pub(super) fn view_mut(&mut self) -> View<F> {
        let view = self.view();
        View { start: self.buffer.start_mut(), ..view }
    }
}

/// Values of one part of a line: a multiple of 32, so that lines of two and four bytes begin at cache lines.
fn part(w: usize, c: usize) -> usize {
    (pixels_in_line(w) * c).next_multiple_of(32)
}

fn pixels_in_line(w: usize) -> usize {
    w.next_multiple_of(SIDE) + 2
}

/// A [`Map`] that the tasks of a parallel loop share.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<F: Format> {
    start: *mut F::Value,
    slots: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    of: PhantomData<F>,
}

// SAFETY: views are used inside the kernels of this room alone, whose tasks write different lines, pixels or channels.
unsafe impl<F: Format> Send for View<F> {}
// SAFETY: as above.
unsafe impl<F: Format> Sync for View<F> {}

impl<F: Format> View<F> {
    /// Distance of a line's parts.
    pub fn part(&self) -> usize {
        part(self.w, self.c)
    }

    /// Pixels that a line holds, zeros on either side among them.
    pub fn pixels_in_line(&self) -> usize {
        pixels_in_line(self.w)
    }

    /// The zero pixel before line `y`.
    pub fn line(&self, y: isize) -> *mut F::Value {
        let slot = if y < 0 || y as usize >= self.h { self.slots } else { y as usize % self.slots };
        // SAFETY: the buffer holds `slots + 1` lines.
        unsafe { self.start.add(slot * F::PARTS * self.part()) }
    }

    /// The first pixel of line `y`, which must be one of the picture's.
    pub fn pixels(&self, y: usize) -> *mut F::Value {
        assert!(y < self.h, "line {y} of {}", self.h);
        // SAFETY: a line holds the pixel before it, `w` pixels and those after.
        unsafe { self.line(y as isize).add(self.c) }
    }
}
