//! The shape of a wafer.

use crate::cell::CELL_PX;

/// The wafer's outline: the full square, its corners cut at 45°.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline {
    /// Leg of the cut in pixels, 0 for a full square.
    pub(super) corner_px: f32,
}

impl Outline {
    /// How far the middle of pixel (`x`, `y`) lies inside, in pixels; not positive outside.
    pub(super) fn depth_px(&self, x: usize, y: usize) -> f32 {
        self.depth_at(x as f32 + 0.5, y as f32 + 0.5)
    }

    /// The same for any place.
    pub(super) fn depth_at(&self, x: f32, y: f32) -> f32 {
        let side = CELL_PX as f32;
        let (x, y) = (x.min(side - x), y.min(side - y));
        x.min(y).min((x + y - self.corner_px) * std::f32::consts::FRAC_1_SQRT_2)
    }
}
