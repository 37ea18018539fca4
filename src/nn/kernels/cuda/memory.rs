//! Places in a device's memory, checked before anything is launched on them.

use super::fault::{CudaFault, Result};
use super::number::Number;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceSlice, PinnedHostSlice, SyncOnDrop};
use std::sync::Arc;

/// Values in the device's memory. Written by what is launched, in the stream's order.
pub(in crate::nn) struct Memory<T>(pub(super) CudaSlice<T>);

/// Values in the host's memory which the device reads and writes without a copy in between.
pub(in crate::nn) struct Pinned<T>(pub(super) PinnedHostSlice<T>);

/// A stretch of a [`Memory`], all of it there.
pub(in crate::nn) struct Stretch<'a, T> {
    memory: &'a Memory<T>,
    pub(super) address: u64,
    pub(super) values: usize,
}

/// Maps of `[tiles, side, side, channels]` in a stretch.
pub(in crate::nn) struct Maps<'a, N> {
    pub(super) stretch: Stretch<'a, N>,
    pub(super) tiles: usize,
    pub(super) side: usize,
    pub(super) channels: usize,
}

impl<T> Memory<T> {
    /// `values` values from `start` on.
    pub fn stretch(&self, start: usize, values: usize) -> Result<Stretch<'_, T>> {
        let held = self.0.len();
        if start.checked_add(values).is_none_or(|end| end > held) {
            return Err(CudaFault::Place { start, values, held });
        }
        Ok(Stretch { memory: self, address: self.address() + (start * size_of::<T>()) as u64, values })
    }

    /// Of its first value.
    pub(super) fn address(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }
}

impl<N: Number> Memory<N> {
    /// Maps of `[tiles, side, side, channels]` from `start` on.
    pub fn maps(&self, start: usize, tiles: usize, side: usize, channels: usize) -> Result<Maps<'_, N>> {
        Ok(Maps { stretch: self.stretch(start, tiles * side * side * channels)?, tiles, side, channels })
    }
}

impl<T> Stretch<'_, T> {
    /// The same stretch once more, as source and result of one call.
    pub(super) fn again(&self) -> Self {
        Self { memory: self.memory, address: self.address, values: self.values }
    }
}

impl<T> DeviceSlice<T> for Stretch<'_, T> {
    fn len(&self) -> usize {
        self.values
    }

    fn stream(&self) -> &Arc<CudaStream> {
        self.memory.0.stream()
    }
}

// All work is on one stream, so that nothing has to be waited for.
impl<T> DevicePtr<T> for Stretch<'_, T> {
    fn device_ptr<'a>(&'a self, _: &'a CudaStream) -> (u64, SyncOnDrop<'a>) {
        (self.address, SyncOnDrop::Record(None))
    }
}

impl<T> DevicePtrMut<T> for Stretch<'_, T> {
    fn device_ptr_mut<'a>(&'a mut self, _: &'a CudaStream) -> (u64, SyncOnDrop<'a>) {
        (self.address, SyncOnDrop::Record(None))
    }
}

/// Refuses maps of another size.
pub(super) fn fits<N>(maps: &Maps<N>, tiles: usize, side: usize, channels: usize) -> Result<()> {
    if (maps.tiles, maps.side, maps.channels) == (tiles, side, channels) {
        return Ok(());
    }
    Err(CudaFault::Place { start: 0, values: tiles * side * side * channels, held: maps.stretch.values })
}

/// Refuses what holds fewer than `values`.
pub(super) fn holds(held: usize, values: usize) -> Result<()> {
    if held < values { Err(CudaFault::Place { start: 0, values, held }) } else { Ok(()) }
}
