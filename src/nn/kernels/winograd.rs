//! Winograd's minimal filtering F(4, 3) in one direction: four neighbours of a result from six of an input, with six products
//! instead of twelve.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.

use super::picture::Plane;
use super::simd::{Lanes, Task};

/// Neighbours that are computed together.
pub(super) const SIDE: usize = 4;
/// Neighbours that these are made of.
pub(super) const REACH: usize = SIDE + 2;
/// Points in one direction: 0, ±[`NEAR`], ±[`FAR`], and infinity.
pub(super) const POINTS: usize = 6;
/// Of all points these leave the smallest errors among those whose squares are short in binary.
const NEAR: f32 = 0.625;
const FAR: f32 = 1.5;
const NEAR2: f32 = NEAR * NEAR;
const FAR2: f32 = FAR * FAR;

/// What a kernel's three taps in one direction count for at each point: the point's powers, divided by its differences from
/// the other points.
pub(super) const TAPS: [[f64; 3]; POINTS] = {
    const fn row(point: f64, differences: f64) -> [f64; 3] {
        [1.0 / differences, point / differences, point * point / differences]
    }
    let (near, far) = (NEAR as f64, FAR as f64);
    let (near2, far2) = (near * near, far * far);
    let (of_near, of_far) = (2.0 * near2 * (near2 - far2), 2.0 * far2 * (far2 - near2));
    [row(0.0, near2 * far2), row(near, of_near), row(-near, of_near), row(far, of_far), row(-far, of_far), [0.0, 0.0, 1.0]]
};

/// `a + b`.
///
/// # Safety
/// As for `L`.
#[inline(always)]
pub(super) unsafe fn plus<L: Lanes>(a: L, b: L) -> L {
    // SAFETY: the caller's promise.
    unsafe { a.plus_product(b, L::splat(1.0)) }
}

/// Six neighbours to the points.
///
/// # Safety
/// As for `L`.
#[inline(always)]
pub(super) unsafe fn gather<L: Lanes>([d0, d1, d2, d3, d4, d5]: [L; REACH]) -> [L; POINTS] {
    // SAFETY: the caller's promise.
    unsafe {
        let both = L::splat(-(NEAR2 + FAR2));
        let product = L::splat(NEAR2 * FAR2);
        let (even, odd) = (d4.plus_product(d2, L::splat(-FAR2)), d3.plus_product(d1, L::splat(-FAR2)));
        let near = [even.plus_product(odd, L::splat(NEAR)), even.plus_product(odd, L::splat(-NEAR))];
        let (even, odd) = (d4.plus_product(d2, L::splat(-NEAR2)), d3.plus_product(d1, L::splat(-NEAR2)));
        let far = [even.plus_product(odd, L::splat(FAR)), even.plus_product(odd, L::splat(-FAR))];
        let zero = d4.plus_product(d2, both).plus_product(d0, product);
        let infinity = d5.plus_product(d3, both).plus_product(d1, product);
        [zero, near[0], near[1], far[0], far[1], infinity]
    }
}

/// What is at the points back to four neighbours.
///
/// # Safety
/// As for `L`.
#[inline(always)]
pub(super) unsafe fn scatter<L: Lanes>([zero, near, minus_near, far, minus_far, infinity]: [L; POINTS]) -> [L; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let less = L::splat(-1.0);
        let (near_even, near_odd) = (plus(near, minus_near), near.plus_product(minus_near, less));
        let (far_even, far_odd) = (plus(far, minus_far), far.plus_product(minus_far, less));
        let nothing = L::splat(0.0);
        [
            plus(zero, plus(near_even, far_even)),
            nothing.plus_product(near_odd, L::splat(NEAR)).plus_product(far_odd, L::splat(FAR)),
            nothing.plus_product(near_even, L::splat(NEAR2)).plus_product(far_even, L::splat(FAR2)),
            infinity.plus_product(near_odd, L::splat(NEAR * NEAR2)).plus_product(far_odd, L::splat(FAR * FAR2)),
        ]
    }
}

/// What the gradients of four neighbours are worth at the points: [`scatter`], turned around.
///
/// # Safety
/// As for `L`.
#[inline(always)]
pub(super) unsafe fn scatter_gradient<L: Lanes>([g0, g1, g2, g3]: [L; SIDE]) -> [L; POINTS] {
    // SAFETY: the caller's promise.
    unsafe {
        let (near_even, near_odd) = (g0.plus_product(g2, L::splat(NEAR2)), g1.plus_product(g3, L::splat(NEAR2)));
        let (far_even, far_odd) = (g0.plus_product(g2, L::splat(FAR2)), g1.plus_product(g3, L::splat(FAR2)));
        let near = [near_even.plus_product(near_odd, L::splat(NEAR)), near_even.plus_product(near_odd, L::splat(-NEAR))];
        let far = [far_even.plus_product(far_odd, L::splat(FAR)), far_even.plus_product(far_odd, L::splat(-FAR))];
        [g0, near[0], near[1], far[0], far[1], g3]
    }
}

