//! Inspection: rows of tiles in, crack probabilities out.
//!
//! The network stands behind [`nn::Engine`]; what is done here is what every engine needs: tiles cut
//! from the row, normalised as the checkpoint says, and logits turned back into one row of
//! probabilities.

use crate::cell::{CELL_PX, ProbabilityRow, Span, TILE_PX, TILES_PER_SIDE, TileRow, without_rim};
use crate::config::{DeviceChoice, Precision};
use crate::nn::{self, Checkpoint, Engine, NnError, Normalisation};
use std::sync::Arc;

/// What can go wrong in the inspection.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The network failed.
    #[error("the network failed: {0}")]
    Network(#[from] NnError),
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
    tile: Vec<u16>,
    tile_spans: Vec<Span>,
}

impl Inspector {
    /// Makes the checkpoint's network ready on `device`; on the CPU with `precision` and `threads` threads (0: all).
    pub fn new(checkpoint: &Checkpoint, device: DeviceChoice, precision: Precision, threads: usize) -> Result<Self, InspectError> {
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
            input: vec![0.0; TileRow::PIXELS],
            tile: Vec::with_capacity(TILE_PX * TILE_PX),
            tile_spans: Vec::with_capacity(TILE_PX),
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

    /// One inference on an empty row, so that the first cell does not pay for what is done only once.
    pub fn warm_up(&mut self) -> Result<(), InspectError> {
        self.input.fill(0.0);
        self.engine.logits(&self.input, TILES_PER_SIDE)?;
        Ok(())
    }

    /// The crack probabilities of one row. The same row gives the same probabilities, bit for bit.
    pub fn inspect(&mut self, row: &TileRow) -> Result<ProbabilityRow, InspectError> {
        if row.pixels.len() != TileRow::PIXELS || row.spans.len() != TILE_PX {
            return Err(InspectError::RowSize { cell: row.cell.clone(), row: row.row, found: row.pixels.len(), spans: row.spans.len() });
        }
        let inside = without_rim(&row.spans, row.row == 0, usize::from(row.row) + 1 == TILES_PER_SIDE);
        for column in 0..TILES_PER_SIDE {
            self.cut_tile(row, &inside, column);
            let target = &mut self.input[column * TILE_PX * TILE_PX..(column + 1) * TILE_PX * TILE_PX];
            self.normalisation.apply(&self.tile, TILE_PX, &self.tile_spans, target);
        }
        let logits = self.engine.logits(&self.input, TILES_PER_SIDE)?;
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(InspectError::NotANumber { cell: row.cell.clone(), row: row.row });
        }
        let mut values = vec![0u8; TileRow::PIXELS];
        for (column, tile) in logits.chunks_exact(TILE_PX * TILE_PX).enumerate() {
            for (y, line) in tile.chunks_exact(TILE_PX).enumerate() {
                let start = y * CELL_PX + column * TILE_PX;
                for (x, logit) in (start % CELL_PX..).zip(line).filter(|(x, _)| inside[y].contains(*x)) {
                    values[y * CELL_PX + x] = quantised_probability(*logit);
                }
            }
        }
        Ok(ProbabilityRow { cell: row.cell.clone(), row: row.row, values: Arc::from(values), spans: row.spans.clone() })
    }

    fn cut_tile(&mut self, row: &TileRow, inside: &[Span], column: usize) {
        let left = column * TILE_PX;
        self.tile.clear();
        self.tile_spans.clear();
        for (line, span) in row.pixels.chunks_exact(CELL_PX).zip(inside) {
            self.tile.extend_from_slice(&line[left..left + TILE_PX]);
            let within = |x: u16| usize::from(x).clamp(left, left + TILE_PX).saturating_sub(left) as u16;
            self.tile_spans.push(Span { start: within(span.start), end: within(span.end).max(within(span.start)) });
        }
    }
}

/// `round(255 σ(logit))`.
fn quantised_probability(logit: f32) -> u8 {
    (255.0 / (1.0 + (-logit).exp())).round() as u8
}

#[cfg(test)]
mod tests {
    use super::quantised_probability;

    #[test]
    fn probabilities_are_rounded_to_255ths() {
        assert_eq!([-40.0, 0.0, 40.0].map(quantised_probability), [0, 128, 255]);
    }
}
