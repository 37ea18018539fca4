//! GigE Vision cameras through Aravis: frame ids, camera time, status of every frame, reconnects.

mod device;
mod features;
mod frames;

use super::backoff::Backoff;
use super::error::CameraError;
use super::feed::Feed;
use crate::cell::{CameraEvent, Moment};
use crate::config::GigeCamera;
use crate::stop::{Stop, Stopped};
use device::Device;
use frames::{Frames, Leave};

/// Feeds a pipeline from a GigE Vision camera, and gets the camera back whenever it is lost.
pub(super) struct Feeder {
    settings: GigeCamera,
    block_lines: u32,
    /// The camera, or why it does not answer yet.
    first: Result<Device, String>,
}

impl Feeder {
    /// Makes the first attempt to open the camera, so that wrong settings are told at once.
    pub(super) fn start(settings: &GigeCamera, block_lines: u32) -> Result<Self, CameraError> {
        let first = match Device::open(settings, block_lines) {
            Ok(device) => Ok(device),
            Err(error) if error.may_pass() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Self { settings: settings.clone(), block_lines, first })
    }

    /// Feeds until told to stop.
    pub(super) fn run(self, mut feed: Feed, stop: &Stop) -> Result<(), Stopped> {
        let mut device = self.first;
        let mut backoff = Backoff::new(self.settings.reconnect_first_ms, self.settings.reconnect_max_ms);
        // While the camera is gone: attempts made so far to get it back.
        let mut gone: Option<u32> = None;
        loop {
            let (at, reason) = match device {
                Ok(device) => match Frames::start(&device) {
                    Ok(frames) => {
                        if let Some(attempts) = gone.take() {
                            feed.tell(CameraEvent::Back { at: Moment::now(), attempts })?;
                        }
                        let next_line = feed.next_line();
                        let leave = frames.pump(&mut feed, stop);
                        // Only lines show that it works again: one that answers and fails at once is asked ever more seldom.
                        if feed.next_line() > next_line {
                            backoff.reset();
                        }
                        match leave {
                            Leave::Stopped => return Err(Stopped),
                            Leave::Gone { last_seen, reason } => (last_seen, reason),
                        }
                    }
                    Err(error) => (Moment::now(), error.to_string()),
                },
                Err(reason) => (Moment::now(), reason),
            };
            match gone {
                None => feed.tell(CameraEvent::Gone { at, reason })?,
                Some(attempts) => tracing::warn!("attempt {attempts}: {reason}"),
            }
            stop.sleep(backoff.pause())?;
            gone = Some(gone.unwrap_or(0).saturating_add(1));
            device = Device::open(&self.settings, self.block_lines).map_err(|error| error.to_string());
        }
    }
}
