use super::{Found, ReviewError, Reviewed, Truth};
use crate::cell::{CellId, Mask, Span, VerdictKind};
use crate::measure::Counts;
use std::collections::VecDeque;
use std::sync::Arc;

/// A cell's mask and verdict held against the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The network's pixels against the true ones, where it looked.
    pub counts: Counts,
    /// The verdict that was given.
    pub verdict: VerdictKind,
    /// Whether the true mask has a crack pixel, be it where the network does not look.
    pub truly_cracked: bool,
}

impl Outcome {
    /// A good cell was rejected.
    pub fn is_overkill(&self) -> bool {
        self.verdict == VerdictKind::Reject && !self.truly_cracked
    }

    /// A cracked cell was passed.
    pub fn is_escape(&self) -> bool {
        self.verdict == VerdictKind::Pass && self.truly_cracked
    }
}

/// How good the network was on the last judged cells of a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Running {
    /// Pixels of all these cells together (micro average).
    pub counts: Counts,
    /// Intersection over union of `counts` (Eq. 22).
    pub iou: f64,
    /// Pixel accuracy of `counts` (Eq. 23).
    pub pa: f64,
    /// Output imbalance index of `counts` (Eqs. 15–17).
    pub oii: f64,
    /// How many cells these are; with 0 the values above mean nothing.
    pub cells: usize,
    /// Good cells among them that were rejected.
    pub overkill: usize,
    /// Cracked cells among them that passed.
    pub escape: usize,
    /// Held cells among them.
    pub held: usize,
}

/// A cell that can still be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentCell {
    /// Its number on the lane.
    pub number: u64,
    /// The verdict that was given.
    pub verdict: VerdictKind,
    /// Crack pixels of the network's mask.
    pub crack_px: u64,
    /// What the truth showed, where it has been told.
    pub outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Remembered {
    number: u64,
    found: Found,
    verdict: VerdictKind,
    outcome: Option<Outcome>,
}

/// One lane: the cells that can be judged, and the window of those that were.
#[derive(Debug, Default)]
pub(super) struct LaneReview {
    cells: VecDeque<Remembered>,
    window: VecDeque<(u64, Outcome)>,
}

impl LaneReview {
    pub fn remember(&mut self, number: u64, found: Found, verdict: VerdictKind, keep_cells: usize) {
        if let Some(known) = self.cells.iter_mut().find(|c| c.number == number) {
            (known.found, known.verdict) = (found, verdict);
            return;
        }
        while self.cells.len() >= keep_cells {
            self.cells.pop_front();
        }
        self.cells.push_back(Remembered { number, found, verdict, outcome: None });
    }

    pub fn recall(&mut self, number: u64, found: Found, verdict: VerdictKind, keep_cells: usize) {
        if self.cells.iter().any(|c| c.number == number) {
            return;
        }
        // The oldest is the first to go when the next cell comes.
        while self.cells.len() > keep_cells {
            self.cells.pop_front();
        }
        self.cells.push_front(Remembered { number, found, verdict, outcome: None });
    }

    pub fn truth(&mut self, id: &CellId, truth: &Truth, window_cells: usize) -> Result<Reviewed, ReviewError> {
        let unknown = self.unknown(id);
        let cell = self.cells.iter_mut().find(|c| c.number == id.number).ok_or(unknown)?;
        let found = cell.found.mask.count();
        let (counts, truly_cracked) = match truth {
            Truth::MaskIsRight => (Counts { tp: found, ..Counts::default() }, found > 0),
            Truth::NoDefect => (Counts { fp: found, ..Counts::default() }, false),
            Truth::Mask(mask) => {
                let counts = Counts::of_masks(&cell.found.mask, &cell.found.could_be_found(mask));
                (counts.ok_or_else(|| size_differs(&cell.found.mask, mask))?, !mask.is_empty())
            }
        };
        let outcome = Outcome { counts, verdict: cell.verdict, truly_cracked };
        let counted = self.window.iter().find(|(number, _)| *number == id.number).map(|(_, outcome)| *outcome);
        let replaced = cell.outcome.replace(outcome).or(counted);
        self.enter(id.number, outcome, replaced.is_some(), window_cells);
        Ok(Reviewed { outcome, replaced })
    }

    /// A corrected cell keeps its place in the window; one that has left it does not come back.
    fn enter(&mut self, number: u64, outcome: Outcome, corrected: bool, window_cells: usize) {
        if corrected {
            if let Some(entry) = self.window.iter_mut().find(|(n, _)| *n == number) {
                entry.1 = outcome;
            }
            return;
        }
        while self.window.len() >= window_cells {
            self.window.pop_front();
        }
        self.window.push_back((number, outcome));
    }

    pub fn running(&self) -> Running {
        let mut running = Running { cells: self.window.len(), ..Running::default() };
        if self.window.is_empty() {
            return running;
        }
        for (_, outcome) in &self.window {
            running.counts += outcome.counts;
            running.overkill += usize::from(outcome.is_overkill());
            running.escape += usize::from(outcome.is_escape());
            running.held += usize::from(outcome.verdict == VerdictKind::Hold);
        }
        (running.iou, running.pa, running.oii) = (running.counts.iou(), running.counts.pa(), running.counts.oii());
        running
    }

    pub fn recent(&self) -> Vec<RecentCell> {
        let cell = |c: &Remembered| RecentCell { number: c.number, verdict: c.verdict, crack_px: c.found.mask.count(), outcome: c.outcome };
        self.cells.iter().rev().map(cell).collect()
    }

    pub fn mask(&self, id: &CellId) -> Result<Arc<Mask>, ReviewError> {
        let cell = self.cells.iter().find(|c| c.number == id.number);
        cell.map(|c| c.found.mask.clone()).ok_or_else(|| self.unknown(id))
    }

    fn unknown(&self, id: &CellId) -> ReviewError {
        let numbers = || self.cells.iter().map(|c| c.number);
        ReviewError::UnknownCell { cell: id.clone(), oldest: numbers().min().unwrap_or(0), newest: numbers().max().unwrap_or(0) }
    }
}

impl Found {
    /// What of a true mask lies where the network looked.
    fn could_be_found(&self, truth: &Mask) -> Mask {
        let mut inside = truth.clone();
        for y in 0..truth.height_px() {
            let Span { start, end } = self.judged.get(y).copied().unwrap_or_default();
            let (start, end) = (usize::from(start).min(truth.width_px()), usize::from(end.max(start)));
            (0..start).chain(end..truth.width_px()).for_each(|x| inside.set(x, y, false));
        }
        inside
    }
}

fn size_differs(cell: &Mask, mask: &Mask) -> ReviewError {
    ReviewError::SizeDiffers {
        width_px: mask.width_px(),
        height_px: mask.height_px(),
        cell_width_px: cell.width_px(),
        cell_height_px: cell.height_px(),
    }
}
