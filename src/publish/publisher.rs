use super::replay::{Reader, Replays};
use super::sockets::{Command, Sockets};
use super::station_id::StationId;
use super::statistics::{Counters, Statistics};
use super::store::{StoredMessage, Unrecorded};
use super::waker::Waker;
use super::wire::{BlindMessage, MaskEncoding, MaskMessage, MaskSchema, StatusMessage, Topic, VerdictMessage};
use super::{Bindings, PublishError, Replay, endpoint};
use crate::cell::mask_png;
use crate::config;
use crossbeam_channel::{SendTimeoutError, Sender, bounded};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Messages that may wait for the thread that owns the sockets.
const QUEUE: usize = 256;
/// How long a call waits for room in that queue.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long queued messages may take to leave when the publisher stops.
const LINGER_MS: i32 = 1000;
/// Largest frame that a subscriber may send (a subscription), bytes.
const SUBSCRIPTION_MAX_BYTES: i64 = 1024;
/// Largest frame of a request, bytes.
const REQUEST_MAX_BYTES: i64 = 64 * 1024;
/// Replies that may wait for one client; a replay pauses there.
const REPLIES: i32 = 128;

/// Owns the sockets' thread: tells verdicts, masks and status, and answers requests.
///
/// Calls may come from any thread. They wait a few milliseconds at most; what then finds no room is
/// refused with [`PublishError::QueueFull`], never dropped in silence. Dropping the publisher stops it:
/// what was accepted is still sent.
pub struct Publisher {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    unrecorded: Arc<Unrecorded>,
    counters: Arc<Counters>,
    endpoints: (String, String),
}

impl Publisher {
    /// Binds both sockets and starts to serve them.
    ///
    /// `ledger` is asked for replays, `bindings` gets the ids that clients bind, `alive` is called at each turn of the sockets' thread,
    /// which makes one twice a second at least.
    ///
    /// # Errors
    /// A port in use or an unusable endpoint, each naming its key; ZeroMQ or a thread that fails.
    pub fn start(
        station: StationId,
        settings: &config::Publish,
        ledger: Arc<dyn Replay>,
        bindings: Arc<Bindings>,
        alive: impl Fn() + Send + 'static,
    ) -> Result<Self, PublishError> {
        let context = zmq::Context::new();
        let hwm = i32::try_from(settings.high_water_mark.max(1)).unwrap_or(i32::MAX);
        let feed = socket(&context, zmq::XPUB, hwm, SUBSCRIPTION_MAX_BYTES)?;
        let requests = socket(&context, zmq::ROUTER, REPLIES, REQUEST_MAX_BYTES)?;
        // Without this a reply to a client that does not read would vanish instead of waiting.
        requests.set_router_mandatory(true).map_err(PublishError::socket("setting up `publish.requests`"))?;
        // A client that comes back under its own name after a cut cable is answered at once, not when the dead connection is noticed.
        requests.set_router_handover(true).map_err(PublishError::socket("setting up `publish.requests`"))?;
        let endpoints =
            (endpoint::bind(&feed, "publish.feed", &settings.feed)?, endpoint::bind(&requests, "publish.requests", &settings.requests)?);

        let (waker, wake) = Waker::pair(&context)?;
        let waker = Arc::new(waker);
        let (commands, waiting) = bounded(QUEUE);
        let (stop, counters, unrecorded) = (Arc::<AtomicBool>::default(), Arc::<Counters>::default(), Arc::<Unrecorded>::default());
        let (jobs, reader) = Reader::new(ledger, station.clone(), unrecorded.clone(), waker.clone());
        tracing::info!(feed = endpoints.0, requests = endpoints.1, zeromq = ?zmq::version(), "publishing");
        let last = station.lanes.iter().map(|lane| (lane.clone(), 0)).collect();
        let sockets = Sockets {
            feed,
            requests,
            wake,
            commands: waiting,
            jobs,
            station,
            bindings,
            counters: counters.clone(),
            stop: stop.clone(),
            replays: Replays::default(),
            last,
        };
        let mut publisher = Self { commands, waker, stop, threads: Vec::new(), unrecorded, counters, endpoints };
        publisher.spawn("publish-replay", move || reader.run())?;
        publisher.spawn("publish", move || sockets.run(alive))?;
        Ok(publisher)
    }

