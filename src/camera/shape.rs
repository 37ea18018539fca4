use super::CameraError;
use crate::cell::PixelFormat;
use gstreamer as gst;
use gstreamer_video::VideoMeta;
use std::ops::Range;

/// Caps field with the significant bits of GRAY16_LE, which GStreamer itself does not know.
const BITS_FIELD: &str = "significant-bits";

/// Size and pixel format of a camera's frames, as caps tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Pixels in a line.
    pub(super) width_px: u32,
    /// Lines in a frame.
    pub(super) lines: u32,
    /// How the pixels lie.
    pub(super) format: PixelFormat,
}

/// Where the lines of a frame lie in its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The bytes from the first line's begin to the last one's end.
    pub(super) bytes: Range<usize>,
    /// Bytes from line to line.
    pub(super) stride_bytes: usize,
}

impl Shape {
    /// The caps of all grey formats that are understood.
    pub(super) fn grey_caps() -> gst::Caps {
        gst::Caps::builder("video/x-raw").field("format", gst::List::new(["GRAY8", "GRAY16_LE"])).build()
    }

    /// The caps that describe this shape.
    pub(super) fn caps(&self) -> gst::Caps {
        let caps = gst::Caps::builder("video/x-raw")
            .field("width", i32::try_from(self.width_px).unwrap_or(i32::MAX))
            .field("height", i32::try_from(self.lines).unwrap_or(i32::MAX))
            .field("framerate", gst::Fraction::new(0, 1));
        match self.format {
            PixelFormat::Gray8 => caps.field("format", "GRAY8").build(),
            PixelFormat::Gray16Le { bits } => caps.field("format", "GRAY16_LE").field(BITS_FIELD, i32::from(bits)).build(),
        }
    }

    /// Reads caps. `bits`: significant bits of GRAY16_LE where the caps do not tell them.
    ///
    /// # Errors
    /// [`CameraError::NotGrey`] where the caps are anything but raw grey video of one channel.
    pub(super) fn from_caps(caps: &gst::CapsRef, bits: u8) -> Result<Self, CameraError> {
        let not_grey = || CameraError::NotGrey { found: caps.to_string() };
        let fields = caps.structure(0).filter(|s| s.name() == "video/x-raw").ok_or_else(not_grey)?;
        let size = |name: &str| fields.get::<i32>(name).ok().and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0);
        let format = match fields.get::<&str>("format") {
            Ok("GRAY8") => PixelFormat::Gray8,
            Ok("GRAY16_LE") => {
                let told = fields.get::<i32>(BITS_FIELD).ok().and_then(|b| u8::try_from(b).ok());
                PixelFormat::Gray16Le { bits: told.unwrap_or(bits) }
            }
            _ => return Err(not_grey()),
        };
        match (size("width"), size("height")) {
            (Some(width_px), Some(lines)) => Ok(Self { width_px, lines, format }),
            _ => Err(not_grey()),
        }
    }

    /// Bytes of one line without padding.
    pub(super) fn line_bytes(&self) -> usize {
        self.width_px as usize * self.format.bytes_per_pixel()
    }

    /// Bytes of a frame without padding.
    pub(super) fn frame_bytes(&self) -> usize {
        self.line_bytes() * self.lines as usize
    }

    /// Where the lines lie in `buffer`: as it tells itself, else as its size says. `None` where it is too small.
    pub(super) fn layout(&self, buffer: &gst::BufferRef) -> Option<Layout> {
        let size_bytes = buffer.size();
        match buffer.meta::<VideoMeta>() {
            Some(meta) => self.told_layout(size_bytes, *meta.offset().first()?, *meta.stride().first()?),
            None => {
                let stride_bytes = self.stride_bytes(size_bytes)?;
                Some(Layout { bytes: 0..self.reach_bytes(stride_bytes)?, stride_bytes })
            }
        }
    }

    /// The layout of a buffer that tells where its first line begins and how far it is from line to line. `None` where the
    /// buffer does not reach as far, or lines would overlap or go backwards.
    fn told_layout(&self, size_bytes: usize, offset_bytes: usize, stride_bytes: i32) -> Option<Layout> {
        let stride_bytes = usize::try_from(stride_bytes).ok().filter(|stride| *stride >= self.line_bytes())?;
        let end = offset_bytes.checked_add(self.reach_bytes(stride_bytes)?)?;
        (end <= size_bytes).then_some(Layout { bytes: offset_bytes..end, stride_bytes })
    }

    /// Bytes from the first line's begin to the last one's end.
    fn reach_bytes(&self, stride_bytes: usize) -> Option<usize> {
        stride_bytes.checked_mul(self.lines as usize - 1)?.checked_add(self.line_bytes())
    }

    /// Bytes from line to line in a frame of `size_bytes` that does not tell: GStreamer pads lines to four bytes,
    /// cameras do not. `None` where the frame is too small for either.
    fn stride_bytes(&self, size_bytes: usize) -> Option<usize> {
        let padded = self.line_bytes().next_multiple_of(4);
        if self.reach_bytes(padded).is_some_and(|reach| size_bytes >= reach) {
            Some(padded)
        } else {
            (size_bytes >= self.frame_bytes()).then_some(self.line_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_carry_every_field_there_and_back() {
        gst::init().unwrap();
        for format in [PixelFormat::Gray8, PixelFormat::Gray16Le { bits: 12 }] {
            let shape = Shape { width_px: 1421, lines: 64, format };
            assert_eq!(Shape::from_caps(&shape.caps(), 16).unwrap(), shape);
            assert!(shape.caps().can_intersect(&Shape::grey_caps()));
        }
    }

    #[test]
    fn three_channels_are_refused_with_the_remedy() {
        gst::init().unwrap();
        let rgb: gst::Caps = "video/x-raw,format=RGB,width=64,height=8".parse().unwrap();
        let told = Shape::from_caps(&rgb, 16).unwrap_err().to_string();
        assert!(told.contains("RGB") && told.contains("videoconvert ! video/x-raw,format=GRAY8"), "{told}");
    }

    #[test]
    fn stride_is_read_from_the_size_of_the_frame() {
        let shape = Shape { width_px: 1421, lines: 2, format: PixelFormat::Gray8 };
        assert_eq!(shape.stride_bytes(2 * 1424), Some(1424));
        assert_eq!(shape.stride_bytes(2 * 1421), Some(1421));
        assert_eq!(shape.stride_bytes(2 * 1421 - 1), None);
    }

    #[test]
    fn what_a_buffer_tells_of_its_lines_is_taken_within_its_bounds() {
        let shape = Shape { width_px: 1421, lines: 3, format: PixelFormat::Gray8 };
        let reach = 2 * 1536 + 1421;
        let told = |size, offset, stride| shape.told_layout(size, offset, stride);
        assert_eq!(told(64 + reach, 64, 1536), Some(Layout { bytes: 64..64 + reach, stride_bytes: 1536 }));
        assert_eq!(told(64 + reach - 1, 64, 1536), None, "it reaches past the buffer");
        for (offset, stride) in [(usize::MAX, 1536), (0, i32::MAX), (0, 1420), (0, 0), (0, -1536)] {
            assert_eq!(told(64 + reach, offset, stride), None, "{offset}, {stride}");
        }
    }
}
