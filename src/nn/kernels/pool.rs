//! Maximum of 2×2 pixels, stride 2.

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

/// Gradient of [`max_pool`] for one unbordered plane: all of it to the first maximum of each square.
pub(in crate::nn) fn max_pool_gradient(x: &[f32], h: usize, w: usize, gradient: &[f32], out: &mut [f32]) {
    widened(|| {
        for y in 0..h / 2 {
            let (above, below) = x[2 * y * w..(2 * y + 2) * w].split_at(w);
            let (to_above, to_below) = out[2 * y * w..(2 * y + 2) * w].split_at_mut(w);
            for (i, &g) in gradient[y * (w / 2)..][..w / 2].iter().enumerate() {
                let (a, b, c, d) = (above[2 * i], above[2 * i + 1], below[2 * i], below[2 * i + 1]);
                let right = b > a;
                let top = if right { b } else { a };
                let lower_right = d > c;
                let bottom = if lower_right { d } else { c };
                let lower = bottom > top;
                to_above[2 * i] = if !lower && !right { g } else { 0.0 };
                to_above[2 * i + 1] = if !lower && right { g } else { 0.0 };
                to_below[2 * i] = if lower && !lower_right { g } else { 0.0 };
                to_below[2 * i + 1] = if lower && lower_right { g } else { 0.0 };
            }
        }
    });
}
