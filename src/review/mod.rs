//! The truth about recent cells, and what it says about the network: the running IoU, PA and OII,
//! overkill and escape.
//!
//! The masks of the last cells of each lane are kept in memory. A person (over HTTP) or a simulated
//! camera tells the truth about one of them with [`Review::truth`]; the last judged cells form the
//! window that [`Review::running`] is taken over. Nothing here outlives the process.
//!
//! A cell is *cracked* when its true mask has a crack pixel. One that is not and was rejected is *overkill*, unless a missing corner
//! rejects it whatever its cracks. One that passed with a crack pixel that was missed is an *escape*: what was found whole, and passed
//! because the recipe allows it, is none. A held cell is neither.

mod error;
mod lane;

pub use error::ReviewError;
pub use lane::{Outcome, RecentCell, Running};

use crate::cell::{CellId, Disposition, Mask, Spans};
use crate::{config, measure::Counts};
use lane::LaneReview;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last cells whose truth was told, which can still be told about anew, wherever their masks are kept.
pub(crate) const TOLD_CELLS: usize = 1000;

/// What the network found on a cell.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its crack pixels.
    pub mask: Arc<Mask>,
    /// Where it looked on each line: the outline [without its rim](crate::cell::without_rim). Truth beyond it is not counted, as nothing
    /// can be found there.
    pub judged: Spans,
}

/// What is true of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Its cracks, pixel by pixel, in the frame of the stitched cell.
    Mask(Arc<Mask>),
    /// The mask that the network found is right.
    MaskIsRight,
    /// There is no crack.
    NoDefect,
}

/// What a truth showed about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reviewed {
    /// The network's mask against the truth, and the verdict that was given.
    pub outcome: Outcome,
    /// What an earlier truth about the same cell had shown, which this one replaces.
    pub replaced: Option<Outcome>,
}

/// The recent cells of every lane and the truths told about them. Thread-safe.
#[derive(Debug)]
pub struct Review {
    keep_cells: usize,
    window_cells: usize,
    lanes: Mutex<BTreeMap<Arc<str>, LaneReview>>,
}

impl Review {
    /// Keeps as many cells as the settings say (at least one of each kind).
    pub fn new(settings: &config::Review) -> Self {
        Self { keep_cells: settings.keep_cells.max(1), window_cells: settings.window_cells.max(1), lanes: Mutex::default() }
    }

    /// Keeps what was found on a cell and what became of it, forgetting the oldest cell of its lane when too many are kept.
    ///
    /// Only masks that the network finished belong here: a held cell without one is left out, or its
    /// missing mask would count as missed cracks. A cell that is told again takes the new mask and verdict.
    pub fn remember(&self, cell: CellId, found: Found, disposition: Disposition) {
        let mut lanes = self.lock();
        let lane = lanes.entry(cell.lane).or_default();
        lane.remember(cell.number, found, disposition, self.keep_cells);
    }

    /// Brings a forgotten cell back for a truth that comes late; where as many are kept as there may be, in place of one that was
    /// brought back before.
    pub fn recall(&self, cell: &CellId, found: Found, disposition: Disposition) {
        self.lock().entry(cell.lane.clone()).or_default().recall(cell.number, found, disposition, self.keep_cells);
    }

    /// Holds the network's mask of a recent cell against the truth.
    ///
    /// A second truth about a cell replaces the first: in the window it takes its place, so that
    /// [`running`](Self::running) is as if the first had never been told.
    ///
    /// Fails for a lane or cell that is not remembered, and for a mask of another size.
    pub fn truth(&self, cell: &CellId, truth: &Truth) -> Result<Reviewed, ReviewError> {
        let mut lanes = self.lock();
        let known: Vec<Arc<str>> = lanes.keys().cloned().collect();
        let lane = lanes.get_mut(&cell.lane).ok_or_else(|| ReviewError::unknown_lane(cell, &known))?;
        lane.truth(cell, truth, self.window_cells.max(self.keep_cells).max(TOLD_CELLS))
    }

    /// IoU, PA, OII, overkill and escape over the last judged cells of a lane; all zero for a lane
    /// without any (`cells` tells it).
    pub fn running(&self, lane: &str) -> Running {
        self.lock().get(lane).map(|lane| lane.running(self.window_cells)).unwrap_or_default()
    }

    /// The cells of a lane that can still be judged, newest first.
    pub fn recent(&self, lane: &str) -> Vec<RecentCell> {
        self.lock().get(lane).map(LaneReview::recent).unwrap_or_default()
    }

    /// The mask that the network found on a recent cell.
    ///
    /// Fails for a lane or cell that is not remembered.
    pub fn mask(&self, cell: &CellId) -> Result<Arc<Mask>, ReviewError> {
        let lanes = self.lock();
        let known: Vec<Arc<str>> = lanes.keys().cloned().collect();
        lanes.get(&cell.lane).ok_or_else(|| ReviewError::unknown_lane(cell, &known))?.mask(cell)
    }

    /// The lanes of which a cell has been remembered, by name.
    pub fn lanes(&self) -> Vec<Arc<str>> {
        self.lock().keys().cloned().collect()
    }

    // A thread that panicked while it held the lock leaves sums at worst off by one cell, which is
    // better than a review that never answers again.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, LaneReview>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reviewed {
    /// Pixels that this truth shows beyond the one it replaced, for counters, which only ever grow.
    ///
    /// A correction adds what it has more of; what the first truth had too much of stays counted.
    /// Counters therefore never hide an error that was told once; the running values are exact.
    pub fn new_counts(&self) -> Counts {
        let (now, before) = (self.outcome.counts, self.replaced.map(|o| o.counts).unwrap_or_default());
        Counts { tp: now.tp.saturating_sub(before.tp), fp: now.fp.saturating_sub(before.fp), fn_: now.fn_.saturating_sub(before.fn_) }
    }

    /// Whether the cell is overkill and was not known to be.
    pub fn is_new_overkill(&self) -> bool {
        self.outcome.is_overkill() && !self.replaced.is_some_and(|o| o.is_overkill())
    }

    /// Whether the cell is an escape and was not known to be.
    pub fn is_new_escape(&self) -> bool {
        self.outcome.is_escape() && !self.replaced.is_some_and(|o| o.is_escape())
    }
}

#[cfg(test)]
mod tests;
