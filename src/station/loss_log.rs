//! What a lane's log says of lost lines.

use crate::cell::LossCause;
use crate::throttle::Throttle;
use std::time::{Duration, Instant};

/// How often losses that go on are told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Tells losses, every few seconds at most, and how many lines were lost since it did so before.
pub(super) struct LossLog {
    told: Throttle,
    lines: u64,
}

impl LossLog {
    pub fn new() -> Self {
        Self { told: Throttle::new(TELL_EVERY), lines: 0 }
    }

    /// So many lines of `lane` are missing from `first_line` on.
    pub fn note(&mut self, lane: &str, first_line: u64, lines: u64, cause: LossCause) {
        self.lines = self.lines.saturating_add(lines);
        if self.told.passes(Instant::now()) {
            let last_line = first_line.saturating_add(lines.saturating_sub(1));
            let lines_since_told = std::mem::take(&mut self.lines);
            tracing::warn!(lane, first_line, last_line, ?cause, lines_since_told, "lines lost");
        }
    }
}
