//! What a lane's log says of lost lines.

use crate::cell::LossCause;
use crate::throttle::{TELL_EVERY, Throttle};
use std::time::Instant;

/// Tells losses, every few seconds at most, and how many lines were lost since it did so before.
pub(super) struct LossLog {
    throttle: Throttle,
    untold: Option<Losses>,
}

/// Losses from the first line to the last, with lines between that were not lost.
#[derive(Debug, PartialEq)]
struct Losses {
    first_line: u64,
    last_line: u64,
    lines: u64,
    /// Of the last of them.
    cause: LossCause,
}

impl LossLog {
    pub fn new() -> Self {
        Self { throttle: Throttle::new(TELL_EVERY), untold: None }
    }

    /// So many lines are missing from `first_line` on.
    pub fn note(&mut self, first_line: u64, lines: u64, cause: LossCause) {
        let last_line = first_line.saturating_add(lines.saturating_sub(1));
        let before = self.untold.take();
        let (first_line, untold) = before.map_or((first_line, 0), |before| (before.first_line, before.lines));
        self.untold = Some(Losses { first_line, last_line, lines: untold.saturating_add(lines), cause });
    }

    /// Tells what of `lane` is untold, once it is time.
    pub fn tell_due(&mut self, lane: &str) {
        if let Some(losses) = self.take_due(Instant::now()) {
            losses.tell(lane);
        }
    }

    /// Tells it now.
    pub fn tell(&mut self, lane: &str) {
        if let Some(losses) = self.untold.take() {
            losses.tell(lane);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<Losses> {
        let throttle = &mut self.throttle;
        self.untold.take_if(|_| throttle.passes(now))
    }
}

impl Losses {
    fn tell(&self, lane: &str) {
        let Self { first_line, last_line, lines, cause } = self;
        tracing::warn!(lane, first_line, last_line, ?cause, lines_since_told = lines, "lines lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_soon_after_a_told_loss_is_told_though_no_more_is_lost() {
        let (mut log, now) = (LossLog::new(), Instant::now());
        let cause = LossCause::FramesMissing;
        log.note(100, 10, cause);
        assert_eq!(log.take_due(now), Some(Losses { first_line: 100, last_line: 109, lines: 10, cause }));
        log.note(200, 10, cause);
        log.note(300, 1, cause);
        assert_eq!(log.take_due(now + TELL_EVERY / 2), None);
        assert_eq!(log.take_due(now + TELL_EVERY), Some(Losses { first_line: 200, last_line: 300, lines: 11, cause }));
        assert_eq!(log.take_due(now + 2 * TELL_EVERY), None);
    }
}
