//! Picture and mask files as they come: listed, read whole, checked.

use crate::cell::Mask;
use crate::train::TrainError;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// The pictures of a folder in the order of their names.
pub(super) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let unlisted = "cannot list it; the data folder needs images/ and masks/ with files of the same names";
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(TrainError::file(folder, unlisted))? {
        let path = entry.map_err(TrainError::file(folder, unlisted))?.path();
        if path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known))) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The mask that belongs to a picture.
pub(super) fn mask_of(root: &Path, picture: &Path) -> Result<PathBuf, TrainError> {
    let beside = root.join("masks").join(picture.file_name().unwrap_or_default());
    let usual = EXTENSIONS.iter().map(|e| beside.with_extension(e)).find(|path| path.is_file());
    // Extensions in capitals are rare; only then is the folder looked through.
    let found = usual.or_else(|| pictures_in(&root.join("masks")).ok()?.into_iter().find(|mask| mask.file_stem() == beside.file_stem()));
    found.ok_or_else(|| TrainError::MissingMask { picture: picture.to_owned(), expected: beside.with_extension("png") })
}

/// The name of a picture that a file tells with or without its folder and extension; other dots belong to it.
pub(super) fn picture_name(told: &str) -> &str {
    let told = told.rsplit(['/', '\\']).next().unwrap_or(told);
    match told.rsplit_once('.') {
        Some((name, extension)) if EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) => name,
        _ => told,
    }
}

/// File name without extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A decoded file and the SHA-256 of its bytes, hex.
pub(super) struct Decoded<T> {
    pub content: T,
    pub sha256: String,
}

/// Grey values, 65535 = white.
type Grey = image::ImageBuffer<image::Luma<u16>, Vec<u16>>;

/// Reads a picture whole, in grey.
pub(super) fn read_grey(path: &Path) -> Result<Decoded<Grey>, TrainError> {
    let Decoded { content, sha256 } = decode(path)?;
    Ok(Decoded { content: content.into_luma16(), sha256 })
}

/// Reads a mask, white on crack, thresholded at half.
pub(super) fn read_mask(path: &Path) -> Result<Decoded<Mask>, TrainError> {
    let Decoded { content, sha256 } = decode(path)?;
    if content.color().has_color() {
        refuse_colours(path, &content.to_rgb8())?;
    }
    let grey = content.into_luma8();
    let brightest = grey.as_raw().iter().copied().max().unwrap_or(0);
    if (1..=MOST_CLASSES).contains(&brightest) {
        let problem =
            format!("its brightest value is {brightest} of 255: this looks like class numbers; save crack as 255 and the rest as 0");
        return Err(TrainError::Data { path: path.to_owned(), problem });
    }
    let mut mask = Mask::new(grey.width() as usize, grey.height() as usize);
    for (x, y, value) in grey.enumerate_pixels() {
        if value.0[0] >= 128 {
            mask.set(x as usize, y as usize, true);
        }
    }
    Ok(Decoded { content: mask, sha256 })
}

/// Masks whose brightest value is at most this are taken for class numbers.
const MOST_CLASSES: u8 = 16;
/// Difference between colour channels that a JPEG's rounding does not make.
const LEAST_COLOUR: u8 = 48;

/// A red crack has a grey value below half: thresholding would lose it in silence.
fn refuse_colours(path: &Path, rgb: &image::RgbImage) -> Result<(), TrainError> {
    let coloured = |p: &image::Rgb<u8>| p.0.iter().max().zip(p.0.iter().min()).is_some_and(|(max, min)| max - min > LEAST_COLOUR);
    let count = rgb.pixels().filter(|p| coloured(p)).count();
    if count == 0 {
        return Ok(());
    }
    let problem = format!("{count} pixels of this mask are coloured; save it in black and white, white on crack");
    Err(TrainError::Data { path: path.to_owned(), problem })
}

/// Reads a picture whole, as it is.
pub(super) fn decode(path: &Path) -> Result<Decoded<image::DynamicImage>, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::file(path, "cannot read it"))?;
    if crate::disk::is_cut_off_jpeg(&bytes) {
        return Err(TrainError::Data { path: path.to_owned(), problem: crate::disk::CUT_OFF_JPEG.into() });
    }
    let content = image::load_from_memory(&bytes).map_err(|source| TrainError::Unreadable { path: path.to_owned(), source })?;
    Ok(Decoded { content, sha256: hex(&Sha256::digest(&bytes)) })
}

/// Refuses a mask of another size than its picture's.
pub(super) fn same_size(path: &Path, mask: &Mask, expected: (u32, u32)) -> Result<(), TrainError> {
    let found = (mask.width_px() as u32, mask.height_px() as u32);
    if found != expected {
        return Err(TrainError::MaskSize { mask: path.to_owned(), found, expected });
    }
    Ok(())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
