use std::time::Duration;

/// Pauses between attempts: each twice as long as the one before, up to a longest one.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first_ms` (at least 1 ms) and never exceeds `longest_ms`.
    pub(super) fn new(first_ms: u64, longest_ms: u64) -> Self {
        let first = Duration::from_millis(first_ms.max(1));
        Self { first, longest: Duration::from_millis(longest_ms).max(first), next: first }
    }

    /// The pause before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// After a success: the next pause is the first one again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(100, 700);
        let pauses: Vec<u128> = (0..5).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 700, 700]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 100);
    }
}
