mod contract;
mod feed;
mod garbage;
mod python;
mod requests;
pub mod samples;

use super::wire::{BlindMessage, Reply, ReplyBody, Topic, VerdictMessage};
use super::{Bindings, Publisher, Replay, StationId, Statistics, StoredMessage, StoredRun};
use crate::config;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

pub const RUN: &str = "01981d2c-7b1e-7a50-8f00-5a1a5a1a5a1a";

/// A ledger in memory.
#[derive(Default)]
pub struct MemoryLedger {
    pub verdicts: Mutex<Vec<(String, String, StoredMessage)>>,
    pub blind: Mutex<Vec<BlindMessage>>,
    pub broken: std::sync::atomic::AtomicBool,
}

impl MemoryLedger {
    pub fn record(&self, message: &VerdictMessage, mask: &[u8]) {
        let stored = StoredMessage { number: message.number, header: message.to_json().unwrap(), payload: mask.to_vec() };
        self.verdicts.lock().unwrap().push((message.run.clone(), message.lane.clone(), stored));
    }
}

impl Replay for MemoryLedger {
    fn replay(&self, run: &str, lane: &str, from: u64, limit: usize) -> Result<Vec<StoredMessage>, String> {
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("the disk is gone".into());
        }
        let all = self.verdicts.lock().unwrap();
        let wanted = all.iter().filter(|(r, l, m)| r == run && l == lane && m.number >= from);
        Ok(wanted.take(limit).map(|(_, _, m)| m.clone()).collect())
    }

    fn runs(&self) -> Result<Vec<StoredRun>, String> {
        let mut runs = BTreeMap::<(String, String), (u64, u64)>::new();
        for (run, lane, message) in self.verdicts.lock().unwrap().iter() {
            let span = runs.entry((run.clone(), lane.clone())).or_insert((message.number, message.number));
            span.1 = message.number;
        }
        Ok(runs.into_iter().map(|((run, lane), (first, last))| StoredRun { run, lane, first, last }).collect())
    }

    fn blind(&self, lane: &str, since_unix_ns: i64, limit: usize) -> Result<Vec<Vec<u8>>, String> {
        let all = self.blind.lock().unwrap();
        let wanted = all.iter().filter(|b| b.lane == lane && b.to_unix_ns > since_unix_ns);
        Ok(wanted.take(limit).map(|b| serde_json::to_vec(b).unwrap()).collect())
    }
}

/// A publisher on free ports with a ledger in memory.
pub struct Station {
    pub publisher: Publisher,
    pub ledger: Arc<MemoryLedger>,
    pub bindings: Arc<Bindings>,
}

impl Station {
    pub fn start() -> Self {
        Self::with_high_water_mark(1000)
    }

    pub fn with_high_water_mark(high_water_mark: u32) -> Self {
        let settings = settings("tcp://127.0.0.1:*", high_water_mark);
        let lanes: Vec<Arc<str>> = vec!["a".into(), "ab".into()];
        let (ledger, bindings) = (Arc::<MemoryLedger>::default(), Arc::new(Bindings::new(lanes.clone(), 16)));
        let station = StationId { station: "line-3".into(), run: RUN.into(), lanes };
        let publisher = Publisher::start(station, &settings, ledger.clone(), bindings.clone(), || {}).unwrap();
        Self { publisher, ledger, bindings }
    }

    /// Records and publishes, as the corridor does.
    pub fn tell(&self, message: &VerdictMessage, mask: &[u8]) {
        if message.recorded {
            self.ledger.record(message, mask);
        }
        // A full queue is told, not lost: the test has the time to try again.
        while let Err(error) = self.publisher.verdict(message, mask) {
            assert!(matches!(error, super::PublishError::QueueFull { .. }), "{error}");
        }
    }

