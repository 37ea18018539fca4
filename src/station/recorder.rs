//! The recorder thread: the only writer of the ledger, so that a slow disk delays a cell at most to
//! its deadline.

use crate::http::{Metrics, Pulse};
use crate::ledger::{Entry, Ledger};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Entries that wait for a disk that does not take them; older ones are given up and counted.
const UNWRITTEN: usize = 1000;
/// Entries that may wait for the thread.
const QUEUE: usize = 64;
const TICK: Duration = Duration::from_millis(200);
/// How long a cell without a deadline waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

enum Job {
    /// A verdict that wants to be published; skipped where it was given up before its turn.
    Confirm { entry: Box<Entry>, given_up: Arc<AtomicBool>, done: Sender<bool> },
    /// A verdict that was published without the disk's confirmation: written when the disk takes it.
    Later(Box<Entry>),
    /// What the network said too late.
    Late { lane: Arc<str>, number: u64, header: Vec<u8> },
    /// Time without a camera.
    Blind { lane: Arc<str>, from_unix_ns: i64, to_unix_ns: i64, reason: String, header: Vec<u8> },
    /// The lane's camera was there at this time.
    Seen { lane: Arc<str>, unix_ns: i64 },
}

impl Job {
    fn lane(&self) -> Arc<str> {
        match self {
            Self::Confirm { entry, .. } | Self::Later(entry) => entry.lane.clone(),
            Self::Late { lane, .. } | Self::Blind { lane, .. } | Self::Seen { lane, .. } => lane.clone(),
        }
    }
}

/// Hands entries to the recorder thread.
#[derive(Clone)]
pub(super) struct Recorder {
    jobs: Sender<Job>,
}

impl Recorder {
    /// Starts the thread. It ends once every `Recorder` is dropped and all entries are written.
    pub fn start(ledger: Arc<Ledger>, run: String, metrics: Arc<Metrics>, pulse: Pulse) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = bounded(QUEUE);
        let worker = Worker { ledger, run, metrics, pulse, unwritten: VecDeque::new() };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || worker.run(&queue))?;
        Ok((Self { jobs }, thread))
    }

    /// Whether `entry` is on disk by `deadline`. If not, publish something else and give that to
    /// [`later`](Self::later): it takes the entry's place whenever the disk comes round.
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

    /// Keeps a time without a camera.
    pub fn blind(&self, lane: Arc<str>, from_unix_ns: i64, to_unix_ns: i64, reason: String, header: Vec<u8>) {
        self.try_send(Job::Blind { lane, from_unix_ns, to_unix_ns, reason, header });
    }

    /// Notes that the lane's camera was there, so that a later start knows since when it was blind.
    pub fn seen(&self, lane: Arc<str>, unix_ns: i64) {
        self.try_send(Job::Seen { lane, unix_ns });
    }

    /// These never wait: behind a disk that hangs they are told and dropped rather than stop the line.
    fn try_send(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            tracing::error!("the ledger does not keep up: a note was dropped; check the disk under `station.data_dir`");
        }
    }
}

struct Worker {
    ledger: Arc<Ledger>,
    run: String,
    metrics: Arc<Metrics>,
    pulse: Pulse,
    unwritten: VecDeque<Entry>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            self.pulse.beat();
            match queue.recv_timeout(TICK) {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => self.retry(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.retry();
        if !self.unwritten.is_empty() {
            tracing::error!(verdicts = self.unwritten.len(), "verdicts could not be written before the end");
        }
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
                if self.unwritten.len() == UNWRITTEN {
                    self.unwritten.pop_front();
                }
                self.unwritten.push_back(*entry);
                return self.retry();
            }
            Job::Late { lane, number, header } => self.ledger.note_late(&self.run, &lane, number, &header),
            Job::Blind { lane, from_unix_ns, to_unix_ns, reason, header } => {
                self.ledger.record_blind(&self.run, &lane, from_unix_ns, to_unix_ns, &reason, &header)
            }
            Job::Seen { lane, unix_ns } => self.ledger.note_seen(&lane, unix_ns),
        };
        if let Err(e) = told {
            self.metrics.ledger_failure(&lane);
            tracing::error!("the ledger: {e}");
        }
    }

    /// Tries again what the disk has refused, oldest first.
    fn retry(&mut self) {
        while let Some(entry) = self.unwritten.front() {
            if let Err(e) = self.ledger.replace(entry) {
                self.metrics.ledger_failure(&entry.lane);
                tracing::error!(waiting = self.unwritten.len(), "the ledger: {e}");
                return;
            }
            self.unwritten.pop_front();
        }
    }
}
