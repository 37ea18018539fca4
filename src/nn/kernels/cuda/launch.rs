//! The kernels of `operators.cu` on candle's tensors.

use super::OPERATORS;
use super::argument::OnCuda;
use super::operator::{Call, Operator, Sizes};
use crate::nn::kernels::Dims;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, DeviceId};
use candle_core::{Error, Result};
use std::sync::{Mutex, OnceLock, PoisonError};

const THREADS_A_BLOCK: u32 = 256;
/// The least that today's compiler knows; later devices translate it for themselves.
const ARCHITECTURE: &str = "compute_75";
/// By which candle's device knows the kernels.
const MODULE: &str = "hairline_operators";

// SAFETY: seven numbers of 32 bits in C's order, as `operators.cu` declares them.
unsafe impl DeviceRepr for Sizes {}

/// Whether the kernels can be had, compiled and loaded; where not, the log says so once.
pub(in crate::nn) fn ready(device: &CudaDevice) -> bool {
    had(device, MODULE, || device.get_or_load_custom_func("norm_relu", MODULE, compiled()?).map(drop))
}

/// What `load` found for this module when it was asked first for this device; where it failed, the log says so.
pub(super) fn had(device: &CudaDevice, module: &'static str, load: impl FnOnce() -> Result<()>) -> bool {
    static FOUND: Mutex<Vec<(DeviceId, &str, bool)>> = Mutex::new(Vec::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, had)) = found.iter().find(|(id, name, _)| (*id, *name) == (device.id(), module)) {
        return *had;
    }
    let loaded = load();
    if let Err(problem) = &loaded {
        tracing::warn!(%problem, module, "kernels for CUDA cannot be had (NVRTC, driver), candle's operators or the host do it, slower");
    }
    found.push((device.id(), module, loaded.is_ok()));
    loaded.is_ok()
}

/// What became of a source that is compiled once for the process.
pub(super) type Compiled = OnceLock<std::result::Result<String, String>>;

/// The kernels of `source`, whose place is `once`.
pub(super) fn compiled_once(once: &'static Compiled, source: &str) -> Result<&'static str> {
    let compile = || {
        let options = CompileOptions { arch: Some(ARCHITECTURE), ..Default::default() };
        compile_ptx_with_opts(source, options).map(|ptx| ptx.to_src()).map_err(|error| error.to_string())
    };
    let compiled = once.get_or_init(compile).as_deref();
    compiled.map_err(|problem| Error::Msg(format!("kernels for CUDA cannot be compiled (NVRTC): {problem}")))
}

/// A thread for each of `items`.
pub(super) fn threads_for(items: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (items.div_ceil(THREADS_A_BLOCK), 1, 1), block_dim: (THREADS_A_BLOCK, 1, 1), shared_mem_bytes: 0 }
}

fn compiled() -> Result<&'static str> {
    static PTX: Compiled = OnceLock::new();
    compiled_once(&PTX, OPERATORS)
}

/// What the operator makes of its arguments, for maps of `size`; see [`Operator::of`].
///
/// # Errors
/// Arguments of another size, maps that are too large, or a device that fails.
pub(in crate::nn) fn computed(operator: Operator, size: Dims, arguments: &[&OnCuda]) -> Result<CudaStorage> {
    let Some(call) = operator.of(size) else { return Err(Error::Msg(format!("{operator:?}: maps of {size:?} are too large, or empty"))) };
    let Call { kernel, sizes, arguments: wanted, result, items } = call;
    let Some(first) = arguments.first() else { return Err(Error::Msg(format!("{operator:?}: no arguments"))) };
    let device = &first.storage.device;
    let views = arguments.iter().map(|argument| argument.view::<f32>()).collect::<Result<Vec<_>>>()?;
    let expected: Vec<usize> = wanted.iter().copied().flatten().collect();
    if views.iter().map(|view| view.len()).ne(expected.iter().copied()) {
        let found: Vec<usize> = views.iter().map(|view| view.len()).collect();
        return Err(Error::Msg(format!("{operator:?}: arguments of {found:?} values, expected {expected:?}")));
    }
    let stream = device.cuda_stream();
    // SAFETY: the kernels write every value of their result.
    let mut to = unsafe { stream.alloc::<f32>(result) }?;
    let ptx = compiled()?;
    let function = device.get_or_load_custom_func(kernel, MODULE, ptx)?;
    // Kept until the kernel is launched.
    let mut read = views.iter().map(|view| view.device_ptr(&stream));
    let mut kept = Vec::new();
    let mut address = |wanted: Option<usize>| match wanted.and_then(|_| read.next()) {
        Some((address, guard)) => {
            kept.push(guard);
            address
        }
        None => 0,
    };
    let addresses = wanted.map(&mut address);
    let mut launch = function.builder();
    addresses.iter().for_each(|address| {
        launch.arg(address);
    });
    launch.arg(&mut to).arg(&sizes);
    // SAFETY: these are the kernels' arguments in their order; each is as large as `Operator::of` says, checked above, and those
    // that are absent are not read.
    unsafe { launch.launch(threads_for(items)) }?;
    Ok(CudaStorage::wrap_cuda_slice(to, device.clone()))
}
