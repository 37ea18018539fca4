//! GigE Vision cameras through Aravis: frame ids, camera time, status of every frame, reconnects.

mod device;
mod features;
mod frames;

use super::backoff::Backoff;
use super::error::CameraError;
use super::feed::Feed;
use super::status::CameraStatus;
use super::stop::{Stop, Stopped};
use crate::cell::{CameraEvent, Moment};
use crate::config::GigeCamera;
use device::Device;
use frames::{Frames, Leave};
use std::sync::Arc;

/// Feeds a pipeline from a GigE Vision camera, and gets the camera back whenever it is lost.
pub(super) struct Feeder {
    settings: GigeCamera,
    block_lines: u32,
    status: Arc<CameraStatus>,
    /// The camera, or why it does not answer yet.
    first: Result<Device, String>,
}

impl Feeder {
    /// Makes the first attempt to open the camera, so that wrong settings are told at once.
    pub(super) fn start(settings: &GigeCamera, block_lines: u32, status: Arc<CameraStatus>) -> Result<Self, CameraError> {
        let first = match Device::open(settings, block_lines) {
            Ok(device) => Ok(device),
            Err(error) if error.may_pass() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Self { settings: settings.clone(), block_lines, status, first })
    }

    /// Feeds until told to stop.
    pub(super) fn run(self, mut feed: Feed, stop: &Stop) -> Result<(), Stopped> {
        let mut device = self.first;
        let mut backoff = Backoff::new(self.settings.reconnect_first_ms, self.settings.reconnect_max_ms);
        // From then on the receiver keeps it, in step with what it tells: set here, a camera that is back
        // could be called idle before it is called back.
        self.status.set_connected(device.is_ok());
        loop {
            let (at, reason) = match device {
                Ok(device) => match Frames::new(&device).pump(&mut feed, stop) {
                    Leave::Stopped => return Err(Stopped),
                    Leave::Gone { last_seen, reason } => (last_seen, reason),
                },
                Err(reason) => (Moment::now(), reason),
            };
            feed.tell(CameraEvent::Gone { at, reason })?;
            let mut attempts = 0;
            device = Ok(loop {
                stop.sleep(backoff.pause())?;
                attempts += 1;
                match Device::open(&self.settings, self.block_lines) {
                    Ok(device) => break device,
                    Err(error) => tracing::warn!("attempt {attempts}: {error}"),
                }
            });
            backoff.reset();
            feed.tell(CameraEvent::Back { at: Moment::now(), attempts })?;
        }
    }
}
