//! Telling what goes on and on without filling the log with it.

use std::time::{Duration, Instant};

/// How often the log tells what goes on.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(10);

/// Lets what is told again and again through once in so long, the first time at once.
#[derive(Debug)]
pub(crate) struct Throttle {
    every: Duration,
    last: Option<Instant>,
}

impl Throttle {
    /// Once in `every`.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Whether to tell it now; if so, it counts as told.
    pub(crate) fn passes(&mut self, now: Instant) -> bool {
        let passes = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if passes {
            self.last = Some(now);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_at_once_and_then_once_in_so_long() {
        let (mut throttle, start) = (Throttle::new(Duration::from_secs(10)), Instant::now());
        let passed: Vec<u64> = (0..30).filter(|s| throttle.passes(start + Duration::from_secs(*s))).collect();
        assert_eq!(passed, [0, 10, 20]);
        // Rare enough, it is told every time.
        assert!(throttle.passes(start + Duration::from_secs(100)) && throttle.passes(start + Duration::from_secs(110)));
    }
}
