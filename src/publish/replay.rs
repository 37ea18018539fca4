//! Replays under way: read from the ledger by a thread of their own, sent bit by bit between verdicts.

use super::peer::{Peer, Sending};
use super::station_id::StationId;
use super::store::{Replay, StoredMessage, StoredRun, Unrecorded};
use super::waker::Waker;
use super::wire::{BlindMessage, BlindRequest, ReplayRequest, Reply, ReplyBody, ReplySchema, RunNumbers};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Replays that run at the same time, all clients together; more are refused.
const ACTIVE_MAX: usize = 16;
/// Verdicts read from the ledger at once.
const CHUNK: u64 = 16;
/// Blind times told in one answer.
pub(super) const BLIND_MAX: usize = 1000;
/// Verdicts of one replay sent before fresh ones get their turn again.
const BURST: usize = 8;
/// What an error repeats of a name that a client gave, characters.
const NAME_MAX_CHARS: usize = 64;
/// A client that takes nothing for so long loses its replay.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What the reader is asked.
pub(super) enum Job {
    Read { replay: u64, run: String, lane: String, from: u64, limit: usize },
    Answer { peer: Peer, question: Question },
}

/// What has one answer.
pub(super) enum Question {
    Runs,
    Blind(BlindRequest),
}

/// What the reader answers.
pub(super) enum Done {
    Read { replay: u64, messages: Vec<StoredMessage>, complete: bool, error: Option<String> },
    Answer { peer: Peer, body: ReplyBody },
}

/// The way to the reader and back.
pub(super) struct Jobs {
    pub ask: Sender<Job>,
    pub done: Receiver<Done>,
}

/// The thread that reads the ledger, so that a slow disk never holds up a verdict.
pub(super) struct Reader {
    ledger: Arc<dyn Replay>,
    station: StationId,
    unrecorded: Arc<Unrecorded>,
    jobs: Receiver<Job>,
    done: Sender<Done>,
    waker: Arc<Waker>,
}

impl Reader {
    pub fn new(ledger: Arc<dyn Replay>, station: StationId, unrecorded: Arc<Unrecorded>, waker: Arc<Waker>) -> (Jobs, Self) {
        let ((ask, jobs), (done, answers)) = (bounded(ACTIVE_MAX), bounded(ACTIVE_MAX));
        (Jobs { ask, done: answers }, Self { ledger, station, unrecorded, jobs, done, waker })
    }

    /// Answers until the other side is gone.
    pub fn run(self) {
        for job in &self.jobs {
            let done = match job {
                Job::Answer { peer, question } => {
                    let body = self.answer(&question).unwrap_or_else(|error| ReplyBody::Error { error });
                    Done::Answer { peer, body }
                }
                Job::Read { replay, run, lane, from, limit } => {
                    let is_ours = run == self.station.run;
                    let (messages, error) = match self.ledger.replay(&run, &lane, from, limit) {
                        Ok(found) if is_ours => (self.unrecorded.add_to(found, &lane, from, limit), None),
                        Ok(found) => (found, None),
                        // What lies in the ledger between two that are kept must not be passed over: the client asks on from the last.
                        Err(error) if is_ours => (self.unrecorded.without_gap(&lane, from, limit), Some(error)),
                        Err(error) => (Vec::new(), Some(error)),
                    };
                    let error = error.or_else(|| messages.is_empty().then(|| self.known(&lane, Some(&run)).err()).flatten());
                    Done::Read { replay, complete: messages.len() < limit, messages, error }
                }
            };
            if self.done.send(done).is_err() {
                return;
            }
            self.waker.wake();
        }
    }

