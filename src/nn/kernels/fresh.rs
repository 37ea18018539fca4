use std::mem::MaybeUninit;

/// A vector of `length` values that `write` fills: what is overwritten anyway is not zeroed first.
///
/// # Safety
/// `write` must write every value.
pub(super) unsafe fn fresh(length: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    write(&mut values.spare_capacity_mut()[..length]);
    // SAFETY: the capacity is there, and every value has been written by the caller's promise.
    unsafe { values.set_len(length) };
    values
}
