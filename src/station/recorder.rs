//! The recorder thread: the only writer of the ledger, so that a slow disk delays a cell at most to
//! its deadline.

use crate::cell::Moment;
use crate::ledger::{Entry, Ledger, LedgerError};
use crate::telemetry::{Metrics, Pulse};
use crate::throttle::{TELL_EVERY, Throttle};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Verdicts, and as many blind times, that wait for a disk that does not take them; older ones are given up and counted.
const UNWRITTEN: usize = 1000;
/// Entries that may wait for the thread: behind a disk that hangs each unwritten verdict is there twice, as [`Job::Confirm`] and as
/// [`Job::Later`].
const QUEUE: usize = 2 * UNWRITTEN;
/// Entries written in one go to a disk that works again, so that verdicts of now do not wait long behind them.
const AT_A_TIME: usize = 16;
const TICK: Duration = Duration::from_millis(200);
/// How often old records are looked for once none is left.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How long after the start none is removed: by then a clock that was wrong at boot is right.
const PRUNE_AFTER: Duration = Duration::from_secs(600);
/// How long a cell without a deadline waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

enum Job {
    /// A verdict that wants to be published; skipped where it was given up before its turn.
    Confirm { entry: Box<Entry>, given_up: Arc<AtomicBool>, done: Sender<bool> },
    /// A verdict that was published without the disk's confirmation: written when the disk takes it.
    Later(Box<Entry>),
    /// What the network said too late.
    Late { lane: Arc<str>, number: u64, header: Vec<u8> },
    /// Time in which the lane saw nothing.
    Blind(BlindTime),
    /// The lane's camera was there at this time.
    Seen { lane: Arc<str>, unix_ns: i64 },
}

struct BlindTime {
    lane: Arc<str>,
    from_unix_ns: i64,
    to_unix_ns: i64,
    reason: String,
    header: Vec<u8>,
}

impl Job {
    fn lane(&self) -> Arc<str> {
        match self {
            Self::Confirm { entry, .. } | Self::Later(entry) => entry.lane.clone(),
            Self::Blind(time) => time.lane.clone(),
            Self::Late { lane, .. } | Self::Seen { lane, .. } => lane.clone(),
        }
    }

    /// For people.
    fn what(&self) -> String {
        match self {
            Self::Confirm { entry, .. } | Self::Later(entry) => format!("the verdict on cell {}", entry.number),
            Self::Late { number, .. } => format!("the late result of cell {number}"),
            Self::Blind(time) => format!("a blind time ({})", time.reason),
            Self::Seen { .. } => "that the camera was there".into(),
        }
    }
}

/// Hands entries to the recorder thread.
#[derive(Clone)]
pub(super) struct Recorder {
    jobs: Sender<Job>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Starts the thread. It ends once every `Recorder` is dropped and all entries are written.
    pub fn start(ledger: Arc<Ledger>, run: String, metrics: Arc<Metrics>, pulse: Pulse) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = bounded(QUEUE);
        let worker = Worker::new(ledger, run, metrics.clone(), pulse);
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || worker.run(&queue))?;
        Ok((Self { jobs, metrics }, thread))
    }

    /// One whose disk takes nothing.
    #[cfg(test)]
    pub fn refusing(metrics: Arc<Metrics>) -> Self {
        Self { jobs: bounded(0).0, metrics }
    }

    /// One whose disk takes for ever.
    #[cfg(test)]
    pub fn hanging(metrics: Arc<Metrics>) -> Self {
        let (jobs, queue) = bounded(QUEUE);
        std::mem::forget(queue);
        Self { jobs, metrics }
    }

    /// Whether `entry` is on disk by `deadline`. If not, publish something else and give that to
    /// [`later`](Self::later): it takes the entry's place whenever the disk works again.
    pub fn confirm(&self, entry: Entry, deadline: Option<Instant>) -> bool {
        let (done, answer) = bounded(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let deadline = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let job = Job::Confirm { entry: Box::new(entry), given_up: given_up.clone(), done };
        if self.jobs.send_deadline(job, deadline).is_err() {
            return false;
        }
        match answer.recv_deadline(deadline) {
            Ok(written) => written,
            Err(_) => {
                given_up.store(true, Ordering::Release);
                false
            }
        }
    }

    /// Keeps what was published without the disk's confirmation until the disk takes it.
    pub fn later(&self, entry: Entry) {
        self.try_send(Job::Later(Box::new(entry)));
    }

    /// Keeps what the network said too late.
    pub fn late(&self, lane: Arc<str>, number: u64, header: Vec<u8>) {
        self.try_send(Job::Late { lane, number, header });
    }

    /// Keeps a time in which the lane saw nothing.
    pub fn blind(&self, lane: Arc<str>, from_unix_ns: i64, to_unix_ns: i64, reason: String, header: Vec<u8>) {
        self.try_send(Job::Blind(BlindTime { lane, from_unix_ns, to_unix_ns, reason, header }));
    }

    /// Notes that the lane's camera was there, so that a later start knows since when it was blind.
    pub fn seen(&self, lane: Arc<str>, unix_ns: i64) {
        self.try_send(Job::Seen { lane, unix_ns });
    }

    /// These never wait: behind a disk that hangs they are told and dropped rather than stop the line.
    fn try_send(&self, job: Job) {
        if let Err(lost) = self.jobs.try_send(job) {
            let job = lost.into_inner();
            let (lane, what) = (job.lane(), job.what());
            self.metrics.ledger_failure(&lane);
            tracing::error!(%lane, "the ledger does not keep up: {what} will not be in it; check the disk under `station.data_dir`");
        }
    }
}

