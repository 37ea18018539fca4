use super::shape::{GAP_PX, Shape};
use crate::cell::{CELL_PX, HoldReason, Squeeze};

/// How a cell lies under the camera, and the ways between wafer, stitched frame and camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    /// Angle of the leading edge, radians, positive when its right end comes later.
    pub skew: f64,
    /// Measured size across the belt, mm.
    pub width_mm: f64,
    /// Middle of the leading edge: camera column and line (from the cell's first).
    middle: (f64, f64),
    sin: f64,
    cos: f64,
    shape: Shape,
    /// Millimetres a stitched pixel stands for across: more than along where the wafer is wider than the frame.
    across_mm_per_px: f64,
    /// From this stitched line on a line stands for so many more mm, where the wafer is longer than the frame.
    squeezed: (f64, f64),
}

impl Placement {
    pub fn new(shape: &Shape, skew: f64, middle: (f64, f64), width_mm: f64) -> Self {
        let across_mm_per_px = shape.stitched_mm_per_px().max(width_mm / CELL_PX as f64);
        let (sin, cos) = skew.sin_cos();
        Self { skew, width_mm, middle, sin, cos, shape: *shape, across_mm_per_px, squeezed: (CELL_PX as f64, 0.0) }
    }

    /// Camera column and line of a place on the wafer.
    pub fn to_camera(self, across_mm: f64, along_mm: f64) -> (f64, f64) {
        let x = across_mm * self.cos - along_mm * self.sin;
        let y = across_mm * self.sin + along_mm * self.cos;
        (self.middle.0 + x / self.shape.mm_per_px, self.middle.1 + y / self.shape.mm_per_line)
    }

    /// Place on the wafer, mm across from its middle and along from its leading edge.
    pub fn to_wafer(self, column: f64, line: f64) -> (f64, f64) {
        let x = (column - self.middle.0) * self.shape.mm_per_px;
        let y = (line - self.middle.1) * self.shape.mm_per_line;
        (x * self.cos + y * self.sin, y * self.cos - x * self.sin)
    }

    /// Squeezes what a wafer of this length reaches over the frame's end into the stitched lines from `line` on.
    pub fn squeeze(&mut self, length_mm: f64, line: usize) {
        let side = CELL_PX as f64;
        let over_mm = length_mm - self.stitched_to_wafer(0.0, side).1;
        if over_mm > 0.0 && line < CELL_PX {
            self.squeezed = (line as f64, over_mm / (side - line as f64));
        }
    }

    /// How the wafer lies squeezed in the stitched frame.
    pub fn squeezed(&self) -> Squeeze {
        let (mm, (from_line, more_mm)) = (self.shape.stitched_mm_per_px(), self.squeezed);
        Squeeze { across: self.across_mm_per_px / mm, along: 1.0 + more_mm / mm, from_line }
    }

    /// Place on the wafer of a place in the stitched frame: the wafer's middle line is the frame's,
    /// its nominal length is centred.
    pub fn stitched_to_wafer(&self, x: f64, y: f64) -> (f64, f64) {
        let (mm, side) = (self.shape.stitched_mm_per_px(), CELL_PX as f64);
        let (from, more_mm) = self.squeezed;
        let along = y * mm - 0.5 * (side * mm - self.shape.length_mm) + (y - from).max(0.0) * more_mm;
        ((x - 0.5 * side) * self.across_mm_per_px, along)
    }

    /// Stitched pixels that this wafer is wide.
    pub fn width_px(&self) -> f64 {
        self.width_mm / self.across_mm_per_px
    }

    /// Camera column and line of the centre of stitched pixel (`x`, `y`).
    pub fn stitched_to_camera(&self, x: f64, y: f64) -> (f64, f64) {
        let (across, along) = self.stitched_to_wafer(x + 0.5, y + 0.5);
        self.to_camera(across, along)
    }

    /// Last line that a cell of this length reaches into.
    pub fn last_line(&self, length_mm: f64) -> f64 {
        let half = 0.5 * self.width_mm;
        self.to_camera(-half, length_mm).1.max(self.to_camera(half, length_mm).1)
    }

    /// Whether a cell lying so can be judged.
    ///
    /// # Errors
    /// [`HoldReason::Geometry`]: skewed too far, wider than the product, cut off by the sensor's
    /// border. [`HoldReason::Broken`]: narrower than the product.
    pub fn check(&self, sensor_px: usize) -> Result<(), HoldReason> {
        let shape = &self.shape;
        let geometry = |detail: String| Err(HoldReason::Geometry { detail });
        if self.skew.abs() > shape.skew_max {
            return geometry(format!(
                "skewed by {:.2}°, up to {:.2}° is corrected; align the belt's guides or raise `belt.skew_deg_max`",
                self.skew.to_degrees(),
                shape.skew_max.to_degrees()
            ));
        }
        let half = 0.5 * self.width_mm;
        let columns = [(-half, 0.0), (half, 0.0), (-half, shape.length_mm), (half, shape.length_mm)].map(|(a, b)| self.to_camera(a, b).0);
        let (left, right) = columns.iter().fold((f64::MAX, f64::MIN), |(l, r), c| (l.min(*c), r.max(*c)));
        let narrow = self.width_mm < shape.width_mm - shape.tolerance_mm;
        if left < GAP_PX - 0.5 || right > sensor_px as f64 - GAP_PX - 0.5 {
            return geometry(format!(
                "reaches from column {left:.0} to {right:.0}, the sensor has {sensor_px}; move the camera or the belt's guides"
            ));
        }
        if narrow {
            return Err(HoldReason::Broken { detail: format!("{:.1} mm wide, expected {:.1} mm", self.width_mm, shape.width_mm) });
        }
        if self.width_mm > shape.width_mm + shape.tolerance_mm {
            return geometry(format!(
                "{:.1} mm wide, expected {:.1} mm; two wafers side by side, or a wrong scale (`calibration`, else `belt.mm_per_px`)",
                self.width_mm, shape.width_mm
            ));
        }
        Ok(())
    }
}
