//! Inspection: rows of tiles in, crack probabilities out.
//!
//! The network stands behind [`nn::Engine`]; what is done here is what every engine needs: tiles cut
//! from the row, normalised as the checkpoint says, and the tiles' probabilities put back together to
//! rows.

use crate::cell::{CELL_PX, ProbabilityRow, Span, TILE_PX, TILES_PER_SIDE, TileRow, without_rim};
use crate::config::{DeviceChoice, Precision, Threads};
use crate::nn::{self, Checkpoint, Engine, NnError, Normalisation, Probabilities};
use rayon::prelude::*;
use std::sync::Arc;

/// What can go wrong in the inspection.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The network failed.
    #[error("the network failed: {0}")]
    Network(Arc<NnError>),
    /// A row has another size than three tiles.
    #[error("row {row} of cell {cell} has {found} pixels and {spans} lines of outline; expected {} and {TILE_PX}", TileRow::PIXELS)]
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
    /// The network's answer is no number: the cell must not pass for it.
    #[error("the network's answer for row {row} of cell {cell} is not a number; check the model with `train eval`")]
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
pub struct ModelInfo {
    /// The checkpoint's name.
    pub name: String,
    /// SHA-256 of the checkpoint file, hexadecimal.
    pub digest: String,
    /// The mask threshold that the checkpoint asks for.
    pub threshold: f32,
    /// What runs it, in words.
    pub engine: String,
}

/// Turns rows of tiles into crack probabilities.
pub struct Inspector {
    engine: Box<dyn Engine>,
    normalisation: Normalisation,
    info: ModelInfo,
    pitch_mm_per_px: std::ops::RangeInclusive<f64>,
    input: Vec<f32>,
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
            info: ModelInfo {
                name: meta.name.clone(),
                digest: checkpoint.digest.clone(),
                threshold: meta.threshold,
                engine: engine.describe(),
            },
            pitch_mm_per_px: meta.mm_per_px_min..=meta.mm_per_px_max,
            normalisation: meta.normalisation,
            engine,
            input: Vec::with_capacity(TileRow::PIXELS),
        })
    }

    /// Which model this is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Refuses a lane whose stitched pixels are larger or smaller than the model was trained for.
    pub fn check_pitch(&self, lane: &str, mm_per_px: f64) -> Result<(), InspectError> {
        if self.pitch_mm_per_px.contains(&mm_per_px) {
            return Ok(());
        }
        Err(InspectError::PixelPitch {
            model: self.info.name.clone(),
            lane: lane.to_owned(),
            min: *self.pitch_mm_per_px.start(),
            max: *self.pitch_mm_per_px.end(),
            found: mm_per_px,
        })
    }

    /// Rows that are best inspected at a time, where there are as many.
    pub fn batch(&self) -> usize {
        (self.engine.batch() / TILES_PER_SIDE).max(1)
    }

    /// One inference of one row and one of as many as [`batch`](Self::batch), all empty, so that the first cells do not
    /// pay for what is done only once.
    pub fn warm_up(&mut self) -> Result<(), InspectError> {
        let batch = self.batch();
        for rows in std::iter::once(1).chain((batch > 1).then_some(batch)) {
            self.engine.probabilities(&vec![0.0; rows * TileRow::PIXELS], rows * TILES_PER_SIDE)?;
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

    /// The crack probabilities of rows of any cells, in one batch; a result for each. On the CPU the same row gives the
    /// same probabilities, bit for bit, whatever it is inspected together with.
    pub fn inspect_all<'a>(&mut self, rows: impl IntoIterator<Item = &'a TileRow>) -> Vec<Result<ProbabilityRow, InspectError>> {
        let prepared: Vec<Result<(&TileRow, Vec<Span>), InspectError>> = rows.into_iter().map(inside).collect();
        let count = self.prepare(prepared.iter().flatten());
        let found = if count > 0 { self.engine.probabilities(&self.input, count) } else { Ok(Probabilities::default()) };
        let found = found.map_err(Arc::new);
        let mut tiles = (0..count).step_by(TILES_PER_SIDE);
        let one = |prepared: Result<(&TileRow, Vec<Span>), InspectError>| {
            let (row, inside) = prepared?;
            let found = found.as_ref().map_err(|error| InspectError::Network(error.clone()))?;
            probability_row(row, &inside, found, tiles.next().unwrap_or(count))
        };
        prepared.into_iter().map(one).collect()
    }

    /// Makes the input out of the rows' tiles, on the engine's threads; returns their number.
    fn prepare<'a>(&mut self, rows: impl Iterator<Item = &'a (&'a TileRow, Vec<Span>)>) -> usize {
        let tiles: Vec<(&TileRow, &[Span], usize)> =
            rows.flat_map(|(row, inside)| (0..TILES_PER_SIDE).map(move |column| (*row, inside.as_slice(), column))).collect();
        self.input.resize(tiles.len() * TILE_PX * TILE_PX, 0.0);
        let normalisation = self.normalisation;
        let fill = |(out, (row, inside, column)): (&mut [f32], &(&TileRow, &[Span], usize))| {
            let left = column * TILE_PX;
            let within = |x: u16| usize::from(x).clamp(left, left + TILE_PX).saturating_sub(left) as u16;
            let spans: Vec<Span> = inside.iter().map(|span| Span { start: within(span.start), end: within(span.end) }).collect();
            normalisation.apply_to_lines(row.pixels.chunks_exact(CELL_PX).map(|line| &line[left..left + TILE_PX]), TILE_PX, &spans, out);
        };
        match self.engine.pool() {
            Some(pool) => pool.install(|| self.input.par_chunks_exact_mut(TILE_PX * TILE_PX).zip(&tiles).for_each(fill)),
            None => self.input.chunks_exact_mut(TILE_PX * TILE_PX).zip(&tiles).for_each(fill),
        }
        tiles.len()
    }
}

/// A row of the right size, with what of its outline is looked at.
fn inside(row: &TileRow) -> Result<(&TileRow, Vec<Span>), InspectError> {
    if row.pixels.len() != TileRow::PIXELS || row.spans.len() != TILE_PX {
        return Err(InspectError::RowSize { cell: row.cell.clone(), row: row.row, found: row.pixels.len(), spans: row.spans.len() });
    }
    Ok((row, without_rim(&row.spans, row.row == 0, usize::from(row.row) + 1 == TILES_PER_SIDE)))
}

/// Puts the three tiles of a row, from tile `first` on, side by side; 0 outside the outline.
fn probability_row(row: &TileRow, inside: &[Span], found: &Probabilities, first: usize) -> Result<ProbabilityRow, InspectError> {
    if found.sound.get(first..first + TILES_PER_SIDE).is_none_or(|sound| sound.contains(&false)) {
        return Err(InspectError::NotANumber { cell: row.cell.clone(), row: row.row });
    }
    let mut values = vec![0u8; TileRow::PIXELS];
    let tiles = found.values[first * TILE_PX * TILE_PX..].chunks_exact(TILE_PX * TILE_PX);
    for (column, tile) in tiles.take(TILES_PER_SIDE).enumerate() {
        let left = column * TILE_PX;
        for (y, line) in tile.chunks_exact(TILE_PX).enumerate() {
            let (start, end) = (usize::from(inside[y].start).max(left), usize::from(inside[y].end).min(left + TILE_PX));
            if start < end {
                values[y * CELL_PX + start..y * CELL_PX + end].copy_from_slice(&line[start - left..end - left]);
            }
        }
    }
    Ok(ProbabilityRow { cell: row.cell.clone(), row: row.row, values: Arc::from(values), spans: row.spans.clone() })
}

#[cfg(test)]
mod tests;
