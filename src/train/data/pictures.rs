//! Pictures and masks as they come: listed, decoded, checked.

use super::Picture;
use crate::cell::Mask;
use crate::picture_file::{self, PictureFile};
use crate::train::TrainError;
use image::DynamicImage;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The pictures of a folder in the order of their names.
pub(super) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let unlisted = "cannot list it; the data folder needs images/ and masks/ with files of the same names";
    picture_file::list(folder).map_err(TrainError::file(folder, unlisted))
}

/// The mask that belongs to a picture.
pub(super) fn mask_of(root: &Path, picture: &Path) -> Result<PathBuf, TrainError> {
    let beside = root.join("masks").join(picture.file_name().unwrap_or_default());
    let usual = picture_file::ENDINGS.iter().map(|e| beside.with_extension(e)).find(|path| path.is_file());
    // Extensions in capitals are rare; only then is the folder looked through.
    let found = usual.or_else(|| pictures_in(&root.join("masks")).ok()?.into_iter().find(|mask| mask.file_stem() == beside.file_stem()));
    found.ok_or_else(|| TrainError::MissingMask { picture: picture.to_owned(), expected: beside.with_extension("png") })
}

/// The name of a picture that a file tells with or without its folder and extension; other dots belong to it.
pub(super) fn picture_name(told: &str) -> &str {
    let told = told.rsplit(['/', '\\']).next().unwrap_or(told);
    match told.rsplit_once('.') {
        Some((name, extension)) if picture_file::is_ending(extension) => name,
        _ => told,
    }
}

/// File name without extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Grey values, 65535 = white.
type Grey = image::ImageBuffer<image::Luma<u16>, Vec<u16>>;

/// A picture's or mask's file, read whole.
pub(super) struct Encoded(PictureFile);

impl Encoded {
    /// Reads the file; what it shows is looked at when it is decoded.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        Ok(Self(PictureFile::read(path)?))
    }

    /// SHA-256 of its bytes, hex.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.0.bytes()))
    }

    /// The picture as viewers show it, turned as its EXIF orientation says.
    pub fn picture(&self) -> Result<DynamicImage, TrainError> {
        Ok(self.0.decode_upright()?)
    }

    /// The picture in grey; refuses one that is too wide to be learnt from.
    pub fn grey(&self) -> Result<Grey, TrainError> {
        let grey = self.picture()?.into_luma16();
        if grey.width() > u32::from(u16::MAX) {
            return Err(self.unfit(format!("{} px wide; at most 65535 px are possible; cut it into several pictures", grey.width())));
        }
        Ok(grey)
    }

    /// The mask, white on crack, thresholded at half.
    pub fn mask(&self) -> Result<Mask, TrainError> {
        let picture = self.picture()?;
        let color = picture.color();
        if color.has_color() {
            self.refuse_colours(&picture.to_rgb8())?;
        }
        let sixteen_bit = color.bytes_per_pixel() / color.channel_count() > 1;
        let alpha = if color.has_alpha() { range(picture.to_luma_alpha16().pixels().map(|p| p.0[1])) } else { (0, 0) };
        let grey = picture.into_luma16();
        let (darkest, brightest) = range(grey.as_raw().iter().copied());
        if alpha.0 < alpha.1 && darkest == brightest {
            return Err(
                self.unfit("what it shows lies in its transparency alone, which is not looked at; save it without, white on crack".into())
            );
        }
        // Thresholded, it would be one without a crack.
        if (1..=u16::MAX / 2).contains(&brightest) {
            let why = if brightest <= MOST_CLASSES { "this looks like class numbers" } else { "nothing is brighter than half of white" };
            let (brightest, white) = if sixteen_bit { (brightest, u16::MAX) } else { (brightest / 257, 255) };
            return Err(
                self.unfit(format!("its brightest value is {brightest} of {white}: {why}; save crack as {white} and the rest as 0"))
            );
        }
        let mut mask = Mask::new(grey.width() as usize, grey.height() as usize);
        for (x, y, value) in grey.enumerate_pixels() {
            if value.0[0] > u16::MAX / 2 {
                mask.set(x as usize, y as usize, true);
            }
        }
        Ok(mask)
    }

    /// A red crack has a grey value below half: thresholding would lose it in silence.
    fn refuse_colours(&self, rgb: &image::RgbImage) -> Result<(), TrainError> {
        let coloured = |p: &image::Rgb<u8>| p.0.iter().max().zip(p.0.iter().min()).is_some_and(|(max, min)| max - min > LEAST_COLOUR);
        let count = rgb.pixels().filter(|p| coloured(p)).count();
        if count == 0 {
            return Ok(());
        }
        Err(self.unfit(format!("{count} pixels of this mask are coloured; save it in black and white, white on crack")))
    }

    fn unfit(&self, problem: String) -> TrainError {
        TrainError::Data { path: self.0.path().to_owned(), problem }
    }
}

/// The smallest and the largest value.
fn range(values: impl Iterator<Item = u16>) -> (u16, u16) {
    values.fold((u16::MAX, 0), |(low, high), value| (low.min(value), high.max(value)))
}

/// Masks whose brightest value, of 65535, is at most this are taken for class numbers: 16 of 8 bit, or 8-bit values kept as 16.
const MOST_CLASSES: u16 = 16 * 257;
/// Difference between colour channels that a JPEG's rounding does not make.
const LEAST_COLOUR: u8 = 48;

/// A picture's grey values and its mask; refuses a mask of another size.
pub(super) fn decoded_pair(picture: &Encoded, mask: &Encoded) -> Result<(Grey, Mask), TrainError> {
    let (grey, truth) = (picture.grey()?, mask.mask()?);
    let (found, expected) = ((truth.width_px() as u32, truth.height_px() as u32), grey.dimensions());
    if found != expected {
        return Err(TrainError::MaskSize { mask: mask.0.path().to_owned(), found, expected });
    }
    Ok((grey, truth))
}

/// What is learnt from and judged by: the pair without what the mask shows outside the outline, and without the rim where it is as
/// large as the line stitches cells.
pub(super) fn learnt_picture(path: &Path, grey: Grey, truth: Mask) -> Result<Picture, TrainError> {
    let width_px = grey.width() as usize;
    let unfit = || TrainError::Data { path: path.to_owned(), problem: "is empty; take it out".into() };
    let mut picture = Picture::new(stem(path), width_px, grey.into_raw(), truth).ok_or_else(unfit)?;
    if picture.is_cell() {
        picture.leave_rim();
    } else {
        picture.forget_outside();
    }
    Ok(picture)
}
