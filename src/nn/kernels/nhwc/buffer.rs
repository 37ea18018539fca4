//! Zeroed memory that begins at a cache line.

use rayon::prelude::*;
use std::marker::PhantomData;

/// Bytes past the end that whole vectors and tile rows may read.
const SLACK: usize = 256;

/// Cache lines (1 MiB) that a thread writes at a time where a buffer is made. Memory is had from the system page by page, as it is
/// first written to: a large network's maps and weights take one thread longer than their computation.
const PART: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine([u8; 64]);

/// Values of `T`, for which every pattern of bits must be a value, as it is for numbers.
#[derive(Debug)]
pub(in crate::nn) struct Buffer<T> {
    lines: Vec<CacheLine>,
    length: usize,
    of: PhantomData<T>,
}

impl<T: Number> Buffer<T> {
    /// `length` zeros, and some more that only whole vectors read.
    pub fn zeroed(length: usize) -> Self {
        Self { lines: made(rayon::iter::repeat_n(CacheLine([0; 64]), Self::lines_of(length))), length, of: PhantomData }
    }

    /// As [`Buffer::zeroed`], by this thread alone: one that waits for its pool may be given other work meanwhile, which must not be
    /// where it holds a lock.
    pub fn zeroed_alone(length: usize) -> Self {
        Self { lines: vec![CacheLine([0; 64]); Self::lines_of(length)], length, of: PhantomData }
    }

    /// Cache lines that hold so many values and what whole vectors read behind them.
    fn lines_of(length: usize) -> usize {
        (length * size_of::<T>() + SLACK).div_ceil(64)
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

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self { lines: made(self.lines.par_iter().copied()), length: self.length, of: PhantomData }
    }
}

/// Lines written by the threads of the pool that this is called on, a part each.
fn made(lines: impl IndexedParallelIterator<Item = CacheLine>) -> Vec<CacheLine> {
    lines.with_min_len(PART).collect()
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
