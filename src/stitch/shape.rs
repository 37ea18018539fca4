use super::{Calibration, StitchError};
use crate::cell::CELL_PX;
use crate::config::{Belt, Wafer};
use std::sync::Arc;

/// Lines, after the corners, that the side edges are measured over before a cell is placed.
const SIDE_LINES: f64 = 64.0;

/// Columns of gap that are seen on each side of a wafer: without them nobody knows where it ends.
pub(super) const GAP_PX: f64 = 1.0;

/// What a cell of the product looks like to the camera, before any is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Camera pixel across the belt, mm.
    pub mm_per_px: f64,
    /// Camera line along the belt, mm.
    pub mm_per_line: f64,
    /// Size across the belt, mm.
    pub width_mm: f64,
    /// Size along the belt, mm.
    pub length_mm: f64,
    /// Legs of the cut corners, mm, clockwise from leading left; 0: a whole one.
    pub corners_mm: [f64; 4],
    /// How far a measured size or edge may be off, mm.
    pub tolerance_mm: f64,
    /// Largest skew, radians.
    pub skew_max: f64,
    /// Most noise of a cell, share of its mean grey.
    pub noise_share_max: f64,
}

impl Shape {
    /// Takes the scale from the calibration, else from the belt.
    pub fn new(lane: &Arc<str>, wafer: &Wafer, belt: &Belt, calibration: Option<&Calibration>) -> Result<Self, StitchError> {
        let scale = calibration.map(|c| (c.mm_per_px, c.mm_per_line)).or(belt.mm_per_px.zip(belt.mm_per_line));
        let (mm_per_px, mm_per_line) = scale.ok_or_else(|| StitchError::NoScale { lane: lane.clone() })?;
        for (what, size_mm, unit, scale_mm) in
            [("width", wafer.width_mm, "pixels", mm_per_px), ("length", wafer.length_mm, "lines", mm_per_line)]
        {
            let pixels = size_mm / scale_mm;
            if !(64.0..=20_000.0).contains(&pixels) {
                return Err(StitchError::ImplausibleScale { lane: lane.clone(), what, size_mm, pixels, unit, scale_mm });
            }
        }
        Ok(Self {
            mm_per_px,
            mm_per_line,
            width_mm: wafer.width_mm,
            length_mm: wafer.length_mm,
            corners_mm: wafer.corners_mm,
            tolerance_mm: wafer.tolerance_mm,
            skew_max: belt.skew_deg_max.to_radians(),
            noise_share_max: belt.noise_share_max,
        })
    }

    /// Millimetres a stitched pixel stands for: the longer side is 1344 of them.
    pub fn stitched_mm_per_px(&self) -> f64 {
        self.width_mm.max(self.length_mm) / CELL_PX as f64
    }

    /// Solid pixels that make a line part of a wafer: 2 % of its width.
    pub fn solid_px_min(&self) -> u32 {
        (0.02 * self.width_mm / self.mm_per_px).ceil().max(8.0) as u32
    }

    /// Pixels of the shortest line on which a wafer of nominal size, turned by `skew` (radians), has gap on both sides.
    pub fn line_px_min(&self, skew: f64) -> u32 {
        let reach_mm = self.width_mm * skew.cos() + self.length_mm * skew.sin();
        (reach_mm / self.mm_per_px + 2.0 * GAP_PX).ceil() as u32
    }

    /// Camera lines between the two ends of the leading edge at the largest skew.
    pub fn reach_lines(&self) -> f64 {
        self.width_mm * self.skew_max.sin() / self.mm_per_line
    }

    /// Zone along the edges in which a corner may be cut, mm.
    pub fn corner_zone_mm(&self) -> f64 {
        let longest_mm = self.corners_mm.into_iter().fold(0.0, f64::max);
        (longest_mm + 2.0).max(0.1 * self.width_mm.min(self.length_mm))
    }

    /// Zone along the nominal trailing edge in which the seen one may lie, or a corner may be cut, mm.
    pub fn trailing_zone_mm(&self) -> f64 {
        self.corner_zone_mm().max(self.tolerance_mm)
    }

    /// First line, from the cell's first, whose two ends surely lie on the side edges.
    pub fn sides_from(&self) -> usize {
        (self.reach_lines() + self.corner_zone_mm() / self.mm_per_line).ceil() as usize
    }

    /// Lines after which a cell can be placed.
    pub fn settle_lines(&self) -> usize {
        self.sides_from() + SIDE_LINES.min(0.2 * self.length_mm / self.mm_per_line) as usize
    }

    /// Lines from first to last of a cell of full length at the largest skew, with tolerance.
    pub fn lines_max(&self) -> u64 {
        ((self.length_mm + self.tolerance_mm) / self.mm_per_line + self.reach_lines()).ceil() as u64
    }

    /// Lines from first to last of a cell of nominal length without skew.
    pub fn lines_nominal(&self) -> u64 {
        (self.length_mm / self.mm_per_line).round() as u64
    }

    /// Lines after which a stretch without a gap is given up.
    pub fn lines_never_ends(&self) -> u64 {
        3 * self.lines_nominal() + (self.lines_max() - self.lines_nominal())
    }
}
