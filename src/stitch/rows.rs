use super::edges::Edges;
use super::line_store::LineStore;
use super::open_cell::View;
use super::outline::Outline;
use super::placement::Placement;
use super::sampler::Sampler;
use crate::cell::{CELL_PX, CellId, Span, StitchEvent, TILE_PX, TILES_PER_SIDE, TileRow};
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory of rows that nobody holds any more, for the next ones: fresh memory costs a page fault for every two lines.
#[derive(Debug, Default)]
pub(super) struct RowBuffers(VecDeque<Arc<[u16]>>);

impl RowBuffers {
    /// Rows remembered; with more of them under way, the others get fresh memory.
    const MOST: usize = 8;

    /// Memory for one row, of any content.
    fn take(&mut self) -> Arc<[u16]> {
        let free = self.0.iter_mut().position(|buffer| Arc::get_mut(buffer).is_some());
        free.and_then(|at| self.0.remove(at)).unwrap_or_else(|| vec![0; TileRow::PIXELS].into())
    }

    /// Remembers a row that is on its way, for when it comes back.
    fn remember(&mut self, row: &Arc<[u16]>) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(row.clone());
    }
}

/// Makes the tile rows of one cell, line by line, as the camera lines come in.
#[derive(Debug)]
pub(super) struct Rows {
    cell: CellId,
    pub outline: Outline,
    sampler: Sampler,
    /// Stored lines in which a trailing edge, or the end of something dark, shows.
    edge_lines: i64,
    /// Stitched lines done.
    done: usize,
    pixels: Arc<[u16]>,
    spans: Vec<Span>,
}

impl Rows {
    /// Of the cell that lies as `placement` says, counted from the stream's `first_line`.
    pub fn new(cell: CellId, placement: &Placement, view: &View, first_line: u64) -> Self {
        Self {
            cell,
            outline: Outline::new(placement, view.shape),
            sampler: Sampler::new(placement, view.store, first_line),
            edge_lines: view.store.stored_lines(view.edge_lines) as i64,
            done: 0,
            pixels: Arc::default(),
            spans: Vec::new(),
        }
    }

    /// Samples every stitched line whose camera lines are there; with `to_the_end`, all of them. A line that is cut deep waits
    /// until a trailing edge would have ended the cell, or wafer is seen on it again.
    pub fn advance(&mut self, store: &LineStore, edges: &Edges, buffers: &mut RowBuffers, to_the_end: bool, out: &mut Vec<StitchEvent>) {
        while self.done < CELL_PX {
            let (span, nominal) = (self.outline.span(self.done, edges), self.outline.nominal_span(self.done));
            let (whole, wait) = if self.outline.is_cut_deep(span, nominal) { (nominal, self.edge_lines) } else { (span, 0) };
            let whole = self.sampler.within_sensor(self.done, whole, store.width());
            if !to_the_end && self.sampler.needs_line(self.done, whole) + wait >= store.stored().end as i64 {
                return;
            }
            let span = self.sampler.within_sensor(self.done, span, store.width());
            self.line(store, buffers, span);
            if self.done.is_multiple_of(TILE_PX) {
                let row = (self.done / TILE_PX).clamp(1, TILES_PER_SIDE) as u8 - 1;
                let (pixels, spans) = (std::mem::take(&mut self.pixels), std::mem::take(&mut self.spans).into());
                buffers.remember(&pixels);
                out.push(StitchEvent::Row(TileRow { cell: self.cell.clone(), row, pixels, spans }));
            }
        }
    }

    fn line(&mut self, store: &LineStore, buffers: &mut RowBuffers, span: Span) {
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
        self.spans.push(span);
        self.done += 1;
    }
}
