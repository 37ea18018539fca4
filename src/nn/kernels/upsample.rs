//! Bilinear interpolation, and the interleaving of a 2×2 transposed convolution.

use super::simd::widened;

/// Where an output pixel takes from: the lower neighbour and the weight of the upper one.
///
/// Output `i` of `out` lies at `i (n - 1) / (out - 1)`, so that the corners stay where they are.
pub(super) fn taps(n: usize, out: usize) -> Vec<(usize, f32)> {
    let ratio = if out > 1 { (n - 1) as f32 / (out - 1) as f32 } else { 0.0 };
    (0..out)
        .map(|i| {
            let at = i as f32 * ratio;
            let low = (at as usize).min(n.saturating_sub(2));
            (low, if n > 1 { at - low as f32 } else { 0.0 })
        })
        .collect()
}

/// Bilinear interpolation of one plane of `[h, w]`, lines beginning every `line` values, to one of `[out_h, out_w]`,
/// lines beginning every `out_line` values; corners aligned.
pub(in crate::nn) fn resize(x: &[f32], line: usize, [h, w]: [usize; 2], out: &mut [f32], out_line: usize, [out_h, out_w]: [usize; 2]) {
    let (across, down) = (taps(w, out_w), taps(h, out_h));
    let mut blended = vec![0.0_f32; w + 1];
    widened(|| {
        for (y, &(low, weight)) in down.iter().enumerate() {
            let upper = &x[low * line..][..w];
            let lower = &x[(low + 1).min(h - 1) * line..][..w];
            for ((b, u), l) in blended.iter_mut().zip(upper).zip(lower) {
                *b = u * (1.0 - weight) + l * weight;
            }
            blended[w] = blended[w - 1];
            for (out, &(low, weight)) in out[y * out_line..][..out_w].iter_mut().zip(&across) {
                *out = blended[low] * (1.0 - weight) + blended[low + 1] * weight;
            }
        }
    });
}

/// Gradient of [`resize`] for one unbordered plane: `gradient` has `out_h × out_w`, `out` receives `h × w`.
pub(in crate::nn) fn resize_gradient(gradient: &[f32], [out_h, out_w]: [usize; 2], [h, w]: [usize; 2], out: &mut [f32]) {
    let (across, down) = (taps(w, out_w), taps(h, out_h));
    let mut gathered = vec![0.0_f32; w + 1];
    out.fill(0.0);
    widened(|| {
        for (row, &(low, weight)) in gradient.chunks_exact(out_w).zip(&down) {
            gathered.fill(0.0);
            for (g, &(low, weight)) in row.iter().zip(&across) {
                gathered[low] += g * (1.0 - weight);
                gathered[low + 1] += g * weight;
            }
            for (o, g) in out[low * w..][..w].iter_mut().zip(&gathered) {
                *o += g * (1.0 - weight);
            }
            if low + 1 < h {
                for (o, g) in out[(low + 1) * w..][..w].iter_mut().zip(&gathered) {
                    *o += g * weight;
                }
            }
        }
    });
}

/// Interleaves four planes (the taps of a 2×2 kernel, line by line) of `h × w` into one of `2h × 2w`.
///
/// Plane `t` begins at `t * plane`, its lines every `line` values; output lines begin every `out_line` values.
/// `bias` is added.
#[allow(clippy::too_many_arguments)] // slices and sizes of one loop
pub(in crate::nn) fn interleave(x: &[f32], plane: usize, line: usize, h: usize, w: usize, bias: f32, out: &mut [f32], out_line: usize) {
    widened(|| {
        for y in 0..h {
            for ky in 0..2 {
                let left = &x[2 * ky * plane + y * line..][..w];
                let right = &x[(2 * ky + 1) * plane + y * line..][..w];
                let to = &mut out[(2 * y + ky) * out_line..][..2 * w];
                for ((pair, l), r) in to.chunks_exact_mut(2).zip(left).zip(right) {
                    pair[0] = l + bias;
                    pair[1] = r + bias;
                }
            }
        }
    });
}

/// The other way round: one plane of `2h × 2w` to four planes of `h × w`, all without borders.
pub(in crate::nn) fn interleave_gradient(gradient: &[f32], h: usize, w: usize, out: &mut [f32]) {
    widened(|| {
        for (tap, plane) in out.chunks_exact_mut(h * w).enumerate() {
            let (ky, kx) = (tap / 2, tap % 2);
            for (y, row) in plane.chunks_exact_mut(w).enumerate() {
                let source = &gradient[(2 * y + ky) * 2 * w..][..2 * w];
                for (o, pair) in row.iter_mut().zip(source.chunks_exact(2)) {
                    *o = pair[kx];
                }
            }
        }
    });
}