    /// Waits until the publisher's thread has counted what it was given, which it may do long after it was told.
    pub fn until(&self, what: &str, counted: impl Fn(&Statistics) -> bool) {
        let started = Instant::now();
        while !counted(&self.publisher.statistics()) {
            assert!(started.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A subscriber to everything of `lane`, once it is surely connected.
    pub fn subscriber(&self, lane: &str) -> Listener {
        self.subscribe(zmq::Context::new().socket(zmq::SUB).unwrap(), lane)
    }

    /// As `subscriber`, whose socket takes next to nothing ahead of who reads it; as a rule, sockets and the kernel
    /// together take many megabytes, how many is a matter of the machine.
    pub fn slow_subscriber(&self, lane: &str) -> Listener {
        let socket = zmq::Context::new().socket(zmq::SUB).unwrap();
        socket.set_rcvhwm(1).unwrap();
        socket.set_rcvbuf(1 << 16).unwrap();
        self.subscribe(socket, lane)
    }

    fn subscribe(&self, socket: zmq::Socket, lane: &str) -> Listener {
        let listener = Listener::connect(socket, self.publisher.endpoints().0, lane);
        while listener.try_next(20).is_none() {
            self.publisher.status(&samples::status(lane)).unwrap();
        }
        // On a busy machine several have gathered, and would take the room of what a test tells.
        while listener.try_next(50).is_some() {}
        listener
    }

    pub fn client(&self) -> Client {
        Client::connect(self.publisher.endpoints().1, zmq::DEALER)
    }
}

pub fn settings(feed: &str, high_water_mark: u32) -> config::Publish {
    config::Publish { feed: feed.into(), requests: "tcp://127.0.0.1:*".into(), high_water_mark, status_every_s: 1.0 }
}

/// Validates a message against the schema in `docs/wire/` that it names.
pub fn validate(name: &str, message: &Value) {
    let errors = breaches(name, message);
    assert!(errors.is_empty(), "{name}: {errors:?}\n{message:#}");
}

/// Where a message breaks the schema.
fn breaches(name: &str, message: &Value) -> Vec<String> {
    static VALIDATORS: OnceLock<BTreeMap<String, jsonschema::Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let names = ["verdict", "mask", "status", "blind", "request", "reply"];
        let load = |name: &str| {
            let text = std::fs::read_to_string(contract::wire_dir().join(format!("{name}.schema.json"))).unwrap();
            jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
        };
        names.into_iter().map(|name| (name.to_owned(), load(name))).collect()
    });
    validators[name].iter_errors(message).map(|e| e.to_string()).collect()
}

/// A plain SUB socket that validates all it gets.
pub struct Listener(pub zmq::Socket);

impl Listener {
    fn connect(socket: zmq::Socket, endpoint: &str, lane: &str) -> Self {
        // Subscribed to after connecting, and status last: who hears a status hears verdicts too.
        socket.connect(endpoint).unwrap();
        for topic in [Topic::Verdict, Topic::Mask, Topic::Status] {
            socket.set_subscribe(topic.of(lane).as_bytes()).unwrap();
        }
        Self(socket)
    }

    pub fn try_next(&self, timeout_ms: i64) -> Option<(String, Value, Vec<u8>)> {
        if self.0.poll(zmq::POLLIN, timeout_ms).unwrap() == 0 {
            return None;
        }
        let [topic, header, payload]: [Vec<u8>; 3] = self.0.recv_multipart(0).unwrap().try_into().unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let schema = header["schema"].as_str().unwrap().trim_start_matches("hairline.").trim_end_matches("/1").to_owned();
        validate(&schema, &header);
        Some((String::from_utf8(topic).unwrap(), header, payload))
    }

    /// The next message that is no status.
    pub fn next(&self) -> (String, Value, Vec<u8>) {
        loop {
            let message = self.try_next(PATIENCE_MS).expect("no message came");
            if message.1["schema"] != "hairline.status/1" {
                return message;
            }
        }
    }
}

/// Longer than any machine needs; only a failing test waits for it.
const PATIENCE_MS: i64 = 30_000;

/// A plain DEALER or REQ socket that validates all it gets.
pub struct Client(pub zmq::Socket);

impl Client {
    pub fn connect(endpoint: &str, kind: zmq::SocketType) -> Self {
        let socket = zmq::Context::new().socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(endpoint).unwrap();
        Self(socket)
    }

    pub fn ask(&self, request: Value) -> Value {
        validate("request", &request);
        self.0.send(request.to_string().as_bytes(), 0).unwrap();
        self.answer().0
    }

    pub fn answer(&self) -> (Value, Vec<u8>) {
        assert_ne!(self.0.poll(zmq::POLLIN, PATIENCE_MS).unwrap(), 0, "no answer came");
        let [header, payload]: [Vec<u8>; 2] = self.0.recv_multipart(0).unwrap().try_into().unwrap();
        let value = serde_json::from_slice(&header).unwrap();
        validate("reply", &value);
        (value, payload)
    }

    /// The whole series of a replay: the verdicts with their masks, and the last reply.
    pub fn replay(&self, request: Value) -> (Vec<(VerdictMessage, Vec<u8>)>, ReplyBody) {
        validate("request", &request);
        self.0.send(request.to_string().as_bytes(), 0).unwrap();
        let mut series = Vec::new();
        loop {
            let (reply, payload) = self.answer();
            let reply: Reply = serde_json::from_value(reply).unwrap();
            match reply.body {
                ReplyBody::Replayed { message } => series.push((*message, payload)),
                end => return (series, end),
            }
        }
    }
}