struct Worker {
    ledger: Arc<Ledger>,
    run: String,
    metrics: Arc<Metrics>,
    pulse: Pulse,
    unwritten: VecDeque<Entry>,
    blind: VecDeque<BlindTime>,
    retry_at: Instant,
    prune_at: Instant,
    make_room_at: Instant,
    /// Whether that is why the last try failed.
    disk_is_full: bool,
    failures: Throttle,
}

impl Worker {
    fn new(ledger: Arc<Ledger>, run: String, metrics: Arc<Metrics>, pulse: Pulse) -> Self {
        let now = Instant::now();
        Self {
            ledger,
            run,
            metrics,
            pulse,
            unwritten: VecDeque::new(),
            blind: VecDeque::new(),
            retry_at: now,
            prune_at: now + PRUNE_AFTER,
            make_room_at: now + PRUNE_AFTER,
            disk_is_full: false,
            failures: Throttle::new(TELL_EVERY),
        }
    }

    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            self.pulse.beat();
            match queue.recv_timeout(TICK) {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // What can wait has its turn between two verdicts, also on a line that never pauses.
            if queue.is_empty() {
                self.catch_up(Instant::now());
            }
        }
        while self.retry() && self.is_behind() {}
        if self.is_behind() {
            tracing::error!(verdicts = self.unwritten.len(), blind_times = self.blind.len(), "not all could be written before the end");
        }
    }

    fn is_behind(&self) -> bool {
        !self.unwritten.is_empty() || !self.blind.is_empty()
    }

    /// One step of what has been left behind: what the disk refused, then records that are too old.
    fn catch_up(&mut self, now: Instant) {
        if self.is_behind() {
            if now >= self.retry_at && !self.retry() {
                self.retry_at = now + TICK;
                // It takes verdicts again once old ones have made room.
                if self.disk_is_full && now >= self.make_room_at && !self.prune() {
                    self.make_room_at = now + TELL_EVERY;
                }
            }
        } else if now >= self.prune_at {
            self.prune_at = now + if self.prune() { TICK } else { PRUNE_EVERY };
        }
    }

    /// Removes some records that are too old; whether there were any.
    fn prune(&self) -> bool {
        self.ledger.prune(Moment::now().unix_ns).map(|removed| removed > 0).unwrap_or_else(|e| {
            tracing::error!("old records could not be removed: {e}");
            false
        })
    }

    fn work(&mut self, job: Job) {
        let lane = job.lane();
        let told = match job {
            Job::Confirm { entry, given_up, done } => {
                if given_up.load(Ordering::Acquire) {
                    return;
                }
                let result = self.ledger.record(&entry);
                let _ = done.send(result.is_ok());
                result
            }
            Job::Later(entry) => {
                if self.unwritten.len() == UNWRITTEN
                    && let Some(given_up) = self.unwritten.pop_front()
                {
                    self.metrics.ledger_failure(&given_up.lane);
                    tracing::error!(lane = %given_up.lane, number = given_up.number, "a verdict is given up: it will not be in the ledger");
                }
                self.unwritten.push_back(*entry);
                // Before what follows in the queue, which may be about this very verdict.
                return self.catch_up(Instant::now());
            }
            Job::Late { lane, number, header } => self.ledger.note_late(&self.run, &lane, number, &header),
            Job::Blind(time) => {
                if self.blind.len() == UNWRITTEN {
                    self.blind.pop_front();
                    self.metrics.ledger_failure(&lane);
                }
                self.blind.push_back(time);
                return self.catch_up(Instant::now());
            }
            // The next start reckons from there: not before the gap is written.
            Job::Seen { .. } if !self.blind.is_empty() => return,
            Job::Seen { lane, unix_ns } => self.ledger.note_seen(&lane, unix_ns),
        };
        if let Err(e) = told {
            self.failed(&lane, &e);
        }
    }

    /// Tries what the disk has not taken yet, the oldest first, blind times after verdicts; `false` where it still refuses.
    fn retry(&mut self) -> bool {
        if self.unwritten.is_empty()
            && let Some(BlindTime { lane, from_unix_ns, to_unix_ns, reason, header }) = self.blind.front()
        {
            let written = self.ledger.record_blind(&self.run, lane, *from_unix_ns, *to_unix_ns, reason, header);
            let lane = lane.clone();
            return match written {
                Ok(()) => self.blind.pop_front().is_some(),
                Err(e) => {
                    self.failed(&lane, &e);
                    false
                }
            };
        }
        let count = self.unwritten.len().min(AT_A_TIME);
        let Some(lane) = self.unwritten.front().map(|entry| entry.lane.clone()) else { return true };
        if let Err(e) = self.ledger.replace_all(&self.unwritten.make_contiguous()[..count]) {
            self.failed(&lane, &e);
            return false;
        }
        self.unwritten.drain(..count);
        true
    }

    fn failed(&mut self, lane: &str, error: &LedgerError) {
        self.metrics.ledger_failure(lane);
        self.disk_is_full = error.is_full_disk();
        if self.failures.passes(Instant::now()) {
            tracing::error!(waiting = self.unwritten.len(), "the ledger: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Health;

    const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

    fn entry(number: u64, unix_ns: i64) -> Entry {
        Entry { run: "r".into(), lane: "a".into(), number, unix_ns, header: b"{}".to_vec(), payload: Vec::new() }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(&[Arc::from("a")]).unwrap())
    }

    fn worker(ledger: &Arc<Ledger>) -> Worker {
        let pulse = Health::new(&[Arc::from("a")], Duration::from_secs(60)).pulse("ledger");
        Worker::new(ledger.clone(), "r".into(), metrics(), pulse)
    }

    #[test]
    fn what_a_hanging_disk_leaves_no_room_for_is_counted() {
        let metrics = metrics();
        let recorder = Recorder::hanging(metrics.clone());
        (1..=QUEUE as u64 + 3).for_each(|number| recorder.later(entry(number, 1)));
        let text = metrics.render().unwrap();
        assert!(text.contains("hairline_ledger_failures_total{lane=\"a\"} 3"), "{text}");
    }

    #[test]
    fn old_records_go_while_the_station_runs_and_verdicts_keep_coming() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(folder.path(), 1).unwrap());
        let now = Moment::now().unix_ns;
        let old: Vec<Entry> = (1..=3 * Ledger::PRUNE_STEP as u64).map(|number| entry(number, now - 2 * DAY_NS)).collect();
        ledger.record_all(&old).unwrap();
        let (jobs, queue) = bounded(QUEUE);
        let worker = Worker { prune_at: Instant::now(), ..worker(&ledger) };
        let (recorder, thread) = (Recorder { jobs, metrics: metrics() }, std::thread::spawn(move || worker.run(&queue)));
        // Longer than any disk takes.
        let until = Instant::now() + Duration::from_secs(120);
        let mut number = old.len() as u64;
        let is_there = |number| ledger.replay("r", "a", number, 1).unwrap().first().is_some_and(|entry| entry.number == number);
        while is_there(old.len() as u64) && Instant::now() < until {
            number += 1;
            assert!(recorder.confirm(entry(number, now), Some(until)), "a verdict of now is written");
        }
        drop(recorder);
        thread.join().unwrap();
        assert!(!is_there(old.len() as u64), "the last of the old records is still there");
        assert!(is_there(number));
    }
}
