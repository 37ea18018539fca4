use crate::cell::{CELL_PX, Mask, ProbabilityMap, Span, TILE_PX};
use std::sync::Arc;

/// Where something is drawn: set pixel (`x`, `y`), if it is inside.
pub trait Canvas {
    fn plot(&mut self, x: i64, y: i64);
}

impl Canvas for Mask {
    fn plot(&mut self, x: i64, y: i64) {
        if (0..self.width_px() as i64).contains(&x) && (0..self.height_px() as i64).contains(&y) {
            self.set(x as usize, y as usize, true);
        }
    }
}

/// A thin curve: every pixel that the points of `curve` (parameter 0 to 1) fall on, sampled closely and
/// thinned to steps to a neighbour, as a crack one pixel wide is.
pub fn curve(canvas: &mut impl Canvas, steps: usize, curve: impl Fn(f64) -> [f64; 2]) {
    for i in 0..=steps {
        let [x, y] = curve(i as f64 / steps as f64);
        canvas.plot(x.floor() as i64, y.floor() as i64);
    }
}

/// A line one pixel thin between two pixels (Bresenham).
pub fn line(canvas: &mut impl Canvas, from: [i64; 2], to: [i64; 2]) {
    let (dx, dy) = ((to[0] - from[0]).abs(), -(to[1] - from[1]).abs());
    let (sx, sy) = ((to[0] - from[0]).signum(), (to[1] - from[1]).signum());
    let ([mut x, mut y], mut error) = (from, dx + dy);
    loop {
        canvas.plot(x, y);
        if [x, y] == to {
            return;
        }
        let twice = 2 * error;
        if twice >= dy {
            error += dy;
            x += sx;
        }
        if twice <= dx {
            error += dx;
            y += sy;
        }
    }
}

/// A straight band with square ends: pixels whose centres lie in the rectangle of `length` × `width`
/// around the line from `from` in the direction of `angle` (radians).
pub fn band(canvas: &mut impl Canvas, from: [f64; 2], angle: f64, length: f64, width: f64) {
    let (sin, cos) = angle.sin_cos();
    let reach = (length + width) as i64 + 2;
    for y in from[1] as i64 - reach..=from[1] as i64 + reach {
        for x in from[0] as i64 - reach..=from[0] as i64 + reach {
            let (dx, dy) = (x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]);
            let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
            if (0.0..length).contains(&along) && (-width / 2.0..width / 2.0).contains(&across) {
                canvas.plot(x, y);
            }
        }
    }
}

/// A cell's probabilities, drawn on with one value, within an outline.
pub struct Drawing {
    values: Vec<u8>,
    pub spans: Vec<Span>,
    pub value: u8,
}

impl Drawing {
    /// A clean full-square wafer that fills the picture; drawn on with certainty.
    pub fn clean() -> Self {
        Self { values: vec![0; CELL_PX * CELL_PX], spans: vec![Span { start: 0, end: CELL_PX as u16 }; CELL_PX], value: 255 }
    }

    pub fn map(&self) -> ProbabilityMap {
        let rows = [0, 1, 2].map(|row| Arc::from(&self.values[row * TILE_PX * CELL_PX..(row + 1) * TILE_PX * CELL_PX]));
        let spans = [0, 1, 2].map(|row| Arc::from(&self.spans[row * TILE_PX..(row + 1) * TILE_PX]));
        ProbabilityMap::new(rows, spans).unwrap()
    }
}

impl Canvas for Drawing {
    fn plot(&mut self, x: i64, y: i64) {
        self.values[y as usize * CELL_PX + x as usize] = self.value;
    }
}
