//! Inspection: rows of tiles in, crack probabilities out.
//!
//! The network stands behind [`nn::Engine`]; what is done here is what every engine needs: tiles cut
//! from the row, normalised as the checkpoint says, and the tiles' probabilities put back together to
//! rows.

mod inspectors;

pub use inspectors::Inspectors;

use crate::cell::{CELL_PX, MARGIN_PX, ProbabilityRow, SEEN_PX, Span, TILE_PX, TILES_PER_SIDE, TileRow};
use crate::config::{DeviceChoice, Precision, Threads};
use crate::nn::{self, Checkpoint, CheckpointMeta, Engine, NnError, Normalisation, Probabilities, Roofline};
use rayon::prelude::*;
use std::sync::Arc;

/// What can go wrong in the inspection.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The network failed.
    #[error("the network failed: {0}")]
    Network(Arc<NnError>),
    /// A row has another size than three tiles.
    #[error(
        "row {row} of cell {cell} has {found} pixels and {spans} lines of outline; expected {} and {TILE_PX}, and neighbours of their size",
        TileRow::PIXELS
    )]
    RowSize {
        /// Whose row.
        cell: crate::cell::CellId,
        /// Which row.
        row: u8,
        /// Pixels found.
        found: usize,
        /// Outline lines found.
        spans: usize,
    },
    /// The network's answer is no finite number: the cell must not pass for it.
    #[error(
        "the network's answer for row {row} of cell {cell} is not a number, or infinite; check the model with `train eval`, and where \
         `network.precision` is \"f16\", which ends at 65504, take \"bf16\""
    )]
    NotANumber {
        /// Whose row.
        cell: crate::cell::CellId,
        /// Which row.
        row: u8,
    },
    /// The model was trained on another pixel pitch.
    #[error(
        "the model {model:?} is good for {min:.3} to {max:.3} mm per pixel, but lane {lane:?} stitches to {found:.3} mm per pixel; \
         use a model trained for this wafer size, or correct `wafer` in the configuration"
    )]
    PixelPitch {
        /// The model's name.
        model: String,
        /// The lane.
        lane: String,
        /// Smallest pitch the model is good for.
        min: f64,
        /// Largest pitch the model is good for.
        max: f64,
        /// The lane's pitch.
        found: f64,
    },
}

impl From<NnError> for InspectError {
    fn from(error: NnError) -> Self {
        Self::Network(Arc::new(error))
    }
}

/// Which model looks for cracks, for messages and metrics.
#[derive(Debug, Clone)]
pub struct InspectorInfo {
    /// The checkpoint's name.
    pub name: String,
    /// SHA-256 of the checkpoint file, hexadecimal.
    pub digest: String,
    /// The mask threshold that the checkpoint asks for.
    pub threshold: f32,
    /// What runs it, in words; several where recipes ask for several precisions.
    pub engine: String,
}

/// Refuses a lane whose stitched pixels, of `mm_per_px`, are larger or smaller than the model was trained for.
///
/// # Errors
/// [`InspectError::PixelPitch`].
pub fn check_pitch(meta: &CheckpointMeta, lane: &str, mm_per_px: f64) -> Result<(), InspectError> {
    let (min, max) = (meta.mm_per_px_min, meta.mm_per_px_max);
    if (min..=max).contains(&mm_per_px) {
        return Ok(());
    }
    Err(InspectError::PixelPitch { model: meta.name.clone(), lane: lane.to_owned(), min, max, found: mm_per_px })
}

/// Turns rows of tiles into crack probabilities.
pub struct Inspector {
    engine: Box<dyn Engine>,
    normalisation: Normalisation,
    info: InspectorInfo,
}

/// A row of the right size.
struct Prepared<'a> {
    row: &'a TileRow,
    /// What is looked at on the lines that the network sees.
    inside: Vec<Span>,
    /// Its first tile in the batch.
    first: usize,
}

impl Inspector {
    /// Makes the checkpoint's network ready on `device` with `precision`; on the CPU with `threads` threads (0: all).
    pub fn new(
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        precision: Precision,
        threads: impl Into<Threads>,
    ) -> Result<Self, InspectError> {
        let engine = nn::engine(checkpoint, device, precision, threads)?;
        let meta = &checkpoint.meta;
        Ok(Self {
            info: InspectorInfo {
                name: meta.name.clone(),
                digest: checkpoint.digest.clone(),
                threshold: meta.threshold,
                engine: engine.describe(),
            },
            normalisation: meta.normalisation,
            engine,
        })
    }

    /// Which model this is.
    pub fn info(&self) -> &InspectorInfo {
        &self.info
    }

    /// What each block of the network costs, where the engine knows.
    pub fn roofline(&self) -> Option<Roofline> {
        self.engine.roofline()
    }

    /// Rows that are best inspected at a time, where there are as many.
    pub fn batch(&self) -> usize {
        (self.engine.batch() / TILES_PER_SIDE).max(1)
    }

    /// One inference of one row, where the engine gains by it, and one of as many rows as [`batch`](Self::batch), all empty, so that
    /// the first cells do not pay for what is done only once.
    pub fn warm_up(&mut self) -> Result<(), InspectError> {
        let batch = self.batch();
        let batches = [self.engine.first_tiles(), if batch > 1 { batch * TILES_PER_SIDE } else { 0 }];
        for tiles in batches.into_iter().filter(|tiles| *tiles > 0) {
            self.engine.probabilities(tiles, &mut |tiles| tiles.fill(0.0))?;
        }
        Ok(())
    }

