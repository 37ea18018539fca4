use super::CalibrateError;
use crate::cell::PixelFormat;
use crate::picture_file::{self, PictureFile};
use std::path::{Path, PathBuf};

/// Consecutive lines of a camera, 16 bit a pixel, 65535 being white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a line, at least 1.
    pub width_px: usize,
    /// Line by line.
    pub pixels: Vec<u16>,
}

impl Picture {
    /// Reads a grey picture; `bits` are the significant ones of 16-bit pictures (Mono12 saved as it is: 12).
    ///
    /// # Errors
    /// The file is no picture, is empty, cut off, or has colours.
    pub fn load(file: &Path, bits: u8) -> Result<Self, CalibrateError> {
        let picture = PictureFile::read(file)?.decode()?;
        let width_px = picture.width() as usize;
        if width_px == 0 || picture.height() == 0 {
            return Err(CalibrateError::Unreadable { file: file.to_owned(), what: "it is empty".into() });
        }
        let pixels = match picture {
            image::DynamicImage::ImageLuma8(grey) => grey.into_raw().into_iter().map(|v| u16::from(v) * 257).collect(),
            image::DynamicImage::ImageLuma16(grey) => {
                let white = PixelFormat::Gray16Le { bits }.white();
                grey.into_raw().into_iter().map(|v| (u32::from(v.min(white)) * 65535 / u32::from(white)) as u16).collect()
            }
            other => return Err(CalibrateError::Colour { file: file.to_owned(), channels: other.color().channel_count() }),
        };
        Ok(Self { width_px, pixels })
    }

    /// Reads pictures in the order given; a folder stands for the pictures in it, in the order of their names.
    ///
    /// # Errors
    /// As [`load`](Self::load), or a folder holds no picture.
    pub fn load_all(paths: &[PathBuf], bits: u8) -> Result<Vec<Self>, CalibrateError> {
        let mut pictures = Vec::new();
        for path in paths {
            if path.is_dir() {
                for file in pictures_in(path)? {
                    pictures.push(Self::load(&file, bits)?);
                }
            } else {
                pictures.push(Self::load(path, bits)?);
            }
        }
        Ok(pictures)
    }

    /// The lines, from the first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &[u16]> + ExactSizeIterator {
        self.pixels.chunks_exact(self.width_px.max(1))
    }
}

fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, CalibrateError> {
    let unreadable = |what: String| CalibrateError::Unreadable { file: folder.to_owned(), what };
    let files = picture_file::list(folder).map_err(|e| unreadable(e.to_string()))?;
    if files.is_empty() {
        return Err(unreadable("the folder holds no picture".into()));
    }
    Ok(files)
}
