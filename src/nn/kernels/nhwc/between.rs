//! What stands between the layers of networks other than U-Net, on whole maps, shared out by lines on the current rayon pool.

use super::format::Format;
use super::map::{Map, View};
use super::multiply::Multiply;
use super::resize::{Head, Raise, greatest};
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::simd::{Lanes, Task, dispatch_on};
use crate::nn::kernels::upsample::taps;
use rayon::prelude::*;

/// The widest vector.
const WIDEST: usize = 16;

/// What reads and writes need that is safe: an instruction set that is here and has what the format needs, and all lines of both maps.
fn views<F: Multiply>(isa: Isa, from: &Map<F>, to: &mut Map<F>) -> (View<F>, View<F>) {
    assert!(isa.is_here() && isa >= F::NEEDS, "{isa} is not here or cannot multiply this format");
    assert!(from.is_whole() && to.is_whole(), "maps have all their lines");
    (from.view(), to.view_mut())
}

/// Half the size: the greatest of 2×2 pixels, and in `places` which of the four it was (0 and 1 above, 2 and 3 below), the first of
/// equal ones, pixel by pixel as the result has them.
pub(in crate::nn) fn pool_with_places<F: Multiply>(isa: Isa, from: &Map<F>, to: &mut Map<F>, places: &mut [u8]) {
    let (from, to) = views(isa, from, to);
    assert!([from.h, from.w] == [2 * to.h, 2 * to.w] && from.c == to.c, "maps to be pooled");
    let line = to.w * to.c;
    assert!(places.len() == to.h * line, "room for the places");
    places.par_chunks_exact_mut(line).enumerate().for_each(|(y, places)| {
        let lines = [from.pixels(2 * y).cast_const(), from.pixels(2 * y + 1).cast_const()];
        let task = PoolWithPlaces::<F> { from: lines, part: from.part(), to: to.pixels(y), to_part: to.part(), c: to.c, places };
        // SAFETY: lines of maps whose sizes were looked at above; the instruction set is here; each line is written by one task.
        unsafe { dispatch_on(isa, task) }
    });
}

/// Twice the size: each value in the place where it was the greatest, as [`pool_with_places`] tells them, and zeros around it.
pub(in crate::nn) fn unpool<F: Multiply>(isa: Isa, from: &Map<F>, places: &[u8], to: &mut Map<F>) {
    let (from, to) = views(isa, from, to);
    assert!([to.h, to.w] == [2 * from.h, 2 * from.w] && from.c == to.c, "maps to be unpooled");
    let line = from.w * from.c;
    assert!(places.len() == from.h * line, "places of all values");
    places.par_chunks_exact(line).enumerate().for_each(|(y, places)| {
        let task = Unpool::<F> {
            from: from.pixels(y),
            part: from.part(),
            places,
            to: [to.pixels(2 * y), to.pixels(2 * y + 1)],
            to_part: to.part(),
            c: to.c,
        };
        // SAFETY: as above.
        unsafe { dispatch_on(isa, task) }
    });
}

/// Means over as many parts of `from` as `to` has pixels; they overlap by a pixel where its size is no multiple of that (as
/// [`average_pool`](crate::nn::ops)).
pub(in crate::nn) fn average<F: Multiply>(isa: Isa, from: &Map<F>, to: &mut Map<F>) {
    let (from, to) = views(isa, from, to);
    assert!(from.c == to.c, "maps to be averaged");
    let reach = |part: usize, parts: usize, pixels: usize| part * pixels / parts..((part + 1) * pixels).div_ceil(parts);
    (0..to.h * to.w).into_par_iter().for_each(|pixel| {
        let (y, x) = (pixel / to.w, pixel % to.w);
        let (lines, pixels) = (reach(y, to.h, from.h), reach(x, to.w, from.w));
        let count = lines.len() * pixels.len();
        let mut sums = vec![0.0; from.c.next_multiple_of(WIDEST)];
        for line in lines {
            let task = Sum::<F> {
                // Within the line.
                from: from.pixels(line).wrapping_add(pixels.start * from.c),
                part: from.part(),
                pixels: pixels.len(),
                c: from.c,
                sums: &mut sums,
            };
            // SAFETY: pixels of a line; the instruction set is here.
            unsafe { dispatch_on(isa, task) }
        }
        sums.iter_mut().for_each(|sum| *sum /= count as f32);
        let task = Write::<F> { values: &sums, to: to.pixels(y).wrapping_add(x * to.c), part: to.part(), c: to.c };
        // SAFETY: a pixel of a map, written by one task.
        unsafe { dispatch_on(isa, task) }
    });
}

/// Bilinear interpolation to the size of `to`, corners aligned, into its channels from `first_channel` on.
pub(in crate::nn) fn interpolate<F: Multiply>(isa: Isa, from: &Map<F>, to: &mut Map<F>, first_channel: usize) {
    let (from, to) = views(isa, from, to);
    assert!(to.c >= first_channel + from.c && from.h > 0 && from.w > 0, "maps to be interpolated");
    let (down, across) = (taps(from.h, to.h), taps(from.w, to.w));
    let room = || vec![0.0; (from.w + 1) * from.c + WIDEST];
    down.par_iter().enumerate().for_each_init(room, |blended, (y, tap)| {
        let task = Raise::line(from, *tap, &across, to, y, first_channel, blended);
        // SAFETY: lines of the maps, whose channels were looked at above; the instruction set is here.
        unsafe { dispatch_on(isa, task) }
    });
}

