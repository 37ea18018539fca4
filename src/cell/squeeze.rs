use super::CELL_PX;

/// How a wafer that is larger than the stitched frame lies squeezed in it: what its pixels stand for, in pixels of the frame's scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Squeeze {
    /// Across the belt every pixel stands for so many.
    pub across: f64,
    /// Along the belt those from `from_line` on stand for so many.
    pub along: f64,
    /// The first line that is squeezed along the belt.
    pub from_line: f64,
}

impl Default for Squeeze {
    /// Nothing is squeezed.
    fn default() -> Self {
        Self { across: 1.0, along: 1.0, from_line: CELL_PX as f64 }
    }
}

impl Squeeze {
    /// Where what is seen at (x, y) would lie if nothing were squeezed.
    pub fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [x * self.across, y + (y - self.from_line).max(0.0) * (self.along - 1.0)]
    }

    /// How many pixels one on line `y` stands for.
    pub fn area_px(&self, y: usize) -> f64 {
        self.across * if y as f64 >= self.from_line { self.along } else { 1.0 }
    }
}
