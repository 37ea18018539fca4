use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets `stop` at Ctrl-C or SIGTERM; its thread is joined when this is dropped.
pub(super) struct Interrupt {
    pub stop: Arc<AtomicBool>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Interrupt {
    pub fn listen() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot listen for Ctrl-C")?;
        let mut terminate = {
            let _inside = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("cannot listen for SIGTERM")?
        };
        let raised = stop.clone();
        let wait = async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = ended => return,
            }
            raised.store(true, Ordering::Relaxed);
            eprintln!("stopping after this step, saving what there is");
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(Self { stop, end: Some(end), thread: Some(thread) })
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
