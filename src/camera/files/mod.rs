//! Pictures replayed as lines: a folder of whole cells, or of consecutive lines, or one picture.

mod pictures;

use super::CameraError;
use super::ahead::Ahead;
use super::feed::Feed;
use super::pacer::LinePacer;
use crate::cell::{LossCause, PixelFormat};
use crate::config::{FilesCamera, GapKind};
use crate::stop::{Stop, Stopped};
use pictures::{Header, Picture};
use std::path::PathBuf;

/// Looks at the headers of all pictures.
///
/// # Errors
/// As [`Replay::open`].
pub(super) fn check(settings: &FilesCamera) -> Result<(), CameraError> {
    headers(settings).map(|_| ())
}

/// The pictures' headers, with the line width and pixel format that they share.
fn headers(settings: &FilesCamera) -> Result<(Vec<Header>, u32, PixelFormat), CameraError> {
    let headers: Vec<Header> = pictures::list(&settings.path)?.into_iter().map(pictures::inspect).collect::<Result<_, _>>()?;
    let (width_px, format) = common_line(&headers, settings)?;
    Ok((headers, width_px, format))
}

/// The side that every picture's longer side is scaled to, if any.
fn cell_px(settings: &FilesCamera) -> Option<u32> {
    settings.cell_px.filter(|_| settings.whole_cells)
}

/// Pictures that were looked at and fit together, ready to be replayed.
pub(super) struct Replay {
    /// Each with its lines, as its header tells them.
    pictures: Ahead<(u32, Result<Picture, CameraError>)>,
    /// Pictures in a round.
    count: usize,
    whole_cells: bool,
    gap_lines: u32,
    gap_level: f32,
    width_px: u32,
    format: PixelFormat,
    line_rate_hz: Option<f64>,
    block_lines: u32,
}

impl Replay {
    /// Looks at the headers of all pictures and begins to decode the first.
    ///
    /// # Errors
    /// [`CameraError::Path`] for a folder that is missing or has no picture,
    /// [`CameraError::PictureFile`] for one that cannot be read, [`CameraError::Picture`] for one that is not grey or does not fit
    /// the others.
    pub(super) fn open(
        lane: &str,
        settings: &FilesCamera,
        gap: GapKind,
        line_rate_hz: Option<f64>,
        block_lines: u32,
    ) -> Result<Self, CameraError> {
        let (headers, width_px, format) = headers(settings)?;
        let cell_px = cell_px(settings);
        let count = headers.len();
        let pictures: Vec<(u32, PathBuf)> = headers.into_iter().map(|header| (header.scaled(cell_px).1, header.path)).collect();
        let rounds = settings.rounds;
        let all = (0_u64..).take_while(move |round| rounds == 0 || *round < u64::from(rounds)).flat_map(move |_| pictures.clone());
        let pictures = Ahead::start(lane, all.map(move |(lines, path)| (lines, pictures::decode(path, cell_px, format))))?;
        let (whole_cells, gap_lines) = (settings.whole_cells, settings.gap_lines);
        let gap_level = settings.gap_level.unwrap_or(gap.drawn_level());
        Ok(Self { pictures, count, whole_cells, gap_lines, gap_level, width_px, format, line_rate_hz, block_lines })
    }

    /// Replays all rounds. The lines of a picture that cannot be decoded are lost; a whole round of such pictures is the end.
    pub(super) fn run(self, feed: Feed, stop: Stop) -> Result<(), Stopped> {
        let mut lines = LinePacer::new(feed, stop, self.width_px, self.block_lines, self.format, self.line_rate_hz);
        let gap = gap_line(self.format, self.gap_level, self.width_px);
        let mut skipped_in_a_row = 0;
        for (height, picture) in self.pictures {
            if self.whole_cells {
                lines.repeat(&gap, self.gap_lines)?;
            }
            let picture = match picture {
                Ok(picture) => picture,
                Err(error) => {
                    tracing::error!("a picture is skipped, and its {height} lines are lost: {error}");
                    lines.lose(height, LossCause::FrameDamaged)?;
                    skipped_in_a_row += 1;
                    if skipped_in_a_row == self.count {
                        break;
                    }
                    continue;
                }
            };
            skipped_in_a_row = 0;
            if !self.whole_cells {
                picture.lines().try_for_each(|line| lines.line(line))?;
                continue;
            }
            let mut across = gap.clone();
            let left = gap.len().saturating_sub(picture.line_bytes) / 2 / self.format.bytes_per_pixel() * self.format.bytes_per_pixel();
            for line in picture.lines() {
                if let Some(place) = across.get_mut(left..left + line.len()) {
                    place.copy_from_slice(line);
                }
                lines.line(&across)?;
            }
        }
        if self.whole_cells {
            lines.repeat(&gap, self.gap_lines)?;
        }
        lines.flush()
    }
}

/// Line width and pixel format that all pictures share.
fn common_line(headers: &[Header], settings: &FilesCamera) -> Result<(u32, PixelFormat), CameraError> {
    let Some(first) = headers.first() else {
        return Err(CameraError::Path { path: settings.path.clone(), reason: "there is no picture".into() });
    };
    let refuse = |header: &Header, reason| Err(CameraError::Picture { path: header.path.clone(), reason });
    if let Some(other) = headers.iter().find(|h| h.format != first.format) {
        let reason = format!("it is {:?}, {} is {:?}; save all with the same depth", other.format, first.path.display(), first.format);
        return refuse(other, reason);
    }
    if !settings.whole_cells {
        let width_px = settings.width_px.unwrap_or(first.width_px);
        return match headers.iter().find(|h| h.width_px != width_px) {
            None => Ok((width_px, first.format)),
            Some(other) => refuse(
                other,
                format!(
                    "it is {} px wide, the lines are {width_px} px; pictures of consecutive lines must all be as wide as the camera's line \
                     (or set camera.whole_cells = true)",
                    other.width_px
                ),
            ),
        };
    }
    let cell_px = cell_px(settings);
    let widest = headers.iter().map(|h| h.scaled(cell_px).0).max().unwrap_or(1);
    let width_px = settings.width_px.unwrap_or_else(|| (f64::from(widest) * 1.1).round() as u32);
    match headers.iter().find(|h| h.scaled(cell_px).0 > width_px) {
        None => Ok((width_px, first.format)),
        Some(wide) => {
            let needs = wide.scaled(cell_px).0;
            refuse(wide, format!("it is {needs} px wide, camera.width_px is {width_px}; raise camera.width_px or lower camera.cell_px"))
        }
    }
}

fn gap_line(format: PixelFormat, level: f32, width_px: u32) -> Vec<u8> {
    let level = (level.clamp(0.0, 1.0) * f32::from(format.white())).round() as u16;
    match format {
        PixelFormat::Gray8 => vec![level.min(255) as u8; width_px as usize],
        PixelFormat::Gray16Le { .. } => level.to_le_bytes().repeat(width_px as usize),
    }
}
