//! Simulated wafers with known cracks: for training, for the simulated camera, for tests.
//!
//! A [`wafer`] depends on its settings and its index alone, so that any wafer of a series can be
//! made anew, in any order, on any thread. [`lay`] shows it to a line camera. The picture of each
//! kind has a module of its own; all draw on a canvas of grey levels with seeded
//! dice.

mod blemish;
mod canvas;
mod crack;
mod current;
mod electroluminescence;
mod fracture;
mod grid;
mod laser;
mod lay;
mod outline;
mod random;
mod stroke;

pub use lay::{LaidWafer, Lay, lay};

use crate::cell::{CELL_PX, Mask};
use crate::config::WaferKind;
use canvas::Canvas;
use outline::Outline;
use random::Dice;
use serde::{Deserialize, Serialize};

/// One wafer, square with the stitched cell: 1344 × 1344 pixels, leading edge on top.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedWafer {
    /// Pixels along one side, 1344.
    pub side_px: usize,
    /// Grey levels line by line; 0 outside the outline and nowhere else.
    pub pixels: Vec<u8>,
    /// The cracks as far as they can be seen, inside the outline.
    pub mask: Mask,
    /// The cracks, one by one; empty where the mask is.
    pub cracks: Vec<Crack>,
}

/// What is known of one simulated crack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crack {
    /// Length along the crack as far as it can be seen, all branches together, in pixels.
    pub length_px: f64,
    /// Mean difference to the surroundings in grey levels of 255, negative where darker.
    pub contrast: f64,
    /// Mean visible width (at half depth), in pixels.
    pub width_px: f64,
    /// Its shape.
    pub shape: CrackShape,
}

/// The shapes cracks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrackShape {
    /// One jagged line.
    Line,
    /// A line with one or more lines leaving it.
    Branch,
    /// Two lines through one point.
    Cross,
    /// A line that bends one way.
    Arc,
}

/// What a series of wafers has in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaferSettings {
    /// The looks.
    pub kind: WaferKind,
    /// Seed of everything random.
    pub seed: u64,
    /// Share of wafers that have cracks, 0 to 1.
    pub cracked_share: f64,
    /// Leg of the cut corners in pixels (0: full square); `None`: each wafer its own.
    pub corner_px: Option<u32>,
}

/// Makes wafer `index` of a series.
///
/// Pure: the same settings and index give the same wafer, bit for bit, whatever was made before.
pub fn wafer(settings: &WaferSettings, index: u64) -> SimulatedWafer {
    let mut dice = Dice::new(settings.seed, index);
    let cracked = dice.chance(settings.cracked_share);
    let turns = dice.below(4);
    let picture = match settings.kind {
        WaferKind::Laser => laser::picture(&mut dice, cracked, settings.corner_px),
        WaferKind::Electroluminescence => electroluminescence::picture(&mut dice, cracked, settings.corner_px),
    };
    picture.finish(turns)
}

/// What the painters of both kinds deliver, before it is turned and quantised.
struct Picture {
    /// Grey levels, noise included.
    canvas: Canvas,
    /// The crack mask, not yet cut to the outline.
    mask: Mask,
    cracks: Vec<Crack>,
    outline: Outline,
    /// Darkest and brightest level inside.
    levels: (f32, f32),
    /// Darkest level within [`Picture::BORDER_PX`] of the outline, so that the edge against a dark gap can be found.
    border_level: f32,
}

impl Picture {
    const BORDER_PX: f32 = 14.0;

    /// Cuts to the outline, quantises, and turns by so many quarter turns.
    fn finish(self, turns: usize) -> SimulatedWafer {
        let side = CELL_PX;
        let mut pixels = vec![0; side * side];
        let mut mask = Mask::new(side, side);
        for y in 0..side {
            for x in 0..side {
                let depth = self.outline.depth_px(x, y);
                if depth <= 0.0 {
                    continue;
                }
                let (tx, ty) = match turns {
                    0 => (x, y),
                    1 => (side - 1 - y, x),
                    2 => (side - 1 - x, side - 1 - y),
                    _ => (y, side - 1 - x),
                };
                let darkest = if depth < Self::BORDER_PX { self.border_level } else { self.levels.0 };
                let level = self.canvas.values[y * side + x].clamp(darkest, self.levels.1);
                pixels[ty * side + tx] = (level + 0.5) as u8;
                if self.mask.get(x, y) {
                    mask.set(tx, ty, true);
                }
            }
        }
        SimulatedWafer { side_px: side, pixels, mask, cracks: self.cracks }
    }
}

#[cfg(test)]
mod tests;
