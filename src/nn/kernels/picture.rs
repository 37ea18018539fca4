//! What kernels read and write: channels of pictures, perhaps in two slices, perhaps still to be normalised.

use super::Dims;
use super::norm::Affine;
use super::shared::Shared;
use super::simd::widened;
use std::mem::MaybeUninit;

/// Values of one channel of one picture, and what they are worth: `max(floor, scale v + shift)`.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Plane<'a> {
    /// As they are stored, line by line.
    pub values: &'a [f32],
    /// Their factor.
    pub scale: f32,
    /// Added after scaling.
    pub shift: f32,
    /// The least that they are worth.
    pub floor: f32,
}

impl<'a> Plane<'a> {
    /// Values that are worth what they are.
    pub fn plain(values: &'a [f32]) -> Self {
        Self { values, scale: 1.0, shift: 0.0, floor: f32::NEG_INFINITY }
    }

    /// Whether they are worth what they are.
    pub fn is_plain(&self) -> bool {
        (self.scale, self.shift, self.floor) == (1.0, 0.0, f32::NEG_INFINITY)
    }

    /// Writes what `to.len()` values from `from` on are worth.
    #[inline]
    pub fn write(&self, from: usize, to: &mut [f32]) {
        let values = &self.values[from..from + to.len()];
        if self.is_plain() {
            to.copy_from_slice(values);
            return;
        }
        let Self { scale, shift, floor, .. } = *self;
        widened(|| {
            for (to, v) in to.iter_mut().zip(values) {
                let worth = v * scale + shift;
                *to = if worth < floor { floor } else { worth };
            }
        });
    }

    /// What all of them are worth, in `scratch` where it has to be computed.
    pub fn worth<'b>(&self, scratch: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        if self.is_plain() {
            return self.values;
        }
        scratch.resize(self.values.len(), 0.0);
        self.write(0, scratch);
        scratch
    }
}

/// Some of the channels of a batch, `[n, count, h, w]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Channels<'a> {
    /// As they are stored.
    pub values: &'a [f32],
    /// How many channels.
    pub count: usize,
    /// What is still to be done to them.
    pub pending: Option<&'a Affine>,
}

/// A batch of pictures whose channels are those of one slice, or of two behind each other.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Pictures<'a> {
    size: Dims,
    parts: [Channels<'a>; 2],
}

impl<'a> Pictures<'a> {
    /// All channels in one slice, worth what they are.
    pub fn plain(values: &'a [f32], size: Dims) -> Self {
        Self::new(&[Channels { values, count: size.c, pending: None }], size)
    }

    /// The channels of one or two `parts`, pictures of `h × w`.
    pub fn new(parts: &[Channels<'a>], Dims { n, h, w, .. }: Dims) -> Self {
        let none = Channels { values: &[], count: 0, pending: None };
        let parts = [parts.first().copied().unwrap_or(none), parts.get(1).copied().unwrap_or(none)];
        for Channels { values, count, pending } in parts {
            assert_eq!(values.len(), n * count * h * w, "channels of a batch");
            assert!(pending.is_none_or(|p| p.scale.len() == count && p.shift.len() == count), "normalisation of a batch");
        }
        Self { size: Dims { n, c: parts[0].count + parts[1].count, h, w }, parts }
    }

    /// Pictures, all channels, lines, pixels of a line.
    pub fn size(&self) -> Dims {
        self.size
    }

    /// Channel `c` of picture `n`.
    pub fn plane(&self, n: usize, c: usize) -> Plane<'a> {
        let (part, c) = if c < self.parts[0].count { (self.parts[0], c) } else { (self.parts[1], c - self.parts[0].count) };
        let pixels = self.size.plane();
        let values = &part.values[(n * part.count + c) * pixels..][..pixels];
        match part.pending {
            Some(Affine { scale, shift }) => Plane { values, scale: scale[c], shift: shift[c], floor: 0.0 },
            None => Plane::plain(values),
        }
    }

    /// Copies lines `first..first + lines` of channel `c` of picture `n` into a bordered plane, which is all of `to`, with `margin`
    /// more lines above and below, zero where there is no picture.
    pub fn copy_bordered(&self, [n, c]: [usize; 2], first: usize, lines: usize, margin: usize, to: &mut [f32]) {
        let Dims { h, w, .. } = self.size;
        let line = w + margin;
        let source = self.plane(n, c);
        for r in 0..lines + 2 * margin {
            let row = &mut to[r * line..(r + 1) * line];
            let y = (first + r).wrapping_sub(margin);
            if y < h {
                row[..margin].fill(0.0);
                source.write(y * w, &mut row[margin..]);
            } else {
                row.fill(0.0);
            }
        }
        to[(lines + 2 * margin) * line..].fill(0.0);
    }
}

/// Where the tasks of one loop write a batch's channels: the first `first` to one slice, the others to another.
pub(super) struct Apart<'a> {
    parts: [Shared<'a, MaybeUninit<f32>>; 2],
    first: usize,
    size: Dims,
}

impl<'a> Apart<'a> {
    /// Slices of `[n, first, h, w]` and `[n, size.c - first, h, w]`.
    pub fn new(first_part: &'a mut [MaybeUninit<f32>], second_part: &'a mut [MaybeUninit<f32>], first: usize, size: Dims) -> Self {
        assert!(first_part.len() == size.with_channels(first).len() && second_part.len() == size.with_channels(size.c - first).len());
        Self { parts: [Shared::new(first_part), Shared::new(second_part)], first, size }
    }

    /// So many lines of a channel, from line `first` on.
    ///
    /// # Safety
    /// No other thread may touch these lines while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn lines(&self, n: usize, channel: usize, first: usize, count: usize) -> &'a mut [MaybeUninit<f32>] {
        let (part, channels, channel) = if channel < self.first {
            (&self.parts[0], self.first, channel)
        } else {
            (&self.parts[1], self.size.c - self.first, channel - self.first)
        };
        let start = (n * channels + channel) * self.size.plane() + first * self.size.w;
        // SAFETY: the caller's promise.
        unsafe { part.part(start, count * self.size.w) }
    }

    /// Writes `count` lines of a channel, from line `first` on, that lie `pitch` values apart in `from`.
    ///
    /// # Safety
    /// No other thread may write these lines.
    pub unsafe fn write(&self, n: usize, channel: usize, first: usize, count: usize, from: &[f32], pitch: usize) {
        // SAFETY: the caller's promise.
        let to = unsafe { self.lines(n, channel, first, count) };
        for (row, to) in to.chunks_exact_mut(self.size.w).enumerate() {
            to.write_copy_of_slice(&from[row * pitch..][..self.size.w]);
        }
    }
}
