use super::line_store::LineStore;
use super::placement::Placement;
use crate::cell::{CELL_PX, Span};

/// Samples stitched lines from stored camera lines: linear between lines, then linear along the
/// stitched line. As the skew is small, a stitched line stays between the same two camera lines for
/// many columns, so that the first step runs over plain slices.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Stored column and line of the centre of stitched pixel (0, 0), were all lines as far apart as these, and their steps.
    origin: (f64, f64),
    along_x: (f64, f64),
    along_y: (f64, f64),
    between: Vec<f32>,
}

/// Fixed-point columns have this many binary places.
const COLUMN_BITS: u32 = 16;
const ONE_COLUMN: u32 = 1 << COLUMN_BITS;

impl Sampler {
    /// For the stitched lines from `from` on. `first_line` is the stream's number of the line that the placement counts from.
    pub fn new(placement: &Placement, store: &LineStore, first_line: u64, from: usize) -> Self {
        let place = |x: f64, y: f64| {
            let (column, line) = placement.stitched_to_camera(x, y);
            store.place(column, line + first_line as f64)
        };
        let (side, from) = (CELL_PX as f64, from as f64);
        let (start, x, y) = (place(0.0, from), place(side, from), place(0.0, side));
        let step = |to: (f64, f64), pixels: f64| ((to.0 - start.0) / pixels, (to.1 - start.1) / pixels);
        let (along_x, along_y) = (step(x, side), step(y, (side - from).max(1.0)));
        let origin = (start.0 - from * along_y.0, start.1 - from * along_y.1);
        Self { origin, along_x, along_y, between: Vec::new() }
    }

    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let column = self.origin.0 + x * self.along_x.0 + y * self.along_y.0;
        let line = self.origin.1 + x * self.along_x.1 + y * self.along_y.1;
        (column, line)
    }

    /// The part of a span for which there are camera columns, on a sensor of `width` stored columns.
    pub fn within_sensor(&self, y: usize, span: Span, width: usize) -> Span {
        let x_of = |column: f64| (column - self.place(0.0, y as f64).0) / self.along_x.0;
        let start = x_of(0.0).ceil().clamp(0.0, CELL_PX as f64) as u16;
        let end = (x_of(width as f64 - 1.0).floor() + 1.0).clamp(0.0, CELL_PX as f64) as u16;
        let start = span.start.max(start);
        Span { start, end: span.end.min(end).max(start) }
    }

    /// The stored pixel nearest to stitched pixel (`x`, `y`), where there is a camera column for it.
    pub fn nearest(&self, store: &LineStore, x: usize, y: usize) -> Option<u16> {
        let (column, line) = self.place(x as f64, y as f64);
        let column = column.round();
        if column < 0.0 { None } else { store.line(line.round() as i64).get(column as usize).copied() }
    }

    /// Stored line that must be there before the span of line `y` can be sampled.
    pub fn needs_line(&self, y: usize, span: Span) -> i64 {
        let line = |x: u16| self.place(f64::from(x), y as f64).1;
        line(span.start).max(line(span.end)).floor() as i64 + 1
    }

    /// Fills the span of stitched line `y` in `out` (1344 pixels); every pixel is at least 1.
    /// The span must lie [`within_sensor`](Self::within_sensor).
    pub fn sample(&mut self, store: &LineStore, y: usize, span: Span, out: &mut [u16]) {
        let Some(out) = out.get_mut(usize::from(span.start)..usize::from(span.end)) else { return };
        if out.is_empty() || store.width() < 2 {
            return;
        }
        let (from, line) = self.place(f64::from(span.start), y as f64);
        let (to, _) = self.place(f64::from(span.end) - 1.0, y as f64);
        let first = (from.floor().max(0.0) as usize).min(store.width() - 2);
        let count = ((to.floor() as usize + 2).saturating_sub(first)).clamp(2, store.width() - first);
        let slope = self.along_x.1 / self.along_x.0;
        self.between_lines(store, first, count, line + (first as f64 - from) * slope, slope);

        let column = ((from - first as f64).max(0.0) * f64::from(ONE_COLUMN)) as u32;
        let step = (self.along_x.0 * f64::from(ONE_COLUMN)).round() as u32;
        along_line(&self.between, column, step, out);
    }

    /// Interpolates between lines at whole columns `first..first + count`, on the straight through
    /// line `line` at `first` with `slope` lines a column.
    fn between_lines(&mut self, store: &LineStore, first: usize, count: usize, line: f64, slope: f64) {
        self.between.resize(count, 0.0);
        let mut done = 0;
        while done < count {
            let at = line + done as f64 * slope;
            let upper = at.floor();
            let left_until_next = match slope {
                s if s > 0.0 => (upper + 1.0 - at) / s,
                s if s < 0.0 => (at - upper) / -s,
                _ => count as f64,
            };
            let run = (left_until_next.floor().min(count as f64) as usize + 1).min(count - done);
            let columns = first + done..first + done + run;
            let (above, below) = (&store.line(upper as i64)[columns.clone()], &store.line(upper as i64 + 1)[columns]);
            let (part, slope) = ((at - upper) as f32, slope as f32);
            for (n, (between, (above, below))) in self.between[done..done + run].iter_mut().zip(above.iter().zip(below)).enumerate() {
                let (above, below) = (f32::from(*above), f32::from(*below));
                let part = (part + n as f32 * slope).clamp(0.0, 1.0);
                *between = above + (below - above) * part;
            }
            done += run;
        }
    }
}

