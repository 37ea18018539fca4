use super::cut_corners::CutCorners;
use super::edges::Edges;
use super::levels::Levels;
use super::light::Light;
use super::line_store::LineStore;
use super::outline::Outline;
use super::placement::Placement;
use super::row_buffers::RowBuffers;
use super::sampler::Sampler;
use super::view::View;
use crate::cell::{CELL_PX, CellId, Neighbour, Span, StitchEvent, TILE_PX, TILES_PER_SIDE, TileRow};
use std::ops::Range;
use std::sync::Arc;

/// Makes the tile rows of one cell, line by line, as the camera lines come in.
#[derive(Debug)]
pub(super) struct Rows {
    cell: CellId,
    pub outline: Outline,
    pub light: Light,
    cut_corners: CutCorners,
    levels: Levels,
    sampler: Sampler,
    /// The stream's number of the line that the placement counts from.
    first_line: u64,
    /// Stitched lines done.
    done: usize,
    pixels: Arc<[u16]>,
    spans: Vec<Span>,
    /// The end of the row before.
    above: Neighbour,
    /// The row before, which waits for the lines below it.
    complete: Option<TileRow>,
}

impl Rows {
    /// Of the cell that lies as `placement` says, counted from the stream's `first_line`.
    pub fn new(cell: CellId, placement: &Placement, view: &View, first_line: u64) -> Self {
        Self {
            cell,
            outline: Outline::new(placement, view.shape),
            light: Light::default(),
            cut_corners: CutCorners::default(),
            levels: *view.levels,
            sampler: Sampler::new(placement, view.store, first_line, 0),
            first_line,
            done: 0,
            pixels: Arc::default(),
            spans: Vec::new(),
            above: Neighbour::gap(),
            complete: None,
        }
    }

    /// Samples every stitched line whose camera lines are there, up to where the trailing edge may lie.
    pub fn advance(&mut self, store: &LineStore, edges: &Edges, buffers: &mut RowBuffers, out: &mut Vec<StitchEvent>) {
        while self.done < self.outline.lines_before_the_end() {
            let span = self.span(store, edges);
            if self.sampler.needs_line(self.done, span) >= store.stored().end as i64 {
                return;
            }
            self.line(store, buffers, span, out);
        }
    }

    /// Samples all other lines, once the trailing edge has passed.
    pub fn finish(&mut self, length_mm: f64, view: &mut View, out: &mut Vec<StitchEvent>) {
        self.outline.end_at(length_mm, self.done, view.shape);
        self.sampler = Sampler::new(self.outline.placement(), view.store, self.first_line, self.done);
        while self.done < CELL_PX {
            let span = self.span(view.store, view.edges);
            self.line(view.store, view.buffers, span, out);
        }
    }

    /// A corner that the product has cut and this wafer has not, clockwise from leading left.
    pub fn uncut_corner(&self) -> Option<usize> {
        self.cut_corners.uncut((self.levels.bright_gap(), self.levels.gap_grey()), self.light.mean_grey())
    }

    fn span(&self, store: &LineStore, edges: &Edges) -> Span {
        self.sampler.within_sensor(self.done, self.outline.span(self.done, edges), store.width())
    }

    fn line(&mut self, store: &LineStore, buffers: &mut RowBuffers, span: Span, out: &mut Vec<StitchEvent>) {
        if self.spans.is_empty() {
            self.pixels = buffers.take();
            self.spans.reserve(TILE_PX);
        }
        let start = (self.done % TILE_PX) * CELL_PX;
        if let Some(line) = Arc::get_mut(&mut self.pixels).and_then(|p| p.get_mut(start..start + CELL_PX)) {
            line[..span.start.into()].fill(0);
            line[span.end.into()..].fill(0);
            self.sampler.sample(store, self.done, span, line);
        }
        self.cut_corners.add(self.done, &self.outline, &self.sampler, store);
        self.spans.push(span);
        self.done += 1;
        if self.done % TILE_PX == Neighbour::LINES
            && let Some(row) = self.complete.take()
        {
            let below = self.neighbour(0..Neighbour::LINES);
            self.hand_on(TileRow { below, ..row }, buffers, out);
        }
        if self.done.is_multiple_of(TILE_PX) {
            let end = self.neighbour(TILE_PX - Neighbour::LINES..TILE_PX);
            let row = TileRow {
                cell: self.cell.clone(),
                row: (self.done / TILE_PX).clamp(1, TILES_PER_SIDE) as u8 - 1,
                pixels: std::mem::take(&mut self.pixels),
                spans: std::mem::take(&mut self.spans).into(),
                above: std::mem::replace(&mut self.above, end),
                below: Neighbour::gap(),
            };
            if self.done < CELL_PX {
                self.complete = Some(row);
            } else {
                self.hand_on(row, buffers, out);
            }
        }
    }

    /// Lines of the row that is being made, for the one next to it.
    fn neighbour(&self, lines: Range<usize>) -> Neighbour {
        Neighbour { pixels: self.pixels[lines.start * CELL_PX..lines.end * CELL_PX].into(), spans: self.spans[lines].into() }
    }

    fn hand_on(&mut self, row: TileRow, buffers: &mut RowBuffers, out: &mut Vec<StitchEvent>) {
        self.light.add(&row, &self.levels);
        buffers.remember(&row.pixels);
        out.push(StitchEvent::Row(row));
    }
}
