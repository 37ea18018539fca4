//! 3×3 convolutions with a quarter of the multiplications, by Winograd's minimal filtering F(4×4, 3×3):
//! [`crate::nn::kernels::winograd`] in both directions.
//!
//! A square of 4×4 results is a product of polynomials, which its values at six points in each direction settle: 36
//! products for each pair of channels instead of 144. Squares are taken to the points (gathered), multiplied there, each
//! pair of points with weights of its own, and taken back (scattered), both first in one direction, then in the other.
//! What it costs is exactness: a result is off by some 1e-6 of what it is summed from, and a number that is none spoils
//! its whole square.

mod multiply;
mod transform;

use super::fma::MANY;
use super::format::Format;
use super::layers::Convolution;
use super::map::View;
use super::product::Order;
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::scratch::with_scratch;
use crate::nn::kernels::shared::Shared;
use crate::nn::kernels::simd::dispatch_on;
pub(super) use crate::nn::kernels::winograd::SIDE;
use crate::nn::kernels::winograd::{POINTS, REACH};
use multiply::{Matrix, Multiply};
use rayon::prelude::*;
use std::ops::Range;
use transform::{GatherAcross, GatherDown, ScatterAcross, ScatterDown, at_pairs};

/// Pairs of points, one downward and one across: products that a square is made with.
const PAIRS: usize = POINTS * POINTS;
/// Values between the lines that are read and those that are written that should stay near.
const PIECE: usize = 16 << 10;
/// Squares that are multiplied in one turn.
const UNITS: usize = MANY[0];

/// A 3×3 convolution made ready to run by squares.
#[derive(Debug)]
pub(super) struct Winograd {
    isa: Isa,
    /// Channels of each source.
    sources: Vec<usize>,
    outputs: usize,
    /// Lines by which the first strip of squares begins above the picture.
    above: usize,
    /// For each pair of points the weights there.
    matrices: Vec<Matrix>,
    /// By output.
    bias: Vec<f32>,
}

/// Some squares of a strip.
#[derive(Debug, Clone, Copy)]
struct Piece {
    strip: usize,
    first: usize,
    squares: usize,
}

impl Winograd {
    /// Whether these channels come out even in vectors.
    pub fn fits(isa: Isa, sources: &[usize], outputs: usize) -> bool {
        let (_, vector) = Order::single(isa).quanta();
        sources.iter().chain([&outputs]).all(|channels| channels.is_multiple_of(vector))
    }

    /// Takes the weights to the points. Strips of squares begin `above` lines, less than [`SIDE`], above the picture.
    pub fn new(isa: Isa, convolution: &Convolution, sources: &[usize], above: usize) -> Self {
        let (inputs, outputs) = (convolution.inputs, convolution.outputs);
        assert!(
            sources.iter().sum::<usize>() == inputs
                && convolution.weights.len() == inputs * outputs * 9
                && convolution.bias.len() == outputs
                && above < SIDE,
            "size of a convolution's weights"
        );
        let (_, width) = Order::single(isa).quanta();
        let mut matrices: Vec<Matrix> = (0..PAIRS).into_par_iter().map(|_| Matrix::new([inputs, outputs], width)).collect();
        // Block by block of outputs, so that a kernel is read once for all pairs.
        let block = matrices[0].block;
        let mut blocks: Vec<Vec<&mut [f32]>> = (0..outputs).step_by(block).map(|_| Vec::with_capacity(PAIRS)).collect();
        for matrix in &mut matrices {
            blocks.iter_mut().zip(matrix.blocks()).for_each(|(pairs, weights)| pairs.push(weights));
        }
        blocks.into_par_iter().zip(convolution.weights.par_chunks(9 * inputs * block)).for_each(|(mut pairs, kernels)| {
            let columns = kernels.len() / (9 * inputs);
            for (input, output) in (0..inputs).flat_map(|input| (0..columns).map(move |output| (input, output))) {
                let values = at_pairs(&kernels[9 * (output * inputs + input)..][..9]);
                pairs.iter_mut().zip(values).for_each(|(weights, value)| weights[input * columns + output] = value);
            }
        });
        Self { isa, sources: sources.to_vec(), outputs, above, matrices, bias: convolution.bias.clone() }
    }

