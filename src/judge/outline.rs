use crate::cell::{CELL_PX, Mask, ProbabilityMap, Span, Squeeze};

/// Where the wafer is in the picture: its span on every line.
pub(super) struct Outline {
    spans: Vec<Span>,
    /// Lines from the first with wafer in it to the one after the last.
    lines: std::ops::Range<usize>,
    /// Columns likewise.
    columns: std::ops::Range<usize>,
}

impl Outline {
    /// The outline that the stitcher found.
    pub(super) fn of_map(map: &ProbabilityMap) -> Self {
        Self::new((0..CELL_PX).map(|y| map.span(y)).collect())
    }

    /// The whole picture.
    pub(super) fn of_picture(mask: &Mask) -> Self {
        let end = u16::try_from(mask.width_px()).unwrap_or(u16::MAX);
        Self::new(vec![Span { start: 0, end }; mask.height_px()])
    }

    fn new(spans: Vec<Span>) -> Self {
        let inside = |span: &Span| span.end > span.start;
        let first = spans.iter().position(inside).unwrap_or(0);
        let end = spans.iter().rposition(inside).map_or(first, |last| last + 1);
        let left = spans.iter().filter(|s| inside(s)).map(|s| s.start).min().unwrap_or(0);
        let right = spans.iter().filter(|s| inside(s)).map(|s| s.end).max().unwrap_or(0);
        Self { spans, lines: first..end, columns: left.into()..right.into() }
    }

    /// How far pixels `start..end` of line `y` are from the outline at their nearest, along the line
    /// or across it, in pixels as if nothing were squeezed; 0 for one that touches it.
    pub(super) fn margin_px(&self, y: usize, start: usize, end: usize, squeeze: &Squeeze) -> f64 {
        let span = self.spans.get(y).copied().unwrap_or_default();
        let across = start.saturating_sub(span.start.into()).min(usize::from(span.end).saturating_sub(end));
        let line = |y: usize| squeeze.place([0.0, y as f64])[1];
        let along = (line(y) - line(self.lines.start)).min(line(self.lines.end) - line(y + 1)).max(0.0);
        along.min(across as f64 * squeeze.across)
    }

    /// Corner `number` of the rectangle around the wafer, clockwise from leading left: [x, y] in pixels.
    pub(super) fn corner_px(&self, number: u8) -> [usize; 2] {
        let x = if matches!(number, 0 | 3) { self.columns.start } else { self.columns.end };
        let y = if number < 2 { self.lines.start } else { self.lines.end };
        [x, y]
    }
}
