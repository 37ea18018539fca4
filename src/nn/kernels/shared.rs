//! A slice that several threads write to at different places.

use std::marker::PhantomData;

/// Lets the tasks of one parallel loop write to parts of a slice that do not overlap.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a, T = f32> {
    start: *mut T,
    length: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is through the unsafe methods, whose callers promise that parts do not overlap.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Borrows the slice for the loop.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), borrowed: PhantomData }
    }

    /// Where its first `length` values lie, for tasks whose own are not side by side.
    ///
    /// # Safety
    /// No other thread may touch what is read or written through it.
    pub unsafe fn start(&self, length: usize) -> *mut T {
        assert!(length <= self.length, "part of a shared slice out of bounds");
        self.start
    }

    /// The part of `length` values from `from` on.
    ///
    /// # Safety
    /// No other thread may touch that part while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, from: usize, length: usize) -> &'a mut [T] {
        assert!(from <= self.length && length <= self.length - from, "part of a shared slice out of bounds");
        // SAFETY: in bounds; not overlapping by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}
