use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Mutex;

/// Tells every loop of the station to stop. A receiver is disconnected once [`Halt::stop`] was called,
/// so that it can be waited on together with queues.
pub(super) struct Halt {
    open: Mutex<Option<Sender<()>>>,
    signal: Receiver<()>,
}

impl Halt {
    pub fn new() -> Self {
        let (sender, signal) = bounded(0);
        Self { open: Mutex::new(Some(sender)), signal }
    }

    /// Stops everything that waits on [`signal`](Self::signal). Calling it again changes nothing.
    pub fn stop(&self) {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }

    /// Becomes readable (disconnected) when the station stops.
    pub fn signal(&self) -> &Receiver<()> {
        &self.signal
    }

    pub fn stopped(&self) -> bool {
        matches!(self.signal.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }
}
