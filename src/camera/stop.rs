use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use std::convert::Infallible;
use std::time::Duration;

/// Kept by the owner of the threads; dropping it tells all of them to stop, and wakes them.
pub(super) struct Stopper {
    _alive: Sender<Infallible>,
}

/// A thread's view of its owner's wish: waits can be interrupted by it.
#[derive(Clone)]
pub(super) struct Stop {
    alive: Receiver<Infallible>,
}

/// What a step returns when it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

impl Stop {
    /// Both ends.
    pub(super) fn pair() -> (Stopper, Stop) {
        let (sender, alive) = bounded(0);
        (Stopper { _alive: sender }, Stop { alive })
    }

    /// Whether to stop now.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.alive.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Sleeps, or is woken by the stop.
    pub(super) fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        match self.alive.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped),
            Ok(never) => match never {},
        }
    }

    /// Sends into a bounded queue, waiting for room until told to stop.
    ///
    /// A queue whose reader is gone counts as stopped.
    pub(super) fn send<T>(&self, queue: &Sender<T>, value: T) -> Result<(), Stopped> {
        crossbeam_channel::select! {
            send(queue, value) -> sent => sent.map_err(|_| Stopped),
            recv(self.alive) -> _ => Err(Stopped),
        }
    }
}
