use super::{Mask, Moment};
use bytes::Bytes;
use std::sync::Arc;

/// How a camera's pixels lie in memory. One channel only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// One byte a pixel.
    Gray8,
    /// Two bytes a pixel, little endian, of which the low `bits` carry the value
    /// (10, 12 or 16: Mono10, Mono12, Mono16).
    Gray16Le {
        /// Significant bits; white is `2^bits - 1`.
        bits: u8,
    },
}

impl PixelFormat {
    /// Bytes that one pixel takes.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Gray16Le { .. } => 2,
        }
    }

    /// The largest value a pixel can have.
    pub fn white(self) -> u16 {
        match self {
            Self::Gray8 => 255,
            Self::Gray16Le { bits } => ((1u32 << bits.clamp(1, 16)) - 1) as u16,
        }
    }
}

/// Some consecutive lines from one camera. The pixels are shared, never copied on the way.
#[derive(Debug, Clone)]
pub struct LineBlock {
    /// Number of the block's first line since the camera was started, lost lines counted in.
    pub first_line: u64,
    /// Lines in the block.
    pub lines: u32,
    /// Pixels in a line.
    pub width_px: u32,
    /// Bytes from one line's start to the next one's.
    pub stride_bytes: usize,
    /// How the pixels lie in `pixels`.
    pub format: PixelFormat,
    /// The pixels, at least `(lines - 1) * stride_bytes + width_px * bytes_per_pixel` bytes.
    pub pixels: Bytes,
    /// When the block's last line was exposed: camera time mapped to the host's clocks.
    pub last_line_at: Moment,
    /// The camera's own time of the last line in nanoseconds, where it tells one.
    pub camera_time_ns: Option<u64>,
    /// The encoder's count at the last line, where the camera tells one.
    pub encoder_count: Option<i64>,
    /// Time from one line to the next in nanoseconds; 0 where lines have no rate
    /// (a replay as fast as possible).
    pub line_period_ns: f64,
}

impl LineBlock {
    /// The bytes of line `index` of the block (0-based), without the padding of the stride.
    ///
    /// Returns an empty slice for a line that the block does not have.
    pub fn line(&self, index: u32) -> &[u8] {
        let start = index as usize * self.stride_bytes;
        let end = start + self.width_px as usize * self.format.bytes_per_pixel();
        if index >= self.lines { &[] } else { self.pixels.get(start..end).unwrap_or(&[]) }
    }

    /// Number of the line after the block's last one.
    pub fn end_line(&self) -> u64 {
        self.first_line + u64::from(self.lines)
    }
}

/// Why lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// Frame ids jumped: whole frames never came.
    FramesMissing,
    /// A frame came with a bad status (packets missing, timeout, size mismatch), or a recorded picture cannot be decoded.
    FrameDamaged,
    /// The host did not take the lines in time.
    Overload,
}

/// What is known to be true of a simulated wafer, for the running OII.
#[derive(Debug, Clone)]
pub struct TrueMask {
    /// A stream line that surely lies within the wafer (its middle).
    pub middle_line: u64,
    /// The exact crack mask in the frame of the stitched cell.
    pub mask: Arc<Mask>,
}

/// What a camera says to the line.
#[derive(Debug, Clone)]
pub enum CameraEvent {
    /// Lines. `first_line` is never smaller than the end of what was said before.
    Block(LineBlock),
    /// These lines are missing; the next block starts after them.
    Lost {
        /// Number of the first missing line.
        first_line: u64,
        /// How many are missing.
        lines: u64,
        /// Why.
        cause: LossCause,
    },
    /// The truth about a wafer, before its lines (simulated cameras only).
    Truth(TrueMask),
    /// No frame has come for a while: the belt stands, or nothing triggers. No error.
    Idle {
        /// When this was noticed.
        at: Moment,
    },
    /// The camera is gone; the source is trying to get it back.
    Gone {
        /// When it was last seen.
        at: Moment,
        /// What was seen of the failure.
        reason: String,
    },
    /// The camera is back; lines are numbered on from the last one seen.
    Back {
        /// When.
        at: Moment,
        /// Which attempt succeeded, from 1.
        attempts: u32,
    },
    /// The stream has ended and nothing more will come (files, a limited simulation).
    End,
}
