use super::feed::{Feed, Stamp};
use super::shape::Shape;
use crate::cell::{CameraEvent, LossCause, PixelFormat};
use crate::stop::{Stop, Stopped};
use std::time::{Duration, Instant};

/// Gathers single lines into blocks and feeds these at a line rate, or as fast as they are taken.
pub(super) struct LinePacer {
    feed: Feed,
    stop: Stop,
    block: Shape,
    pixels: Vec<u8>,
    lines: u32,
    line_rate_hz: Option<f64>,
    due: Instant,
}

impl LinePacer {
    /// Makes blocks of `block_lines` lines of `width_px` pixels.
    pub(super) fn new(feed: Feed, stop: Stop, width_px: u32, block_lines: u32, format: PixelFormat, line_rate_hz: Option<f64>) -> Self {
        let block = Shape { width_px, lines: block_lines.max(1), format };
        Self { feed, stop, block, pixels: Vec::with_capacity(block.frame_bytes()), lines: 0, line_rate_hz, due: Instant::now() }
    }

    /// Number of the next line.
    pub(super) fn next_line(&self) -> u64 {
        self.feed.next_line() + u64::from(self.lines)
    }

    /// Adds one line, as wide as the blocks are.
    pub(super) fn line(&mut self, pixels: &[u8]) -> Result<(), Stopped> {
        debug_assert_eq!(pixels.len(), self.block.line_bytes());
        self.pixels.extend_from_slice(pixels);
        self.lines += 1;
        if self.lines == self.block.lines { self.flush() } else { Ok(()) }
    }

    /// Adds `count` equal lines.
    pub(super) fn repeat(&mut self, pixels: &[u8], count: u32) -> Result<(), Stopped> {
        (0..count).try_for_each(|_| self.line(pixels))
    }

    /// Leaves out `count` lines, which take their time on the belt all the same.
    pub(super) fn lose(&mut self, count: u32, cause: LossCause) -> Result<(), Stopped> {
        self.flush()?;
        self.wait_for(count)?;
        self.feed.lose(count.into(), cause)
    }

    /// Says something before the next line; lines still being gathered come after it too.
    pub(super) fn tell(&mut self, event: CameraEvent) -> Result<(), Stopped> {
        self.feed.tell(event)
    }

    /// Feeds what was gathered, as a block of fewer lines where it is not full.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        if self.lines == 0 {
            return Ok(());
        }
        self.wait_for(self.lines)?;
        let pixels = std::mem::replace(&mut self.pixels, Vec::with_capacity(self.block.frame_bytes()));
        let shape = Shape { lines: std::mem::take(&mut self.lines), ..self.block };
        self.feed.push(shape, pixels, Stamp::default())
    }

    /// Waits until `lines` more lines have passed. Time lost to a full pipeline is not caught up.
    fn wait_for(&mut self, lines: u32) -> Result<(), Stopped> {
        let Some(rate) = self.line_rate_hz else { return Ok(()) };
        let taken = Duration::try_from_secs_f64(f64::from(lines) / rate).unwrap_or_default();
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(taken).unwrap_or(now)) + taken;
        self.stop.sleep(self.due.saturating_duration_since(now))
    }
}
