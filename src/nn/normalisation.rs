use crate::cell::Span;
use serde::{Deserialize, Serialize};

/// How grey values become the network's input.
///
/// Grey is counted from 0 to 1 (`u16` value / 65535). What lies outside the outline is filled by
/// [`mirror_outside`], so that the network meets no edge there that it could take for a crack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalisation {
    /// `(v - mean) / std` of the pixels inside the outline of that tile.
    Tile,
    /// `(v - mean) / std` with fixed values.
    Fixed {
        /// Grey that becomes zero.
        mean: f32,
        /// Grey difference that becomes one.
        std: f32,
    },
}

/// White.
const WHITE: f64 = 65535.0;
/// The least deviation of a tile that is divided by, in grey: an even picture is not blown up to noise.
const LEAST_STD: f64 = 1.0 / 1024.0;

impl Normalisation {
    /// Whether every grey value becomes a finite number.
    pub(super) fn is_usable(&self) -> bool {
        let Self::Fixed { mean, std } = *self else { return true };
        let (scale, shift) = scale_and_shift(f64::from(mean), f64::from(std));
        std > 0.0 && std.is_finite() && shift.is_finite() && (WHITE as f32 * scale + shift).is_finite()
    }

    /// Normalises a tile of lines of `width` pixels into `out` and fills what lies outside the outline with its
    /// mirror image.
    ///
    /// Lines without a span count as outside. Means are of exact integer sums, so that they depend on
    /// no order.
    pub fn apply(&self, pixels: &[u16], width: usize, spans: &[Span], out: &mut [f32]) {
        if width == 0 {
            return;
        }
        let lines = pixels.chunks(width);
        let (scale, shift) = match *self {
            Self::Tile => {
                let (mean, std) = moments(lines.clone(), spans);
                scale_and_shift(mean, std.max(LEAST_STD))
            }
            Self::Fixed { mean, std } => scale_and_shift(f64::from(mean), f64::from(std)),
        };
        for (y, (line, out)) in lines.zip(out.chunks_mut(width)).enumerate() {
            let (start, end) = bounds(spans.get(y), line.len());
            for (out, pixel) in out[start..end].iter_mut().zip(&line[start..end]) {
                *out = f32::from(*pixel) * scale + shift;
            }
        }
        mirror_outside(out, width, spans);
    }
}

/// What a pixel's value is multiplied with, and what is added then.
fn scale_and_shift(mean: f64, std: f64) -> (f32, f32) {
    ((1.0 / (std * WHITE)) as f32, (-mean / std) as f32)
}

/// Fills what lies outside the outline with the mirror image of what lies inside: along each line first, then, where
/// a line has nothing inside, down or up from the lines that have. 0 where nothing lies inside at all, and on such
/// lines between others.
pub fn mirror_outside(values: &mut [f32], width: usize, spans: &[Span]) {
    if width == 0 {
        return;
    }
    let lines = values.len().div_ceil(width);
    let inside: Vec<(usize, usize)> = (0..lines).map(|y| bounds(spans.get(y), width.min(values.len() - y * width))).collect();
    let filled = |y: &usize| inside[*y].0 < inside[*y].1;
    let (first, last) = match ((0..lines).find(filled), (0..lines).rfind(filled)) {
        (Some(first), Some(last)) => (first, last),
        _ => return values.fill(0.0),
    };
    for (line, (start, end)) in values.chunks_mut(width).zip(&inside) {
        if start == end {
            line.fill(0.0);
            continue;
        }
        for x in (0..*start).rev() {
            line[x] = line[mirrored(x, *start, *end)];
        }
        for x in *end..line.len() {
            line[x] = line[mirrored(x, *start, *end)];
        }
    }
    for y in (0..first).chain(last + 1..lines) {
        let from = mirrored(y, first, last + 1) * width;
        values.copy_within(from..from + width.min(values.len() - y * width), y * width);
    }
}

/// Where between `start` and `end` the mirror image of a place outside lies.
fn mirrored(at: usize, start: usize, end: usize) -> usize {
    let extent = end - start;
    let beyond = if at < start { start - 1 - at } else { at - end };
    let step = beyond % (2 * extent);
    let depth = if step < extent { step } else { 2 * extent - 1 - step };
    if at < start { start + depth } else { end - 1 - depth }
}

