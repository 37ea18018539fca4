//! Cameras: where line blocks come from.
//!
//! Four kinds of source share one way of the pixels, a GStreamer pipeline that ends in a blocking
//! `appsink`: GigE Vision (`gige`), recorded pictures (`files`), simulated wafers
//! (`simulated`) and any GStreamer fragment (`fragment`). The first three feed an `appsrc`
//! from a thread of their own, the last one brings its own source elements.
//!
//! ```text
//! gige ───────┐
//! files ──────┼─▶ Feed (appsrc) ─▶ appsink ─▶ Receiver ─▶ Outbox ─▶ CameraLink::events
//! simulated ──┘                      ▲
//! fragment ──────────────────────────┘
//! ```
//!
//! Lost lines are counted, never guessed: from frame ids and the status of every buffer
//! (`ids`), from the offsets of GStreamer buffers, and from what the bounded queue refused.

mod ahead;
mod backoff;
mod clock;
mod encoder;
mod error;
mod feed;
mod files;
mod fragment;
mod frame_offsets;
mod gige;
mod ids;
mod link;
mod outbox;
mod pacer;
mod pipeline;
mod receiver;
mod shape;
mod simulated;
#[cfg(test)]
mod tests;
mod thread;

pub use error::CameraError;
pub use link::CameraLink;

use crate::config::{Belt, Camera, CameraKind, Wafer};

/// Looks at what a camera is made of, without starting it.
///
/// # Errors
/// [`CameraError::Path`], [`CameraError::PictureFile`] and [`CameraError::Picture`] for pictures that cannot be used,
/// [`CameraError::Fragment`] and [`CameraError::NotGrey`] for a fragment that GStreamer does not take,
/// [`CameraError::WaferTooWide`] for simulated wafers that find no room on the line.
pub fn check(camera: &Camera, wafer: &Wafer, belt: &Belt) -> Result<(), CameraError> {
    match &camera.kind {
        CameraKind::Files(settings) => files::check(settings),
        CameraKind::Gstreamer(settings) => pipeline::parsed(&settings.fragment).map(drop),
        CameraKind::Simulated(settings) => simulated::check(settings, wafer, belt),
        CameraKind::Gige(_) => Ok(()),
    }
}
