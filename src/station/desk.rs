//! The verdict desk of a lane: a pure state machine that waits for what belongs to each cell and lets
//! the cells go in their order, each once, by its deadline.

use super::queue::{DeskEvent, InspectedRow};
use crate::cell::{CellEnd, CellId, HoldReason, Moment, ProbabilityRow, Spans, Squeeze, TILES_PER_SIDE};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Cells whose verdict went out without the network; their rows are awaited to be kept, not published.
pub(super) const LATE_CELLS: usize = 16;

/// A row as the network saw it and what it said.
pub(super) struct SeenRow {
    pub pixels: Arc<[u16]>,
    pub probabilities: Arc<[u8]>,
    pub spans: Spans,
}

/// Everything about a cell whose time has come.
pub(super) struct ReadyCell {
    pub id: CellId,
    pub end: CellEnd,
    /// Those that have come back; all of them where the cell can be judged.
    pub rows: [Option<SeenRow>; TILES_PER_SIDE],
    /// Why it cannot.
    pub hold: Option<HoldReason>,
    /// When the last row came back from the network.
    pub inspected_at: Option<Instant>,
    /// How long the last row waited for the network, and how long that took.
    pub last_row: Option<(Duration, Duration)>,
}

impl ReadyCell {
    /// Its rows, where none is missing.
    pub fn whole(&self) -> Option<[&SeenRow; TILES_PER_SIDE]> {
        match &self.rows {
            [Some(a), Some(b), Some(c)] => Some([a, b, c]),
            _ => None,
        }
    }
}

struct Pending {
    id: CellId,
    rows: [Option<SeenRow>; TILES_PER_SIDE],
    hold: Option<HoldReason>,
    end: Option<CellEnd>,
    deadline: Option<Instant>,
    inspected_at: Option<Instant>,
    last_row: Option<(Duration, Duration)>,
}

impl Pending {
    fn new(id: CellId) -> Self {
        Self { id, rows: [None, None, None], hold: None, end: None, deadline: None, inspected_at: None, last_row: None }
    }

    fn complete(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }

    fn put(&mut self, inspected: InspectedRow, now: Instant) {
        match inspected.result {
            Ok(ProbabilityRow { values, spans, .. }) => {
                if let Some(slot) = self.rows.get_mut(usize::from(inspected.row)) {
                    *slot = Some(SeenRow { pixels: inspected.pixels, probabilities: values, spans });
                }
            }
            Err(detail) => self.hold = self.hold.take().or(Some(HoldReason::Network { detail })),
        }
        self.inspected_at = Some(now);
        self.last_row = Some((inspected.waited, inspected.took));
    }

    fn ready(self, end: CellEnd) -> ReadyCell {
        let Self { id, rows, hold, inspected_at, last_row, .. } = self;
        ReadyCell { id, end, rows, hold, inspected_at, last_row }
    }
}

/// See the module.
pub(super) struct Desk {
    deadline: Option<Duration>,
    pending: VecDeque<Pending>,
    late: VecDeque<Pending>,
    lane_over: bool,
}

impl Desk {
    /// `deadline` is counted from a cell's trailing edge; without one cells wait as long as they need.
    pub fn new(deadline: Option<Duration>) -> Self {
        Self { deadline, pending: VecDeque::new(), late: VecDeque::new(), lane_over: false }
    }

    /// Takes in what concerns cells; loss and blindness concern the lane and are not for the desk.
    pub fn push(&mut self, event: DeskEvent, now: Instant) {
        match event {
            DeskEvent::Begun { cell } => self.pending.push_back(Pending::new(cell)),
            DeskEvent::Inspected(row) => {
                let cell = self.pending.iter_mut().chain(self.late.iter_mut()).find(|p| p.id == row.cell);
                if let Some(pending) = cell {
                    pending.put(row, now);
                }
            }
            DeskEvent::Refused { cell, reason } => {
                if let Some(pending) = self.pending.iter_mut().find(|p| p.id == cell) {
                    pending.hold = pending.hold.take().or(Some(reason));
                }
            }
            DeskEvent::Ended(end) => {
                let deadline = self.deadline.and_then(|after| end.at.instant.checked_add(after));
                if let Some(pending) = self.pending.iter_mut().find(|p| p.id == end.cell) {
                    pending.deadline = deadline;
                    pending.hold = pending.hold.take().or_else(|| end.hold.clone());
                    pending.end = Some(end);
                }
            }
            DeskEvent::LaneOver => self.lane_over = true,
            DeskEvent::Lost { .. } | DeskEvent::Blind { .. } => {}
        }
    }

