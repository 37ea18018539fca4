//! Tells that a lane is too slow for its belt.

use super::desk::ReadyCell;
use crate::cell::HoldReason;
use crate::throttle::{TELL_EVERY, Throttle};
use std::time::{Duration, Instant};

/// What a lane's log says of cells that were held because time ran out.
pub(super) struct TooSlow {
    told: Throttle,
    cells: u64,
    /// When to tell of a disk that has a verdict too late.
    pub disk_late: Throttle,
}

impl TooSlow {
    pub fn new() -> Self {
        Self { told: Throttle::new(TELL_EVERY), cells: 0, disk_late: Throttle::new(TELL_EVERY) }
    }

    /// Counts a cell that is held for `reason`; `judging` is how long its rules took, where they were applied. Every few seconds
    /// returns what is to be told: how many cells, what took so long, and the remedy.
    pub fn note(&mut self, reason: &HoldReason, cell: &ReadyCell, judging: Option<Duration>, now: Instant) -> Option<String> {
        if !matches!(reason, HoldReason::Deadline | HoldReason::Overload) {
            return None;
        }
        self.cells += 1;
        if !self.told.passes(now) {
            return None;
        }
        let cells = std::mem::take(&mut self.cells);
        Some(format!("too slow for the belt, {cells} cell(s) held ({reason}): {}", what_and_remedy(reason, cell, judging)))
    }
}

fn what_and_remedy(reason: &HoldReason, cell: &ReadyCell, judging: Option<Duration>) -> String {
    if let Some(judging) = judging {
        return format!("judging the mask took {:.0} ms; look at the mask, raise `threshold` in the recipe, or `deadline_ms`", ms(judging));
    }
    let row = match cell.last_row {
        Some((waited, took)) => format!("the last row waited {:.0} ms, the network took {:.0} ms", ms(waited), ms(took)),
        None => "no row of the last one has come back from the network".to_owned(),
    };
    let more_time = if *reason == HoldReason::Deadline { " or raise `deadline_ms`" } else { "" };
    format!(
        "{row}; give the network a GPU, more CPUs (`network.threads`, other programs) or a smaller model{more_time}; \
         `hairline bench` tells what this machine can do"
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
