//! The paper's data as it was stored: every training picture five times.

use super::manifest::{Entry, Manifest};
use super::pictures::Encoded;
use super::{Set, SplitPlan};
use crate::train::{TrainError, write_beside};
use image::{DynamicImage, ImageFormat, Pixel};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

/// How a stored picture differs from its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Original,
    Flip,
    Contrast,
    Brightness,
    Saturation,
}

impl Variant {
    const ALL: [Self; 5] = [Self::Original, Self::Flip, Self::Contrast, Self::Brightness, Self::Saturation];
    /// How much further from mid-grey, or from a pixel's own grey; and how much brighter, as a share of white.
    const STRONGER: f32 = 1.25;
    const BRIGHTER: f32 = 0.1;

    /// What is added to the picture's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Original => "",
            Self::Flip => "-flip",
            Self::Contrast => "-contrast",
            Self::Brightness => "-brightness",
            Self::Saturation => "-saturation",
        }
    }

    fn of(self, picture: &DynamicImage) -> DynamicImage {
        match self {
            Self::Original => picture.clone(),
            Self::Flip => picture.fliph(),
            Self::Contrast => toned(picture, |value, _| 0.5 + (value - 0.5) * Self::STRONGER),
            Self::Brightness => toned(picture, |value, _| value + Self::BRIGHTER),
            Self::Saturation => toned(picture, |value, grey| grey + (value - grey) * Self::STRONGER),
        }
    }
}

/// Changes values of 0 to 1, each told its pixel's grey. What is black lies outside a wafer: it stays black, and nothing
/// else becomes so.
fn toned(picture: &DynamicImage, change: impl Fn(f32, f32) -> f32) -> DynamicImage {
    macro_rules! toned {
        ($picture:expr, $kind:path, $value:ty) => {{
            let (mut picture, white) = ($picture, f32::from(<$value>::MAX));
            for pixel in picture.pixels_mut() {
                let grey = f32::from(pixel.to_luma().0[0]) / white;
                for value in pixel.channels_mut() {
                    if *value > 0 {
                        *value = (change(f32::from(*value) / white, grey) * white).round().clamp(1.0, white) as $value;
                    }
                }
            }
            $kind(picture)
        }};
    }
    let color = picture.color();
    match (color.has_color(), color.bytes_per_pixel() / color.channel_count() > 1) {
        (false, false) => toned!(picture.to_luma8(), DynamicImage::ImageLuma8, u8),
        (false, true) => toned!(picture.to_luma16(), DynamicImage::ImageLuma16, u16),
        (true, false) => toned!(picture.to_rgb8(), DynamicImage::ImageRgb8, u8),
        (true, true) => toned!(picture.to_rgb16(), DynamicImage::ImageRgb16, u16),
    }
}

/// Pictures that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// To learn from, five of each original.
    pub training: usize,
    /// To validate with, as they were.
    pub validation: usize,
}

/// Writes the paper's stored set of the data in `root` to `out`: every training picture beside its mirror image and one of
/// more contrast, one brighter and one of more saturation, all with their masks; validation pictures as they are; and
/// `split.csv`, which tells them apart. `written` is called with the number of originals done.
///
/// As in the paper it is the pictures' own values that change. Normalising each tile by its own mean and deviation undoes a
/// change of contrast or brightness but for what became white or black, and a grey picture has no saturation: a network
/// that normalises so learns little more from these three than from the original.
///
/// # Errors
/// Faults of the data, each with its file, and files that cannot be written.
pub fn store_five_fold(root: &Path, plan: &SplitPlan, out: &Path, written: impl Fn(usize, usize) + Sync) -> Result<Stored, TrainError> {
    let Manifest { entries, .. } = Manifest::read(root, plan)?;
    let names = distinct_names(root, &entries)?;
    for folder in ["images", "masks"] {
        let folder = out.join(folder);
        std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder, "cannot create it; give a folder that you may write to"))?;
    }
    let done = std::sync::atomic::AtomicUsize::new(0);
    entries.par_iter().try_for_each(|entry| {
        store(root, entry, out)?;
        written(1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed), entries.len());
        Ok::<_, TrainError>(())
    })?;
    let part = |set| if set == Set::Training { "training" } else { "validation" };
    let split: String = names.iter().map(|(name, set)| format!("{name},{}\n", part(*set))).collect();
    write_beside(&out.join("split.csv"), split.as_bytes())?;
    let training = names.values().filter(|set| **set == Set::Training).count();
    Ok(Stored { training, validation: names.len() - training })
}

fn variants(entry: &Entry) -> &'static [Variant] {
    if entry.set == Set::Training { &Variant::ALL } else { &Variant::ALL[..1] }
}

/// The names that will be written; refuses a picture that is already called like another's variant.
fn distinct_names(root: &Path, entries: &[Entry]) -> Result<BTreeMap<String, Set>, TrainError> {
    let mut names = BTreeMap::new();
    for entry in entries {
        for variant in variants(entry) {
            let name = format!("{}{}", entry.name(), variant.suffix());
            if names.insert(name.clone(), entry.set).is_some() {
                let problem = format!("{name} would be written twice; is this folder a stored set already?");
                return Err(TrainError::Data { path: root.join(&entry.picture), problem });
            }
        }
    }
    Ok(names)
}

