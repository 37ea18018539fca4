use super::{CELL_PX, CellId, HoldReason, MARGIN_PX, Moment, RIM_PX, SEEN_PX, Squeeze, TILE_PX, TrueMask, without_rim};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The wafer's part of one line of a stitched cell: pixels `start..end` lie inside the outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First pixel inside.
    pub start: u16,
    /// First pixel outside again; equal to `start` where nothing is inside.
    pub end: u16,
}

impl Span {
    /// What of a picture's line lies inside: all but the pixels at its ends that are exactly 0, as a stitched cell has them outside its
    /// outline.
    pub fn of_line<T: Default + PartialEq>(line: &[T]) -> Self {
        let inside = |pixel: &T| *pixel != T::default();
        match (line.iter().position(inside), line.iter().rposition(inside)) {
            (Some(first), Some(last)) => Self { start: first as u16, end: last as u16 + 1 },
            _ => Self::default(),
        }
    }

    /// Whether nothing is inside.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether pixel `x` lies inside.
    pub fn contains(self, x: usize) -> bool {
        (usize::from(self.start)..usize::from(self.end)).contains(&x)
    }
}

/// One span for each line, from the top.
pub type Spans = Arc<[Span]>;

/// One row of three tiles of a stitched cell: 448 lines of 1344 pixels.
///
/// Pixels are flat-field corrected and scaled so that 65535 is the camera's white; what lies
/// outside the outline is filled. Tile `c` is columns `c * 448 .. (c + 1) * 448`.
#[derive(Debug, Clone)]
pub struct TileRow {
    /// Whose row.
    pub cell: CellId,
    /// Which row, 0 at the leading edge, to 2.
    pub row: u8,
    /// 448 × 1344 grey values, line by line.
    pub pixels: Arc<[u16]>,
    /// The outline on each of the 448 lines.
    pub spans: Spans,
    /// The lines before it.
    pub above: Neighbour,
    /// The lines after it.
    pub below: Neighbour,
}

/// The lines of a cell that lie next to a row of tiles, as many as what the network sees there and its rim depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Grey values as the row's, [`LINES`](Self::LINES) × 1344.
    pub pixels: Arc<[u16]>,
    /// The outline on each line.
    pub spans: Spans,
}

impl Neighbour {
    /// Its lines.
    pub const LINES: usize = MARGIN_PX + RIM_PX as usize;

    /// Beyond the first row and the last one.
    pub fn gap() -> Self {
        Self { pixels: vec![0; Self::LINES * CELL_PX].into(), spans: vec![Span::default(); Self::LINES].into() }
    }

    fn is_whole(&self) -> bool {
        self.spans.len() == Self::LINES && self.pixels.len() == Self::LINES * CELL_PX
    }
}

impl TileRow {
    /// Pixels in a row of tiles.
    pub const PIXELS: usize = TILE_PX * CELL_PX;

    /// Whether all of its parts are of their size.
    pub fn is_whole(&self) -> bool {
        self.pixels.len() == Self::PIXELS && self.spans.len() == TILE_PX && self.above.is_whole() && self.below.is_whole()
    }

    /// The lines that the network sees, from [`MARGIN_PX`] above the row to as many below.
    pub fn lines_seen(&self) -> impl Iterator<Item = &[u16]> {
        let lines =
            self.above.pixels.chunks_exact(CELL_PX).chain(self.pixels.chunks_exact(CELL_PX)).chain(self.below.pixels.chunks_exact(CELL_PX));
        lines.skip(RIM_PX.into()).take(SEEN_PX)
    }

    /// What is looked at on each of its own lines: the outline less its rim.
    pub fn inside(&self) -> Vec<Span> {
        self.inside_seen().into_iter().skip(MARGIN_PX).take(TILE_PX).collect()
    }

    /// The same on the lines that the network sees.
    pub fn inside_seen(&self) -> Vec<Span> {
        let mut inside = without_rim(&[&*self.above.spans, &*self.spans, &*self.below.spans].concat());
        inside.truncate(usize::from(RIM_PX) + SEEN_PX);
        inside.drain(..usize::from(RIM_PX).min(inside.len()));
        inside
    }
}

#[cfg(test)]
impl TileRow {
    /// The rows of a whole cell.
    pub fn all_of(cell: &CellId, pixels: &[u16], spans: &[Span]) -> [Self; 3] {
        let lines = |from: usize, to: usize| (Arc::from(&pixels[from * CELL_PX..to * CELL_PX]), Arc::from(&spans[from..to]));
        let neighbour = |from: usize| {
            let (pixels, spans) = lines(from, from + Neighbour::LINES);
            Neighbour { pixels, spans }
        };
        [0, 1, 2].map(|row| {
            let (top, end) = (row * TILE_PX, (row + 1) * TILE_PX);
            let (pixels, spans) = lines(top, end);
            let above = if row > 0 { neighbour(top - Neighbour::LINES) } else { Neighbour::gap() };
            let below = if row < 2 { neighbour(end) } else { Neighbour::gap() };
            Self { cell: cell.clone(), row: row as u8, pixels, spans, above, below }
        })
    }
}

/// How a cell lay under the camera.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CellGeometry {
    /// Stream line in which the leading edge was first seen (its foremost corner).
    pub first_line: u64,
    /// Lines from there to the last line in which the cell was seen, inclusive.
    pub lines: u32,
    /// Camera column of the cell's left edge at its middle, in pixels.
    pub left_px: f64,
    /// Angle of the leading edge against the line, degrees, positive when the right end comes later.
    pub skew_deg: f64,
    /// Size across the belt from the side edges, mm.
    pub width_mm: f64,
    /// Size along the belt from leading to trailing edge, mm.
    pub length_mm: f64,
    /// Millimetres a stitched pixel stands for.
    pub mm_per_px: f64,
}

/// The trailing edge of a cell has passed, or the stitcher has given it up.
#[derive(Debug, Clone)]
pub struct CellEnd {
    /// Whose end.
    pub cell: CellId,
    /// When the trailing edge passed.
    pub at: Moment,
    /// The camera's own time of the trailing edge in nanoseconds, where there is one.
    pub camera_time_ns: Option<u64>,
    /// Encoder count at the trailing edge, where there is one.
    pub encoder_count: Option<i64>,
    /// How it lay; absent where it could not be measured.
    pub geometry: Option<CellGeometry>,
    /// How it lies squeezed in its rows.
    pub squeeze: Squeeze,
    /// Corners that should be there and are not, clockwise from leading left: 0, 1, 2, 3.
    pub missing_corners: Vec<u8>,
    /// Why it cannot be judged, if so. Rows that did not come before this never will.
    pub hold: Option<HoldReason>,
    /// Why it may not pass, though its rows can be inspected: it is held unless it is found cracked.
    pub doubt: Option<HoldReason>,
    /// The truth about it (simulated cameras only).
    pub truth: Option<TrueMask>,
}

/// What the stitcher says.
#[derive(Debug, Clone)]
pub enum StitchEvent {
    /// A leading edge: a cell has its number from now on, and will get its [`CellEnd`].
    Begun {
        /// The new cell.
        cell: CellId,
    },
    /// A row of tiles is complete.
    Row(TileRow),
    /// The cell has passed.
    Ended(CellEnd),
}
