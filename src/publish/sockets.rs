//! The thread that owns the sockets.

use super::Bindings;
use super::peer::{Peer, Sending};
use super::replay::{Answer, Done, Job, Jobs, Pace, Question, Replays};
use super::station_id::StationId;
use super::statistics::Counters;
use super::wire::{LaneNumbers, Reply, ReplyBody, Request};
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest sleep; what wakes it earlier is a message, a request, or the [`Waker`].
const REST_MS: i64 = 500;
/// Sleep while a client's queue is full.
const SOON_MS: i64 = 5;
/// Requests and subscriptions taken in one turn, so that a flood of them holds up no verdict.
const TURN: usize = 64;
/// Frames of a request that are looked at; more make it a bad one.
const FRAMES_MAX: usize = 4;
/// Longest error that is sent to a client, characters.
const ERROR_MAX_CHARS: usize = 300;

/// A message on its way to the feed.
pub(super) enum Command {
    Verdict { lane: Arc<str>, number: u64, verdict: [Vec<u8>; 3], mask: Option<[Vec<u8>; 3]> },
    Status([Vec<u8>; 3]),
}

/// All that the thread works with.
pub(super) struct Sockets {
    pub feed: zmq::Socket,
    pub requests: zmq::Socket,
    /// Where the [`Waker`] knocks.
    pub wake: zmq::Socket,
    pub commands: Receiver<Command>,
    pub jobs: Jobs,
    pub station: StationId,
    pub bindings: Arc<Bindings>,
    pub counters: Arc<Counters>,
    pub stop: Arc<AtomicBool>,
    pub replays: Replays,
    /// Number of the last published verdict of each lane.
    pub last: BTreeMap<Arc<str>, u64>,
}

impl Sockets {
    /// Serves the sockets until it is told to stop, and then sends what was accepted before.
    pub fn run(mut self, alive: impl Fn()) {
        loop {
            alive();
            let stopping = self.stop.load(Ordering::Acquire);
            self.publish();
            if stopping {
                return;
            }
            self.take_subscriptions();
            self.answer_requests();
            self.take_from_reader();
            let timeout_ms = match self.replay() {
                Pace::Now => 0,
                Pace::Soon => SOON_MS,
                Pace::Rest => REST_MS,
            };
            let readable = |socket: &zmq::Socket| socket.get_events().is_ok_and(|e| e.contains(zmq::POLLIN));
            let mut items = [&self.feed, &self.requests, &self.wake].map(|socket| socket.as_poll_item(zmq::POLLIN));
            if let Err(error) = zmq::poll(&mut items, timeout_ms)
                && error != zmq::Error::EINTR
            {
                tracing::error!(%error, "polling the sockets failed, the publisher ends");
                return;
            }
            while readable(&self.wake) && self.wake.recv_bytes(zmq::DONTWAIT).is_ok() {}
        }
    }

    fn publish(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Verdict { lane, number, verdict, mask } => {
                    self.tell(verdict, &self.counters.verdicts);
                    if let Some(mask) = mask {
                        self.tell(mask, &self.counters.masks);
                    }
                    self.last.insert(lane, number);
                }
                Command::Status(frames) => self.tell(frames, &self.counters.statuses),
            }
        }
    }

    fn tell(&self, frames: [Vec<u8>; 3], counter: &AtomicU64) {
        match self.feed.send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) => Counters::add(counter),
            Err(error) => {
                Counters::add(&self.counters.failed);
                tracing::error!(%error, "a message could not be put on the feed");
            }
        }
    }

    fn take_subscriptions(&self) {
        for _ in 0..TURN {
            let Some(frames) = receive(&self.feed) else { return };
            match frames.first().and_then(|frame| frame.first()) {
                Some(1) => self.counters.topics.fetch_add(1, Ordering::Relaxed),
                Some(0) => self.counters.topics.fetch_sub(1, Ordering::Relaxed),
                _ => self.counters.bad_requests.fetch_add(1, Ordering::Relaxed) as i64,
            };
        }
    }

    fn answer_requests(&mut self) {
        for _ in 0..TURN {
            let Some(mut frames) = receive(&self.requests) else { return };
            let body = frames.pop().unwrap_or_default();
            let delimiter = frames.len() == 2 && frames[1].is_empty();
            if frames.is_empty() || frames.len() > 2 || (frames.len() == 2 && !delimiter) {
                let peer = Peer { identity: frames.into_iter().next().unwrap_or_default(), delimiter: false };
                self.refuse(&peer, "expected one frame with a JSON object".to_owned());
                continue;
            }
            let peer = Peer { identity: frames.swap_remove(0), delimiter };
            match Request::read(&body) {
                Ok(request) => self.answer(peer, request),
                Err(error) => self.refuse(&peer, error),
            }
        }
    }

    fn answer(&mut self, peer: Peer, request: Request) {
        let done = match request {
            Request::Bind(bind) => self.bindings.bind(&bind).map_err(|e| e.to_string()).map(|()| {
                self.reply(&peer, ReplyBody::Bound { lane: bind.lane, id: bind.id });
            }),
            Request::Hello => {
                let lanes = self.last.iter().map(|(lane, last)| LaneNumbers { lane: lane.to_string(), last: *last }).collect();
                let (station, run) = (self.station.station.clone(), self.station.run.clone());
                self.reply(&peer, ReplyBody::Hello { station, run, lanes });
                Ok(())
            }
            Request::Replay(request) => self.replays.begin(peer.clone(), request, &self.station.run),
            Request::Runs => self.ask_reader(&peer, Question::Runs),
            Request::Blind(request) => self.ask_reader(&peer, Question::Blind(request)),
        };
        match done {
            Ok(()) => Counters::add(&self.counters.requests),
            Err(error) => self.refuse(&peer, error),
        }
    }

    fn ask_reader(&self, peer: &Peer, question: Question) -> Result<(), String> {
        let busy = |_| "too many requests wait for the ledger, ask again later".to_owned();
        self.jobs.ask.try_send(Job::Answer { peer: peer.clone(), question }).map_err(busy)
    }

    fn take_from_reader(&mut self) {
        while let Ok(done) = self.jobs.done.try_recv() {
            match done {
                Done::Read { replay, messages, complete, error } => self.replays.found(replay, messages, complete, error),
                Done::Answer { peer, body } => self.reply(&peer, body),
            }
        }
    }

    fn replay(&mut self) -> Pace {
        let (requests, counters) = (&self.requests, &self.counters);
        self.replays.step(&self.jobs.ask, |peer, answer, payload| {
            let sending = peer.send(requests, answer, payload);
            if sending == Sending::Sent && matches!(answer, Answer::Verdict { .. }) {
                Counters::add(&counters.replayed);
            }
            sending
        })
    }

    /// A client that does not read its replies does not get them.
    fn reply(&self, peer: &Peer, body: ReplyBody) {
        peer.send(&self.requests, &Reply::new(body), &[]);
    }

    fn refuse(&self, peer: &Peer, error: String) {
        Counters::add(&self.counters.bad_requests);
        self.reply(peer, ReplyBody::Error { error: error.chars().take(ERROR_MAX_CHARS).collect() });
    }
}

/// The next message of `socket`, if one is there; at most [`FRAMES_MAX`] of its frames.
fn receive(socket: &zmq::Socket) -> Option<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    loop {
        let frame = socket.recv_msg(zmq::DONTWAIT).ok()?;
        if frames.len() < FRAMES_MAX {
            frames.push(frame.to_vec());
        }
        if !frame.get_more() {
            return Some(frames);
        }
    }
}