/// Mean and standard deviation in grey of the pixels inside; 0 and 0 of none.
fn moments<'a>(lines: impl Iterator<Item = &'a [u16]>, spans: &[Span]) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
    for (line, span) in lines.zip(spans) {
        let (start, end) = bounds(Some(span), line.len());
        // A line of at most 65536 pixels of 16 bits: neither sum can overflow.
        let (mut line_sum, mut line_squares) = (0_u64, 0_u64);
        for pixel in &line[start..end] {
            let value = u64::from(*pixel);
            line_sum += value;
            line_squares += value * value;
        }
        count += (end - start) as u64;
        sum += line_sum;
        squares += line_squares;
    }
    if count == 0 {
        return (0.0, 0.0);
    }
    let mean = sum as f64 / count as f64;
    let variance = (squares as f64 / count as f64 - mean * mean).max(0.0);
    (mean / WHITE, variance.sqrt() / WHITE)
}

/// First pixel inside and first outside again, within a line of `width`.
fn bounds(span: Option<&Span>, width: usize) -> (usize, usize) {
    let Some(span) = span else { return (0, 0) };
    let end = usize::from(span.end).min(width);
    (usize::from(span.start).min(end), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_uses_only_the_pixels_inside() {
        let spans = [Span { start: 1, end: 3 }, Span { start: 0, end: 0 }, Span { start: 0, end: 4 }];
        let pixels = [60000, 100, 300, 60000, 60000, 60000, 60000, 60000, 100, 300, 100, 300];
        let mut out = [9.0; 12];
        Normalisation::Tile.apply(&pixels, 4, &spans, &mut out);
        // Mean 200, deviation 100 of 65535: above the floor of a thousandth, so ±1 would need a larger contrast.
        let floor = (100.0 / 65535.0_f64).max(LEAST_STD) as f32;
        let one = 100.0 / 65535.0 / floor;
        let want = [-one, -one, one, one, 0.0, 0.0, 0.0, 0.0, -one, one, -one, one];
        for (got, want) in out.iter().zip(want) {
            assert!((got - want).abs() < 1e-4, "{out:?}");
        }
    }

    #[test]
    fn fixed_values_are_taken_as_they_are_however_small() {
        let mut out = [0.0; 2];
        Normalisation::Fixed { mean: 0.25, std: 0.0005 }.apply(&[16384, 0], 2, &[Span { start: 0, end: 2 }], &mut out);
        assert!((out[0] - 0.0076).abs() < 1e-3 && (out[1] + 500.0).abs() < 1e-3, "{out:?}");
    }

    #[test]
    fn the_outside_is_the_mirror_image_of_the_inside() {
        let spans = [Span::default(), Span { start: 2, end: 4 }, Span { start: 0, end: 6 }];
        let line = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
        let mut values = [[9.0; 6], line, line, [9.0; 6], [9.0; 6]].concat();
        mirror_outside(&mut values, 6, &spans);
        let clipped = [13.0, 12.0, 12.0, 13.0, 13.0, 12.0];
        assert_eq!(values, [clipped, clipped, line, line, clipped].concat());
        mirror_outside(&mut values, 6, &[]);
        assert!(values.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn fixed_is_affine_and_an_even_tile_stays_finite() {
        let mut out = [0.0; 2];
        Normalisation::Fixed { mean: 0.5, std: 0.25 }.apply(&[0, 65535], 2, &[Span { start: 0, end: 2 }], &mut out);
        assert!((out[0] + 2.0).abs() < 1e-5 && (out[1] - 2.0).abs() < 1e-5);
        Normalisation::Tile.apply(&[7, 7], 2, &[Span { start: 0, end: 9 }], &mut out);
        assert!(out.iter().all(|v| v.abs() < 1e-3), "{out:?}");
        Normalisation::Tile.apply(&[7, 7], 2, &[], &mut out);
        assert_eq!(out, [0.0, 0.0]);
    }

    #[test]
    fn a_deviation_that_makes_infinite_numbers_is_not_usable() {
        let usable = |mean: f32, std: f32| Normalisation::Fixed { mean, std }.is_usable();
        assert!(usable(0.0, 1.0) && usable(0.5, 1e-30) && Normalisation::Tile.is_usable());
        let refused = [(0.0, 1e-44), (0.5, 1e-39), (1e30, 1e-30), (f32::NAN, 1.0), (0.0, f32::INFINITY), (0.0, 0.0), (0.0, -1.0)];
        for (mean, std) in refused {
            assert!(!usable(mean, std), "{mean}, {std}");
        }
    }

    #[test]
    fn written_as_tagged_json() {
        let text = serde_json::to_string(&Normalisation::Fixed { mean: 0.5, std: 0.25 }).unwrap();
        assert_eq!(text, r#"{"kind":"fixed","mean":0.5,"std":0.25}"#);
        assert_eq!(serde_json::from_str::<Normalisation>(r#"{"kind":"tile"}"#).unwrap(), Normalisation::Tile);
    }
}
