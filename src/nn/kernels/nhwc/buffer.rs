//! Zeroed memory that begins at a cache line.

use std::marker::PhantomData;

/// Bytes past the end that whole vectors and tile rows may read.
const SLACK: usize = 256;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine([u8; 64]);

/// Values of `T`, for which every pattern of bits must be a value, as it is for numbers.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Buffer<T> {
    lines: Vec<CacheLine>,
    length: usize,
    of: PhantomData<T>,
}

impl<T: Number> Buffer<T> {
    /// `length` zeros, and some more that only whole vectors read.
    pub fn zeroed(length: usize) -> Self {
        let bytes = length * size_of::<T>() + SLACK;
        Self { lines: vec![CacheLine([0; 64]); bytes.div_ceil(64)], length, of: PhantomData }
    }

    pub fn values(&self) -> &[T] {
        // SAFETY: as for `values_mut`.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }

    pub fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: the lines hold `length` values of T and SLACK bytes, aligned for any number.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }

    /// The first value; reads may go [`SLACK`] bytes past the last.
    pub fn start(&self) -> *const T {
        self.lines.as_ptr().cast()
    }

    /// As [`Buffer::start`], to write too.
    pub fn start_mut(&mut self) -> *mut T {
        self.lines.as_mut_ptr().cast()
    }

    pub fn bytes(&self) -> usize {
        self.lines.len() * 64
    }
}

/// Numbers that a [`Buffer`] may hold: zero bytes are zero.
pub(in crate::nn) trait Number: Copy + Send + Sync + 'static {
    /// A whole number, as it is stored.
    fn whole(value: u8) -> Self;
}

impl Number for f32 {
    fn whole(value: u8) -> Self {
        value.into()
    }
}

/// bf16.
impl Number for u16 {
    fn whole(value: u8) -> Self {
        half::bf16::from_f32(value.into()).to_bits()
    }
}

impl Number for u8 {
    fn whole(value: u8) -> Self {
        value
    }
}
