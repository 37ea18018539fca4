use crate::cell::Span;
use rand::Rng;
use std::ops::Range;

/// How crops are varied: what a camera and a lamp may do to a picture, and how a wafer may lie.
///
/// Gamma and blur work on grey values before normalisation, as a camera would do it. A contrast or
/// brightness change there would be undone by normalising with the tile's own statistics, so these
/// two work on normalised values: they stand for tiles whose statistics something else has moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// Mirror and turn by multiples of 90°: all eight with the same chance.
    pub flips: bool,
    /// Largest gamma; its inverse is the smallest. 1: none.
    pub gamma_max: f32,
    /// Chance of a blur, 0 to 1.
    pub blur_chance: f64,
    /// Standard deviation of the blur, pixels.
    pub blur_px: Range<f32>,
    /// Largest factor on normalised values; its inverse is the smallest. 1: none.
    pub contrast_max: f32,
    /// Largest shift of normalised values, in standard deviations, up or down. 0: none.
    pub brightness_max: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { flips: true, gamma_max: 1.4, blur_chance: 0.15, blur_px: 0.4..1.1, contrast_max: 1.25, brightness_max: 0.25 }
    }
}

/// One draw of an [`Augmentation`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variation {
    transpose: bool,
    mirror_x: bool,
    mirror_y: bool,
    gamma: f32,
    blur_px: Option<f32>,
    contrast: f32,
    brightness: f32,
}

impl Augmentation {
    /// Leaves crops as they are.
    pub fn none() -> Self {
        Self { flips: false, gamma_max: 1.0, blur_chance: 0.0, blur_px: 0.4..1.1, contrast_max: 1.0, brightness_max: 0.0 }
    }

    /// Draws the variation of one crop.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Variation {
        let mut coin = || rng.random::<bool>() && self.flips;
        let (transpose, mirror_x, mirror_y) = (coin(), coin(), coin());
        let mut within = |max: f32| max.powf(rng.random_range(-1.0..=1.0));
        let (gamma, contrast) = (within(self.gamma_max), within(self.contrast_max));
        let brightness = self.brightness_max * rng.random_range(-1.0..=1.0);
        let blurred = rng.random_bool(self.blur_chance.clamp(0.0, 1.0));
        let blur_px = blurred.then(|| rng.random_range(self.blur_px.clone()));
        Variation { transpose, mirror_x, mirror_y, gamma, blur_px, contrast, brightness }
    }
}

impl Variation {
    /// Changes the grey values of a region `width` pixels wide, inside its outline only.
    pub(super) fn grey(&self, pixels: &mut [u16], width: usize, spans: &[Span]) {
        if self.gamma != 1.0 {
            let table: Vec<u16> = (0..=u16::MAX).map(|v| ((f32::from(v) / 65535.0).powf(self.gamma) * 65535.0).round() as u16).collect();
            pixels.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
        }
        if let Some(sigma_px) = self.blur_px {
            blur(pixels, width, spans, sigma_px);
        }
    }

    /// Changes normalised values, inside the outline only.
    pub(super) fn tone(&self, values: &mut [f32], width: usize, spans: &[Span]) {
        for (line, span) in values.chunks_exact_mut(width).zip(spans) {
            for value in &mut line[span.start.into()..span.end.into()] {
                *value = *value * self.contrast + self.brightness;
            }
        }
    }

    /// Mirrors and transposes a square of `side` pixels.
    pub(super) fn turn<T: Copy>(&self, values: &[T], side: usize) -> Vec<T> {
        let from = |x: usize, y: usize| {
            let (x, y) = if self.transpose { (y, x) } else { (x, y) };
            let x = if self.mirror_x { side - 1 - x } else { x };
            let y = if self.mirror_y { side - 1 - y } else { y };
            values[y * side + x]
        };
        (0..side * side).map(|i| from(i % side, i / side)).collect()
    }
}

/// Gaussian blur of the pixels inside the outline by those inside the outline: the gap does not bleed in.
fn blur(pixels: &mut [u16], width: usize, spans: &[Span], sigma_px: f32) {
    let reach = (3.0 * sigma_px).ceil() as usize;
    let kernel: Vec<f32> = (0..=reach).map(|i| (-((i * i) as f32) / (2.0 * sigma_px * sigma_px)).exp()).collect();
    let height = spans.len();
    let weight = |x: usize, y: usize| if spans[y].contains(x) { 1.0f32 } else { 0.0 };

    // Along lines, then along columns; weighted sums and sums of weights are carried side by side.
    let mut along = vec![(0.0f32, 0.0f32); pixels.len()];
    for (y, span) in spans.iter().enumerate() {
        let (start, end) = (usize::from(span.start), usize::from(span.end));
        for x in start..end {
            let (first, last) = (x.saturating_sub(reach).max(start), (x + reach).min(end - 1));
            along[y * width + x] = (first..=last).fold((0.0, 0.0), |(sum, weights), i| {
                let k = kernel[i.abs_diff(x)];
                (sum + k * f32::from(pixels[y * width + i]), weights + k)
            });
        }
    }
    for y in 0..height {
        let (first, last) = (y.saturating_sub(reach), (y + reach).min(height - 1));
        for x in usize::from(spans[y].start)..usize::from(spans[y].end) {
            let (sum, weights) = (first..=last).fold((0.0, 0.0), |(sum, weights), i| {
                let k = kernel[i.abs_diff(y)] * weight(x, i);
                let (s, w) = along[i * width + x];
                (sum + k * s, weights + k * w)
            });
            pixels[y * width + x] = (sum / weights).round().clamp(1.0, 65535.0) as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn turning_reaches_all_eight_ways_a_square_can_lie() {
        let square = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let all: std::collections::BTreeSet<Vec<i32>> = (0..200).map(|_| Augmentation::default().draw(&mut rng).turn(&square, 3)).collect();
        assert_eq!(all.len(), 8);
        assert!(all.contains(&vec![7, 4, 1, 8, 5, 2, 9, 6, 3]), "a quarter turn is among them");
    }

    #[test]
    fn blur_keeps_an_even_wafer_even_up_to_its_outline() {
        let spans = [Span { start: 2, end: 7 }, Span { start: 0, end: 9 }, Span { start: 4, end: 5 }];
        let mut pixels = vec![0u16; 27];
        for (y, span) in spans.iter().enumerate() {
            pixels[y * 9 + usize::from(span.start)..y * 9 + usize::from(span.end)].fill(1000);
        }
        let before = pixels.clone();
        blur(&mut pixels, 9, &spans, 1.0);
        assert_eq!(pixels, before);
        pixels[9 + 4] = 4000;
        blur(&mut pixels, 9, &spans, 1.0);
        assert!(pixels[9 + 4] < 4000 && pixels[9 + 5] > 1000 && pixels[0] == 0);
    }

    #[test]
    fn nothing_changes_without_augmentation() {
        let spans = [Span { start: 0, end: 2 }; 2];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let variation = Augmentation::none().draw(&mut rng);
        let (mut grey, mut values) = (vec![1u16, 200, 3000, 65535], vec![-1.0f32, 0.0, 0.5, 2.0]);
        variation.grey(&mut grey, 2, &spans);
        variation.tone(&mut values, 2, &spans);
        assert_eq!((grey, variation.turn(&values, 2)), (vec![1, 200, 3000, 65535], vec![-1.0, 0.0, 0.5, 2.0]));
    }
}
