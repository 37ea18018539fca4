//! Simulated cells as they come off the line.

use crate::cell::{CELL_PX, CameraEvent, LineBlock, Mask, Moment, PixelFormat, ProbabilityRow, StitchEvent, TileRow};
use crate::config::{Belt, GapKind, SimulatedCamera, Wafer, WaferKind};
use crate::simulate::{Lay, WaferSettings, lay, wafer};
use crate::stitch::Stitcher;
use anyhow::Context;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

const LINE_PX: u32 = 1500;
const BLOCK_LINES: u32 = 128;
const GAP_LINES: u32 = 100;
/// How far wafers lie turned.
pub(super) const SKEW_DEG: f64 = 1.5;

/// A cell that the stitcher made out of a simulated wafer's lines.
pub(super) struct StitchedCell {
    /// From the leading edge on.
    pub rows: [TileRow; 3],
    pub mm_per_px: f64,
    /// How long the stitcher took.
    pub stitch_ms: f64,
    /// Where the wafer is cracked.
    mask: Mask,
}

impl StitchedCell {
    /// Simulates wafer `index` and stitches it, line block by line block, as the camera would send them.
    ///
    /// # Errors
    /// A stitcher that does not find the wafer.
    pub fn new(index: u64) -> anyhow::Result<Self> {
        let settings = WaferSettings { kind: WaferKind::Laser, seed: 1, cracked_share: 0.5, corner_px: Some(0) };
        let made = wafer(&settings, index);
        let side_px = f64::from(LINE_PX) * SimulatedCamera::WAFER_SHARE;
        let gap = GapKind::Bright;
        let gap_level = gap.drawn_grey();
        let how = Lay { line_width_px: LINE_PX, side_px, skew_deg: SKEW_DEG, offset_px: 0.0, gap_level, noise: 1.0, noise_seed: index };
        let laid = lay(&made, &how);
        let between = vec![gap_level; (GAP_LINES * LINE_PX) as usize];
        let pixels = Bytes::from([between.as_slice(), &laid.pixels, &between].concat());
        let product = Wafer::of_format("M10").context("M10 is a known format")?;
        let scale = product.width_mm / side_px;
        let (edge_level, gap_level) = gap.usual_levels();
        let belt = Belt {
            gap,
            edge_level,
            gap_level,
            edge_lines: 3,
            skew_deg_max: 3.2,
            noise_share_max: 0.04,
            mm_per_px: Some(scale),
            mm_per_line: Some(scale),
        };
        let mut stitcher = Stitcher::new(Arc::from("bench"), &product, &belt, None)?;

        let started = Instant::now();
        let mut out = Vec::new();
        let lines = laid.lines + 2 * GAP_LINES;
        for first in (0..lines).step_by(BLOCK_LINES as usize) {
            let count = BLOCK_LINES.min(lines - first);
            let bytes = (first * LINE_PX) as usize..((first + count) * LINE_PX) as usize;
            let block = LineBlock {
                first_line: u64::from(first),
                lines: count,
                width_px: LINE_PX,
                stride_bytes: LINE_PX as usize,
                format: PixelFormat::Gray8,
                pixels: pixels.slice(bytes),
                last_line_at: Moment::now(),
                camera_time_ns: None,
                encoder_count: None,
                line_period_ns: 0.0,
            };
            stitcher.push(&CameraEvent::Block(block), &mut out);
        }
        let stitch_ms = super::ms_since(started);
        let rows: Vec<TileRow> = out.into_iter().filter_map(|e| if let StitchEvent::Row(row) = e { Some(row) } else { None }).collect();
        let found = rows.len();
        let rows = rows.try_into().ok().with_context(|| format!("the stitcher gave {found} rows for simulated wafer {index}, not 3"))?;
        Ok(Self { rows, mm_per_px: product.width_mm / CELL_PX as f64, stitch_ms, mask: made.mask })
    }

    /// The simulation's own mask, for the judge where no network is timed.
    pub fn truth(&self) -> [ProbabilityRow; 3] {
        self.rows.each_ref().map(|row| {
            let first = usize::from(row.row) * (TileRow::PIXELS / CELL_PX);
            let values = (0..TileRow::PIXELS).map(|i| if self.mask.get(i % CELL_PX, first + i / CELL_PX) { 255 } else { 0 });
            ProbabilityRow { cell: row.cell.clone(), row: row.row, values: values.collect(), spans: row.spans.clone() }
        })
    }
}
