use super::correction::FULL_WHITE;
use super::levels::Levels;
use super::measure::broken;
use crate::cell::{CELL_PX, HoldReason, TileRow};

/// Share of a cell that may be at full white: no crack shows there.
const WHITE_SHARE_MAX: f64 = 0.01;
/// Stitched lines on which a bright gap may show within the outline.
const GAP_LINES_MAX: usize = 8;

/// What the light of a cell's pixels says of the whole.
#[derive(Debug, Default)]
pub(super) struct Light {
    pixels: usize,
    white_pixels: usize,
    /// Lines with a run of bright gap.
    gap_lines: usize,
}

impl Light {
    /// Takes a row in, less its rim, where wafer and gap mix.
    pub fn add(&mut self, row: &TileRow, levels: &Levels) {
        for (span, line) in row.inside().iter().zip(row.pixels.chunks_exact(CELL_PX)) {
            let line = &line[span.start.into()..span.end.into()];
            self.pixels += line.len();
            self.white_pixels += line.iter().filter(|pixel| **pixel >= FULL_WHITE).count();
            // Wafers have places as dark as a dark gap, but none as bright as a bright one.
            self.gap_lines += usize::from(levels.bright_gap() && levels.has_gap(line));
        }
    }

    /// # Errors
    /// [`HoldReason::Broken`] where a bright gap shows within the outline, [`HoldReason::Overexposed`].
    pub fn check(&self) -> Result<(), HoldReason> {
        let white_share = self.white_pixels as f64 / self.pixels.max(1) as f64;
        if self.gap_lines > GAP_LINES_MAX {
            return Err(broken(&format!(
                "{} of {CELL_PX} lines are as bright as the gap within the outline: it is in pieces or has a hole; \
                 if it is whole, shorten the exposure or dim the lamp",
                self.gap_lines
            )));
        }
        if white_share > WHITE_SHARE_MAX {
            let detail = format!(
                "{:.0} % of the cell is at full white, up to {:.0} % may be; shorten the exposure or dim the lamp",
                100.0 * white_share,
                100.0 * WHITE_SHARE_MAX
            );
            return Err(HoldReason::Overexposed { detail });
        }
        Ok(())
    }
}