    /// Whether the station has `lane`, and `run` is its own, or the ledger holds something of them; the error is for the client, who
    /// would take nothing found for nothing missed.
    fn known(&self, lane: &str, run: Option<&str>) -> Result<(), String> {
        let is_ours = self.station.lanes.iter().any(|ours| **ours == *lane);
        if is_ours && run.is_none_or(|run| run == self.station.run) {
            return Ok(());
        }
        let mut runs = self.ledger.runs()?;
        runs.retain(|stored| stored.lane == lane);
        let short = |name: &str| name.chars().take(NAME_MAX_CHARS).collect::<String>();
        if runs.is_empty() && !is_ours {
            let lanes: Vec<String> = self.station.lanes.iter().map(|lane| format!("`{lane}`")).collect();
            return Err(format!("neither this station nor its ledger has a lane `{}`; the station has {}", short(lane), lanes.join(", ")));
        }
        match run.filter(|run| runs.iter().all(|stored| stored.run != *run)) {
            Some(run) => Err(format!("the ledger holds no run `{}` of lane `{lane}`; `runs` tells which it holds", short(run))),
            None => Ok(()),
        }
    }

    fn answer(&self, question: &Question) -> Result<ReplyBody, String> {
        match question {
            Question::Runs => {
                let numbers = |r: StoredRun| RunNumbers { run: r.run, lane: r.lane, first: r.first, last: r.last };
                Ok(ReplyBody::Runs { runs: self.ledger.runs()?.into_iter().map(numbers).collect() })
            }
            Question::Blind(BlindRequest { lane, since_unix_ns }) => {
                let headers = self.ledger.blind(lane, since_unix_ns.unwrap_or(i64::MIN), BLIND_MAX)?;
                if headers.is_empty() {
                    self.known(lane, None)?;
                }
                let read = |header: &Vec<u8>| serde_json::from_slice(header);
                let records: Vec<BlindMessage> = headers
                    .iter()
                    .map(read)
                    .collect::<Result<_, _>>()
                    .map_err(|error| format!("a blind time of lane `{lane}` in the ledger cannot be read: {error}"))?;
                Ok(ReplyBody::Blind { complete: records.len() < BLIND_MAX, records })
            }
        }
    }
}

/// What a replay sends.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// As [`ReplyBody::Replayed`], with the verdict as it was written.
    Verdict { schema: ReplySchema, ok: bool, reply: &'static str, message: Box<RawValue> },
    /// The end.
    Last(Reply),
}

/// Whether there is more to do at once, or what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// The reader, or nothing: a wake-up will come.
    Rest,
    /// A client's full queue: look again soon.
    Soon,
    /// There is more to send.
    Now,
}

/// The replays under way.
#[derive(Default)]
pub(super) struct Replays {
    active: VecDeque<Active>,
    last_id: u64,
}

struct Active {
    id: u64,
    peer: Peer,
    run: String,
    lane: String,
    next: u64,
    left: u64,
    sent: u64,
    ready: VecDeque<StoredMessage>,
    reading: bool,
    end: Option<Result<(), String>>,
    moved: Instant,
}

impl Replays {
    /// Takes on a replay; the error is for the client.
    pub fn begin(&mut self, peer: Peer, request: ReplayRequest, current_run: &str) -> Result<(), String> {
        if self.active.len() >= ACTIVE_MAX {
            return Err(format!("{ACTIVE_MAX} replays are under way, ask again later"));
        }
        self.last_id += 1;
        self.active.push_back(Active {
            id: self.last_id,
            peer,
            run: request.run.unwrap_or_else(|| current_run.to_owned()),
            lane: request.lane,
            next: request.from.max(1),
            left: request.limit.unwrap_or(u64::MAX),
            sent: 0,
            ready: VecDeque::new(),
            reading: false,
            end: None,
            moved: Instant::now(),
        });
        Ok(())
    }

    /// Takes what the reader found for replay `id`.
    pub fn found(&mut self, id: u64, messages: Vec<StoredMessage>, complete: bool, error: Option<String>) {
        if let Some(active) = self.active.iter_mut().find(|a| a.id == id) {
            active.reading = false;
            active.ready.extend(messages);
            if let Some(error) = error {
                active.end = Some(Err(error));
            } else if complete {
                active.end = Some(Ok(()));
            }
        }
    }