/// Lines that go to the points together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strip {
    /// Six of a convolution's inputs, of which the next strip has two again.
    Inputs,
    /// Four of the gradient of its results.
    Results,
}

impl Strip {
    /// How many lines.
    pub fn lines(self) -> usize {
        match self {
            Self::Inputs => REACH,
            Self::Results => SIDE,
        }
    }
}

/// A strip of a picture's channel to the points, a line of `f32` at each; or that of two channels, a line of pairs of bf16.
pub(super) struct ToPoints<'a, const CHANNELS: usize> {
    pub strip: Strip,
    pub planes: [Plane<'a>; CHANNELS],
    /// A channel's lines, and the pixels of each.
    pub size: [usize; 2],
    /// The strip's first line; those outside of the picture (above it: wrapped around) are zero.
    pub first: usize,
    /// [`ToPoints::room`] values, for strips that are not within the picture.
    pub scratch: &'a mut [f32],
    pub to: *mut f32,
    /// Distance of points.
    pub of_point: usize,
}

/// Where the lines of a channel's strip lie, and what they are worth.
#[derive(Clone, Copy)]
struct Source<'a> {
    from: *const f32,
    /// Distance of lines.
    line: usize,
    worth: Plane<'a>,
}

impl<const CHANNELS: usize> ToPoints<'_, CHANNELS> {
    /// Values of the scratch for lines of `w` pixels and vectors of `width` values.
    pub const fn room(w: usize, width: usize) -> usize {
        CHANNELS * REACH * w.next_multiple_of(width)
    }

    /// From lines of which whole vectors are read, worth what the sources say where that is `PENDING`.
    #[inline(always)]
    unsafe fn points<L: Lanes, const PENDING: bool>(&self, sources: [Source; CHANNELS]) {
        let [_, w] = self.size;
        // Loops, not closures: a closure that is not inlined has no vectors.
        // SAFETY: the caller's promise.
        unsafe {
            for at in (0..w).step_by(L::WIDTH) {
                let mut found = [[L::splat(0.0); POINTS]; CHANNELS];
                for (found, Source { from, line, worth }) in found.iter_mut().zip(sources) {
                    let mut values = [L::splat(0.0); REACH];
                    for (y, value) in values.iter_mut().enumerate().take(self.strip.lines()) {
                        *value = L::load(from.add(y * line + at));
                        if PENDING {
                            // Two roundings, as `Plane::write` has them.
                            let scaled = L::splat(0.0).plus_product(*value, L::splat(worth.scale));
                            *value = L::splat(worth.floor).max(plus(scaled, L::splat(worth.shift)));
                        }
                    }
                    let [a, b, c, d, ..] = values;
                    *found = if self.strip == Strip::Inputs { gather(values) } else { scatter_gradient([a, b, c, d]) };
                }
                // Of one channel its own second, which is left alone.
                let (first, second) = (found[0], found[CHANNELS - 1]);
                for (point, (first, second)) in first.into_iter().zip(second).enumerate() {
                    let value = if CHANNELS == 2 { first.paired(second) } else { first };
                    value.store_up_to(self.to.add(point * self.of_point + at), w - at);
                }
            }
        }
    }
}

impl<const CHANNELS: usize> Task for ToPoints<'_, CHANNELS> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let ([h, w], lines, first) = (self.size, self.strip.lines(), self.first);
        let pitch = w.next_multiple_of(L::WIDTH);
        assert!(self.scratch.len() >= Self::room(w, L::WIDTH), "room for a strip");
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut sources = self.planes.map(|worth| Source { from: worth.values.as_ptr(), line: w, worth });
        for source in &mut sources {
            let plane = source.worth;
            if first < h && lines <= h - first && (first + lines - 1) * w + pitch <= plane.values.len() {
                source.from = plane.values[first * w..].as_ptr();
                continue;
            }
            let (copy, rest) = scratch.split_at_mut(REACH * pitch);
            scratch = rest;
            for (i, values) in copy.chunks_exact_mut(pitch.max(1)).enumerate().take(lines) {
                match first.wrapping_add(i) {
                    y if y < h => plane.write(y * w, &mut values[..w]),
                    _ => values[..w].fill(0.0),
                }
            }
            *source = Source { from: copy.as_ptr(), line: pitch, worth: Plane::plain(&[]) };
        }
        // SAFETY: lines and a last vector are in each plane or copy; the rest is the caller's promise.
        unsafe {
            if sources.iter().all(|source| source.worth.is_plain()) {
                self.points::<L, false>(sources);
            } else {
                self.points::<L, true>(sources);
            }
        }
    }
}
