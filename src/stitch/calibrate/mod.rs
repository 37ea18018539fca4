//! Makes a [`Calibration`](super::Calibration): dark signal and flat field from pictures of nothing
//! and of even light, the scale from a picture of a wafer of known size, found by the same code that
//! finds cells on the line.

mod catch;
mod chart;
mod field;
mod lettering;
mod picture;
mod scale;

pub use catch::Catch;
pub use chart::chart;
pub use field::{dark_field, flat_field};
pub use picture::Picture;
pub use scale::{WaferScale, scale};

use crate::picture_file::PictureFileError;
use std::path::PathBuf;

/// Why no calibration could be made.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// A picture's file cannot be read or decoded.
    #[error(transparent)]
    PictureFile(#[from] PictureFileError),
    /// A picture is empty, or a folder gives none.
    #[error("{}: cannot be read as a picture: {what}; give a grey PNG, TIFF or JPEG, or a folder of them", file.display())]
    Unreadable {
        /// The file or folder.
        file: PathBuf,
        /// What went wrong.
        what: String,
    },
    /// A picture has colours.
    #[error("{}: has {channels} channels, expected 1 (grey); save the camera's lines as a grey picture", file.display())]
    Colour {
        /// The file.
        file: PathBuf,
        /// Its channels.
        channels: u8,
    },
    /// The pictures cannot be of one camera.
    #[error(
        "the {what} pictures have lines of {found} px, expected {expected} px as before; take all of them with the same camera setting"
    )]
    Widths {
        /// `dark`, `flat` or `wafer`.
        what: &'static str,
        /// What was found.
        found: usize,
        /// What was expected.
        expected: usize,
    },
    /// What the pictures show cannot be right.
    #[error("{what} pictures: {found}; {remedy}")]
    Implausible {
        /// `dark`, `flat` or `wafer`.
        what: &'static str,
        /// What was found and what was expected.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
}

#[cfg(test)]
mod tests;