    /// The crack probabilities of one row.
    ///
    /// # Errors
    /// See [`InspectError`].
    pub fn inspect(&mut self, row: &TileRow) -> Result<ProbabilityRow, InspectError> {
        match self.inspect_all([row]).pop() {
            Some(result) => result,
            None => unreachable!("one row has one result"),
        }
    }

    /// The crack probabilities of rows of any cells, in batches; a result for each. On the CPU the same row gives the
    /// same probabilities, bit for bit, whatever it is inspected together with.
    pub fn inspect_all<'a>(&mut self, rows: impl IntoIterator<Item = &'a TileRow>) -> Vec<Result<ProbabilityRow, InspectError>> {
        let mut rows = rows.into_iter();
        let mut results = Vec::new();
        loop {
            let batch: Vec<&TileRow> = rows.by_ref().take(self.batch()).collect();
            if batch.is_empty() {
                return results;
            }
            results.extend(self.inspect_batch(&batch));
        }
    }

    /// As [`inspect_all`](Self::inspect_all), of at most [`batch`](Self::batch) rows.
    fn inspect_batch(&mut self, rows: &[&TileRow]) -> Vec<Result<ProbabilityRow, InspectError>> {
        let mut count = 0;
        let prepare = |row| {
            let prepared = Prepared::new(row, count)?;
            count += TILES_PER_SIDE;
            Ok(prepared)
        };
        let prepared: Vec<Result<Prepared, InspectError>> = rows.iter().copied().map(prepare).collect();
        let good: Vec<&Prepared> = prepared.iter().flatten().collect();
        let (pool, normalisation) = (self.engine.pool(), self.normalisation);
        let tile = |(number, out): (usize, &mut [f32])| good[number / TILES_PER_SIDE].write(number % TILES_PER_SIDE, &normalisation, out);
        let mut fill = |tiles: &mut [f32]| match &pool {
            Some(pool) => pool.install(|| tiles.par_chunks_exact_mut(SEEN_PX * SEEN_PX).enumerate().for_each(tile)),
            None => tiles.chunks_exact_mut(SEEN_PX * SEEN_PX).enumerate().for_each(tile),
        };
        let found = if count > 0 { self.engine.probabilities(count, &mut fill).map_err(Arc::new) } else { Ok(Probabilities::default()) };
        let result = |prepared: Result<Prepared, InspectError>| {
            let prepared = prepared?;
            prepared.probabilities(found.as_ref().map_err(|error| InspectError::Network(error.clone()))?)
        };
        match &pool {
            Some(pool) if rows.len() > 1 => pool.install(|| prepared.into_par_iter().map(result).collect()),
            _ => prepared.into_iter().map(result).collect(),
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(row: &'a TileRow, first: usize) -> Result<Self, InspectError> {
        if !row.is_whole() {
            return Err(InspectError::RowSize { cell: row.cell.clone(), row: row.row, found: row.pixels.len(), spans: row.spans.len() });
        }
        Ok(Self { row, inside: row.inside_seen(), first })
    }

    /// Makes the network's input out of its tile number `column` and what lies around it.
    fn write(&self, column: usize, normalisation: &Normalisation, out: &mut [f32]) {
        let left = column * TILE_PX;
        let within = |x: usize| (x + MARGIN_PX).saturating_sub(left).min(SEEN_PX);
        let (start, end) = (within(0), within(CELL_PX));
        let mut grey = vec![0; SEEN_PX * SEEN_PX];
        for (to, line) in grey.chunks_exact_mut(SEEN_PX).zip(self.row.lines_seen()) {
            to[start..end].copy_from_slice(&line[left + start - MARGIN_PX..][..end - start]);
        }
        let span = |span: &Span| Span { start: within(span.start.into()) as u16, end: within(span.end.into()) as u16 };
        let spans: Vec<Span> = self.inside.iter().map(span).collect();
        normalisation.apply(&grey, SEEN_PX, &spans, out);
    }

    /// Puts its three tiles side by side; 0 outside the outline.
    fn probabilities(&self, found: &Probabilities) -> Result<ProbabilityRow, InspectError> {
        let Self { row, inside, first } = self;
        if found.sound.get(*first..first + TILES_PER_SIDE).is_none_or(|sound| sound.contains(&false)) {
            return Err(InspectError::NotANumber { cell: row.cell.clone(), row: row.row });
        }
        let mut values: Arc<[u8]> = std::iter::repeat_n(0, TileRow::PIXELS).collect();
        // Nobody else has it yet, so that nothing is copied.
        let lines = Arc::make_mut(&mut values).chunks_exact_mut(CELL_PX);
        let tiles = &found.values[first * SEEN_PX * SEEN_PX..];
        for (y, (line, span)) in lines.zip(&inside[MARGIN_PX..]).enumerate() {
            for column in 0..TILES_PER_SIDE {
                let left = column * TILE_PX;
                let (start, end) = (usize::from(span.start).max(left), usize::from(span.end).min(left + TILE_PX));
                if start < end {
                    let from = &tiles[(column * SEEN_PX + MARGIN_PX + y) * SEEN_PX + MARGIN_PX..][..TILE_PX];
                    line[start..end].copy_from_slice(&from[start - left..end - left]);
                }
            }
        }
        Ok(ProbabilityRow { cell: row.cell.clone(), row: row.row, values, spans: row.spans.clone() })
    }
}

#[cfg(test)]
pub(crate) mod tests;
