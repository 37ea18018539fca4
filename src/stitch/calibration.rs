use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Gains that a flat field may ask for; a column beyond them is as good as dead.
pub(super) const FLAT_RANGE: std::ops::RangeInclusive<f32> = 0.15..=6.0;
const REMEDY: &str = "run `hairline calibrate` again";

/// What a camera's pixels mean: dark signal, flat field and scale, as `hairline calibrate` writes it (TOML).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Whose: the camera's id or the name of the source; empty where any camera is meant.
    pub camera_id: String,
    /// Pixels in a line.
    pub width_px: u32,
    /// Camera pixel across the belt, mm.
    pub mm_per_px: f64,
    /// Camera line along the belt, mm.
    pub mm_per_line: f64,
    /// When it was made, RFC 3339.
    pub made: String,
    /// Dark signal of each column, share of white.
    pub dark: Vec<f32>,
    /// Response of each column to even light, dark signal taken off, 1 on average.
    pub flat: Vec<f32>,
}

/// Why a calibration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read or written.
    #[error("calibration {}: cannot be {verb}: {source}; give the path of a {what}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// What the path should be.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is no calibration.
    #[error("calibration {}: is no calibration: {what}; {REMEDY}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was made for another camera or line width.
    #[error("the calibration is for {expected}, but {found}; {REMEDY} with this camera, or give the lane its own calibration")]
    Misfit {
        /// What it was made for.
        expected: String,
        /// What there is.
        found: String,
    },
}

impl Calibration {
    /// Reads and checks a calibration file.
    ///
    /// # Errors
    /// The file is unreadable, no TOML, misses a key or has an unknown one, or holds numbers that
    /// no camera gives.
    pub fn load(file: &Path) -> Result<Self, CalibrationError> {
        let text = std::fs::read_to_string(file).map_err(|source| CalibrationError::Io {
            file: file.to_owned(),
            verb: "read",
            what: "readable calibration file",
            source,
        })?;
        let malformed = |what: String| CalibrationError::Malformed { file: file.to_owned(), what };
        let calibration: Self = toml::from_str(&text).map_err(|e| malformed(e.message().trim().to_owned()))?;
        calibration.check().map_err(malformed)?;
        Ok(calibration)
    }

    /// Writes the calibration as TOML, so that no lane ever reads half of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), CalibrationError> {
        let io =
            |source| CalibrationError::Io { file: file.to_owned(), verb: "written", what: "file in a folder that is writable", source };
        let text = toml::to_string(self).map_err(|e| io(std::io::Error::other(e)))?;
        crate::disk::write_whole(file, text.as_bytes()).map_err(io)
    }

    /// Whether it was made for this camera. An empty id fits every camera.
    ///
    /// # Errors
    /// [`CalibrationError::Misfit`]: another line width or another camera.
    pub fn fits(&self, width_px: u32, camera_id: &str) -> Result<(), CalibrationError> {
        if width_px != self.width_px {
            return Err(CalibrationError::Misfit {
                expected: format!("lines of {} px", self.width_px),
                found: format!("the camera gives {width_px} px"),
            });
        }
        let any = self.camera_id.is_empty() || camera_id.is_empty();
        if !any && camera_id != self.camera_id {
            return Err(CalibrationError::Misfit {
                expected: format!("camera `{}`", self.camera_id),
                found: format!("this is `{camera_id}`"),
            });
        }
        Ok(())
    }

    /// Whether its numbers can be a camera's; else what is wrong.
    fn check(&self) -> Result<(), String> {
        for (key, scale) in [("mm_per_px", self.mm_per_px), ("mm_per_line", self.mm_per_line)] {
            if !(1e-4..=10.0).contains(&scale) {
                return Err(format!("`{key}` is {scale}, expected 0.0001 to 10 mm"));
            }
        }
        for (key, values, range) in [("dark", &self.dark, 0.0..=0.9), ("flat", &self.flat, FLAT_RANGE)] {
            if values.len() != self.width_px as usize {
                return Err(format!("`{key}` has {} values, expected {} (`width_px`)", values.len(), self.width_px));
            }
            if let Some(column) = values.iter().position(|v| !range.contains(v)) {
                return Err(format!("`{key}` of column {column} is {}, expected {} to {}", values[column], range.start(), range.end()));
            }
        }
        Ok(())
    }
}
