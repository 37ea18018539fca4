use crate::commands::terminal::note;
use crate::train::TrainError;
use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Sets `stop` at Ctrl-C or SIGTERM, and ends the process at the second Ctrl-C; its thread is joined when this is dropped.
///
/// SIGTERM never counts as a second one: that is how a search or comparison hands on its own Ctrl-C, which a terminal has
/// sent to all of them already.
pub(super) struct Interrupt {
    pub stop: Arc<AtomicBool>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a shell tells of a process that Ctrl-C has ended; the status of a training that was stopped, too.
pub(super) const ENDED_BY_INTERRUPT: u8 = 130;

impl Interrupt {
    pub fn listen() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot listen for Ctrl-C")?;
        let (mut interrupts, mut terminations) = {
            let _inside = runtime.enter();
            let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
            (listen(SignalKind::interrupt(), "Ctrl-C")?, listen(SignalKind::terminate(), "SIGTERM")?)
        };
        let raised = stop.clone();
        let wait = async move {
            let mut pressed = 0;
            loop {
                tokio::select! {
                    _ = interrupts.recv() => pressed += 1,
                    _ = terminations.recv() => {}
                    _ = &mut ended => return,
                }
                if pressed > 1 {
                    note!("ended at once; what was done since the last save is lost");
                    std::process::exit(ENDED_BY_INTERRUPT.into());
                }
                if !raised.swap(true, Ordering::Relaxed) {
                    note!("stopping after this step, saving what there is; Ctrl-C once more ends it at once");
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(Self { stop, end: Some(end), thread: Some(thread) })
    }

    /// Whether to stop.
    pub fn is_raised(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// [`TrainError::Stopped`] where that is wished.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.is_raised() { Err(TrainError::Stopped) } else { Ok(()) }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // Both fail only where the thread has ended by itself.
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
