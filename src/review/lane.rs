use super::{Found, ReviewError, Reviewed, Truth};
use crate::cell::{CellId, Disposition, Mask, Span, VerdictKind};
use crate::measure::Counts;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A cell's mask and verdict held against the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The network's pixels against the true ones, where it looked.
    pub counts: Counts,
    /// What became of the cell.
    pub disposition: Disposition,
    /// Whether the true mask has a crack pixel, be it where the network does not look.
    pub truly_cracked: bool,
    /// Whether it has one that was not found, be it where the network does not look.
    pub missed: bool,
}

impl Outcome {
    /// A cell without a crack was rejected, for cracks alone.
    pub fn is_overkill(&self) -> bool {
        self.disposition.verdict == VerdictKind::Reject && !self.disposition.by_corner && !self.truly_cracked
    }

    /// A cell was passed with a crack that was missed. One that was found, and that the recipe allows, makes no escape.
    pub fn is_escape(&self) -> bool {
        self.disposition.verdict == VerdictKind::Pass && self.missed
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
    /// See [`Outcome::is_overkill`].
    pub overkill: usize,
    /// See [`Outcome::is_escape`].
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
    disposition: Disposition,
}

/// One lane: the cells that can be judged, and what was told about those that were.
#[derive(Debug, Default)]
pub(super) struct LaneReview {
    cells: VecDeque<Remembered>,
    /// In the order in which they were first told about. The last ones are the window.
    told: VecDeque<(u64, Outcome)>,
}

impl LaneReview {
    pub fn remember(&mut self, number: u64, found: Found, disposition: Disposition, keep_cells: usize) {
        if let Some(known) = self.cells.iter_mut().find(|c| c.number == number) {
            (known.found, known.disposition) = (found, disposition);
            return;
        }
        while self.cells.len() >= keep_cells {
            self.cells.pop_front();
        }
        self.cells.push_back(Remembered { number, found, disposition });
    }

    pub fn recall(&mut self, number: u64, found: Found, disposition: Disposition, keep_cells: usize) {
        if self.cells.iter().any(|c| c.number == number) {
            return;
        }
        // The oldest is the first to go when the next cell comes.
        while self.cells.len() > keep_cells {
            self.cells.pop_front();
        }
        self.cells.push_front(Remembered { number, found, disposition });
    }

    pub fn truth(&mut self, id: &CellId, truth: &Truth, told_cells: usize) -> Result<Reviewed, ReviewError> {
        let cell = self.cells.iter().find(|c| c.number == id.number).ok_or_else(|| self.unknown(id))?;
        let found = cell.found.mask.count();
        let (counts, truly_cracked, missed) = match truth {
            Truth::MaskIsRight => (Counts { tp: found, ..Counts::default() }, found > 0, false),
            Truth::NoDefect => (Counts { fp: found, ..Counts::default() }, false, false),
            Truth::Mask(mask) => {
                let of = |truth: &Mask| Counts::of_masks(&cell.found.mask, truth).ok_or_else(|| size_differs(&cell.found.mask, mask));
                (of(&cell.found.could_be_found(mask))?, !mask.is_empty(), of(mask)?.fn_ > 0)
            }
        };
        let outcome = Outcome { counts, disposition: cell.disposition, truly_cracked, missed };
        Ok(Reviewed { outcome, replaced: self.enter(id.number, outcome, told_cells) })
    }

    /// Keeps an outcome, and returns the one that it replaces. A corrected cell keeps its place; one that has left the window does not
    /// come back.
    fn enter(&mut self, number: u64, outcome: Outcome, told_cells: usize) -> Option<Outcome> {
        if let Some((_, known)) = self.told.iter_mut().find(|(n, _)| *n == number) {
            return Some(std::mem::replace(known, outcome));
        }
        while self.told.len() >= told_cells {
            self.told.pop_front();
        }
        self.told.push_back((number, outcome));
        None
    }

    pub fn running(&self, window_cells: usize) -> Running {
        let mut running = Running::default();
        for (_, outcome) in self.told.iter().rev().take(window_cells) {
            running.cells += 1;
            running.counts += outcome.counts;
            running.overkill += usize::from(outcome.is_overkill());
            running.escape += usize::from(outcome.is_escape());
            running.held += usize::from(outcome.disposition.verdict == VerdictKind::Hold);
        }
        if running.cells > 0 {
            (running.iou, running.pa, running.oii) = (running.counts.iou(), running.counts.pa(), running.counts.oii());
        }
        running
    }

    pub fn recent(&self) -> Vec<RecentCell> {
        let told: HashMap<u64, Outcome> = self.told.iter().copied().collect();
        let cell = |c: &Remembered| RecentCell {
            number: c.number,
            verdict: c.disposition.verdict,
            crack_px: c.found.mask.count(),
            outcome: told.get(&c.number).copied(),
        };
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
