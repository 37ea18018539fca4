use super::{Augmentation, Picture};
use crate::cell::TILE_PX;
use crate::nn::{Normalisation, mirror_outside};
use crate::train::TrainError;
use rand::Rng;

/// One training example: a square of a picture as the network sees it, and its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Crop {
    /// Normalised values, line by line; the mirror image of the inside outside the outline.
    pub input: Vec<f32>,
    /// 1 on crack, else 0.
    pub label: Vec<f32>,
    /// Its picture and place, for messages.
    pub origin: String,
}

/// Which crops are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Aware of the classes: half of the crops are aimed at a crack, whatever its share in the data.
    Balanced,
    /// Aimed at nothing: every picture as often, from anywhere in it, but more from its borders, where a cell's tiles begin and end.
    Uniform,
}

/// How crops are cut out of pictures.
#[derive(Debug, Clone)]
pub struct CropPlan {
    /// Side of a crop in pixels, divisible by 16.
    pub side_px: usize,
    /// As in inspection.
    pub normalisation: Normalisation,
    /// How they are varied.
    pub augmentation: Augmentation,
    /// Which are taken.
    pub sampling: Sampling,
    /// Share of crops that are taken from a corner of their picture instead: where a wafer's cut corners are, and
    /// false alarms along them.
    pub corner_share: f64,
}

impl CropPlan {
    /// Crops cut from one picture: enough to be worth the making of a wafer, few enough to keep batches varied.
    pub const PER_PICTURE: usize = 8;

    /// Chance of aiming a crop at a picture's crack, where `cracked_share` of the pictures have one.
    pub(super) fn crack_chance(&self, cracked_share: f64) -> f64 {
        match self.sampling {
            Sampling::Balanced if cracked_share > 0.0 => (0.5 / cracked_share).min(1.0),
            _ => 0.0,
        }
    }

    /// Cuts [`PER_PICTURE`](Self::PER_PICTURE) crops. Each shows a crack with a chance of `crack_chance`
    /// where the picture has one; the others may, too.
    pub fn cut(&self, picture: &Picture, crack_chance: f64, rng: &mut impl Rng) -> Vec<Crop> {
        let cracks = picture.crack_pixels();
        (0..Self::PER_PICTURE)
            .map(|_| {
                if self.corner_share > 0.0 && rng.random_bool(self.corner_share.min(1.0)) {
                    let mut end = |extent: usize| if rng.random::<bool>() { extent.saturating_sub(self.side_px) } else { 0 };
                    let (left, top) = (end(picture.width_px), end(picture.height_px));
                    return self.crop(picture, left, top, rng);
                }
                let on_crack = !cracks.is_empty() && rng.random_bool(crack_chance.clamp(0.0, 1.0));
                let aim = on_crack.then(|| cracks[rng.random_range(0..cracks.len())]);
                let left = place(picture.width_px, self.side_px, aim.map(|(x, _)| x), rng);
                let top = place(picture.height_px, self.side_px, aim.map(|(_, y)| y), rng);
                self.crop(picture, left, top, rng)
            })
            .collect()
    }

