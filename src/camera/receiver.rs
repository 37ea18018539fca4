use super::clock::{ClockMap, steady_ns};
use super::encoder;
use super::feed::camera_time_caps;
use super::frame_offsets::{FrameOffsets, FrameStep};
use super::outbox::Outbox;
use super::pipeline::{Conduit, Pulled};
use super::shape::Shape;
use crate::cell::{CameraEvent, LineBlock, LossCause, Moment};
use crate::stop::{Stop, Stopped};
use crate::throttle::{TELL_EVERY, Throttle};
use bytes::Bytes;
use gstreamer as gst;
use std::time::{Duration, Instant};

/// What the offsets of a pipeline's buffers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offsets {
    /// Lines, as [`super::feed::Feed`] sets them.
    Lines,
    /// Frames, as GStreamer's sources of raw video set them, or bytes, as its sources of streams do, or nothing.
    Frames,
}

/// Why a pipeline is not read any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The source has ended.
    End,
    /// It failed, for this reason.
    Failed(String),
    /// The owner said so.
    Stopped,
}

/// What the receiver needs to know about its camera.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// What buffer offsets count.
    pub(super) offsets: Offsets,
    /// Nanoseconds from line to line, 0 where unknown.
    pub(super) line_period_ns: f64,
    /// Significant bits of GRAY16_LE where the caps do not tell.
    pub(super) bits: u8,
    /// Pause without frames that counts as a standing belt; `None`: never, the source waits for nothing but its reader.
    pub(super) idle_after: Option<Duration>,
}

/// Reads a pipeline: frames become line blocks, numbered without gaps that are not told.
pub(super) struct Receiver {
    traits: Traits,
    outbox: Outbox,
    stop: Stop,
    camera_time: gst::Caps,
    clock: ClockMap,
    next_line: u64,
    /// The last frame's caps and shape.
    caps: Option<(gst::Caps, Shape)>,
    frames: FrameOffsets,
    discontinuities: Throttle,
    last_seen: Moment,
    /// Since when no frame has come from a pipeline that runs.
    quiet_since: Instant,
    /// Whether the camera is there, by what was told: one that is gone is not called idle.
    connected: bool,
    idle: bool,
    /// While the camera is gone: attempts made so far to get it back.
    gone: Option<u32>,
}

impl Receiver {
    /// Reads on behalf of `outbox`.
    pub(super) fn new(traits: Traits, outbox: Outbox, stop: Stop) -> Self {
        Self {
            traits,
            outbox,
            stop,
            camera_time: camera_time_caps(),
            clock: ClockMap::default(),
            next_line: 0,
            caps: None,
            frames: FrameOffsets::default(),
            discontinuities: Throttle::new(TELL_EVERY),
            last_seen: Moment::now(),
            quiet_since: Instant::now(),
            connected: true,
            idle: false,
            gone: None,
        }
    }

    /// Now it is known whether the source can wait.
    pub(super) fn set_live(&mut self, live: bool) {
        self.outbox.set_live(live);
    }

    /// Reads `conduit` until it ends, fails or the owner stops it.
    pub(super) fn run(&mut self, conduit: &Conduit) -> Ending {
        (self.frames, self.quiet_since) = (FrameOffsets::default(), Instant::now());
        loop {
            if self.stop.is_set() {
                return Ending::Stopped;
            }
            let done = match conduit.pull() {
                Pulled::Sample(sample) => match self.frame(&sample) {
                    Ok(done) => done,
                    Err(reason) => return Ending::Failed(reason),
                },
                Pulled::Event(event) => self.event(event),
                Pulled::Nothing => self.nothing(),
                Pulled::End => return Ending::End,
                Pulled::Failed(reason) => return Ending::Failed(reason),
            };
            if done == Err(Stopped) {
                return Ending::Stopped;
            }
        }
    }

    /// Says that the stream has ended.
    pub(super) fn end(&mut self) -> Result<(), Stopped> {
        self.outbox.tell(CameraEvent::End)
    }

    /// Says that the camera is gone, once until it is back.
    pub(super) fn gone(&mut self, reason: String) -> Result<(), Stopped> {
        if self.gone.is_some() {
            return Ok(());
        }
        self.gone = Some(0);
        self.event(CameraEvent::Gone { at: self.last_seen, reason })
    }

    /// Counts an attempt to get a camera back; the next frame says that it is.
    pub(super) fn attempt(&mut self) {
        self.gone = self.gone.map(|attempts| attempts.saturating_add(1));
    }

    /// Whether the camera is gone and not back yet.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// A frame. `Err`: its caps are not grey.
    fn frame(&mut self, sample: &gst::Sample) -> Result<Result<(), Stopped>, String> {
        let (Some(caps), Some(buffer)) = (sample.caps_owned(), sample.buffer_owned()) else { return Ok(Ok(())) };
        let shape = match &self.caps {
            Some((known, shape)) if *known == caps => *shape,
            _ => self.new_caps(caps)?,
        };
        Ok(self.block(shape, buffer))
    }