    pub fn inputs(&self) -> usize {
        self.sources.iter().sum()
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn bytes(&self) -> usize {
        self.matrices.iter().map(Matrix::bytes).sum()
    }

    /// Multiply-adds at the points of `h` lines of `w` pixels.
    pub fn products(&self, h: usize, w: usize) -> u64 {
        (PAIRS * self.strips(&(0..h)).len() * w.div_ceil(SIDE) * self.inputs() * self.outputs) as u64
    }

    /// Values of room that [`Winograd::whole`] needs for `h` lines of `w` pixels.
    pub fn room(&self, h: usize, w: usize) -> usize {
        let squares = self.strips(&(0..h)).len() * w.div_ceil(SIDE);
        PAIRS * (apart(squares, self.inputs()) + apart(squares, self.outputs))
    }

    /// Lines of `w` pixels to compute at once, none where that is the whole picture: enough squares for a turn of the
    /// multiplication, or for large weights to be worth fetching from afar.
    pub fn step(w: usize, large: bool) -> Option<usize> {
        let enough = if large { 4 * UNITS } else { UNITS };
        [SIDE, 2 * SIDE].into_iter().find(|lines| lines / SIDE * w.div_ceil(SIDE) >= enough)
    }

    /// Strips that lines `ys` are in.
    fn strips(&self, ys: &Range<usize>) -> Range<usize> {
        (ys.start + self.above) / SIDE..(ys.end + self.above).div_ceil(SIDE)
    }

    /// Computes lines `ys` of `to`, reading the lines of the sources from [`SIDE`] before to [`SIDE`] after them.
    ///
    /// # Safety
    /// The instruction set must be here; no other thread may write those lines of `to`,
    /// nor any of the sources'.
    pub unsafe fn lines<F: Format>(&self, sources: [View<F>; 2], to: View<F>, ys: Range<usize>) {
        self.check(sources, to);
        let (inputs, outputs, across) = (self.inputs(), self.outputs, to.w.div_ceil(SIDE));
        let strips = self.strips(&ys);
        if strips.is_empty() {
            return;
        }
        let values = strips.len() * POINTS * (SIDE + 1) * (inputs + outputs);
        let near = (PIECE / values / UNITS * UNITS).max(UNITS);
        // At the widths of tiles no short piece is left at the end of a line, which would be multiplied square by square.
        let longest = across.div_ceil((across / near).max(1));
        let (from_row, to_row) = (apart(SIDE * longest + 2, inputs), apart(SIDE * longest, outputs));
        let (from_plane, to_plane) = (apart(strips.len() * longest, inputs), apart(strips.len() * longest, outputs));
        with_scratch(POINTS * (strips.len() * (from_row + to_row) + from_plane + to_plane), |room| {
            let (gathered, room) = room.split_at_mut(strips.len() * POINTS * from_row);
            let (scattered, room) = room.split_at_mut(strips.len() * POINTS * to_row);
            let (at_points, products) = room.split_at_mut(POINTS * from_plane);
            for first in (0..across).step_by(longest) {
                let squares = longest.min(across - first);
                let piece = |strip| Piece { strip, first, squares };
                // SAFETY: the caller's promise; the room is this thread's.
                unsafe {
                    for (strip, to) in strips.clone().zip(gathered.chunks_exact_mut(POINTS * from_row)) {
                        self.gather_down(sources, piece(strip), to, from_row);
                    }
                    // All strips at one point downward, so that weights are read once for all of them.
                    for down in 0..POINTS {
                        for (strip, from) in gathered.chunks_exact(from_row).skip(down).step_by(POINTS).enumerate() {
                            self.gather_across(from, squares, Shared::new(at_points), strip * squares * inputs, from_plane);
                        }
                        let planes = at_points.chunks_exact(from_plane).zip(products.chunks_exact_mut(to_plane));
                        for (point, (from, to)) in planes.enumerate() {
                            self.multiply(down * POINTS + point, strips.len() * squares, from, to);
                        }
                        for (strip, to) in scattered.chunks_exact_mut(to_row).skip(down).step_by(POINTS).enumerate() {
                            self.scatter_across(&products[strip * squares * outputs..], to_plane, squares, to);
                        }
                    }
                    for (strip, from) in strips.clone().zip(scattered.chunks_exact(POINTS * to_row)) {
                        self.scatter_down(from, to_row, piece(strip), to, &ys);
                    }
                }
            }
        });
    }

    /// Computes the whole picture on the current pool, each weight read by one thread.
    ///
    /// # Safety
    /// As for [`Winograd::lines`].
    pub unsafe fn whole<F: Format>(&self, sources: [View<F>; 2], to: View<F>, room: &mut [f32]) {
        self.check(sources, to);
        let (inputs, outputs, across) = (self.inputs(), self.outputs, to.w.div_ceil(SIDE));
        let ys = 0..to.h;
        let strips = self.strips(&ys);
        let squares = strips.len() * across;
        let (from_row, to_row) = (apart(SIDE * across + 2, inputs), apart(SIDE * across, outputs));
        let (from_plane, to_plane) = (apart(squares, inputs), apart(squares, outputs));
        let (at_points, room) = room.split_at_mut(PAIRS * from_plane);
        let products = &mut room[..PAIRS * to_plane];
        let pieces =
            || strips.clone().into_par_iter().map(|strip| (Piece { strip, first: 0, squares: across }, (strip - strips.start) * across));
        let shared = Shared::new(at_points);
        // SAFETY (all three): the caller's promise; strips and pairs of points lie apart.
        pieces().for_each(|(piece, before)| {
            with_scratch(POINTS * from_row, |gathered| unsafe {
                self.gather_down(sources, piece, gathered, from_row);
                for (down, from) in gathered.chunks_exact(from_row).enumerate() {
                    self.gather_across(from, across, shared, down * POINTS * from_plane + before * inputs, from_plane);
                }
            });
        });
        let planes = products.par_chunks_exact_mut(to_plane).zip(at_points.par_chunks_exact(from_plane));
        planes.enumerate().for_each(|(pair, (to, from))| unsafe { self.multiply(pair, squares, from, to) });
        pieces().for_each(|(piece, before)| {
            with_scratch(POINTS * to_row, |scattered| unsafe {
                for (down, to) in scattered.chunks_exact_mut(to_row).enumerate() {
                    self.scatter_across(&products[down * POINTS * to_plane + before * outputs..], to_plane, across, to);
                }
                self.scatter_down(scattered, to_row, piece, to, &ys);
            });
        });
    }

    fn check<F: Format>(&self, sources: [View<F>; 2], to: View<F>) {
        for (source, channels) in sources.iter().zip(&self.sources) {
            assert!(source.c == *channels && source.w == to.w && source.h == to.h, "input of a convolution");
        }
        assert!(to.c == self.outputs, "output of a convolution");
    }

    /// The lines that a piece is made of, to the points downward: for each, `pitch` apart, the first source's pixels,
    /// then the second's.
    ///
    /// # Safety
    /// As for [`Winograd::lines`].
    unsafe fn gather_down<F: Format>(&self, sources: [View<F>; 2], piece: Piece, to: &mut [f32], pitch: usize) {
        let pixels = SIDE * piece.squares + 2;
        assert!(
            pixels + SIDE * piece.first <= sources[0].pixels_in_line() && pitch >= pixels * self.inputs() && to.len() >= POINTS * pitch,
            "room"
        );
        let top = (SIDE * piece.strip) as isize - self.above as isize - 1;
        let mut to = to.as_mut_ptr();
        for (source, channels) in sources.iter().zip(&self.sources) {
            let mut lines = [std::ptr::null(); REACH];
            for (line, y) in lines.iter_mut().zip(top..) {
                *line = source.line(y).cast_const().wrapping_add(SIDE * piece.first * channels);
            }
            let task = GatherDown::<F> { lines, part: source.part(), values: pixels * channels, to, pitch };
            // SAFETY: the caller's promise; lines hold that many pixels, zeros on either side among them; the room was looked at above.
            unsafe {
                to = to.add(task.values);
                dispatch_on(self.isa, task);
            }
        }
    }

    /// What [`Winograd::gather_down`] left of a piece at one point, to the points across: squares from value `first` of
    /// each plane on.
    ///
    /// # Safety
    /// The instruction set must be here; no other thread may touch what is written.
    unsafe fn gather_across(&self, from: &[f32], squares: usize, to: Shared, first: usize, plane: usize) {
        let (pitch, pixels) = (self.inputs(), SIDE * squares + 2);
        assert!(from.len() >= pixels * pitch, "room");
        // SAFETY: the caller's promise.
        let to = unsafe { to.start((POINTS - 1) * plane + first + squares * pitch) };
        let mut before = 0;
        for c in self.sources.iter().copied() {
            // SAFETY: the caller's promise; sizes were looked at above.
            unsafe {
                let (from, to) = (from.as_ptr().add(before * pixels), to.add(first + before));
                dispatch_on(self.isa, GatherAcross { from, c, squares, to, pitch, plane });
            }
            before += c;
        }
    }

    /// # Safety
    /// The instruction set must be here.
    unsafe fn multiply(&self, pair: usize, squares: usize, from: &[f32], to: &mut [f32]) {
        assert!(from.len() >= squares * self.inputs() && to.len() >= squares * self.outputs, "room");
        let task = Multiply { matrix: &self.matrices[pair], squares, from: from.as_ptr(), to: to.as_mut_ptr() };
        // SAFETY: the caller's promise; sizes were looked at above.
        unsafe { dispatch_on(self.isa, task) }
    }

    /// # Safety
    /// The instruction set must be here.
    unsafe fn scatter_across(&self, from: &[f32], plane: usize, squares: usize, to: &mut [f32]) {
        let c = self.outputs;
        assert!(from.len() >= (POINTS - 1) * plane + squares * c && to.len() >= SIDE * squares * c, "room");
        // SAFETY: the caller's promise; sizes were looked at above.
        unsafe { dispatch_on(self.isa, ScatterAcross { from: from.as_ptr(), c, squares, plane, to: to.as_mut_ptr() }) }
    }

    /// # Safety
    /// As for [`Winograd::lines`].
    unsafe fn scatter_down<F: Format>(&self, from: &[f32], pitch: usize, piece: Piece, to: View<F>, ys: &Range<usize>) {
        assert!(SIDE * piece.first < to.w && pitch >= SIDE * piece.squares * self.outputs && from.len() >= POINTS * pitch, "room");
        // The last square may reach beyond the picture.
        let w = (SIDE * piece.squares).min(to.w - SIDE * piece.first);
        let mut lines = [None; SIDE];
        for (line, y) in lines.iter_mut().zip(SIDE * piece.strip..) {
            let y = y.checked_sub(self.above).filter(|y| ys.contains(y));
            *line = y.map(|y| to.pixels(y).wrapping_add(SIDE * piece.first * self.outputs));
        }
        let task = ScatterDown::<F> { from: from.as_ptr(), pitch, w, bias: &self.bias, lines, part: to.part() };
        // SAFETY: the caller's promise; sizes were looked at above and in `check`.
        unsafe { dispatch_on(self.isa, task) }
    }
}

/// Distance of two rows or planes of so many pixels or squares: an odd number of cache lines, so that what is read or
/// written of all of them at the same time has places of its own in the cache.
fn apart(count: usize, channels: usize) -> usize {
    const LINE: usize = 16;
    ((count * channels).div_ceil(LINE) | 1) * LINE
}