/// The last layer: a 1×1 convolution to one `f32` a pixel, line by line. `weights` has zeros up to a whole vector.
pub(in crate::nn) fn head<F: Multiply>(isa: Isa, from: &Map<F>, weights: &[f32], bias: f32, to: &mut [f32]) {
    assert!(isa.is_here() && isa >= F::NEEDS && from.is_whole(), "a map that {isa} can read");
    let from = from.view();
    assert!(to.len() == from.h * from.w && weights.len() >= from.c.next_multiple_of(WIDEST), "size of the logits");
    to.par_chunks_exact_mut(from.w).enumerate().for_each(|(y, to)| {
        let task = Head::line(from, y, weights, bias, to);
        // SAFETY: a line has a pixel for each of its results; the instruction set is here.
        unsafe { dispatch_on(isa, task) }
    });
}

struct PoolWithPlaces<'a, F: Format> {
    /// Two lines of twice the pixels.
    from: [*const F::Value; 2],
    part: usize,
    to: *mut F::Value,
    to_part: usize,
    c: usize,
    places: &'a mut [u8],
}

impl<F: Format> Task for PoolWithPlaces<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let [above, below] = self.from;
        for (x, places) in self.places.chunks_exact_mut(self.c).enumerate() {
            for (c, places) in (0..self.c).step_by(L::WIDTH).zip(places.chunks_mut(L::WIDTH)) {
                let (left, right) = (2 * x * self.c + c, (2 * x + 1) * self.c + c);
                let mut four = [[0.0_f32; WIDEST]; 4];
                let mut winners = [0.0_f32; WIDEST];
                // SAFETY: the lines hold the four pixels; maps may be read a vector past the end; results are counted.
                unsafe {
                    let load = |line: *const F::Value, at| F::load::<L>(line.add(at), self.part);
                    let found = [[load(above, left), load(above, right)], [load(below, left), load(below, right)]];
                    for (values, to) in found.iter().flatten().zip(&mut four) {
                        values.store(to.as_mut_ptr());
                    }
                    let of_all = greatest(found);
                    of_all.store(winners.as_mut_ptr());
                    F::store(of_all, self.to.add(x * self.c + c), self.to_part, places.len());
                }
                let [first, second, third, _] = &four;
                for (i, place) in places.iter_mut().enumerate() {
                    let is = |values: &[f32; WIDEST]| values[i] == winners[i];
                    *place = if is(first) {
                        0
                    } else if is(second) {
                        1
                    } else if is(third) {
                        2
                    } else {
                        3
                    };
                }
            }
        }
    }
}

struct Unpool<'a, F: Format> {
    from: *const F::Value,
    part: usize,
    places: &'a [u8],
    /// Two lines of twice the pixels.
    to: [*mut F::Value; 2],
    to_part: usize,
    c: usize,
}

impl<F: Format> Task for Unpool<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (x, places) in self.places.chunks_exact(self.c).enumerate() {
            for (c, places) in (0..self.c).step_by(L::WIDTH).zip(places.chunks(L::WIDTH)) {
                let mut values = [0.0_f32; WIDEST];
                // SAFETY: the line holds the pixel; maps may be read a vector past the end.
                unsafe { F::load::<L>(self.from.add(x * self.c + c), self.part).store(values.as_mut_ptr()) };
                for square in 0..4_u8 {
                    let mut spread = [0.0_f32; WIDEST];
                    for ((to, value), place) in spread.iter_mut().zip(values).zip(places) {
                        *to = if *place == square { value } else { 0.0 };
                    }
                    let at = (2 * x + usize::from(square % 2)) * self.c + c;
                    // SAFETY: the lines hold twice the pixels; results are counted.
                    unsafe { F::store(L::load(spread.as_ptr()), self.to[usize::from(square / 2)].add(at), self.to_part, places.len()) };
                }
            }
        }
    }
}

struct Sum<'a, F: Format> {
    from: *const F::Value,
    part: usize,
    pixels: usize,
    c: usize,
    /// One a channel, and room up to a whole vector.
    sums: &'a mut [f32],
}

impl<F: Format> Task for Sum<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        assert!(self.sums.len() >= self.c.next_multiple_of(WIDEST), "room for the sums");
        for (c, sums) in (0..self.c).step_by(L::WIDTH).zip(self.sums.chunks_exact_mut(L::WIDTH)) {
            // SAFETY: the line holds the pixels; maps may be read a vector past the end.
            unsafe {
                let mut sum = L::splat(0.0);
                for x in 0..self.pixels {
                    sum = sum.plus_product(F::load::<L>(self.from.add(x * self.c + c), self.part), L::splat(1.0));
                }
                L::load(sums.as_ptr()).plus_product(sum, L::splat(1.0)).store(sums.as_mut_ptr());
            }
        }
    }
}

struct Write<'a, F: Format> {
    /// One a channel, and some up to a whole vector.
    values: &'a [f32],
    to: *mut F::Value,
    part: usize,
    c: usize,
}

impl<F: Format> Task for Write<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (c, values) in (0..self.c).step_by(L::WIDTH).zip(self.values.chunks_exact(L::WIDTH)) {
            // SAFETY: a whole vector; results are counted.
            unsafe { F::store(L::load(values.as_ptr()), self.to.add(c), self.part, L::WIDTH.min(self.c - c)) }
        }
    }
}
