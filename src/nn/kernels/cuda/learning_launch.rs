//! The kernels of `learning.cu` on candle's tensors.

use super::LEARNING;
use super::argument::OnCuda;
use super::launch::{Compiled, compiled_once, had, threads_for};
use super::learning::{Descent, LOSS_SUMS, LossTerm, NORM_PARTS, SLICES, number};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaStream, CudaView, CudaViewMut, DeviceRepr, LaunchArgs, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Error, InplaceOp2, InplaceOp3, Layout, Result, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// By which candle's device knows the kernels.
const MODULE: &str = "hairline_learning";

// SAFETY: numbers in C's order, as `learning.cu` declares them.
unsafe impl DeviceRepr for LossTerm {}
// SAFETY: as for `LossTerm`.
unsafe impl DeviceRepr for Descent {}

/// Whether the kernels can be had and take these tensors: of `f32` on one CUDA device, as many values as they can count. Where the
/// kernels cannot be had, the log says so once.
pub(crate) fn takes(tensors: &[&Tensor]) -> bool {
    let Some(Device::Cuda(device)) = tensors.first().map(|tensor| tensor.device()) else { return false };
    let fits = |tensor: &&Tensor| {
        tensor.dtype() == DType::F32 && number(tensor.elem_count()).is_some() && tensor.device().same_device(tensors[0].device())
    };
    tensors.iter().all(fits) && had(device, MODULE, || kernel(device, "loss_sums").map(drop))
}

/// A kernel and the stream of candle's device, in whose order it works.
struct Kernel {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Kernel {
    fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }
}

/// A kernel on a device; compiled once for the process.
fn kernel(device: &CudaDevice, name: &str) -> Result<Kernel> {
    static PTX: Compiled = OnceLock::new();
    let function = device.get_or_load_custom_func(name, MODULE, compiled_once(&PTX, LEARNING)?)?.into_cuda_function();
    Ok(Kernel { function, stream: device.cuda_stream() })
}

fn counted(values: usize) -> Result<u32> {
    number(values).ok_or_else(|| Error::Msg(format!("{values} values are none, or more than a kernel can count")))
}

/// So many, or an error.
fn holds(values: usize, expected: usize) -> Result<()> {
    if values == expected { Ok(()) } else { Err(Error::Msg(format!("an argument on CUDA holds {values} values, expected {expected}"))) }
}

/// The values of a contiguous tensor, to be written.
fn written<'a, T: CudaDType>(storage: &'a mut CudaStorage, layout: &Layout) -> Result<CudaViewMut<'a, T>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::Msg("a result on CUDA is not contiguous".into()));
    };
    let slice = storage.as_cuda_slice_mut::<T>()?;
    slice.try_slice_mut(start..end).ok_or_else(|| Error::Msg("the layout of a result on CUDA reaches beyond its storage".into()))
}

/// Logits and labels, of as many pixels.
fn both<'a>(s1: &'a CudaStorage, l1: &'a Layout, s2: &'a CudaStorage, l2: &'a Layout) -> Result<(CudaView<'a, f32>, CudaView<'a, f32>)> {
    let (logits, labels) = (OnCuda { storage: s1, layout: l1 }.view()?, OnCuda { storage: s2, layout: l2 }.view()?);
    holds(labels.len(), logits.len())?;
    Ok((logits, labels))
}

/// [`LOSS_SUMS`] numbers for each slice of a batch's pixels: the parts of the loss, TP, FP and FN. Read back.
pub(crate) fn loss_sums(logits: &Tensor, labels: &Tensor, term: LossTerm) -> Result<Vec<f64>> {
    logits.contiguous()?.apply_op2_no_bwd(&labels.contiguous()?, &LossSums { term })?.to_vec1()
}

/// The gradient of each pixel; `by` is that of the whole batch's part by the probabilities of crack and of background pixels.
pub(crate) fn loss_gradient(logits: &Tensor, labels: &Tensor, term: LossTerm, by: [f64; 2]) -> Result<Tensor> {
    logits.contiguous()?.apply_op2_no_bwd(&labels.contiguous()?, &LossGradient { term, by })
}

/// The sum of all squares. Read back.
pub(crate) fn squared_norm(gradients: &[&Tensor]) -> Result<f64> {
    let Some(first) = gradients.first() else { return Ok(0.0) };
    let rows = Tensor::zeros((gradients.len(), SLICES), DType::F64, first.device())?;
    for (row, gradient) in gradients.iter().enumerate() {
        rows.get(row)?.inplace_op2(&gradient.contiguous()?, &Squares)?;
    }
    Ok(rows.apply_op1_no_bwd(&Fold)?.to_vec1::<f64>()?.iter().sum())
}

/// Moves weights, and first their velocity, along their gradient.
pub(crate) fn descend(weights: &Tensor, velocity: &Tensor, gradient: &Tensor, descent: Descent) -> Result<()> {
    let gradient = gradient.contiguous()?;
    velocity.inplace_op3(weights, &gradient, &Descend { kernel: "accelerate", descent })?;
    weights.inplace_op3(velocity, &gradient, &Descend { kernel: "step", descent })
}

fn elsewhere<T>(name: &str) -> Result<T> {
    Err(Error::Msg(format!("{name}: for CUDA only")))
}

struct LossSums {
    term: LossTerm,
}

