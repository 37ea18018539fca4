use super::wire::{ReplayRequest, Reply, ReplyBody, Request, VerdictMessage};
use super::{PublishError, endpoint};
use std::time::{Duration, Instant};

/// How long one answer may take.
const WAIT: Duration = Duration::from_secs(5);
/// Largest frame that is taken, bytes.
const FRAME_MAX_BYTES: i64 = 16 * 1024 * 1024;

/// Asks a station's request socket.
pub struct Requester {
    context: zmq::Context,
    endpoint: String,
}

/// What a replay brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resent {
    /// How many verdicts.
    pub sent: u64,
    /// The number after the last one.
    pub next: u64,
}

impl Requester {
    /// A requester for the station whose `publish.requests` is `endpoint`. Whether it is there shows
    /// with the first request.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(endpoint: &str) -> Result<Self, PublishError> {
        let requester = Self { context: zmq::Context::new(), endpoint: endpoint.to_owned() };
        requester.connect()?;
        Ok(requester)
    }

    /// Each request has a socket of its own, so that no late answer is taken for another's.
    fn connect(&self) -> Result<zmq::Socket, PublishError> {
        let open = || {
            let socket = self.context.socket(zmq::DEALER)?;
            socket.set_linger(0)?;
            socket.set_maxmsgsize(FRAME_MAX_BYTES)?;
            Ok(socket)
        };
        let socket = open().map_err(PublishError::socket("opening a socket"))?;
        endpoint::connect(&socket, &self.endpoint)?;
        Ok(socket)
    }

    /// Asks what has one answer: anything but a replay.
    ///
    /// # Errors
    /// No answer within 5 s, or a refusal.
    pub fn ask(&self, request: &Request) -> Result<ReplyBody, PublishError> {
        let socket = self.connect()?;
        self.send(&socket, request)?;
        Ok(self.answer(&socket)?.0)
    }

    /// Asks for a replay and gives every verdict, with its mask's PNG (empty where it has none), to `each`.
    ///
    /// # Errors
    /// No answer within 5 s, or a refusal; what came before was given.
    pub fn replay(&self, request: ReplayRequest, mut each: impl FnMut(VerdictMessage, &[u8])) -> Result<Resent, PublishError> {
        let socket = self.connect()?;
        self.send(&socket, &Request::Replay(request))?;
        loop {
            match self.answer(&socket)? {
                (ReplyBody::Replayed { message }, mask) => each(*message, &mask),
                (ReplyBody::ReplayEnd { sent, next, .. }, _) => return Ok(Resent { sent, next }),
                (other, _) => return Err(PublishError::Answer(format!("{other:?}, which belongs to no replay"))),
            }
        }
    }

    fn send(&self, socket: &zmq::Socket, request: &Request) -> Result<(), PublishError> {
        socket.send(serde_json::to_vec(request)?, 0).map_err(PublishError::socket("sending a request"))
    }

    fn answer(&self, socket: &zmq::Socket) -> Result<(ReplyBody, Vec<u8>), PublishError> {
        let until = Instant::now() + WAIT;
        loop {
            let left_ms = until.saturating_duration_since(Instant::now()).as_millis() as i64;
            match socket.poll(zmq::POLLIN, left_ms) {
                Ok(0) => return Err(PublishError::NoAnswer(self.endpoint.clone(), WAIT.as_secs())),
                Ok(_) => break,
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(PublishError::socket("waiting for an answer")(error)),
            }
        }
        let frames = socket.recv_multipart(0).map_err(PublishError::socket("taking an answer"))?;
        let [header, payload]: [Vec<u8>; 2] =
            frames.try_into().map_err(|f: Vec<_>| PublishError::Answer(format!("{} frames, expected 2", f.len())))?;
        let reply: Reply =
            serde_json::from_slice(&header).map_err(|e| PublishError::Answer(format!("what is no reply of Hairline's: {e}")))?;
        match reply.body {
            ReplyBody::Error { error } => Err(PublishError::Answer(error)),
            body => Ok((body, payload)),
        }
    }
}