    /// The crop whose upper left corner lies at (`left`, `top`).
    ///
    /// Inspection normalises a whole 448 px tile by the pixels inside its outline. A crop is smaller, and
    /// its own statistics would depend on how much crack or edge it shows; so the statistics are those
    /// of the 448 px square around the crop, moved into the picture where it would reach over its border.
    fn crop(&self, picture: &Picture, left: usize, top: usize, rng: &mut impl Rng) -> Crop {
        let side = self.side_px;
        let region = side.max(TILE_PX);
        let around = |at: usize, extent: usize| at.saturating_sub((region - side) / 2).min(extent.saturating_sub(region)).min(at);
        let (region_left, region_top) = (around(left, picture.width_px), around(top, picture.height_px));

        let variation = self.augmentation.draw(rng);
        let (mut grey, spans) = picture.cut(region_left as isize, region_top as isize, region);
        variation.grey(&mut grey, region, &spans);
        let mut values = vec![0.0f32; region * region];
        self.normalisation.apply(&grey, region, &spans, &mut values);
        variation.tone(&mut values);

        // A crack goes on in the mirror image outside the outline, and so must the truth.
        let mut truth = picture.truth_within(region_left, region_top, region);
        mirror_outside(&mut truth, region, &spans);

        let (dx, dy) = (left - region_left, top - region_top);
        let (mut input, mut label) = (Vec::with_capacity(side * side), Vec::with_capacity(side * side));
        if variation.is_straight() {
            let window = |values: &[f32], out: &mut Vec<f32>| out.extend((0..side).flat_map(|y| &values[(dy + y) * region + dx..][..side]));
            window(&values, &mut input);
            window(&truth, &mut label);
        } else {
            // What a turned or shifted crop reaches beyond the region is its mirror image too.
            let last = region as isize - 1;
            let mirrored = |at: isize| {
                if at < 0 {
                    -1 - at
                } else if at > last {
                    2 * last + 1 - at
                } else {
                    at
                }
                .clamp(0, last) as usize
            };
            let within = |values: &[f32], x: isize, y: isize| values[mirrored(y) * region + mirrored(x)];
            for i in 0..side * side {
                let (x, y) = variation.origin(i % side, i / side, side);
                let (x, y) = (x + dx as f32, y + dy as f32);
                input.push(bilinear(x, y, |x, y| within(&values, x, y)));
                label.push(within(&truth, x.round() as isize, y.round() as isize));
            }
        }
        let origin = format!("{} at ({left}, {top})", picture.name);
        Crop { input: variation.turn(&input, side), label: variation.turn(&label, side), origin }
    }
}

impl CropPlan {
    /// Checks side and share.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where it is 0 or not divisible by 16, the network's smallest step, or a share is none.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.side_px == 0 || !self.side_px.is_multiple_of(16) {
            let problem = format!("{} px is not a multiple of 16; take 224 or 448", self.side_px);
            return Err(TrainError::Setting { name: "crop", problem });
        }
        if !(0.0..=1.0).contains(&self.corner_share) {
            return Err(TrainError::Setting { name: "corner-share", problem: format!("{} is no share; 0 to 1", self.corner_share) });
        }
        Ok(())
    }
}

/// The value between four pixels.
fn bilinear(x: f32, y: f32, at: impl Fn(isize, isize) -> f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = (x - left, y - top);
    let (left, top) = (left as isize, top as isize);
    let line = |y: isize| at(left, y) * (1.0 - right_share) + at(left + 1, y) * right_share;
    line(top) * (1.0 - lower_share) + line(top + 1) * lower_share
}