impl CustomOp2 for LossSums {
    fn name(&self) -> &'static str {
        "the sums of a loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere(self.name())
    }

    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let (logits, labels) = both(s1, l1, s2, l2)?;
        let (device, pixels, slices) = (s1.device(), counted(logits.len())?, counted(SLICES)?);
        // SAFETY: the kernel writes every value of it.
        let mut to = unsafe { device.alloc::<f64>(LOSS_SUMS * SLICES) }?;
        let kernel = kernel(device, "loss_sums")?;
        let mut launch = kernel.builder();
        launch.arg(&logits).arg(&labels).arg(&mut to).arg(&self.term).arg(&pixels).arg(&slices);
        // SAFETY: these are the kernel's arguments in their order: both maps hold so many pixels, and `to` the sums of the slices.
        unsafe { launch.launch(threads_for(slices)) }?;
        Ok((CudaStorage::wrap_cuda_slice(to, device.clone()), (LOSS_SUMS * SLICES).into()))
    }
}

struct LossGradient {
    term: LossTerm,
    by: [f64; 2],
}

impl CustomOp2 for LossGradient {
    fn name(&self) -> &'static str {
        "the gradient of a loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere(self.name())
    }

    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let (logits, labels) = both(s1, l1, s2, l2)?;
        let (device, pixels, [by_crack, by_background]) = (s1.device(), counted(logits.len())?, self.by);
        // SAFETY: the kernel writes every value of it.
        let mut to = unsafe { device.alloc::<f32>(logits.len()) }?;
        let kernel = kernel(device, "loss_gradient")?;
        let mut launch = kernel.builder();
        launch.arg(&logits).arg(&labels).arg(&mut to).arg(&self.term).arg(&by_crack).arg(&by_background).arg(&pixels);
        // SAFETY: these are the kernel's arguments in their order, and all maps hold so many pixels.
        unsafe { launch.launch(threads_for(pixels)) }?;
        Ok((CudaStorage::wrap_cuda_slice(to, device.clone()), l1.shape().clone()))
    }
}

/// Of a gradient, into a row of slices.
struct Squares;

impl InplaceOp2 for Squares {
    fn name(&self) -> &'static str {
        "squares"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        elsewhere(self.name())
    }

    fn cuda_fwd(&self, s1: &mut CudaStorage, l1: &Layout, storage: &CudaStorage, layout: &Layout) -> Result<()> {
        let (values, mut to) = (OnCuda { storage, layout }.view::<f32>()?, written::<f64>(s1, l1)?);
        holds(to.len(), SLICES)?;
        let (held, slices, kernel) = (counted(values.len())?, counted(SLICES)?, kernel(storage.device(), "squares")?);
        let mut launch = kernel.builder();
        launch.arg(&values).arg(&mut to).arg(&held).arg(&slices);
        // SAFETY: these are the kernel's arguments in their order: there are so many values, and as many slices.
        unsafe { launch.launch(threads_for(slices)) }?;
        Ok(())
    }
}

/// Of rows of slices, to fewer sums.
struct Fold;

impl CustomOp1 for Fold {
    fn name(&self) -> &'static str {
        "sums of slices"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere(self.name())
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let rows = OnCuda { storage, layout }.view::<f64>()?;
        let held = rows.len() / SLICES;
        holds(rows.len(), held * SLICES)?;
        let device = storage.device();
        // SAFETY: the kernel writes every value of it.
        let mut to = unsafe { device.alloc::<f64>(held * NORM_PARTS) }?;
        let (many, slices, parts, kernel) = (counted(held)?, counted(SLICES)?, counted(NORM_PARTS)?, kernel(device, "fold")?);
        let mut launch = kernel.builder();
        launch.arg(&rows).arg(&mut to).arg(&many).arg(&slices).arg(&parts);
        // SAFETY: these are the kernel's arguments in their order: there are so many rows, and as many parts of each.
        unsafe { launch.launch(threads_for(counted(held * NORM_PARTS)?)) }?;
        Ok((CudaStorage::wrap_cuda_slice(to, device.clone()), (held * NORM_PARTS).into()))
    }
}

/// Half a step: `accelerate` writes the velocity and reads the weights, `step` the other way round; both read the gradient.
struct Descend {
    kernel: &'static str,
    descent: Descent,
}

impl InplaceOp3 for Descend {
    fn name(&self) -> &'static str {
        self.kernel
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        elsewhere(self.kernel)
    }

    fn cuda_fwd(&self, s1: &mut CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout, s3: &CudaStorage, l3: &Layout) -> Result<()> {
        let [other, gradient] = [(s2, l2), (s3, l3)].map(|(storage, layout)| OnCuda { storage, layout }.view::<f32>());
        let (other, gradient, mut to) = (other?, gradient?, written::<f32>(s1, l1)?);
        holds(other.len(), gradient.len())?;
        holds(to.len(), gradient.len())?;
        let (held, kernel) = (counted(gradient.len())?, kernel(s3.device(), self.kernel)?);
        let mut launch = kernel.builder();
        launch.arg(&mut to).arg(&other).arg(&gradient).arg(&self.descent).arg(&held);
        // SAFETY: these are the arguments of both kernels in their order, and all hold so many values.
        unsafe { launch.launch(threads_for(held)) }?;
        Ok(())
    }
}