    /// When the desk must be asked again even if nothing comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.front().and_then(|p| p.deadline)
    }

    /// The next cell whose time has come: judged, held, or out of time. In order, each once.
    pub fn take_ready(&mut self, now: Instant) -> Option<ReadyCell> {
        let front = self.pending.front_mut()?;
        let end = front.end.as_ref()?;
        if front.hold.is_none() {
            // What is complete but late is late all the same: the gate has closed.
            if front.deadline.is_some_and(|deadline| now >= deadline) {
                front.hold = Some(HoldReason::Deadline);
            } else if !front.complete() {
                return None;
            }
        }
        let end = end.clone();
        let pending = self.pending.pop_front()?;
        if pending.hold == Some(HoldReason::Deadline) {
            self.await_late(&pending, &end);
        }
        Some(pending.ready(end))
    }

    /// Remembers a cell that went out without the network's word, so that the word can be kept.
    fn await_late(&mut self, gone: &Pending, end: &CellEnd) {
        if self.late.len() == LATE_CELLS {
            self.late.pop_front();
        }
        let mut late = Pending::new(gone.id.clone());
        late.end = Some(end.clone());
        for (slot, row) in late.rows.iter_mut().zip(&gone.rows) {
            *slot =
                row.as_ref().map(|r| SeenRow { pixels: r.pixels.clone(), probabilities: r.probabilities.clone(), spans: r.spans.clone() });
        }
        self.late.push_back(late);
    }

    /// A cell that was held at its deadline and has now been seen by the network after all.
    pub fn take_late(&mut self) -> Option<ReadyCell> {
        let position = self.late.iter().position(Pending::complete)?;
        let pending = self.late.remove(position)?;
        let end = pending.end.clone()?;
        Some(pending.ready(end))
    }

    /// Holds everything that is still waiting; cells that have not passed end `at`.
    pub fn hold_rest(&mut self, reason: &HoldReason, at: Moment) {
        for pending in self.pending.iter_mut().filter(|p| p.end.is_none() || !p.complete()) {
            pending.hold = pending.hold.take().or_else(|| Some(reason.clone()));
            pending.end.get_or_insert_with(|| CellEnd {
                cell: pending.id.clone(),
                at,
                camera_time_ns: None,
                encoder_count: None,
                geometry: None,
                squeeze: Squeeze::default(),
                missing_corners: Vec::new(),
                hold: None,
                doubt: None,
                truth: None,
            });
        }
    }

    /// Whether the lane is over and every cell has gone.
    pub fn is_done(&self) -> bool {
        self.lane_over && self.pending.is_empty()
    }

    /// Cells that wait for their verdict.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::TileRow;

    fn id(number: u64) -> CellId {
        CellId { lane: Arc::from("a"), number }
    }

    fn end(number: u64, at: Moment, hold: Option<HoldReason>) -> DeskEvent {
        DeskEvent::Ended(CellEnd {
            cell: id(number),
            at,
            camera_time_ns: None,
            encoder_count: None,
            geometry: None,
            squeeze: Squeeze::default(),
            missing_corners: Vec::new(),
            hold,
            doubt: None,
            truth: None,
        })
    }

    fn row(number: u64, row: u8) -> DeskEvent {
        let spans: Spans = Arc::from(vec![Default::default(); 448]);
        let values: Arc<[u8]> = Arc::from(vec![0; TileRow::PIXELS]);
        let result = Ok(ProbabilityRow { cell: id(number), row, values, spans });
        let pixels = Arc::from(vec![0; 1]);
        DeskEvent::Inspected(InspectedRow {
            cell: id(number),
            row,
            pixels,
            result,
            together: 1,
            waited: Duration::ZERO,
            took: Duration::ZERO,
        })
    }

    #[test]
    fn cells_leave_in_order_however_their_rows_come() {
        let (mut desk, at) = (Desk::new(None), Moment::now());
        for number in 1..=2 {
            desk.push(DeskEvent::Begun { cell: id(number) }, at.instant);
            desk.push(end(number, at, None), at.instant);
        }
        for r in 0..3 {
            desk.push(row(2, r), at.instant);
        }
        assert!(desk.take_ready(at.instant).is_none(), "cell 1 is still with the network");
        for r in [2, 0, 1] {
            desk.push(row(1, r), at.instant);
        }
        let gone: Vec<u64> = std::iter::from_fn(|| desk.take_ready(at.instant)).map(|c| c.id.number).collect();
        assert_eq!(gone, [1, 2]);
    }

    #[test]
    fn a_late_network_means_hold_and_its_word_is_kept_once() {
        let (mut desk, at) = (Desk::new(Some(Duration::from_millis(100))), Moment::now());
        desk.push(DeskEvent::Begun { cell: id(1) }, at.instant);
        desk.push(row(1, 0), at.instant);
        desk.push(end(1, at, None), at.instant);
        assert!(desk.take_ready(at.instant + Duration::from_millis(99)).is_none());
        assert_eq!(desk.next_deadline(), Some(at.instant + Duration::from_millis(100)));
        let held = desk.take_ready(at.instant + Duration::from_millis(100)).expect("its deadline has come");
        assert_eq!(held.hold, Some(HoldReason::Deadline));
        assert!(desk.take_ready(at.instant + Duration::from_secs(9)).is_none(), "it left once");
        desk.push(row(1, 1), at.instant);
        assert!(desk.take_late().is_none());
        desk.push(row(1, 2), at.instant);
        assert_eq!(desk.take_late().map(|c| (c.id.number, c.whole().is_some())), Some((1, true)));
        assert!(desk.take_late().is_none());
    }

    #[test]
    fn a_complete_cell_that_is_late_is_held_and_judged_for_the_record() {
        let (mut desk, at) = (Desk::new(Some(Duration::from_millis(100))), Moment::now());
        desk.push(DeskEvent::Begun { cell: id(1) }, at.instant);
        for r in 0..3 {
            desk.push(row(1, r), at.instant);
        }
        desk.push(end(1, at, None), at.instant);
        let late = at.instant + Duration::from_millis(101);
        assert_eq!(desk.take_ready(late).and_then(|c| c.hold), Some(HoldReason::Deadline));
        assert_eq!(desk.take_late().map(|c| (c.whole().is_some(), c.hold)), Some((true, None)));
    }

    #[test]
    fn a_held_cell_still_waits_for_its_trailing_edge() {
        let (mut desk, at) = (Desk::new(None), Moment::now());
        desk.push(DeskEvent::Begun { cell: id(1) }, at.instant);
        desk.push(DeskEvent::Refused { cell: id(1), reason: HoldReason::Overload }, at.instant);
        assert!(desk.take_ready(at.instant).is_none());
        desk.push(end(1, at, Some(HoldReason::LinesLost { lines: 3 })), at.instant);
        assert_eq!(desk.take_ready(at.instant).and_then(|c| c.hold), Some(HoldReason::Overload), "the first reason stands");
    }

    #[test]
    fn what_is_on_its_way_at_the_end_is_held_not_lost() {
        let (mut desk, at) = (Desk::new(None), Moment::now());
        desk.push(DeskEvent::Begun { cell: id(1) }, at.instant);
        desk.push(DeskEvent::Begun { cell: id(2) }, at.instant);
        desk.push(DeskEvent::LaneOver, at.instant);
        assert!(!desk.is_done());
        desk.hold_rest(&HoldReason::Restart, at);
        let gone: Vec<_> = std::iter::from_fn(|| desk.take_ready(at.instant)).map(|c| (c.id.number, c.hold)).collect();
        assert_eq!(gone, [(1, Some(HoldReason::Restart)), (2, Some(HoldReason::Restart))]);
        assert!(desk.is_done());
    }
}