    fn spawn(&mut self, name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), PublishError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| PublishError::Thread(name, e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Tells a verdict on `verdict.<lane>` and, where `mask` (a PNG, see [`mask_png::encode`])
    /// is not empty, the mask on `mask.<lane>` right after it. Both go or neither does.
    ///
    /// A verdict that is not `recorded` is kept in a bounded ring for replays.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] or [`PublishError::Stopped`] when nothing was sent;
    /// [`PublishError::Mask`] for a payload that is no PNG.
    pub fn verdict(&self, header: &VerdictMessage, mask: &[u8]) -> Result<(), PublishError> {
        let verdict = frames(Topic::Verdict, &header.lane, header, &[])?;
        let mask_message = if mask.is_empty() {
            None
        } else {
            let (width_px, height_px) = mask_png::size_px(mask)?;
            let message = MaskMessage {
                schema: MaskSchema::V1,
                run: header.run.clone(),
                lane: header.lane.clone(),
                number: header.number,
                width_px,
                height_px,
                encoding: MaskEncoding::Png1Bit,
            };
            Some(frames(Topic::Mask, &header.lane, &message, mask)?)
        };
        if !header.recorded {
            let stored = StoredMessage { number: header.number, header: verdict[1].clone(), payload: mask.to_vec() };
            self.unrecorded.keep(header, stored);
        }
        self.send(Command::Verdict { lane: header.lane.as_str().into(), number: header.number, verdict, mask: mask_message })
    }

    /// Tells a lane's state on `status.<lane>`.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] or [`PublishError::Stopped`] when it was not sent.
    pub fn status(&self, message: &StatusMessage) -> Result<(), PublishError> {
        self.send(Command::Status(frames(Topic::Status, &message.lane, message, &[])?))
    }

    /// Tells blind time on `status.<lane>`.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] or [`PublishError::Stopped`] when it was not sent.
    pub fn blind(&self, message: &BlindMessage) -> Result<(), PublishError> {
        self.send(Command::Status(frames(Topic::Status, &message.lane, message, &[])?))
    }

    fn send(&self, command: Command) -> Result<(), PublishError> {
        if self.threads.last().is_none_or(JoinHandle::is_finished) {
            return Err(PublishError::Stopped);
        }
        self.commands.send_timeout(command, PATIENCE).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => PublishError::QueueFull { waiting: self.commands.len() },
            SendTimeoutError::Disconnected(_) => PublishError::Stopped,
        })?;
        self.waker.wake();
        Ok(())
    }

    /// The feed's and the request socket's endpoints as they were bound, with the port's number
    /// where the configuration left it open (`*` or 0).
    pub fn endpoints(&self) -> (&str, &str) {
        (&self.endpoints.0, &self.endpoints.1)
    }

    /// Whether its threads run, as they should until it is dropped; otherwise nothing is sent any more.
    pub fn is_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// What was sent and asked so far.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        // The sockets' thread first: with it ends the queue that the reader lives on.
        while let Some(thread) = self.threads.pop() {
            if let Err(panic) = thread.join() {
                tracing::error!(?panic, "a thread of the publisher panicked");
            }
        }
    }
}

fn socket(context: &zmq::Context, kind: zmq::SocketType, hwm: i32, max_bytes: i64) -> Result<zmq::Socket, PublishError> {
    let set_up = || {
        let socket = context.socket(kind)?;
        socket.set_sndhwm(hwm)?;
        socket.set_linger(LINGER_MS)?;
        socket.set_maxmsgsize(max_bytes)?;
        // A peer that lost its power is noticed within half a minute, not kept with a full queue for hours.
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(15)?;
        socket.set_tcp_keepalive_intvl(5)?;
        socket.set_tcp_keepalive_cnt(3)?;
        Ok(socket)
    };
    set_up().map_err(PublishError::socket("opening a socket"))
}

fn frames(topic: Topic, lane: &str, header: &impl Serialize, payload: &[u8]) -> Result<[Vec<u8>; 3], PublishError> {
    Ok([topic.of(lane).into_bytes(), serde_json::to_vec(header)?, payload.to_vec()])
}
