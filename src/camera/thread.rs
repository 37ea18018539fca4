use super::CameraError;
use std::thread::{Builder, JoinHandle};

/// Runs a thread of the camera of `lane`, which stands beside all that is logged there.
pub(super) fn spawn(lane: &str, role: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, CameraError> {
    // Of the highest level: no filter of the log leaves it out.
    let span = tracing::error_span!(parent: None, "camera", lane);
    let thread = Builder::new().name(format!("{role}-{lane}"));
    thread.spawn(move || span.in_scope(run)).map_err(|source| CameraError::Thread { lane: lane.into(), source })
}
