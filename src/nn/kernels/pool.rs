//! Maximum of 2×2 pixels, stride 2, and its places for unpooling.

use super::simd::widened;

/// Maxima of the 2×2 squares of planes of `w` pixels a line; `h` and `w` even.
///
/// `source` gives line `y` of the plane, `target` receives line `y / 2`.
#[inline(always)]
fn pool_lines(above: &[f32], below: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
        let top = if a[1] > a[0] { a[1] } else { a[0] };
        let bottom = if b[1] > b[0] { b[1] } else { b[0] };
        *out = if bottom > top { bottom } else { top };
    }
}

/// Maxima of the 2×2 squares of one plane whose line `y` begins at `from + y * line`, written to lines
/// that begin at `to + y * out_line`.
pub(in crate::nn) fn max_pool(x: &[f32], line: usize, h: usize, w: usize, out: &mut [f32], out_line: usize) {
    widened(|| {
        for y in 0..h / 2 {
            let (above, below) = (&x[2 * y * line..][..w], &x[(2 * y + 1) * line..][..w]);
            pool_lines(above, below, &mut out[y * out_line..][..w / 2]);
        }
    });
}

/// Which of the four is the first maximum: 0 and 1 above, 2 and 3 below.
#[inline(always)]
fn first_maximum(a: f32, b: f32, c: f32, d: f32) -> u8 {
    let (right, lower_right) = (b > a, d > c);
    let (top, bottom) = (if right { b } else { a }, if lower_right { d } else { c });
    if bottom > top { 2 + u8::from(lower_right) } else { u8::from(right) }
}

/// Place of the first maximum of each 2×2 square of one unbordered plane: 0 and 1 above, 2 and 3 below.
pub(in crate::nn) fn max_pool_indices(x: &[f32], w: usize, out: &mut [u8]) {
    widened(|| {
        for (lines, out) in x.chunks_exact(2 * w).zip(out.chunks_exact_mut(w / 2)) {
            let (above, below) = lines.split_at(w);
            for ((out, a), b) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
                *out = first_maximum(a[0], a[1], b[0], b[1]);
            }
        }
    });
}

/// Puts each value of an unbordered plane in its place in a 2×2 square, zero in the three others; `w` is the width
/// of `out`.
pub(in crate::nn) fn unpool(x: &[f32], indices: &[u8], w: usize, out: &mut [f32]) {
    widened(|| {
        for ((lines, x), indices) in out.chunks_exact_mut(2 * w).zip(x.chunks_exact(w / 2)).zip(indices.chunks_exact(w / 2)) {
            let (above, below) = lines.split_at_mut(w);
            for (((a, b), &x), &index) in above.chunks_exact_mut(2).zip(below.chunks_exact_mut(2)).zip(x).zip(indices) {
                a[0] = if index == 0 { x } else { 0.0 };
                a[1] = if index == 1 { x } else { 0.0 };
                b[0] = if index == 2 { x } else { 0.0 };
                b[1] = if index == 3 { x } else { 0.0 };
            }
        }
    });
}

/// Gradient of [`unpool`]: of each square the value in its place; `w` is the width of `gradient`.
pub(in crate::nn) fn unpool_gradient(gradient: &[f32], indices: &[u8], w: usize, out: &mut [f32]) {
    widened(|| {
        for ((lines, out), indices) in gradient.chunks_exact(2 * w).zip(out.chunks_exact_mut(w / 2)).zip(indices.chunks_exact(w / 2)) {
            let (above, below) = lines.split_at(w);
            for (((out, a), b), &index) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)).zip(indices) {
                let line = if index < 2 { a } else { b };
                *out = line[usize::from(index & 1)];
            }
        }
    });
}

/// Gradient of [`max_pool`] for one unbordered plane: all of it is added to the first maximum of each square.
pub(in crate::nn) fn max_pool_gradient(x: &[f32], h: usize, w: usize, gradient: &[f32], out: &mut [f32]) {
    widened(|| {
        for y in 0..h / 2 {
            let (above, below) = x[2 * y * w..(2 * y + 2) * w].split_at(w);
            let (to_above, to_below) = out[2 * y * w..(2 * y + 2) * w].split_at_mut(w);
            for (i, &g) in gradient[y * (w / 2)..][..w / 2].iter().enumerate() {
                let first = first_maximum(above[2 * i], above[2 * i + 1], below[2 * i], below[2 * i + 1]);
                to_above[2 * i] += if first == 0 { g } else { 0.0 };
                to_above[2 * i + 1] += if first == 1 { g } else { 0.0 };
                to_below[2 * i] += if first == 2 { g } else { 0.0 };
                to_below[2 * i + 1] += if first == 3 { g } else { 0.0 };
            }
        }
    });
}
