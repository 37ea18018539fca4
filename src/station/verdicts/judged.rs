//! What judging a cell has come to, and how long its stages took.

use crate::cell::{HoldReason, Judgement, Verdict};
use crate::publish::wire::LatencyMs;
use crate::station::desk::ReadyCell;
use crate::telemetry::Stage;
use std::time::{Duration, Instant};

pub(super) struct Judged {
    /// Where there was something to judge, and time.
    pub judgement: Option<Judgement>,
    /// Why the cell is held.
    pub hold: Option<HoldReason>,
    /// The judgement that came after the deadline.
    pub late: Option<Judgement>,
    /// That of the rows that were there, of a cell on hold that would be let through.
    pub partial: Option<Judgement>,
    pub taken_at: Instant,
    pub judged_at: Instant,
}

impl Judged {
    pub fn verdict(&self) -> Verdict {
        match (&self.judgement, &self.hold) {
            (_, Some(reason)) => Verdict::Hold(reason.clone()),
            (Some(judgement), None) => judgement.verdict.clone(),
            (None, None) => Verdict::Hold(HoldReason::Network { detail: "rows are missing".into() }),
        }
    }

    /// What rejects a cell all the same that is on hold.
    pub fn cracked_on_hold(&self) -> Option<&Judgement> {
        [&self.late, &self.partial].into_iter().flatten().find(|judgement| judgement.verdict == Verdict::Reject)
    }

    /// When each stage was done with the cell, from its trailing edge on; its message was made at `made_at`.
    pub fn latency_ms(&self, cell: &ReadyCell, made_at: Instant) -> LatencyMs {
        let since = |at: Instant| since_trailing_edge(cell, at).as_secs_f64() * 1000.0;
        LatencyMs {
            stitch: stitched_at(cell).map(since),
            inspect: cell.inspected_at.map(since),
            judge: self.judgement.is_some().then(|| since(self.judged_at)),
            total: Some(since(made_at)),
        }
    }

    /// What the cell spent in each stage; its message was made, recorded and published at these times.
    pub fn spent(&self, cell: &ReadyCell, [made_at, recorded_at, published_at]: [Instant; 3]) -> impl Iterator<Item = (Stage, Duration)> {
        let (waited, took) = cell.last_row.unzip();
        let stages = [
            (Stage::Stitch, stitched_at(cell).map(|at| since_trailing_edge(cell, at))),
            (Stage::Wait, waited),
            (Stage::Inspect, took),
            (Stage::Judge, self.judgement.is_some().then(|| self.judged_at - self.taken_at)),
            (Stage::Record, Some(recorded_at - made_at)),
            (Stage::Publish, Some(published_at - recorded_at)),
            (Stage::Total, Some(since_trailing_edge(cell, published_at))),
        ];
        stages.into_iter().filter_map(|(stage, spent)| Some((stage, spent?)))
    }
}

pub(super) fn since_trailing_edge(cell: &ReadyCell, at: Instant) -> Duration {
    at.saturating_duration_since(cell.end.at.instant)
}

/// When the cell's last row was there, where it was inspected.
fn stitched_at(cell: &ReadyCell) -> Option<Instant> {
    cell.inspected_at.zip(cell.last_row).and_then(|(at, (waited, took))| at.checked_sub(waited + took))
}
