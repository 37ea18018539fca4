use super::line_store::LineStore;
use super::placement::Placement;
use crate::cell::{CELL_PX, Span};

/// Samples stitched lines from stored camera lines: linear between lines, then linear along the
/// stitched line. As the skew is small, a stitched line stays between the same two camera lines for
/// many columns, so that the first step runs over plain slices.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Stored column and line of the centre of stitched pixel (0, 0), and their steps.
    origin: (f64, f64),
    along_x: (f64, f64),
    along_y: (f64, f64),
    between: Vec<f32>,
}

/// Fixed-point columns have this many binary places.
const COLUMN_BITS: u32 = 16;

impl Sampler {
    /// `first_line` is the stream's number of the line that the placement counts from.
    pub fn new(placement: &Placement, store: &LineStore, first_line: u64) -> Self {
        let place = |x: f64, y: f64| {
            let (column, line) = placement.stitched_to_camera(x, y);
            store.place(column, line + first_line as f64)
        };
        let (origin, x, y) = (place(0.0, 0.0), place(CELL_PX as f64, 0.0), place(0.0, CELL_PX as f64));
        let step = |to: (f64, f64)| ((to.0 - origin.0) / CELL_PX as f64, (to.1 - origin.1) / CELL_PX as f64);
        Self { origin, along_x: step(x), along_y: step(y), between: Vec::new() }
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

        let one = f64::from(1u32 << COLUMN_BITS);
        let mut column = ((from - first as f64).max(0.0) * one) as u32;
        let step = (self.along_x.0 * one).round() as u32;
        for pixel in out {
            let whole = ((column >> COLUMN_BITS) as usize).min(self.between.len() - 2);
            let part = (column & ((1 << COLUMN_BITS) - 1)) as f32 * (1.0 / (1u32 << COLUMN_BITS) as f32);
            let (a, b) = (self.between[whole], self.between[whole + 1]);
            *pixel = ((a + (b - a) * part + 0.5) as u16).max(1);
            column = column.wrapping_add(step);
        }
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
