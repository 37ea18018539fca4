use super::CameraError;
use super::thread::spawn;
use crossbeam_channel::{Receiver, bounded};
use std::thread::JoinHandle;

/// Makes the items of an iterator on a thread of its own, one ahead of whoever takes them, so that
/// decoding or drawing the next picture does not hold up the lines of this one.
pub(super) struct Ahead<T> {
    items: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts the thread for a camera of `lane`.
    pub(super) fn start(lane: &str, items: impl Iterator<Item = T> + Send + 'static) -> Result<Self, CameraError> {
        // One item waits in the thread's hands, none in the queue.
        let (sender, receiver) = bounded(0);
        let make = move || {
            for item in items {
                if sender.send(item).is_err() {
                    return;
                }
            }
        };
        Ok(Self { items: Some(receiver), thread: Some(spawn(lane, "ahead", make)?) })
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.items = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes a camera's pictures panicked");
        }
    }
}
