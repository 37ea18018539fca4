use super::{CalibrateError, Picture};
use crate::cell::CameraEvent;
use crate::config::Belt;
use crate::stitch::correction::Correction;
use crate::stitch::levels::Levels;
use std::sync::Arc;

/// Lines of gap that a wafer's picture gets before and after it.
const GAP_LINES: usize = 32;

/// Catches a picture out of a camera's stream.
#[derive(Debug)]
pub struct Catch {
    wafer: Option<Levels>,
    lines_max: usize,
    width_px: usize,
    pixels: Vec<u16>,
    /// Lines of gap since wafer was seen, `None` before.
    gap_lines: Option<usize>,
    wafer_lines: usize,
}

impl Catch {
    /// Catches this many lines, whatever they show (dark signal, flat field).
    pub fn lines(lines: usize) -> Self {
        Self { wafer: None, lines_max: lines.max(1), width_px: 0, pixels: Vec::new(), gap_lines: None, wafer_lines: 0 }
    }

    /// Catches the next whole wafer with some gap around it, within `lines_max` lines.
    ///
    /// # Errors
    /// The belt's levels contradict its gap.
    pub fn wafer(lane: &Arc<str>, belt: &Belt, lines_max: usize) -> Result<Self, crate::stitch::StitchError> {
        Ok(Self { wafer: Some(Levels::new(lane, belt)?), ..Self::lines(lines_max) })
    }

    /// Takes what the camera says; the picture, once it is whole. Lost lines, a camera that went or
    /// another line width begin it anew.
    ///
    /// # Errors
    /// No whole wafer within the lines allowed.
    pub fn push(&mut self, event: &CameraEvent) -> Result<Option<Picture>, CalibrateError> {
        let block = match event {
            CameraEvent::Block(block) if block.width_px > 0 => block,
            CameraEvent::Lost { .. } | CameraEvent::Gone { .. } => {
                self.restart(self.width_px);
                return Ok(None);
            }
            _ => return Ok(None),
        };
        if block.width_px as usize != self.width_px {
            self.restart(block.width_px as usize);
        }
        let correction = Correction::new(None);
        for index in 0..block.lines {
            let start = self.pixels.len();
            self.pixels.resize(start + self.width_px, 0);
            correction.apply(block.line(index), block.format, &mut self.pixels[start..]);
            let done = match self.wafer {
                None => self.count() >= self.lines_max,
                Some(levels) => self.is_whole_wafer(&levels, start)?,
            };
            if done {
                return Ok(Some(Picture { width_px: self.width_px, pixels: std::mem::take(&mut self.pixels) }));
            }
        }
        Ok(None)
    }

    fn restart(&mut self, width_px: usize) {
        (self.width_px, self.gap_lines) = (width_px, None);
        self.pixels.clear();
    }

    fn count(&self) -> usize {
        self.pixels.len() / self.width_px.max(1)
    }

    fn is_whole_wafer(&mut self, levels: &Levels, start: usize) -> Result<bool, CalibrateError> {
        let is_wafer = levels.solid(&self.pixels[start..]).edge_px as usize >= (self.width_px / 50).max(8);
        self.wafer_lines += usize::from(is_wafer);
        match (self.gap_lines, is_wafer) {
            (None, false) if self.count() > GAP_LINES => drop(self.pixels.drain(..self.width_px)),
            (None, false) => {}
            // Wafer with too little gap before it: its leading edge may have been missed.
            (None, true) if self.count() <= GAP_LINES => self.pixels.clear(),
            (_, true) => self.gap_lines = Some(0),
            (Some(lines), false) => {
                self.gap_lines = Some(lines + 1);
                return Ok(lines + 1 >= GAP_LINES);
            }
        }
        if self.wafer_lines > self.lines_max {
            return Err(CalibrateError::Implausible {
                what: "wafer",
                found: format!("{} lines of wafer, but none whole with {GAP_LINES} lines of gap before and after", self.wafer_lines),
                remedy: "let one whole wafer pass alone; check `belt.gap`, `belt.edge_level` and `belt.gap_level`, or give a picture (--wafer)",
            });
        }
        Ok(false)
    }
}