    fn new_caps(&mut self, caps: gst::Caps) -> Result<Shape, String> {
        let shape = Shape::from_caps(&caps, self.traits.bits).map_err(|e| e.to_string())?;
        if let Some((_, old)) = &self.caps
            && (old.width_px, old.format) != (shape.width_px, shape.format)
        {
            tracing::warn!("the camera changed from {} px {:?} to {} px {:?}", old.width_px, old.format, shape.width_px, shape.format);
        }
        self.caps = Some((caps, shape));
        Ok(shape)
    }

    fn block(&mut self, shape: Shape, buffer: gst::Buffer) -> Result<(), Stopped> {
        let (arrival, arrived_ns) = (Moment::now(), steady_ns());
        (self.last_seen, self.quiet_since, self.idle) = (arrival, arrival.instant, false);
        if let Some(attempts) = self.gone.take() {
            self.event(CameraEvent::Back { at: arrival, attempts })?;
        }
        let missing = self.missing_before(&buffer, shape);
        if missing > 0 {
            self.lose(missing, LossCause::FramesMissing)?;
        }
        let mapped = shape.layout(&buffer).zip(buffer.into_mapped_buffer_readable().ok());
        let Some((layout, pixels)) = mapped else {
            return self.lose(shape.lines.into(), LossCause::FrameDamaged);
        };
        let camera_time_ns = self.camera_time_of(pixels.buffer());
        let encoder_count = encoder::of(pixels.buffer());
        let block = LineBlock {
            first_line: self.next_line,
            lines: shape.lines,
            width_px: shape.width_px,
            stride_bytes: layout.stride_bytes,
            format: shape.format,
            pixels: Bytes::from_owner(pixels).slice(layout.bytes),
            last_line_at: camera_time_ns.map_or(arrival, |time| self.clock.map(time, arrival, arrived_ns)),
            camera_time_ns,
            encoder_count,
            line_period_ns: self.traits.line_period_ns,
        };
        self.next_line = block.end_line();
        self.outbox.block(block)
    }

    /// Lines missing before a frame, by its offset and its DISCONT flag.
    fn missing_before(&mut self, buffer: &gst::Buffer, shape: Shape) -> u64 {
        if self.traits.offsets == Offsets::Lines {
            return buffer.offset().saturating_sub(self.next_line);
        }
        match self.frames.step(buffer.offset(), buffer.offset_end()) {
            FrameStep::First => 0,
            FrameStep::Missing(frames) => frames.saturating_mul(shape.lines.into()),
            // How much is missing is not told. One frame is the least it can be, and enough to
            // hold the cell under the camera.
            FrameStep::Uncounted if buffer.flags().contains(gst::BufferFlags::DISCONT) => {
                if self.discontinuities.passes(Instant::now()) {
                    tracing::warn!("the source tells of a discontinuity, not of how long it is; one frame is counted as lost");
                }
                shape.lines.into()
            }
            FrameStep::Uncounted => 0,
        }
    }

    fn camera_time_of(&self, buffer: &gst::BufferRef) -> Option<u64> {
        let metas = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
        metas.filter(|meta| meta.reference().is_always_compatible(&self.camera_time)).map(|meta| meta.timestamp().nseconds()).next()
    }

    fn lose(&mut self, lines: u64, cause: LossCause) -> Result<(), Stopped> {
        let first_line = self.next_line;
        self.next_line = first_line.saturating_add(lines);
        tracing::debug!("lines {first_line} to {} lost: {cause:?}", self.next_line.saturating_sub(1));
        self.outbox.lost(first_line, lines, cause)
    }

    /// What the feeding side, or this one, has to say.
    fn event(&mut self, event: CameraEvent) -> Result<(), Stopped> {
        match &event {
            CameraEvent::Lost { lines, cause, .. } => {
                let (lines, cause) = (*lines, *cause);
                return self.lose(lines, cause);
            }
            CameraEvent::Gone { .. } => self.connected = false,
            CameraEvent::Back { .. } => {
                self.connected = true;
                self.clock.reset();
                let now = Moment::now();
                (self.last_seen, self.quiet_since, self.idle) = (now, now.instant, false);
            }
            _ => {}
        }
        self.outbox.tell(event)
    }

