use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Whether the station lives and whether it is ready, with the reasons.
///
/// *Ready* is a latch: it opens once the network is ready and every lane has its camera,
/// sending or idle, and closes when the station begins to stop. A camera that is lost later is
/// told by the metrics and does not close it.
///
/// *Live* is progress: every thread of the corridor, from the stitcher to the feed, holds a [`Pulse`] and beats it at each turn of
/// its loop, idle turns included. One that has not beaten for `stall_after` makes the station not
/// live, and then nobody should feed the watchdog. Cameras have none: one that hangs is told by the metrics.
#[derive(Debug)]
pub struct Health {
    stall_after: Duration,
    started: Instant,
    warm: AtomicBool,
    stopping: AtomicBool,
    lanes: Vec<(Arc<str>, AtomicBool)>,
    workers: Mutex<Vec<Worker>>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    last_beat_ms: Arc<AtomicU64>,
    died: bool,
}

/// A yes or no and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What stands against it; empty means yes.
    pub reasons: Vec<String>,
}

impl Report {
    /// Whether nothing stands against it.
    pub fn is_ok(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// One thread's sign of life. Dropping it ends the thread's duty to beat; dropped by a panic, it
/// makes the station not live for good.
#[derive(Debug)]
pub struct Pulse {
    last_beat_ms: Arc<AtomicU64>,
    health: Weak<Health>,
    started: Instant,
}

impl Health {
    /// Health of a station with these lanes, whose threads may be silent for `stall_after` at most
    /// (longer than the longest inference). systemd ends it `WatchdogSec` after that.
    pub fn new(lanes: &[Arc<str>], stall_after: Duration) -> Arc<Self> {
        Arc::new(Self {
            stall_after,
            started: Instant::now(),
            warm: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            lanes: lanes.iter().map(|lane| (lane.clone(), AtomicBool::new(false))).collect(),
            workers: Mutex::default(),
        })
    }

    /// Enters a thread that must beat from now on; `name` stands in the reasons, such as `lane lane-1`.
    pub fn pulse(self: &Arc<Self>, name: impl Into<String>) -> Pulse {
        let last_beat_ms = Arc::new(AtomicU64::new(self.now_ms()));
        self.workers().push(Worker { name: name.into(), last_beat_ms: last_beat_ms.clone(), died: false });
        Pulse { last_beat_ms, health: Arc::downgrade(self), started: self.started }
    }

    /// The network is loaded and compiled, and has run where its first run takes longer than the others (CUDA).
    pub fn warmed_up(&self) {
        self.warm.store(true, Relaxed);
    }

    /// A lane's camera is there: it has sent a block, or is connected and the belt stands.
    pub fn camera_ready(&self, lane: &str) {
        for (_, ready) in self.lanes.iter().filter(|(name, _)| &**name == lane) {
            ready.store(true, Relaxed);
        }
    }

    /// The station drains: not ready from now on.
    pub fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Whether every thread makes progress; the watchdog is fed while this is ok.
    pub fn live(&self) -> Report {
        let now_ms = self.now_ms();
        let stall_ms = u64::try_from(self.stall_after.as_millis()).unwrap_or(u64::MAX);
        let reason = |worker: &Worker| {
            let silent_ms = now_ms.saturating_sub(worker.last_beat_ms.load(Relaxed));
            if worker.died {
                return Some(format!("thread `{}` died", worker.name));
            }
            let stalled = silent_ms > stall_ms;
            stalled.then(|| format!("thread `{}` has made no progress for {:.1} s", worker.name, silent_ms as f64 / 1e3))
        };
        Report { reasons: self.workers().iter().filter_map(reason).collect() }
    }

    /// Whether cells that come now will be judged.
    pub fn ready(&self) -> Report {
        let mut reasons = Vec::new();
        if self.stopping.load(Relaxed) {
            reasons.push("the station is stopping".to_owned());
        }
        if !self.warm.load(Relaxed) {
            reasons.push("the network is not ready yet".to_owned());
        }
        for (lane, _) in self.lanes.iter().filter(|(_, ready)| !ready.load(Relaxed)) {
            reasons.push(format!("lane `{lane}` has seen nothing of its camera yet"));
        }
        Report { reasons }
    }

    fn now_ms(&self) -> u64 {
        elapsed_ms(self.started)
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The thread has made a turn.
    pub fn beat(&self) {
        self.last_beat_ms.store(elapsed_ms(self.started), Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let Some(health) = self.health.upgrade() else { return };
        let mut workers = health.workers();
        let Some(place) = workers.iter().position(|w| Arc::ptr_eq(&w.last_beat_ms, &self.last_beat_ms)) else { return };
        if std::thread::panicking() {
            workers[place].died = true;
        } else {
            workers.remove(place);
        }
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ok() {
            return f.write_str("yes");
        }
        write!(f, "no: {}", self.reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Arc<Health> {
        Health::new(&["a".into(), "b".into()], Duration::from_secs(3600))
    }

    #[test]
    fn ready_needs_the_warm_up_and_every_camera_and_ends_with_stopping() {
        let health = health();
        assert_eq!(health.ready().reasons.len(), 3);
        health.warmed_up();
        health.camera_ready("a");
        health.camera_ready("unknown");
        assert_eq!(health.ready().reasons, ["lane `b` has seen nothing of its camera yet"]);
        health.camera_ready("b");
        assert!(health.ready().is_ok());
        health.stopping();
        assert_eq!(health.ready().reasons, ["the station is stopping"]);
    }

    #[test]
    fn a_silent_thread_is_named_until_it_beats_again_or_ends() {
        let health = Health::new(&[], Duration::ZERO);
        let pulse = health.pulse("stitch a");
        while health.live().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(health.live().to_string().starts_with("no: thread `stitch a` has made no progress for"));
        drop(pulse);
        assert!(health.live().is_ok());
    }

    #[test]
    fn a_thread_that_panics_is_never_forgotten() {
        let health = health();
        let pulse = health.pulse("judge a");
        let died = std::thread::spawn(move || {
            pulse.beat();
            let _held = pulse;
            std::panic::resume_unwind(Box::new("provoked"));
        });
        assert!(died.join().is_err());
        assert_eq!(health.live().reasons, ["thread `judge a` died"]);
    }
}