/// Interpolates in `values`, at least two, at fixed-point places from `column` on, `step` apart.
///
/// As steps are near 1, many pixels in a row lie one value after the other: each such run is over plain slices.
fn along_line(values: &[f32], mut column: u32, step: u32, mut out: &mut [u16]) {
    /// The sum of this and a value of 16 bit has that value, rounded, in its last bits.
    const ROUNDS: f32 = (1 << 23) as f32;
    let drift = step as i32 - ONE_COLUMN as i32;
    while !out.is_empty() {
        let whole = ((column >> COLUMN_BITS) as usize).min(values.len() - 2);
        let part = column & (ONE_COLUMN - 1);
        let steady = match drift {
            0 => u32::MAX,
            d if d < 0 => part / d.unsigned_abs() + 1,
            d => (ONE_COLUMN - 1 - part) / d.unsigned_abs() + 1,
        };
        let run = (steady as usize).min(out.len()).min(values.len() - 1 - whole);
        let (now, later) = out.split_at_mut(run);
        let pairs = values[whole..whole + run].iter().zip(&values[whole + 1..]);
        for ((n, pixel), (a, b)) in now.iter_mut().enumerate().zip(pairs) {
            let part = (part as i32 + n as i32 * drift) as f32 * (1.0 / ONE_COLUMN as f32);
            *pixel = ((a + (b - a) * part + ROUNDS).to_bits() as u16).max(1);
        }
        column = column.wrapping_add(step.wrapping_mul(run as u32));
        out = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_between_values_are_weighed_by_their_distance() {
        let values: Vec<f32> = (0..200).map(|v| ((v * 7919) % 65536) as f32).collect();
        for step in [0.3, 0.967, 1.0, 1.042, 2.7, 2.9] {
            let (mut out, start) = (vec![0; 70], 3.3);
            along_line(&values, (start * f64::from(ONE_COLUMN)) as u32, (step * f64::from(ONE_COLUMN)) as u32, &mut out);
            for (n, found) in out.iter().enumerate() {
                // Beyond the last pair it is that pair's that is taken.
                let at = start + n as f64 * step;
                let pair = (at as usize).min(198);
                let (a, b) = (f64::from(values[pair]), f64::from(values[pair + 1]));
                let slack = 1.0 + (b - a).abs() * 0.002;
                assert!((f64::from(*found) - (a + (b - a) * at.fract())).abs() <= slack, "step {step}, pixel {n}");
            }
        }
    }

    #[test]
    fn white_stays_white() {
        let mut out = [7; 4];
        along_line(&[65535.0, 65535.0, 0.0], 0, ONE_COLUMN, &mut out);
        assert_eq!(out[..2], [65535; 2]);
    }
}
