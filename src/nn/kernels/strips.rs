//! Convolution 3×3 with half of the multiplications: four lines at a time, filtered downward by [`super::winograd`].

use super::panel::{GROUP, Packed, Panel, SLACK};
use super::picture::{Apart, Pictures, Plane};
use super::scratch::{block_lines, with_scratch};
use super::simd::{Lanes, Task, WIDEST, dispatch};
use super::weights::Weights;
use super::winograd::{POINTS, SIDE, Strip, TAPS, ToPoints, scatter};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// The weights at one point: kernels of one line of three taps.
fn at_point<const CHANNELS: usize>(weights: &Weights, point: usize) -> Packed {
    Packed::of::<CHANNELS>(weights, 1, |output, input, across| {
        let tap = |down: usize| f64::from(weights.at(output, input, 3 * down + across));
        TAPS[point].into_iter().enumerate().map(|(down, share)| tap(down) * share).sum::<f64>() as f32
    })
}

/// Writes all of `out`, as [`convolved`](super::convolved) does it: with products of `f32`, or of bf16 where two `CHANNELS` go to the
/// points together.
pub(super) fn convolve<const CHANNELS: usize>(x: &Pictures, weights: &Weights, out: &Apart) {
    let packed: Vec<Packed> = (0..POINTS).into_par_iter().map(|point| at_point::<CHANNELS>(weights, point)).collect();
    let size = x.size();
    let planes = size.c.div_ceil(CHANNELS);
    let line = size.w + 1;
    // At the points there is half as much again as in the lines.
    let most = (block_lines(3 * planes, size.h, size.w) / SIDE).max(1) * SIDE;
    let blocks = size.h.div_ceil(most);
    let gathered_plane = most / SIDE * line + 1;
    (0..size.n * blocks).into_par_iter().for_each(|task| {
        let (n, first) = (task / blocks, task % blocks * most);
        let lines = most.min(size.h - first);
        let strips = lines.div_ceil(SIDE);
        let run = strips * line;
        let room = [ToPoints::<CHANNELS>::room(size.w, WIDEST), POINTS * (planes * gathered_plane + SLACK), POINTS * GROUP * run + SLACK];
        with_scratch(room.iter().sum(), |scratch| {
            let (edge, scratch) = scratch.split_at_mut(room[0]);
            let (gathered, products) = scratch.split_at_mut(room[1]);
            let of_point = planes * gathered_plane + SLACK;
            for plane in 0..planes {
                // An odd channel is its own neighbour, whose weights are zero.
                let channels: [Plane; CHANNELS] = std::array::from_fn(|i| x.plane(n, (plane * CHANNELS + i).min(size.c - 1)));
                for strip in 0..strips {
                    let start = plane * gathered_plane + strip * line;
                    (0..POINTS).for_each(|point| gathered[point * of_point + start] = 0.0);
                    let points = ToPoints {
                        strip: Strip::Inputs,
                        planes: channels,
                        size: [size.h, size.w],
                        first: (first + strip * SIDE).wrapping_sub(1),
                        scratch: &mut *edge,
                        to: gathered[start + 1..].as_mut_ptr(),
                        of_point,
                    };
                    // SAFETY: every point has a line of each strip there, after its left border.
                    unsafe { dispatch(points) };
                }
                // The last line's right border.
                (0..POINTS).for_each(|point| gathered[point * of_point + plane * gathered_plane + run] = 0.0);
            }
            for group in 0..packed[0].groups() {
                for (point, packed) in packed.iter().enumerate() {
                    let panel = Panel {
                        packed,
                        group,
                        source: gathered[point * of_point..].as_ptr(),
                        source_plane: gathered_plane,
                        line,
                        dilation: 1,
                        target: products[point * GROUP * run..].as_mut_ptr(),
                        target_plane: run,
                        length: run - 1,
                    };
                    // SAFETY: the last tap of the last result reads value `run` of a plane, which has one more than that;
                    // SLACK follows the last; `products` is this task's own and holds GROUP runs for each point.
                    unsafe { panel.run() };
                }
                for o in 0..packed[0].width_of(group) {
                    for strip in 0..strips {
                        let (y, from) = (strip * SIDE, products[o * run + strip * line..].as_ptr());
                        // SAFETY: each task writes the lines of its own block. Every point has a line there, SLACK after the last.
                        unsafe {
                            let to = out.lines(n, group * GROUP + o, first + y, SIDE.min(lines - y));
                            dispatch(Scatter { from, of_point: GROUP * run, to, width: size.w });
                        }
                    }
                }
            }
        });
    });
}

/// A line at each point back to four, or to as many as are asked for.
struct Scatter<'a> {
    from: *const f32,
    /// Distance of points.
    of_point: usize,
    /// Lines of `width` values, all of which are written.
    to: &'a mut [MaybeUninit<f32>],
    width: usize,
}

impl Task for Scatter<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (lines, to) = (self.to.len() / self.width, self.to.as_mut_ptr().cast::<f32>());
        for at in (0..self.width).step_by(L::WIDTH) {
            // SAFETY: the caller's promise; a line of the result has `width - at` values left.
            unsafe {
                let mut values = [L::splat(0.0); POINTS];
                for (point, value) in values.iter_mut().enumerate() {
                    *value = L::load(self.from.add(point * self.of_point + at));
                }
                for (y, value) in scatter(values).into_iter().enumerate().take(lines) {
                    value.store_up_to(to.add(y * self.width + at), self.width - at);
                }
            }
        }
    }
}
