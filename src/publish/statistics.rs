use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What a publisher has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Verdicts sent.
    pub verdicts: u64,
    /// Masks sent.
    pub masks: u64,
    /// Status and blind messages sent.
    pub statuses: u64,
    /// Different topics that somebody listens to now.
    pub topics: i64,
    /// Requests understood.
    pub requests: u64,
    /// Requests and subscriptions that were not.
    pub bad_requests: u64,
    /// Verdicts sent again by replays.
    pub replayed: u64,
    /// Messages that ZeroMQ refused; not 0 is a fault.
    pub failed: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub verdicts: AtomicU64,
    pub masks: AtomicU64,
    pub statuses: AtomicU64,
    pub topics: AtomicI64,
    pub requests: AtomicU64,
    pub bad_requests: AtomicU64,
    pub replayed: AtomicU64,
    pub failed: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            verdicts: read(&self.verdicts),
            masks: read(&self.masks),
            statuses: read(&self.statuses),
            topics: self.topics.load(Ordering::Relaxed),
            requests: read(&self.requests),
            bad_requests: read(&self.bad_requests),
            replayed: read(&self.replayed),
            failed: read(&self.failed),
        }
    }
}
