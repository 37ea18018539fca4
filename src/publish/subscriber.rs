use super::wire::{BlindMessage, MaskMessage, RunNumbers, StatusMessage, Topic, VerdictMessage};
use super::{PublishError, endpoint};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Largest frame that is taken, bytes.
const FRAME_MAX_BYTES: i64 = 16 * 1024 * 1024;
/// Messages that wait here while the caller is busy.
const QUEUE: i32 = 10_000;
/// How often the station is asked whether it is there, ms.
const HEARTBEAT_MS: i32 = 2000;
/// Silence after which the connection is given up for a new one, and the longest attempt at one, ms.
const GIVE_UP_MS: i32 = 6000;

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
            // Without it a cut cable looks like a silent station, for ever.
            socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
            socket.set_heartbeat_timeout(GIVE_UP_MS)?;
            socket.set_connect_timeout(GIVE_UP_MS)?;
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

/// What was missed on a lane between two verdicts that were heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The lane.
    pub lane: String,
    /// Run and number of the last verdict before it.
    pub after: (String, u64),
    /// Run and number of the first verdict behind it, heard or still to come.
    pub until: (String, u64),
}

impl Gap {
    /// Whether the station was started anew in between: how much its run before said after that is not known here.
    pub fn is_restart(&self) -> bool {
        self.after.0 != self.until.0
    }

    /// The stretches to ask a replay for, oldest first, given the runs that the station's ledger holds (which only a restart needs):
    /// the end of the run before, all of the runs in between, and what the run of now said first.
    pub fn stretches(&self, runs: &[RunNumbers]) -> Vec<Stretch> {
        let ((before, last), (now, next)) = (&self.after, &self.until);
        let stretch = |run: &str, from: u64, to: u64| Stretch { run: run.to_owned(), from, to };
        let mut stretches = Vec::new();
        if self.is_restart() {
            let ours = runs.iter().filter(|r| r.lane == self.lane);
            let ended = ours.skip_while(|r| r.run != *before).take_while(|r| r.run != *now);
            stretches.extend(ended.map(|r| stretch(&r.run, if r.run == *before { last.saturating_add(1) } else { 1 }, r.last)));
        }
        let first = if self.is_restart() { 1 } else { last.saturating_add(1) };
        stretches.push(stretch(now, first, next.saturating_sub(1)));
        stretches.retain(|s| s.from <= s.to);
        stretches
    }
}

/// Numbers of one run that were missed, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Id of the run.
    pub run: String,
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

impl Stretch {
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
    /// Notes a verdict, and tells what may be missing before it. The first verdict of a lane is taken as
    /// it comes; a new run on a known lane starts at 1, and the one before it may have said more than was heard.
    pub fn note(&mut self, run: &str, lane: &str, number: u64) -> Option<Gap> {
        let heard = (run.to_owned(), number);
        let after = match self.last.entry(lane.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(heard);
                return None;
            }
            Entry::Occupied(entry) if entry.get().0 == run && number <= entry.get().1 => return None,
            Entry::Occupied(mut entry) => entry.insert(heard.clone()),
        };
        let missed = after.0 != run || number > after.1.saturating_add(1);
        missed.then(|| Gap { lane: lane.to_owned(), after, until: heard })
    }

    /// Notes how many verdicts a status tells of, and tells which of them may be missing: on a belt that stands no further verdict
    /// shows it. A lane of which no verdict was heard yet has none missing.
    pub fn note_told(&mut self, run: &str, lane: &str, cells: u64) -> Option<Gap> {
        let heard = self.last.get_mut(lane).filter(|heard| heard.0 != run || heard.1 < cells)?;
        let after = std::mem::replace(heard, (run.to_owned(), cells));
        Some(Gap { lane: lane.to_owned(), after, until: (run.to_owned(), cells.saturating_add(1)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(gap: &Gap, runs: &[(&str, u64)]) -> Vec<(String, u64, u64)> {
        let runs: Vec<_> =
            runs.iter().map(|(run, last)| RunNumbers { run: (*run).into(), lane: "a".into(), first: 1, last: *last }).collect();
        gap.stretches(&runs).into_iter().map(|s| (s.run, s.from, s.to)).collect()
    }

    #[test]
    fn gaps_are_told_once_and_lane_by_lane() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.note("r", "a", 5), None);
        assert_eq!(numbers.note("r", "b", 1), None);
        assert_eq!(numbers.note("r", "a", 6), None);
        let gap = numbers.note("r", "a", 9).unwrap();
        assert!(!gap.is_restart());
        assert_eq!(stretches(&gap, &[]), [("r".into(), 7, 8)]);
        assert_eq!(numbers.note("r", "a", 6), None, "told again");
        assert_eq!(numbers.note("r", "a", 10), None);
        assert_eq!(numbers.note("r", "b", 2), None);
    }

    #[test]
    fn a_status_tells_what_no_verdict_after_it_does() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.note_told("r", "a", 9), None, "nothing was heard before");
        numbers.note("r", "a", 5);
        assert_eq!(numbers.note_told("r", "a", 5), None);
        assert_eq!(numbers.note_told("r", "a", 4), None);
        assert_eq!(stretches(&numbers.note_told("r", "a", 7).unwrap(), &[]), [("r".into(), 6, 7)]);
        assert_eq!(numbers.note_told("r", "a", 7), None, "told once");
        assert_eq!(numbers.note("r", "a", 8), None);
        let gap = numbers.note_told("s", "a", 0).unwrap();
        assert!(gap.is_restart());
        assert_eq!(stretches(&gap, &[("r", 9), ("s", 1)]), [("r".into(), 9, 9)]);
        assert_eq!(numbers.note("s", "a", 1), None);
    }

    #[test]
    fn behind_a_restart_lie_the_end_of_the_run_before_the_runs_between_and_the_beginning_of_the_new_one() {
        let mut numbers = Numbers::default();
        numbers.note("r", "a", 5);
        let gap = numbers.note("t", "a", 3).unwrap();
        assert!(gap.is_restart());
        let held = [("q", 90), ("r", 7), ("s", 2), ("t", 3)];
        assert_eq!(stretches(&gap, &held), [("r".into(), 6, 7), ("s".into(), 1, 2), ("t".into(), 1, 2)]);
        assert_eq!(stretches(&gap, &[("t", 3)]), [("t".into(), 1, 2)], "the ledger holds the run before no longer");
        let gap = numbers.note("u", "a", 1).unwrap();
        assert_eq!(stretches(&gap, &[("t", 3), ("u", 1)]), [], "nothing was missed");
    }
}
