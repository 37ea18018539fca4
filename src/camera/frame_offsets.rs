//! What the offsets of buffers say about lost frames.

use gstreamer as gst;

/// A buffer without an offset.
const NONE: u64 = gst::ffi::GST_BUFFER_OFFSET_NONE;

/// What the offset of a buffer says about the frames before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameStep {
    /// It is the first one.
    First,
    /// So many frames, none most often, are missing.
    Missing(u64),
    /// Nothing: it counts no frames.
    Uncounted,
}

/// Follows the offsets of a pipeline's buffers. Sources of video (v4l2src, videotestsrc) number frames, and say by the buffer's end
/// offset that it is one; sources of a stream (tcpclientsrc, fdsrc) count bytes, and parsers behind them hand that on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameOffsets {
    last: Option<u64>,
    /// Two buffers in a row whose offsets are one apart: no frame has one byte.
    one_apart: bool,
}

impl FrameOffsets {
    /// Takes the offset and the end offset of the next buffer.
    pub(super) fn step(&mut self, offset: u64, end: u64) -> FrameStep {
        let Some(last) = self.last.replace(offset) else { return FrameStep::First };
        if offset == NONE || last == NONE {
            return FrameStep::Uncounted;
        }
        self.one_apart |= offset == last + 1;
        let counts_frames = if end == NONE { self.one_apart } else { end == offset + 1 };
        if counts_frames { FrameStep::Missing(offset.saturating_sub(last + 1)) } else { FrameStep::Uncounted }
    }
}

#[cfg(test)]
mod tests {
    use super::FrameStep::{First, Missing, Uncounted};
    use super::*;

    fn steps(buffers: &[(u64, u64)]) -> Vec<FrameStep> {
        let mut offsets = FrameOffsets::default();
        buffers.iter().map(|(offset, end)| offsets.step(*offset, *end)).collect()
    }

    #[test]
    fn frame_numbers_tell_of_lost_frames_whether_they_have_an_end_or_not() {
        assert_eq!(steps(&[(5, 6), (6, 7), (9, 10)]), [First, Missing(0), Missing(2)]);
        assert_eq!(steps(&[(5, NONE), (6, NONE), (9, NONE)]), [First, Missing(0), Missing(2)]);
        assert_eq!(steps(&[(5, 6), (0, 1), (1, 2)]), [First, Missing(0), Missing(0)], "a source that counts from anew");
    }

    #[test]
    fn byte_offsets_and_none_tell_nothing() {
        assert_eq!(steps(&[(0, NONE), (192_000, NONE), (384_000, NONE)]), [First, Uncounted, Uncounted]);
        assert_eq!(steps(&[(0, 192_000), (192_000, 384_000)]), [First, Uncounted]);
        assert_eq!(steps(&[(NONE, NONE), (NONE, NONE), (3, 4), (5, 6)]), [First, Uncounted, Uncounted, Missing(1)]);
    }
}