    /// No frame for a little while.
    fn nothing(&mut self) -> Result<(), Stopped> {
        self.outbox.tick()?;
        let stands = self.traits.idle_after.is_some_and(|pause| self.quiet_since.elapsed() >= pause);
        if stands && !self.idle && self.connected {
            self.idle = true;
            return self.outbox.tell(CameraEvent::Idle { at: Moment::now() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::feed::Stamp;
    use crate::cell::PixelFormat;
    use gstreamer_app::AppSrc;

    const SHAPE: Shape = Shape { width_px: 6, lines: 4, format: PixelFormat::Gray8 };

    /// Runs what `feed` pushes through a pipeline and a receiver; returns what came out.
    fn received(offsets: Offsets, feed: impl FnOnce(&AppSrc)) -> Vec<CameraEvent> {
        let (conduit, source) = Conduit::fed().unwrap();
        let (sender, events) = crossbeam_channel::bounded(64);
        let (_stopper, stop) = Stop::pair();
        let outbox = Outbox::new(sender, stop.clone(), false);
        let traits = Traits { offsets, line_period_ns: 0.0, bits: 16, idle_after: None };
        let mut receiver = Receiver::new(traits, outbox, stop);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| receiver.run(&conduit));
            feed(&source);
            source.end_of_stream().unwrap();
            assert_eq!(reading.join().unwrap(), Ending::End);
        });
        events.try_iter().collect()
    }

    fn push(source: &AppSrc, shape: Shape, offset: Option<u64>, flags: gst::BufferFlags) {
        let mut buffer = gst::Buffer::from_mut_slice(vec![7_u8; shape.frame_bytes()]);
        let fresh = buffer.get_mut().unwrap();
        if let Some(offset) = offset {
            fresh.set_offset(offset);
            fresh.set_offset_end(offset + 1);
        }
        fresh.set_flags(flags);
        source.set_caps(Some(&shape.caps()));
        source.push_buffer(buffer).unwrap();
    }

    /// Blocks as (first line, width), losses as (first line, lines lost).
    fn short(events: &[CameraEvent]) -> Vec<(&'static str, u64, u64)> {
        let short = |event: &CameraEvent| match event {
            CameraEvent::Block(b) => ("block", b.first_line, b.width_px.into()),
            CameraEvent::Lost { first_line, lines, cause: LossCause::FramesMissing } => ("missing", *first_line, *lines),
            other => panic!("unexpected {other:?}"),
        };
        events.iter().map(short).collect()
    }

    #[test]
    fn jumps_of_frame_offsets_are_lost_frames() {
        let events = received(Offsets::Frames, |source| {
            for offset in [5, 6, 9] {
                push(source, SHAPE, Some(offset), gst::BufferFlags::empty());
            }
        });
        assert_eq!(short(&events), [("block", 0, 6), ("block", 4, 6), ("missing", 8, 8), ("block", 16, 6)]);
    }

    #[test]
    fn a_discontinuity_of_unknown_length_counts_as_one_frame_but_never_the_first() {
        let events = received(Offsets::Frames, |source| {
            for flags in [gst::BufferFlags::DISCONT, gst::BufferFlags::empty(), gst::BufferFlags::DISCONT] {
                push(source, SHAPE, None, flags);
            }
        });
        assert_eq!(short(&events), [("block", 0, 6), ("block", 4, 6), ("missing", 8, 4), ("block", 12, 6)]);
    }

    #[test]
    fn a_width_that_changes_mid_stream_is_handed_on() {
        let wider = Shape { width_px: 10, ..SHAPE };
        let events = received(Offsets::Frames, |source| {
            push(source, SHAPE, Some(0), gst::BufferFlags::empty());
            push(source, wider, Some(1), gst::BufferFlags::empty());
        });
        assert_eq!(short(&events), [("block", 0, 6), ("block", 4, 10)]);
    }

    #[test]
    fn what_the_feed_says_stays_in_its_place_and_stamps_survive() {
        let events = received(Offsets::Lines, |source| {
            let mut feed = crate::camera::feed::Feed::new(source.clone());
            feed.tell(CameraEvent::Gone { at: Moment::now(), reason: "not there yet".into() }).unwrap();
            feed.tell(CameraEvent::Back { at: Moment::now(), attempts: 2 }).unwrap();
            feed.push(SHAPE, vec![1; SHAPE.frame_bytes()], Stamp { camera_time_ns: Some(12_345), encoder_count: Some(-7) }).unwrap();
            feed.lose(9, LossCause::FrameDamaged).unwrap();
            feed.push(SHAPE, vec![2; SHAPE.frame_bytes()], Stamp::default()).unwrap();
        });
        match &events[..] {
            [
                CameraEvent::Gone { .. },
                CameraEvent::Back { attempts: 2, .. },
                CameraEvent::Block(first),
                CameraEvent::Lost { first_line: 4, lines: 9, cause: LossCause::FrameDamaged },
                CameraEvent::Block(second),
            ] => {
                assert_eq!((first.camera_time_ns, first.encoder_count, first.line(3)), (Some(12_345), Some(-7), &[1_u8; 6][..]));
                assert_eq!((second.camera_time_ns, second.encoder_count, second.first_line), (None, None, 13));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}
