//! Wafers drawn with exactly known geometry, for tests.

use crate::cell::{CameraEvent, LineBlock, Moment, PixelFormat};
use crate::config::{Belt, GapKind, Wafer};
use bytes::Bytes;

/// A rotated rectangle with cut corners, in camera pixels.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Centre: column and line.
    pub centre: (f64, f64),
    pub width_px: f64,
    pub length_px: f64,
    pub skew_deg: f64,
    /// Legs of the four corners, clockwise from leading left.
    pub corners_px: [f64; 4],
}

impl Drawn {
    /// A square of `side_px` whose centre lies on `column` and whose foremost corner would lie on `first_line`.
    pub fn square(side_px: f64, column: f64, first_line: f64, skew_deg: f64) -> Self {
        let (sin, cos) = skew_deg.to_radians().sin_cos();
        let centre = (column, first_line - 0.5 + 0.5 * side_px * (sin.abs() + cos));
        Self { centre, width_px: side_px, length_px: side_px, skew_deg, corners_px: [0.0; 4] }
    }

    pub fn with_corners(self, leg_px: f64) -> Self {
        Self { corners_px: [leg_px; 4], ..self }
    }

    /// Place on the wafer in pixels from its leading left corner.
    pub fn on_wafer(&self, column: f64, line: f64) -> (f64, f64) {
        let (sin, cos) = self.skew_deg.to_radians().sin_cos();
        let (x, y) = (column - self.centre.0, line - self.centre.1);
        (x * cos + y * sin + 0.5 * self.width_px, y * cos - x * sin + 0.5 * self.length_px)
    }

    /// Camera place of a place on the wafer.
    pub fn to_camera(&self, across: f64, along: f64) -> (f64, f64) {
        let (sin, cos) = self.skew_deg.to_radians().sin_cos();
        let (a, b) = (across - 0.5 * self.width_px, along - 0.5 * self.length_px);
        (self.centre.0 + a * cos - b * sin, self.centre.1 + a * sin + b * cos)
    }

    /// Share of a pixel that the wafer covers, roughly.
    fn covers(&self, column: f64, line: f64) -> f64 {
        let (a, b) = self.on_wafer(column, line);
        let (right, bottom) = (self.width_px - a, self.length_px - b);
        let cuts = [(a, b), (right, b), (right, bottom), (a, bottom)];
        let corner = cuts.iter().zip(self.corners_px).map(|((x, y), leg)| (x + y - leg) / 2f64.sqrt()).fold(f64::MAX, f64::min);
        (a.min(b).min(right).min(bottom).min(corner) + 0.5).clamp(0.0, 1.0)
    }
}

/// Texture of every drawn wafer, share of white: waves of 64 px both ways.
pub fn texture(across: f64, along: f64) -> f64 {
    let wave = |at: f64| (at * std::f64::consts::TAU / 64.0).sin();
    0.45 + 0.12 * wave(across) + 0.12 * wave(along)
}

/// What the camera sees: wafers on a belt.
#[derive(Debug, Clone)]
pub struct Scene {
    pub width_px: usize,
    pub lines: usize,
    pub gap: f64,
    pub wafers: Vec<Drawn>,
}

impl Scene {
    /// Pixel values as shares of white, line by line.
    pub fn line(&self, line: usize) -> Vec<f64> {
        let near: Vec<&Drawn> = self
            .wafers
            .iter()
            .filter(|w| (line as f64 - w.centre.1).abs() < 0.5 * (w.length_px + w.width_px * w.skew_deg.to_radians().sin().abs()) + 2.0)
            .collect();
        (0..self.width_px)
            .map(|column| {
                let (x, y) = (column as f64, line as f64);
                near.iter().fold(self.gap, |value, wafer| {
                    let (across, along) = wafer.on_wafer(x, y);
                    let covered = wafer.covers(x, y);
                    if covered == 0.0 { value } else { value + covered * (texture(across, along) - value) }
                })
            })
            .collect()
    }

    /// All lines, one byte a pixel.
    pub fn gray8(&self) -> Vec<u8> {
        (0..self.lines).flat_map(|l| self.line(l)).map(|v| (v * 255.0).round() as u8).collect()
    }

    /// All lines, two bytes a pixel.
    pub fn gray16(&self, bits: u8) -> Vec<u8> {
        let white = f64::from(PixelFormat::Gray16Le { bits }.white());
        (0..self.lines).flat_map(|l| self.line(l)).flat_map(|v| ((v * white).round() as u16).to_le_bytes()).collect()
    }
}

/// Nanoseconds from line to line in every drawn stream.
pub const PERIOD_NS: u64 = 50_000;

/// The lines `range` of `pixels` as a block, with times that only depend on the line's number.
pub fn block(pixels: &Bytes, width_px: usize, format: PixelFormat, range: std::ops::Range<usize>, start: Moment) -> CameraEvent {
    let stride = width_px * format.bytes_per_pixel();
    let last = range.end as u64 - 1;
    CameraEvent::Block(LineBlock {
        first_line: range.start as u64,
        lines: range.len() as u32,
        width_px: width_px as u32,
        stride_bytes: stride,
        format,
        pixels: pixels.slice(range.start * stride..range.end * stride),
        last_line_at: start.earlier_by_ns(-((last * PERIOD_NS) as i64)),
        camera_time_ns: Some(last * PERIOD_NS),
        encoder_count: Some(4 * last as i64),
        line_period_ns: PERIOD_NS as f64,
    })
}

/// A 182 mm wafer that is `side_px` camera pixels wide and `side_px` lines long.
pub fn product(side_px: f64) -> (Wafer, Belt) {
    let wafer = Wafer { width_mm: 182.0, length_mm: 182.0, corners_mm: [0.0; 4], tolerance_mm: 2.0 };
    let belt = Belt {
        gap: GapKind::Dark,
        edge_level: 0.08,
        gap_level: 0.05,
        edge_lines: 3,
        skew_deg_max: 3.2,
        noise_share_max: 0.04,
        mm_per_px: Some(182.0 / side_px),
        mm_per_line: Some(182.0 / side_px),
    };
    (wafer, belt)
}
