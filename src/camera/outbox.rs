use crate::cell::{CameraEvent, LineBlock, LossCause};
use crate::stop::{Stop, Stopped};
use crossbeam_channel::{Sender, TrySendError};

/// The bounded queue to the line, and what happens when it is full.
///
/// A source that can wait waits for room. Blocks of a live source are dropped while it is full, and
/// the lines so lost are told, exactly, as soon as there is room. Everything but blocks and losses
/// is rare and important, and waits for room whatever the source.
pub(super) struct Outbox {
    events: Sender<CameraEvent>,
    stop: Stop,
    live: bool,
    /// Lines dropped and not told yet: the first one and how many.
    untold: Option<(u64, u64)>,
}

impl Outbox {
    /// Sends into `events`; `live`: the source cannot wait.
    pub(super) fn new(events: Sender<CameraEvent>, stop: Stop, live: bool) -> Self {
        Self { events, stop, live, untold: None }
    }

    /// Now it is known whether the source can wait.
    pub(super) fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Sends a block, or, from a live source into a full queue, counts its lines as lost.
    pub(super) fn block(&mut self, block: LineBlock) -> Result<(), Stopped> {
        let (first_line, lines) = (block.first_line, block.lines);
        if self.live {
            self.tick()?;
            if self.untold.is_some() {
                self.drop_lines(first_line, lines.into());
                return Ok(());
            }
            match self.events.try_send(CameraEvent::Block(block)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.drop_lines(first_line, lines.into());
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(Stopped),
            }
        } else {
            self.stop.send(&self.events, CameraEvent::Block(block))?;
        }
        Ok(())
    }

    /// Sends the news of lost lines. From a live source into a full queue they join the lines
    /// dropped there.
    pub(super) fn lost(&mut self, first_line: u64, lines: u64, cause: LossCause) -> Result<(), Stopped> {
        if self.live && (self.untold.is_some() || self.events.is_full()) {
            self.tick()?;
            self.drop_lines(first_line, lines);
            return Ok(());
        }
        self.stop.send(&self.events, CameraEvent::Lost { first_line, lines, cause })
    }

    /// Sends anything else, waiting for room.
    pub(super) fn tell(&mut self, event: CameraEvent) -> Result<(), Stopped> {
        if let Some(lost) = self.untold.take() {
            self.stop.send(&self.events, overload(lost))?;
        }
        self.stop.send(&self.events, event)
    }

    /// Tells lines dropped before, if there is room now.
    pub(super) fn tick(&mut self) -> Result<(), Stopped> {
        let Some(lost) = self.untold else { return Ok(()) };
        match self.events.try_send(overload(lost)) {
            Ok(()) => self.untold = None,
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Err(Stopped),
        }
        Ok(())
    }

    fn drop_lines(&mut self, first_line: u64, lines: u64) {
        let first = self.untold.map_or(first_line, |(first, _)| first);
        self.untold = Some((first, first_line + lines - first));
    }
}

fn overload((first_line, lines): (u64, u64)) -> CameraEvent {
    CameraEvent::Lost { first_line, lines, cause: LossCause::Overload }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Moment, PixelFormat};
    use bytes::Bytes;
    use crossbeam_channel::{Receiver, bounded};

    fn block(first_line: u64) -> LineBlock {
        LineBlock {
            first_line,
            lines: 8,
            width_px: 4,
            stride_bytes: 4,
            format: PixelFormat::Gray8,
            pixels: Bytes::from(vec![0; 32]),
            last_line_at: Moment::now(),
            camera_time_ns: None,
            encoder_count: None,
            line_period_ns: 0.0,
        }
    }

    /// The lines told about, as (first, lines, whether delivered).
    fn told(events: &Receiver<CameraEvent>) -> Vec<(u64, u64, bool)> {
        let span = |event| match event {
            CameraEvent::Block(b) => (b.first_line, b.lines.into(), true),
            CameraEvent::Lost { first_line, lines, cause: LossCause::Overload } => (first_line, lines, false),
            other => panic!("unexpected {other:?}"),
        };
        events.try_iter().map(span).collect()
    }

    #[test]
    fn a_live_source_loses_what_the_queue_refuses_and_tells_it_exactly_and_in_order() {
        let (sender, events) = bounded(2);
        let (_stopper, stop) = Stop::pair();
        let mut outbox = Outbox::new(sender, stop, true);
        for n in 0..5 {
            outbox.block(block(n * 8)).unwrap();
        }
        outbox.lost(40, 16, LossCause::FramesMissing).unwrap();
        assert_eq!(told(&events), [(0, 8, true), (8, 8, true)]);
        outbox.block(block(56)).unwrap();
        assert_eq!(told(&events), [(16, 40, false), (56, 8, true)]);
    }

    #[test]
    fn a_belt_that_stops_after_an_overload_does_not_hide_it() {
        let (sender, events) = bounded(1);
        let (_stopper, stop) = Stop::pair();
        let mut outbox = Outbox::new(sender, stop, true);
        outbox.block(block(0)).unwrap();
        outbox.block(block(8)).unwrap();
        assert_eq!(told(&events), [(0, 8, true)]);
        outbox.tick().unwrap();
        assert_eq!(told(&events), [(8, 8, false)]);
    }

    #[test]
    fn a_source_that_can_wait_is_freed_by_the_stop() {
        let (sender, events) = bounded(1);
        let (stopper, stop) = Stop::pair();
        let mut outbox = Outbox::new(sender, stop, false);
        outbox.block(block(0)).unwrap();
        let waiting = std::thread::spawn(move || outbox.block(block(8)));
        drop(stopper);
        assert_eq!(waiting.join().unwrap(), Err(Stopped));
        assert_eq!(events.len(), 1);
    }
}
