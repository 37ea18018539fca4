use super::edges::Edges;
use super::line_store::LineStore;
use super::outline::Outline;
use super::placement::Placement;
use super::sampler::Sampler;
use super::shape::Shape;
use crate::cell::{CELL_PX, CellId, Span, StitchEvent, TILE_PX, TILES_PER_SIDE, TileRow};
use std::sync::Arc;

/// Makes the tile rows of one cell, line by line, as the camera lines come in.
#[derive(Debug)]
pub(super) struct Rows {
    cell: CellId,
    pub outline: Outline,
    sampler: Sampler,
    /// Stitched lines done.
    done: usize,
    pixels: Arc<[u16]>,
    spans: Vec<Span>,
}

impl Rows {
    pub fn new(cell: CellId, placement: &Placement, shape: &Shape, store: &LineStore, first_line: u64) -> Self {
        Self {
            cell,
            outline: Outline::new(placement, shape),
            sampler: Sampler::new(placement, store, first_line),
            done: 0,
            pixels: Arc::default(),
            spans: Vec::new(),
        }
    }

    /// Samples every stitched line whose camera lines are there; with `to_the_end`, all of them.
    pub fn advance(&mut self, store: &LineStore, edges: &Edges, to_the_end: bool, out: &mut Vec<StitchEvent>) {
        while self.done < CELL_PX {
            let span = self.outline.span(self.done, edges);
            let span = self.sampler.within_sensor(self.done, span, store.width());
            if !to_the_end && self.sampler.needs_line(self.done, span) >= store.stored().end as i64 {
                return;
            }
            self.line(store, span);
            if self.done.is_multiple_of(TILE_PX) {
                let row = (self.done / TILE_PX).clamp(1, TILES_PER_SIDE) as u8 - 1;
                let (pixels, spans) = (std::mem::take(&mut self.pixels), std::mem::take(&mut self.spans).into());
                out.push(StitchEvent::Row(TileRow { cell: self.cell.clone(), row, pixels, spans }));
            }
        }
    }

    fn line(&mut self, store: &LineStore, span: Span) {
        if self.spans.is_empty() {
            self.pixels = std::iter::repeat_n(0, TileRow::PIXELS).collect();
            self.spans.reserve(TILE_PX);
        }
        let start = (self.done % TILE_PX) * CELL_PX;
        if let Some(line) = Arc::get_mut(&mut self.pixels).and_then(|p| p.get_mut(start..start + CELL_PX)) {
            self.sampler.sample(store, self.done, span, line);
        }
        self.spans.push(span);
        self.done += 1;
    }
}
