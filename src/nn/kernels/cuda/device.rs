//! CUDA devices as candle has them.

use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::{CudaStream, DriverError, result, sys};
use candle_core::cuda_backend::{CudaDevice, WrapErr};

/// CUDA device `ordinal` for candle: one stream, whichever thread asks, and as few calls as can be.
///
/// # Errors
/// Where there is none, or it fails.
pub(in crate::nn) fn opened(ordinal: usize) -> Result<CudaDevice> {
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: candle's work on this device, and ours on its tensors, is on the device's one stream, whose order keeps writes and
    // reads apart; no event has to.
    unsafe { device.disable_event_tracking() };
    if let Err(problem) = keep_memory(&device.cuda_stream()).w() {
        tracing::warn!(%problem, "network: the device takes its memory anew with every step, which is slower");
    }
    Ok(device)
}

/// Has the driver keep what is given back for what is taken next. Unless told, it hands all of it back whenever the host waits for the
/// device, and every step of a training would begin by mapping its memory anew.
fn keep_memory(stream: &CudaStream) -> std::result::Result<(), DriverError> {
    let pool = pool(stream)?;
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: a device's default pool lives as long as the driver, and the attribute is a number of 64 bits.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()) }
}

/// Hands back what [`opened`] has the driver keep and nothing uses: another process may want it.
///
/// # Errors
/// A device that fails.
pub(in crate::nn) fn hand_back(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let trim = || {
        // What was dropped is free only when the stream has come to it.
        stream.synchronize()?;
        // SAFETY: as in `keep_memory`.
        unsafe { result::mem_pool::trim_to(pool(&stream)?, 0) }
    };
    trim().w()
}

fn pool(stream: &CudaStream) -> std::result::Result<sys::CUmemoryPool, DriverError> {
    let context = stream.context();
    context.bind_to_thread()?;
    // SAFETY: the device is that of a living context.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }
}
