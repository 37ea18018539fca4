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
    /// Largest turn to either side, degrees, about the middle of the crop. 0: none.
    pub rotation_max_deg: f32,
    /// Largest shift along each axis, pixels. 0: none. (Crops come from random places; this is for pictures
    /// that are no larger than a crop.)
    pub shift_max_px: f32,
    /// Instead of all the above but turn and shift: one of the paper's five variants, each with the same chance.
    pub five_fold: bool,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { flips: true, gamma_max: 1.4, blur_chance: 0.15, blur_px: 0.4..1.1, contrast_max: 1.25, brightness_max: 0.25, ..Self::none() }
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
    rotation_rad: f32,
    shift_px: (f32, f32),
}

impl Variation {
    const NONE: Self = Self {
        transpose: false,
        mirror_x: false,
        mirror_y: false,
        gamma: 1.0,
        blur_px: None,
        contrast: 1.0,
        brightness: 0.0,
        rotation_rad: 0.0,
        shift_px: (0.0, 0.0),
    };

    /// The paper's variants of a picture: itself, flip, contrast, brightness, saturation.
    const FIVE_FOLD: [Self; 5] = [
        Self::NONE,
        Self { mirror_x: true, ..Self::NONE },
        Self { contrast: 1.25, ..Self::NONE },
        Self { brightness: 0.25, ..Self::NONE },
        Self::NONE,
    ];
}

impl Augmentation {
    /// Leaves crops as they are.
    pub fn none() -> Self {
        Self {
            flips: false,
            gamma_max: 1.0,
            blur_chance: 0.0,
            blur_px: 0.4..1.1,
            contrast_max: 1.0,
            brightness_max: 0.0,
            rotation_max_deg: 0.0,
            shift_max_px: 0.0,
            five_fold: false,
        }
    }

    /// The paper's set: every training picture beside its mirror image, one of more contrast, one brighter and
    /// one of more saturation.
    ///
    /// The network sees one grey channel, which a change of saturation (a blend with the picture's own grey)
    /// leaves as it is: the fifth is the original again. Contrast and brightness act on normalised values, so the network
    /// sees them; those of [`store_five_fold`](super::store_five_fold) act on grey values, and normalising undoes them.
    pub fn five_fold() -> Self {
        Self { five_fold: true, ..Self::none() }
    }

    /// Draws the variation of one crop.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Variation {
        let drawn = if self.five_fold {
            Variation::FIVE_FOLD[rng.random_range(0..Variation::FIVE_FOLD.len())].clone()
        } else {
            self.draw_camera(rng)
        };
        // Nothing is drawn for what is not asked for, so that a seed means the same without it.
        let mut up_to = |max: f32| if max > 0.0 { max * rng.random_range(-1.0f32..=1.0) } else { 0.0 };
        let rotation_rad = up_to(self.rotation_max_deg).to_radians();
        let shift_px = (up_to(self.shift_max_px), up_to(self.shift_max_px));
        Variation { rotation_rad, shift_px, ..drawn }
    }

    /// What a camera and a lamp do.
    fn draw_camera(&self, rng: &mut impl Rng) -> Variation {
        let mut coin = || rng.random::<bool>() && self.flips;
        let (transpose, mirror_x, mirror_y) = (coin(), coin(), coin());
        let mut within = |max: f32| max.powf(rng.random_range(-1.0..=1.0));
        let (gamma, contrast) = (within(self.gamma_max), within(self.contrast_max));
        let brightness = self.brightness_max * rng.random_range(-1.0..=1.0);
        let blurred = rng.random_bool(self.blur_chance.clamp(0.0, 1.0));
        let blur_px = blurred.then(|| rng.random_range(self.blur_px.clone()));
        Variation { transpose, mirror_x, mirror_y, gamma, blur_px, contrast, brightness, ..Variation::NONE }
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

    /// Changes normalised values.
    pub(super) fn tone(&self, values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = *value * self.contrast + self.brightness);
    }

    /// Whether crops are cut straight.
    pub(super) fn is_straight(&self) -> bool {
        self.rotation_rad == 0.0 && self.shift_px == (0.0, 0.0)
    }

    /// Where pixel (`x`, `y`) of a crop of `side` pixels comes from, in coordinates of the crop cut straight.
    pub(super) fn origin(&self, x: usize, y: usize, side: usize) -> (f32, f32) {
        let middle = (side as f32 - 1.0) / 2.0;
        let (dx, dy) = (x as f32 - middle, y as f32 - middle);
        let (sin, cos) = self.rotation_rad.sin_cos();
        (middle + cos * dx - sin * dy + self.shift_px.0, middle + sin * dx + cos * dy + self.shift_px.1)
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
    fn five_fold_draws_each_of_the_papers_variants() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let drawn: Vec<Variation> = (0..200).map(|_| Augmentation::five_fold().draw(&mut rng)).collect();
        assert!(Variation::FIVE_FOLD.iter().all(|variant| drawn.contains(variant)));
        assert!(drawn.iter().all(|variation| Variation::FIVE_FOLD.contains(variation)));
    }

    #[test]
    fn turn_and_shift_go_with_five_fold_and_with_the_camera() {
        for plain in [Augmentation::five_fold(), Augmentation::default()] {
            let moved = Augmentation { rotation_max_deg: 10.0, shift_max_px: 5.0, ..plain.clone() };
            for seed in 0..50 {
                let draw = |augmentation: &Augmentation| augmentation.draw(&mut ChaCha8Rng::seed_from_u64(seed));
                let (there, here) = (draw(&moved), draw(&plain));
                assert!(there.rotation_rad != 0.0 && there.rotation_rad.abs() <= 10f32.to_radians(), "{there:?}");
                assert!(there.shift_px.0 != 0.0 && there.shift_px.1 != 0.0, "{there:?}");
                assert_eq!(Variation { rotation_rad: 0.0, shift_px: (0.0, 0.0), ..there }, here, "the rest is drawn as without them");
            }
        }
    }

    #[test]
    fn a_quarter_turn_and_a_shift_are_where_geometry_puts_them() {
        let turned = Variation { rotation_rad: std::f32::consts::FRAC_PI_2, ..Variation::NONE };
        let (x, y) = turned.origin(4, 2, 5);
        assert!((x - 2.0).abs() < 1e-5 && (y - 4.0).abs() < 1e-5, "{x} {y}");
        assert_eq!(Variation { shift_px: (1.5, -2.0), ..Variation::NONE }.origin(0, 3, 5), (1.5, 1.0));
        assert!(!turned.is_straight() && Variation::NONE.is_straight());
    }

    #[test]
    fn nothing_changes_without_augmentation() {
        let spans = [Span { start: 0, end: 2 }; 2];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let variation = Augmentation::none().draw(&mut rng);
        let (mut grey, mut values) = (vec![1u16, 200, 3000, 65535], vec![-1.0f32, 0.0, 0.5, 2.0]);
        variation.grey(&mut grey, 2, &spans);
        variation.tone(&mut values);
        assert_eq!((grey, variation.turn(&values, 2)), (vec![1, 200, 3000, 65535], vec![-1.0, 0.0, 0.5, 2.0]));
    }
}
