//! A load of many lanes on one network, kept up in real time.

use super::cell::StitchedCell;
use super::{Spread, ms_since};
use crate::cell::{TILES_PER_SIDE, TileRow};
use crate::inspect::Inspector;
use std::time::{Duration, Instant};

/// Lanes that run evenly staggered, each with a cell every takt, whose rows come one by one.
pub(super) struct Load {
    pub lanes: u32,
    pub takt: Duration,
    /// How long after its last line a cell may wait for its last row's probabilities.
    pub deadline: Duration,
}

/// What came of it.
pub(super) struct Kept {
    /// Milliseconds from a cell's last line to its last row's probabilities.
    pub last_row_ms: Spread,
    pub cells: usize,
    /// Cells beyond the deadline.
    pub late: usize,
    /// Share of the time in which the network worked.
    pub busy_share: f64,
    /// Rows that went through together, in the mean.
    pub rows_a_batch: f64,
}

impl Load {
    /// Takes `count` cells through the network at their pace: as the station does, what has come in while it worked goes
    /// through together, and it waits for no more.
    ///
    /// # Errors
    /// A network that fails.
    pub fn hold(&self, inspector: &mut Inspector, cells: &[StitchedCell], count: u32) -> anyhow::Result<Kept> {
        let rows: Vec<&TileRow> = cells.iter().flat_map(|cell| &cell.rows).collect();
        let rows_a_cell = TILES_PER_SIDE as u32;
        let between = self.takt / (rows_a_cell * self.lanes);
        // Whole rounds of all lanes, so that each brings its cells to an end.
        let total = count.div_ceil(self.lanes) * self.lanes * rows_a_cell;
        // Row `n` is of lane `n % lanes`, and its `n / lanes`th.
        let step = |n: u32| n / self.lanes;
        let (mut next, mut batches, mut busy) = (0, 0_u32, Duration::ZERO);
        let mut last_rows = Vec::new();
        let started = Instant::now();
        let due = |n: u32| started + between * n;
        while next < total {
            std::thread::sleep(due(next).saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let batch: Vec<u32> = (next..total).take(inspector.batch()).take_while(|n| due(*n) <= now).collect();
            let shown = |n: &u32| {
                let cell = (step(*n) / rows_a_cell * self.lanes + n % self.lanes) as usize % cells.len();
                rows[cell * TILES_PER_SIDE + (step(*n) % rows_a_cell) as usize]
            };
            for result in inspector.inspect_all(batch.iter().map(shown)) {
                result?;
            }
            busy += now.elapsed();
            batches += 1;
            next += batch.len() as u32;
            last_rows.extend(batch.iter().filter(|n| step(**n) % rows_a_cell == rows_a_cell - 1).map(|n| ms_since(due(*n))));
        }
        let deadline_ms = self.deadline.as_secs_f64() * 1000.0;
        Ok(Kept {
            cells: last_rows.len(),
            late: last_rows.iter().filter(|ms| **ms > deadline_ms).count(),
            busy_share: busy.as_secs_f64() / started.elapsed().as_secs_f64(),
            rows_a_batch: f64::from(total) / f64::from(batches.max(1)),
            last_row_ms: Spread::of(last_rows),
        })
    }
}
