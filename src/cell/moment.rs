use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time on both of the host's clocks: the wall clock, which is told to others, and the
/// monotonic one, which deadlines are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the Unix epoch, host's wall clock.
    pub unix_ns: i64,
    /// The same moment on the host's monotonic clock.
    pub instant: Instant,
}

impl Moment {
    /// This very moment.
    pub fn now() -> Self {
        let unix_ns = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        Self { unix_ns, instant: Instant::now() }
    }

    /// The moment `ns` nanoseconds earlier (later where `ns` is negative).
    pub fn earlier_by_ns(self, ns: i64) -> Self {
        let shift = Duration::from_nanos(ns.unsigned_abs());
        let instant = if ns >= 0 { self.instant.checked_sub(shift) } else { self.instant.checked_add(shift) };
        Self { unix_ns: self.unix_ns.saturating_sub(ns), instant: instant.unwrap_or(self.instant) }
    }
}
