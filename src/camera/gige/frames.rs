use super::device::{Device, grey};
use crate::camera::error::CameraError;
use crate::camera::feed::{Feed, Stamp};
use crate::camera::ids::{FrameIds, Step};
use crate::camera::shape::Shape;
use crate::cell::{LossCause, Moment};
use crate::stop::{Stop, Stopped};
use aravis::prelude::*;
use aravis::{Buffer, BufferStatus};

/// How long to wait for a frame before looking at the stop and the heartbeat, microseconds.
const POP_WAIT_US: u64 = 100_000;
/// The frame id of a buffer that no leader packet has reached; cameras begin at 1.
const NO_ID: u64 = 0;

/// Why a camera is not read any more.
pub(super) enum Leave {
    /// The owner said so.
    Stopped,
    /// The camera is gone.
    Gone {
        /// When the last frame came, or when it was opened.
        last_seen: Moment,
        /// What was seen of the failure.
        reason: String,
    },
}

impl From<Stopped> for Leave {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Moves frames from a camera into a pipeline and counts what is missing between them.
pub(super) struct Frames<'a> {
    device: &'a Device,
    ids: FrameIds,
    underruns: u64,
    last_seen: Moment,
}

impl<'a> Frames<'a> {
    /// Has an open camera acquire.
    ///
    /// # Errors
    /// [`CameraError::NotThere`] where it does not.
    pub(super) fn start(device: &'a Device) -> Result<Self, CameraError> {
        let refused = |error: aravis::glib::Error| CameraError::NotThere {
            id: device.id.clone(),
            reason: format!("it does not start acquisition: {}", error.message()),
        };
        device.camera.start_acquisition().map_err(refused)?;
        Ok(Self { device, ids: FrameIds::default(), underruns: 0, last_seen: Moment::now() })
    }

    /// Takes frames until the camera is gone or the owner stops it. No frames are no error: a belt
    /// that stands triggers none.
    pub(super) fn pump(mut self, feed: &mut Feed, stop: &Stop) -> Leave {
        loop {
            if stop.is_set() {
                return Leave::Stopped;
            }
            if let Some(buffer) = self.device.stream.timeout_pop_buffer(POP_WAIT_US) {
                if let Err(leave) = self.frame(&buffer, feed) {
                    return leave;
                }
                // A frame whose leader is lost would else be taken for the one before it.
                buffer.set_frame_id(NO_ID);
                buffer.set_timestamp(0);
                self.device.stream.push_buffer(buffer);
            }
            if self.device.is_lost() {
                return self.gone("it does not answer the heartbeat any more, or another program took control".into());
            }
        }
    }

    fn frame(&mut self, buffer: &Buffer, feed: &mut Feed) -> Result<(), Leave> {
        let (id, good) = (buffer.frame_id(), buffer.status() == BufferStatus::Success && buffer.n_parts() > 0);
        self.last_seen = Moment::now();
        if id == NO_ID {
            // Without its leader it is counted when the next id shows the gap.
            return if good { Err(self.gone("it sends no frame ids, so lost lines cannot be noticed".into())) } else { Ok(()) };
        }
        match self.ids.step(id) {
            Step::Next => {}
            Step::Missing(frames) => feed.lose(frames * u64::from(self.device.lines), self.cause_of_gap())?,
            Step::Restarted => return Err(self.gone(format!("its frame counter went back to {id}"))),
        }
        let shape = if good { Some(self.shape_of(buffer)?) } else { None };
        let pixels = shape.and_then(|shape| unpadded(buffer, shape));
        match shape.zip(pixels) {
            Some((shape, pixels)) => {
                let stamp = Stamp {
                    camera_time_ns: Some(buffer.timestamp()).filter(|time| *time > 0),
                    encoder_count: self.device.encoder.as_ref().and_then(|encoder| encoder.count(buffer)),
                };
                feed.push(shape, pixels, stamp)?;
            }
            None => {
                tracing::debug!("camera {}: frame {id} is damaged: {:?}", self.device.id, buffer.status());
                feed.lose(self.device.lines.into(), LossCause::FrameDamaged)?;
            }
        }
        Ok(())
    }

    fn shape_of(&self, buffer: &Buffer) -> Result<Shape, Leave> {
        let format = buffer.image_pixel_format();
        let size = |value: i32| u32::try_from(value).ok().filter(|v| *v > 0);
        match (grey(format), size(buffer.image_width()), size(buffer.image_height())) {
            (Some(format), Some(width_px), Some(lines)) => Ok(Shape { width_px, lines, format }),
            _ => {
                let (width, lines) = (buffer.image_width(), buffer.image_height());
                Err(self.gone(format!(
                    "its frames changed to {width} × {lines} px of pixel format {:#010x}; set it to Mono8, Mono10, Mono12 or Mono16",
                    format.raw()
                )))
            }
        }
    }

    /// Frames are missing because the host had no buffer free, or because they never came.
    fn cause_of_gap(&mut self) -> LossCause {
        let (_, _, underruns) = self.device.stream.statistics();
        let host_was_late = underruns > self.underruns;
        self.underruns = underruns;
        if host_was_late { LossCause::Overload } else { LossCause::FramesMissing }
    }

    fn gone(&self, reason: String) -> Leave {
        Leave::Gone { last_seen: self.last_seen, reason: format!("camera {}: {reason}", self.device.id) }
    }
}

/// The frame's pixels without the padding that some cameras put at the end of lines; `None` where
/// there are fewer than the frame's size says.
fn unpadded(buffer: &Buffer, shape: Shape) -> Option<Vec<u8>> {
    let mut pixels = buffer.image_data();
    let padding = usize::try_from(buffer.image_padding().0).ok()?;
    if padding > 0 {
        let padded = shape.line_bytes() + padding;
        pixels = pixels.chunks(padded).flat_map(|line| line.iter().copied().take(shape.line_bytes())).collect();
    }
    if pixels.len() < shape.frame_bytes() {
        return None;
    }
    pixels.truncate(shape.frame_bytes());
    Some(pixels)
}
