use super::wire::{BlindMessage, MaskMessage, StatusMessage, Topic, VerdictMessage};
use super::{PublishError, endpoint};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Largest frame that is taken, bytes.
const FRAME_MAX_BYTES: i64 = 16 * 1024 * 1024;
/// Messages that wait here while the caller is busy.
const QUEUE: i32 = 10_000;

/// Listens to a station's feed.
pub struct Subscriber {
    socket: zmq::Socket,
    lane: Option<String>,
}

/// What came over the feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A verdict.
    Verdict(Box<VerdictMessage>),
    /// A mask: header and PNG.
    Mask(MaskMessage, Vec<u8>),
    /// A lane's state.
    Status(Box<StatusMessage>),
    /// Blind time.
    Blind(BlindMessage),
    /// What is no message of Hairline's, or of a version that is not known here.
    Foreign {
        /// The topic, as far as it is text.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Subscriber {
    /// Subscribes at `endpoint` to verdicts and status, and to masks if `masks`, of one lane or of all.
    /// Nobody needs to be there yet.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn connect(endpoint: &str, lane: Option<&str>, masks: bool) -> Result<Self, PublishError> {
        let context = zmq::Context::new();
        let open = || {
            let socket = context.socket(zmq::SUB)?;
            socket.set_linger(0)?;
            socket.set_rcvhwm(QUEUE)?;
            socket.set_maxmsgsize(FRAME_MAX_BYTES)?;
            for topic in [Topic::Verdict, Topic::Status, Topic::Mask] {
                if topic != Topic::Mask || masks {
                    socket.set_subscribe(topic.of(lane.unwrap_or_default()).as_bytes())?;
                }
            }
            Ok(socket)
        };
        let socket = open().map_err(PublishError::socket("opening a socket"))?;
        endpoint::connect(&socket, endpoint)?;
        Ok(Self { socket, lane: lane.map(str::to_owned) })
    }

    /// The next message, or `None` when none came within `timeout_ms`.
    ///
    /// # Errors
    /// ZeroMQ failed.
    pub fn next(&mut self, timeout_ms: i64) -> Result<Option<Heard>, PublishError> {
        match self.socket.poll(zmq::POLLIN, timeout_ms) {
            Ok(0) | Err(zmq::Error::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(PublishError::socket("listening")(error)),
        }
        let frames = self.socket.recv_multipart(0).map_err(PublishError::socket("listening"))?;
        let topic = frames.first().map(|t| String::from_utf8_lossy(t).into_owned()).unwrap_or_default();
        let parts: Result<[Vec<u8>; 3], _> = frames.try_into();
        Ok(match parts {
            Ok([_, header, payload]) => match read(&topic, &header, payload) {
                // Subscriptions are prefixes: `verdict.a` also brings `verdict.ab`.
                Ok((lane, _)) if self.lane.as_ref().is_some_and(|wanted| *wanted != lane) => None,
                Ok((_, heard)) => Some(heard),
                Err(reason) => Some(Heard::Foreign { topic, reason }),
            },
            Err(frames) => Some(Heard::Foreign { topic, reason: format!("{} frames, expected 3", frames.len()) }),
        })
    }
}

fn read(topic: &str, header: &[u8], payload: Vec<u8>) -> Result<(String, Heard), String> {
    fn parse<'a, T: serde::Deserialize<'a>>(header: &'a [u8]) -> Result<T, String> {
        serde_json::from_slice(header).map_err(|e| e.to_string())
    }
    let (family, lane) = Topic::parse(topic.as_bytes()).ok_or("no topic of Hairline's")?;
    let heard = match family {
        Topic::Verdict => Heard::Verdict(parse(header)?),
        Topic::Mask => Heard::Mask(parse(header)?, payload),
        Topic::Status => match parse(header) {
            Ok(status) => Heard::Status(status),
            Err(reason) => parse(header).map(Heard::Blind).map_err(|_| reason)?,
        },
    };
    Ok((lane.to_owned(), heard))
}

/// Numbers that were missed, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Id of the run.
    pub run: String,
    /// The lane.
    pub lane: String,
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

impl Gap {
    /// How many numbers are missing.
    pub fn cells(&self) -> u64 {
        self.to - self.from + 1
    }
}

/// Watches the numbers of verdicts for gaps, lane by lane.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    last: BTreeMap<String, (String, u64)>,
}

impl Numbers {
    /// Notes a verdict, and tells what is missing before it. The first verdict of a lane is taken as
    /// it comes; a new run on a known lane starts at 1.
    pub fn note(&mut self, run: &str, lane: &str, number: u64) -> Option<Gap> {
        let expected = match self.last.entry(lane.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert((run.to_owned(), number));
                return None;
            }
            Entry::Occupied(mut entry) => {
                let (known_run, last) = entry.get_mut();
                let expected = if known_run == run { last.saturating_add(1) } else { 1 };
                *last = if known_run == run { number.max(*last) } else { number };
                run.clone_into(known_run);
                expected
            }
        };
        (number > expected).then(|| Gap { run: run.to_owned(), lane: lane.to_owned(), from: expected, to: number - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_once_and_lane_by_lane() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.note("r", "a", 5), None);
        assert_eq!(numbers.note("r", "b", 1), None);
        assert_eq!(numbers.note("r", "a", 6), None);
        let gap = numbers.note("r", "a", 9).unwrap();
        assert_eq!((gap.from, gap.to, gap.cells()), (7, 8, 2));
        assert_eq!(numbers.note("r", "a", 6), None, "told again");
        assert_eq!(numbers.note("r", "a", 10), None);
        assert_eq!(numbers.note("r", "b", 2), None);
    }

    #[test]
    fn a_new_run_starts_at_1() {
        let mut numbers = Numbers::default();
        numbers.note("r", "a", 5);
        assert_eq!(numbers.note("s", "a", 1), None);
        let gap = numbers.note("t", "a", 3).unwrap();
        assert_eq!((gap.run.as_str(), gap.from, gap.to), ("t", 1, 2));
    }
}
