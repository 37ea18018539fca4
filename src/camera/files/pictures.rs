use super::CameraError;
use crate::cell::PixelFormat;
use crate::picture_file::{self, PictureFile};
use image::imageops::FilterType;
use image::{ColorType, DynamicImage};
use std::path::{Path, PathBuf};

/// What a picture's header says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) path: PathBuf,
    pub(super) width_px: u32,
    pub(super) lines: u32,
    pub(super) format: PixelFormat,
}

impl Header {
    /// Width and lines after the longer side was scaled to `longer_px`.
    pub(super) fn scaled(&self, longer_px: Option<u32>) -> (u32, u32) {
        scaled((self.width_px, self.lines), longer_px)
    }
}

/// A decoded picture, little endian.
pub(super) struct Picture {
    /// Bytes in a line.
    pub(super) line_bytes: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// Its lines from the top.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.line_bytes.max(1))
    }
}

/// The pictures of a folder in the order of their names, or the one picture that `path` is.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, CameraError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let fails = |reason: String| CameraError::Path { path: path.to_owned(), reason };
    let unlisted = |error| fails(format!("cannot be listed: {error}; expected a folder of pictures or one picture"));
    let pictures = picture_file::list(path).map_err(unlisted)?;
    if pictures.is_empty() {
        let endings = picture_file::ENDINGS.join(", ");
        return Err(fails(format!("the folder holds no picture; expected files that end in {endings}")));
    }
    Ok(pictures)
}

/// Reads a picture's header.
pub(super) fn inspect(path: PathBuf) -> Result<Header, CameraError> {
    let picture_file::Header { width_px, height_px, color } = picture_file::Header::read(&path)?;
    let format = match color {
        ColorType::L8 => PixelFormat::Gray8,
        ColorType::L16 => PixelFormat::Gray16Le { bits: 16 },
        other => return Err(CameraError::Picture { path, reason: not_grey(other) }),
    };
    Ok(Header { path, width_px, lines: height_px, format })
}

/// Decodes a picture, and scales its longer side to `longer_px`.
pub(super) fn decode(path: PathBuf, longer_px: Option<u32>, format: PixelFormat) -> Result<Picture, CameraError> {
    let mut picture = PictureFile::read(&path)?.decode()?;
    let size = (picture.width(), picture.height());
    let (width_px, lines) = scaled(size, longer_px);
    if (width_px, lines) != size {
        picture = picture.resize_exact(width_px, lines, FilterType::CatmullRom);
    }
    let pixels = match (picture, format) {
        (DynamicImage::ImageLuma8(grey), PixelFormat::Gray8) => grey.into_raw(),
        (DynamicImage::ImageLuma16(grey), PixelFormat::Gray16Le { .. }) => grey.into_raw().into_iter().flat_map(u16::to_le_bytes).collect(),
        (other, _) => {
            return Err(CameraError::Picture { path, reason: format!("it changed to {:?} while it was replayed", other.color()) });
        }
    };
    Ok(Picture { line_bytes: width_px as usize * format.bytes_per_pixel(), pixels })
}

fn not_grey(found: ColorType) -> String {
    format!("it has {} channels ({found:?}); expected one: convert it to grey, 8 or 16 bit", found.channel_count())
}

fn scaled((width, lines): (u32, u32), longer_px: Option<u32>) -> (u32, u32) {
    let Some(longer_px) = longer_px else { return (width, lines) };
    let scale = f64::from(longer_px) / f64::from(width.max(lines).max(1));
    let side = |px: u32| ((f64::from(px) * scale).round() as u32).max(1);
    (side(width), side(lines))
}
