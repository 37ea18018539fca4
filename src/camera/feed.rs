use super::encoder;
use super::pipeline::serialized;
use super::shape::Shape;
use crate::cell::{CameraEvent, LossCause, PixelFormat};
use crate::stop::Stopped;
use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSrc;

/// The caps by which a camera's own time is told apart from other reference times.
pub(super) fn camera_time_caps() -> gst::Caps {
    gst::Caps::new_empty_simple("timestamp/x-camera")
}

/// What a camera tells of the moment of a frame's last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its own time, ns.
    pub(super) camera_time_ns: Option<u64>,
    /// The belt encoder's count.
    pub(super) encoder_count: Option<i64>,
}

/// The feeding end of a pipeline: numbers the lines and pushes them as buffers whose offsets are
/// line numbers, with what is to be said in its place between them.
///
/// Dropping it ends the stream.
pub(super) struct Feed {
    source: AppSrc,
    shape: Option<Shape>,
    camera_time: gst::Caps,
    next_line: u64,
}

impl Feed {
    /// Feeds `source`, beginning with line 0.
    pub(super) fn new(source: AppSrc) -> Self {
        Self { source, shape: None, camera_time: camera_time_caps(), next_line: 0 }
    }

    /// Number of the next line.
    pub(super) fn next_line(&self) -> u64 {
        self.next_line
    }

    /// Pushes `shape.lines` lines; waits while the pipeline is full.
    pub(super) fn push(&mut self, shape: Shape, pixels: Vec<u8>, stamp: Stamp) -> Result<(), Stopped> {
        if self.shape != Some(shape) {
            self.source.set_caps(Some(&shape.caps()));
            self.shape = Some(shape);
        }
        let mut buffer = gst::Buffer::from_mut_slice(pixels);
        if let Some(fresh) = buffer.get_mut() {
            fresh.set_offset(self.next_line);
            self.next_line += u64::from(shape.lines);
            fresh.set_offset_end(self.next_line);
            if let Some(time) = stamp.camera_time_ns {
                gst::ReferenceTimestampMeta::add(fresh, &self.camera_time, gst::ClockTime::from_nseconds(time), None);
            }
            if let Some(count) = stamp.encoder_count {
                encoder::attach(fresh, count);
            }
        }
        self.source.push_buffer(buffer).map(|_| ()).map_err(|_| Stopped)
    }

    /// The next `lines` lines are missing: says so and counts them in.
    pub(super) fn lose(&mut self, lines: u64, cause: LossCause) -> Result<(), Stopped> {
        let first_line = self.next_line;
        self.next_line += lines;
        self.tell(CameraEvent::Lost { first_line, lines, cause })
    }

    /// Says something after all lines so far and before all that follow.
    pub(super) fn tell(&mut self, event: CameraEvent) -> Result<(), Stopped> {
        if self.shape.is_none() {
            // GStreamer wants caps before anything else; the first frame brings the true ones.
            let some = Shape { width_px: 1, lines: 1, format: PixelFormat::Gray8 };
            self.source.set_caps(Some(&some.caps()));
            self.shape = Some(some);
        }
        if self.source.send_event(serialized(event)) { Ok(()) } else { Err(Stopped) }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Refused only where the pipeline was stopped before, which ends the stream as well.
        let _ = self.source.end_of_stream();
    }
}
