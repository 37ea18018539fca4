use super::{CELL_PX, CellId, Spans, Squeeze, TileRow};
use std::sync::Arc;

/// Crack probabilities of one tile row: 448 × 1344 values, 0 = surely none, 255 = surely a crack.
#[derive(Debug, Clone)]
pub struct ProbabilityRow {
    /// Whose row.
    pub cell: CellId,
    /// Which row, 0 to 2.
    pub row: u8,
    /// Line by line, `round(255 p)`.
    pub values: Arc<[u8]>,
    /// The outline on each of the 448 lines.
    pub spans: Spans,
}

/// Crack probabilities of a whole cell: 1344 × 1344, put together from three rows.
#[derive(Debug, Clone)]
pub struct ProbabilityMap {
    rows: [Arc<[u8]>; 3],
    spans: [Spans; 3],
    squeeze: Squeeze,
}

impl ProbabilityMap {
    /// Puts three rows together, `rows[i]` being row `i`, of a wafer that fits its frame.
    ///
    /// Returns `None` where a row has another size than 448 × 1344 (spans: 448).
    pub fn new(rows: [Arc<[u8]>; 3], spans: [Spans; 3]) -> Option<Self> {
        let fits = rows.iter().all(|r| r.len() == TileRow::PIXELS) && spans.iter().all(|s| s.len() * CELL_PX == TileRow::PIXELS);
        fits.then_some(Self { rows, spans, squeeze: Squeeze::default() })
    }

    /// The same of a wafer that lies squeezed in its frame.
    pub fn squeezed(self, squeeze: Squeeze) -> Self {
        Self { squeeze, ..self }
    }

    /// How the wafer lies squeezed in its frame.
    pub fn squeeze(&self) -> &Squeeze {
        &self.squeeze
    }

    /// Line `y` of the cell, 1344 values.
    pub fn line(&self, y: usize) -> &[u8] {
        let lines = TileRow::PIXELS / CELL_PX;
        let start = (y % lines) * CELL_PX;
        &self.rows[y / lines][start..start + CELL_PX]
    }

    /// The outline on line `y`.
    pub fn span(&self, y: usize) -> super::Span {
        let lines = TileRow::PIXELS / CELL_PX;
        self.spans[y / lines][y % lines]
    }

    /// The value from which a pixel is crack at `threshold` (a probability, 0 to 1), at least 1.
    pub fn level(threshold: f32) -> u8 {
        (threshold.clamp(0.0, 1.0) * 255.0).round().max(1.0) as u8
    }

    /// The mask: inside the outline and at least `threshold` (a probability, 0 to 1).
    pub fn mask(&self, threshold: f32) -> Mask {
        let level = Self::level(threshold);
        let mut mask = Mask::new(CELL_PX, CELL_PX);
        for y in 0..CELL_PX {
            let (line, span) = (self.line(y), self.span(y));
            // Most of a cell is no crack: stretches without any are passed over by their maximum.
            for (i, values) in line.chunks(64).enumerate() {
                if values.iter().fold(0, |max, v| *v.max(&max)) < level {
                    continue;
                }
                for (x, value) in (i * 64..).zip(values) {
                    if *value >= level && span.contains(x) {
                        mask.set(x, y, true);
                    }
                }
            }
        }
        mask
    }
}

/// A binary picture, one bit a pixel, lines padded to whole bytes, most significant bit first
/// (the layout of a 1-bit PNG). Set bits are crack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width_px: usize,
    height_px: usize,
    stride_bytes: usize,
    bits: Vec<u8>,
}

impl Mask {
    /// An empty mask.
    pub fn new(width_px: usize, height_px: usize) -> Self {
        let stride_bytes = width_px.div_ceil(8);
        Self { width_px, height_px, stride_bytes, bits: vec![0; stride_bytes * height_px] }
    }

    /// A mask from packed lines as [`bits`](Self::bits) gives them; `None` where the size is wrong.
    /// Padding bits are cleared.
    pub fn from_bits(width_px: usize, height_px: usize, mut bits: Vec<u8>) -> Option<Self> {
        let stride_bytes = width_px.div_ceil(8);
        if bits.len() != stride_bytes.checked_mul(height_px)? {
            return None;
        }
        let spare = stride_bytes * 8 - width_px;
        if spare > 0 {
            for line in bits.chunks_mut(stride_bytes) {
                line[stride_bytes - 1] &= 0xff << spare;
            }
        }
        Some(Self { width_px, height_px, stride_bytes, bits })
    }

    /// Width in pixels.
    pub fn width_px(&self) -> usize {
        self.width_px
    }

    /// Height in pixels.
    pub fn height_px(&self) -> usize {
        self.height_px
    }

    /// The packed lines, `width_px / 8` rounded up bytes each.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The packed bytes of line `y`.
    pub fn line_bits(&self, y: usize) -> &[u8] {
        &self.bits[y * self.stride_bytes..(y + 1) * self.stride_bytes]
    }

    /// Whether pixel (`x`, `y`) is crack. Panics outside the mask.
    pub fn get(&self, x: usize, y: usize) -> bool {
        assert!(x < self.width_px, "x {x} outside a mask {} px wide", self.width_px);
        self.bits[y * self.stride_bytes + x / 8] & (0x80 >> (x % 8)) != 0
    }

    /// Sets or clears pixel (`x`, `y`). Panics outside the mask.
    pub fn set(&mut self, x: usize, y: usize, crack: bool) {
        assert!(x < self.width_px, "x {x} outside a mask {} px wide", self.width_px);
        let (byte, bit) = (&mut self.bits[y * self.stride_bytes + x / 8], 0x80 >> (x % 8));
        if crack { *byte |= bit } else { *byte &= !bit }
    }

    /// Number of crack pixels.
    pub fn count(&self) -> u64 {
        self.bits.iter().map(|b| u64::from(b.count_ones())).sum()
    }

    /// Whether no pixel is crack.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|b| *b == 0)
    }
}