fn store(root: &Path, entry: &Entry, out: &Path) -> Result<(), TrainError> {
    let picture = Encoded::read(&root.join(&entry.picture))?.picture()?;
    let truth = Encoded::read(&root.join(&entry.mask))?.mask()?;
    let (width, height) = entry.size_px;
    let white = |x: u32, y: u32| image::Luma([if truth.get(x as usize, y as usize) { 255 } else { 0 }]);
    let mask = DynamicImage::ImageLuma8(image::ImageBuffer::from_fn(width, height, white));
    for variant in variants(entry) {
        let name = format!("{}{}.png", entry.name(), variant.suffix());
        write_png(&out.join("images").join(&name), &variant.of(&picture))?;
        let mask = if *variant == Variant::Flip { mask.fliph() } else { mask.clone() };
        write_png(&out.join("masks").join(&name), &mask)?;
    }
    Ok(())
}

fn write_png(path: &Path, picture: &DynamicImage) -> Result<(), TrainError> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| TrainError::Data { path: path.to_owned(), problem: format!("cannot be kept as PNG: {source}") })?;
    write_beside(path, bytes.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Augmentation, CropPlan, Folder, HeldBack, Sampling, Source};
    use image::{Rgb, RgbImage};

    /// Two pictures, red in the upper left corner and black at the right border, crack in the left half of the second.
    fn data(folder: &Path) {
        for part in ["images", "masks"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        for (i, name) in ["a", "b"].iter().enumerate() {
            let mut picture =
                RgbImage::from_fn(32, 32, |x, y| if x > 27 { Rgb([0; 3]) } else { Rgb([90 + x as u8 + i as u8, 100, 100 + y as u8]) });
            picture.put_pixel(0, 0, Rgb([200, 50, 50]));
            picture.save(folder.join("images").join(format!("{name}.png"))).unwrap();
            let mask = image::GrayImage::from_fn(32, 32, |x, _| image::Luma([if x == 3 { 255 } else { 0 }]));
            mask.save(folder.join("masks").join(format!("{name}.png"))).unwrap();
        }
    }

    #[test]
    fn training_pictures_are_stored_five_times_and_can_be_learnt_from() {
        let folder = tempfile::tempdir().unwrap();
        let (root, out) = (folder.path().join("data"), folder.path().join("stored"));
        data(&root);
        let stored = store_five_fold(&root, &SplitPlan::share(0.5, 1), &out, |_, _| {}).unwrap();
        assert_eq!(stored, Stored { training: 5, validation: 1 });
        let split = SplitPlan { held_back: HeldBack::File(out.join("split.csv")), ..SplitPlan::share(0.5, 1) };
        let again = Folder::open(&out, &split, Sampling::Uniform).unwrap();
        assert_eq!((again.len(Set::Training), again.len(Set::Validation)), (5, 1));
        let plan = CropPlan {
            side_px: 32,
            normalisation: crate::nn::Normalisation::Tile,
            augmentation: Augmentation::none(),
            sampling: Sampling::Uniform,
            corner_share: 0.0,
        };
        assert!(!plan.cut(&again.training(0).unwrap(), 1.0, &mut rand::rng()).is_empty());
    }

    #[test]
    fn each_variant_changes_what_it_says_and_black_stays_black() {
        let folder = tempfile::tempdir().unwrap();
        let (root, out) = (folder.path().join("data"), folder.path().join("stored"));
        data(&root);
        store_five_fold(&root, &SplitPlan::share(0.5, 1), &out, |_, _| {}).unwrap();
        let name = if out.join("images/a-flip.png").exists() { "a" } else { "b" };
        let read = |part: &str, suffix: &str| image::open(out.join(part).join(format!("{name}{suffix}.png"))).unwrap().into_rgb8();
        let pixel = |suffix: &str, x: u32, y: u32| read("images", suffix).get_pixel(x, y).0;
        assert_eq!(pixel("", 0, 0), [200, 50, 50]);
        assert_eq!(pixel("-flip", 31, 0), [200, 50, 50]);
        assert_eq!(read("masks", "-flip").get_pixel(28, 5).0[0], 255);
        assert_eq!(pixel("-contrast", 0, 0), [218, 31, 31]);
        assert_eq!(pixel("-brightness", 0, 0), [226, 76, 76]);
        let [red, green, _] = pixel("-saturation", 0, 0);
        assert!(red > 200 && green < 50);
        for suffix in ["", "-contrast", "-brightness", "-saturation"] {
            assert_eq!(pixel(suffix, 31, 4), [0; 3], "{suffix}");
            assert_eq!(read("masks", suffix).get_pixel(3, 5).0[0], 255);
        }
    }

    #[test]
    fn a_set_that_is_stored_already_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (root, out) = (folder.path().join("data"), folder.path().join("stored"));
        data(&root);
        std::fs::copy(root.join("images/a.png"), root.join("images/b-flip.png")).unwrap();
        std::fs::copy(root.join("masks/a.png"), root.join("masks/b-flip.png")).unwrap();
        let refused =
            [1, 2, 3].map(|seed| store_five_fold(&root, &SplitPlan::share(0.6, seed), &out, |_, _| {}).err().map(|e| e.to_string()));
        assert!(refused.iter().flatten().any(|e| e.contains("b-flip") && e.contains("written twice")), "{refused:?}");
    }
}