/// Start of a crop of `side` along an axis of `extent` pixels: anywhere, or anywhere that shows `aim`.
///
/// Crops that would reach over the picture's border by up to their side are moved back to it. Without
/// this hardly any crop would begin at the border, as tiles of a cell do: edges and corners would never
/// be learnt.
fn place(extent: usize, side: usize, aim: Option<usize>, rng: &mut impl Rng) -> usize {
    let last = extent.saturating_sub(side) as i64;
    let side = side as i64;
    let (from, to) = match aim {
        Some(at) => (at as i64 + 1 - side, at as i64),
        None => (-side, last + side),
    };
    rng.random_range(from..=to).clamp(0, last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Mask;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn plan(side_px: usize) -> CropPlan {
        CropPlan {
            side_px,
            normalisation: Normalisation::Tile,
            augmentation: Augmentation::none(),
            sampling: Sampling::Balanced,
            corner_share: 0.0,
        }
    }

    fn cracked_picture(width_px: usize, height_px: usize, crack: (usize, usize)) -> Picture {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut truth = Mask::new(width_px, height_px);
        truth.set(crack.0, crack.1, true);
        let pixels = (0..width_px * height_px).map(|_| rng.random_range(20_000..30_000)).collect();
        Picture::new("p".into(), width_px, pixels, truth).unwrap()
    }

    #[test]
    fn every_crop_aimed_at_a_crack_shows_it_wherever_it_lies() {
        for crack in [(0, 0), (99, 0), (50, 40), (99, 79)] {
            let crops = plan(32).cut(&cracked_picture(100, 80, crack), 1.0, &mut ChaCha8Rng::seed_from_u64(4));
            assert_eq!(crops.len(), CropPlan::PER_PICTURE);
            assert!(crops.iter().all(|c| c.label.iter().sum::<f32>() == 1.0), "{crack:?}");
        }
    }

    #[test]
    fn crops_are_taken_from_corners_as_often_as_asked_for() {
        let picture = cracked_picture(100, 80, (50, 40));
        let at_corner = |crop: &Crop| ["(0, 0)", "(68, 0)", "(0, 48)", "(68, 48)"].iter().any(|at| crop.origin.ends_with(at));
        let count = |corner_share: f64| {
            let plan = CropPlan { corner_share, ..plan(32) };
            let mut rng = ChaCha8Rng::seed_from_u64(8);
            (0..20).flat_map(|_| plan.cut(&picture, 1.0, &mut rng)).filter(at_corner).count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 160));
        assert!((20..70).contains(&count(0.25)));
        assert!(CropPlan { corner_share: 1.5, ..plan(32) }.check().unwrap_err().to_string().contains("corner-share"));
    }

    #[test]
    fn many_crops_begin_and_end_at_the_border_as_tiles_do() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let starts: Vec<usize> = (0..1000).map(|_| place(1344, 224, None, &mut rng)).collect();
        for border in [0, 1120] {
            assert!((80..220).contains(&starts.iter().filter(|start| **start == border).count()), "{border}");
        }
        assert!(starts.iter().filter(|start| (200..900).contains(*start)).count() > 300);
    }

    #[test]
    fn a_crop_is_a_window_of_the_tile_that_inspection_would_see() {
        let picture = cracked_picture(TILE_PX, TILE_PX, (200, 210));
        let (grey, spans) = picture.cut(0, 0, TILE_PX);
        let mut tile = vec![0.0; TILE_PX * TILE_PX];
        Normalisation::Tile.apply(&grey, TILE_PX, &spans, &mut tile);
        let crop = plan(64).crop(&picture, 190, 180, &mut ChaCha8Rng::seed_from_u64(5));
        for y in 0..64 {
            assert_eq!(crop.input[y * 64..(y + 1) * 64], tile[(180 + y) * TILE_PX + 190..][..64]);
        }
        assert_eq!(crop.label[30 * 64 + 10], 1.0);
    }

    #[test]
    fn a_picture_smaller_than_the_crop_goes_on_as_its_mirror_image_crack_and_all() {
        let crop = plan(32).crop(&cracked_picture(24, 20, (22, 3)), 0, 0, &mut ChaCha8Rng::seed_from_u64(6));
        let cracked: Vec<usize> = (0..32 * 32).filter(|i| crop.label[*i] == 1.0).collect();
        assert_eq!(cracked, [3 * 32 + 22, 3 * 32 + 25]);
        for y in 0..12 {
            assert_eq!(crop.input[(19 - y) * 32..][..32], crop.input[(20 + y) * 32..][..32], "line {y} from the lower border");
        }
    }

    #[test]
    fn a_turned_crop_turns_picture_and_label_together() {
        let mut truth = Mask::new(64, 64);
        let mut pixels = vec![20_000u16; 64 * 64];
        for x in 10..54 {
            for y in 30..34 {
                truth.set(x, y, true);
                pixels[y * 64 + x] = 50_000;
            }
        }
        let picture = Picture::new("p".into(), 64, pixels, truth).unwrap();
        let augmentation = Augmentation { rotation_max_deg: 30.0, shift_max_px: 3.0, ..Augmentation::none() };
        let turned = CropPlan { augmentation, ..plan(64) }.crop(&picture, 0, 0, &mut ChaCha8Rng::seed_from_u64(5));
        let straight = plan(64).crop(&picture, 0, 0, &mut ChaCha8Rng::seed_from_u64(5));
        assert!(turned.label != straight.label);
        let mean = |crop: &Crop, label: f32| {
            let (sum, count) =
                crop.input.iter().zip(&crop.label).filter(|(_, l)| **l == label).fold((0.0, 0.0), |(s, n), (v, _)| (s + v, n + 1.0));
            sum / count
        };
        assert!(mean(&turned, 1.0) > 0.8 * mean(&straight, 1.0) && mean(&turned, 0.0) < 0.1, "bright is still crack");
    }

    #[test]
    fn sides_the_network_cannot_halve_four_times_are_refused() {
        assert!(plan(224).check().is_ok());
        assert!(plan(100).check().unwrap_err().to_string().contains("multiple of 16"));
    }
}
