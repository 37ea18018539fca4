//! How threads are told to stop: their owner keeps a [`Stopper`], each of them sees a [`Stop`].

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Kept by the owner of the threads; [`stop`](Self::stop), or dropping it, tells all of them to stop, and wakes them.
pub(crate) struct Stopper {
    alive: Mutex<Option<Sender<Infallible>>>,
}

/// A thread's view of its owner's wish: waits can be interrupted by it.
#[derive(Clone)]
pub(crate) struct Stop {
    alive: Receiver<Infallible>,
}

/// What a step returns when it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Stopper {
    /// Tells the threads to stop. Calling it again changes nothing.
    pub(crate) fn stop(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Stop {
    /// Both ends.
    pub(crate) fn pair() -> (Stopper, Stop) {
        let (sender, alive) = bounded(0);
        (Stopper { alive: Mutex::new(Some(sender)) }, Stop { alive })
    }

    /// Whether to stop now.
    pub(crate) fn is_set(&self) -> bool {
        matches!(self.alive.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Disconnected by the stop, and empty until then: for `select!`, together with queues.
    pub(crate) fn signal(&self) -> &Receiver<Infallible> {
        &self.alive
    }

    /// Sleeps, or is woken by the stop.
    pub(crate) fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        match self.alive.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped),
            Ok(never) => match never {},
        }
    }

    /// Sends into a bounded queue, waiting for room until told to stop.
    ///
    /// A queue whose reader is gone counts as stopped.
    pub(crate) fn send<T>(&self, queue: &Sender<T>, value: T) -> Result<(), Stopped> {
        crossbeam_channel::select! {
            send(queue, value) -> sent => sent.map_err(|_| Stopped),
            recv(self.alive) -> _ => Err(Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_seen_by_all_and_wakes_whoever_waits() {
        let (stopper, stop) = Stop::pair();
        assert!(!stop.is_set() && stop.sleep(Duration::ZERO) == Ok(()));
        let asleep = std::thread::spawn({
            let stop = stop.clone();
            move || stop.sleep(Duration::from_secs(60))
        });
        stopper.stop();
        stopper.stop();
        assert_eq!(asleep.join().unwrap(), Err(Stopped));
        assert!(stop.is_set() && stop.signal().recv().is_err());
    }

    #[test]
    fn an_owner_that_is_gone_has_said_stop() {
        let (stopper, stop) = Stop::pair();
        drop(stopper);
        assert!(stop.is_set());
    }
}