    /// Moves every replay on by a few messages.
    pub fn step(&mut self, ask: &Sender<Job>, mut send: impl FnMut(&Peer, &Answer, &[u8]) -> Sending) -> Pace {
        let mut pace = Pace::Rest;
        self.active.retain_mut(|active| match active.step(ask, &mut send) {
            Some(wanted) => {
                pace = pace.max(wanted);
                true
            }
            None => false,
        });
        pace
    }
}

impl Active {
    /// Moves on by a few messages; `None` when it is over.
    fn step(&mut self, ask: &Sender<Job>, send: &mut impl FnMut(&Peer, &Answer, &[u8]) -> Sending) -> Option<Pace> {
        for _ in 0..BURST {
            let (answer, payload) = match (self.ready.front(), &self.end) {
                (Some(stored), _) => match resent(stored) {
                    Ok(verdict) => (verdict, stored.payload.as_slice()),
                    // No asking again would get it, nor what follows, if the replay ended here.
                    Err(error) => {
                        tracing::error!("left out of a replay: {error}");
                        self.next = stored.number.saturating_add(1);
                        self.ready.pop_front();
                        continue;
                    }
                },
                (None, Some(end)) => (self.last_reply(end), &[][..]),
                (None, None) if self.left == 0 => (self.last_reply(&Ok(())), &[][..]),
                (None, None) => return Some(self.read_on(ask)),
            };
            match send(&self.peer, &answer, payload) {
                Sending::Sent => self.moved = Instant::now(),
                Sending::Full if self.moved.elapsed() < GIVE_UP => return Some(Pace::Soon),
                Sending::Full | Sending::Gone => return None,
            }
            let stored = self.ready.pop_front()?;
            self.next = stored.number.saturating_add(1);
            self.sent += 1;
            self.left = self.left.saturating_sub(1);
        }
        Some(Pace::Now)
    }

    fn read_on(&mut self, ask: &Sender<Job>) -> Pace {
        if self.reading {
            return Pace::Rest;
        }
        let limit = self.left.min(CHUNK) as usize;
        let job = Job::Read { replay: self.id, run: self.run.clone(), lane: self.lane.clone(), from: self.next, limit };
        self.reading = ask.try_send(job).is_ok();
        if self.reading { Pace::Rest } else { Pace::Soon }
    }

    fn last_reply(&self, end: &Result<(), String>) -> Answer {
        Answer::Last(Reply::new(match end {
            Ok(()) => ReplyBody::ReplayEnd { run: self.run.clone(), lane: self.lane.clone(), sent: self.sent, next: self.next },
            Err(error) if self.sent == 0 => ReplyBody::Error { error: error.clone() },
            Err(error) => ReplyBody::Error { error: format!("the replay ended before number {}: {error}", self.next) },
        }))
    }
}

/// The stored verdict told again: letter by letter what was written, but for `resent`. It may be a later version's, whose fields and
/// reasons are not known here.
fn resent(stored: &StoredMessage) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Told {
        resent: bool,
    }
    let unreadable = |why: &dyn std::fmt::Display| format!("the stored verdict {} cannot be read: {why}", stored.number);
    let written = std::str::from_utf8(&stored.header).map_err(|e| unreadable(&e))?;
    let again = written.replacen(r#""resent":false"#, r#""resent":true"#, 1);
    let told: Told = serde_json::from_str(&again).map_err(|e| unreadable(&e))?;
    // A gate must never take it for fresh.
    if !told.resent {
        return Err(unreadable(&"its `resent` is not where it is looked for"));
    }
    let message = RawValue::from_string(again).map_err(|e| unreadable(&e))?;
    Ok(Answer::Verdict { schema: ReplySchema::V1, ok: true, reply: "replayed", message })
}
