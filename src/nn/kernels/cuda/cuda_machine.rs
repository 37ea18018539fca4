//! A CUDA device as [`Machine`]: the kernels of `maps.cu` and `norm.cu`, and cuDNN's convolutions.

use super::MAPS;
use super::argument::OnCuda;
use super::launch::{Compiled, compiled_once, had, threads_for};
use super::machine::{ConvolutionSize, Machine};
use super::map_operator::{Held, MapCall, MapOperator};
use super::training::{Form, How, Order, convolved_view, picture_gradient_view, unwritten, weight_gradient_view};
use crate::nn::kernels::Dims;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{Error, Result, Storage, Tensor};
use half::bf16;
use std::sync::OnceLock;

/// By which candle's device knows the kernels.
const MODULE: &str = "hairline_maps";

/// See [`Machine`].
pub(in crate::nn) struct CudaMachine {
    device: CudaDevice,
    ptx: &'static str,
}

/// Numbers in the device's memory.
pub(in crate::nn) enum Numbers {
    Brains(CudaSlice<bf16>),
    /// A contiguous tensor of `f32`.
    Floats(Tensor),
}

/// Eight numbers of 32 bits, `Sizes` or `Layout` of `maps.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Counts([u32; 8]);

// SAFETY: eight numbers of 32 bits in C's order, as `maps.cu` declares both.
unsafe impl DeviceRepr for Counts {}

impl CudaMachine {
    /// `None` where the kernels cannot be had, compiled and loaded; the log says so once.
    pub fn new(device: &CudaDevice) -> Option<Self> {
        static PTX: Compiled = OnceLock::new();
        let ptx = || compiled_once(&PTX, MAPS);
        let load = || device.get_or_load_custom_func("join", MODULE, ptx()?).map(drop);
        let ptx = had(device, MODULE, load).then(|| ptx().ok()).flatten()?;
        Some(Self { device: device.clone(), ptx })
    }

    fn form(of: ConvolutionSize) -> Form {
        let ConvolutionSize { size: Dims { n, c, h, w }, outputs, side } = of;
        Form { picture: [n, c, h, w], outputs, side, how: How { dilation: 1, exact: false }, order: Order::Nhwc }
    }

    fn launch(&self, call: &MapCall, addresses: [u64; 6], to: u64) -> Result<()> {
        let function = self.device.get_or_load_custom_func(call.kernel, MODULE, self.ptx)?;
        let counts = Counts(call.counts);
        let mut launch = function.builder();
        addresses.iter().for_each(|address| {
            launch.arg(address);
        });
        launch.arg(&to).arg(&counts);
        // SAFETY: these are the kernels' arguments in their order; each is as large as `MapOperator::of` says, checked by
        // `computed`, and those that are absent are not read.
        unsafe { launch.launch(threads_for(call.items)) }?;
        Ok(())
    }

    /// Lends the address of the memory, which must hold that much.
    fn with_address<R>(&self, memory: &Numbers, wanted: Held, work: impl FnOnce(u64) -> Result<R>) -> Result<R> {
        let stream = self.device.cuda_stream();
        match memory {
            Numbers::Brains(slice) if wanted == Held::Brains(slice.len()) => {
                let (address, _kept) = slice.device_ptr(&stream);
                work(address)
            }
            Numbers::Floats(tensor) if wanted == Held::Floats(tensor.elem_count()) => with_floats(tensor, |view| {
                let (address, _kept) = view.device_ptr(&stream);
                work(address)
            }),
            Numbers::Brains(slice) => Err(Error::Msg(format!("a kernel wants {wanted:?}, found {} brain floats", slice.len()))),
            Numbers::Floats(tensor) => Err(Error::Msg(format!("a kernel wants {wanted:?}, found {} of f32", tensor.elem_count()))),
        }
    }

    /// Calls `work` with the addresses of all arguments.
    fn with_addresses(
        &self,
        arguments: &[&Numbers],
        wanted: &[Held],
        addresses: &mut Vec<u64>,
        work: &mut dyn FnMut(&[u64]) -> Result<()>,
    ) -> Result<()> {
        match (arguments, wanted) {
            ([], []) => work(addresses),
            ([memory, arguments @ ..], [held, wanted @ ..]) => self.with_address(memory, *held, |address| {
                addresses.push(address);
                self.with_addresses(arguments, wanted, addresses, work)
            }),
            _ => Err(Error::Msg(format!("a kernel wants {} arguments more or less", arguments.len().abs_diff(wanted.len())))),
        }
    }

    fn floats(&self, slice: CudaSlice<f32>, shape: &[usize]) -> Tensor {
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, self.device.clone()));
        Tensor::from_storage(storage, shape, BackpropOp::none(), false)
    }
}

fn with_floats<R>(tensor: &Tensor, work: impl FnOnce(CudaView<f32>) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => work(OnCuda { storage, layout }.view::<f32>()?),
        _ => Err(Error::Msg("a tensor of a tape is not on its device".into())),
    }
}

fn brains(memory: &Numbers) -> Result<CudaView<'_, bf16>> {
    match memory {
        Numbers::Brains(slice) => Ok(slice.slice(..)),
        Numbers::Floats(_) => Err(Error::Msg("a convolution of f32 on a tape of bf16".into())),
    }
}

impl Machine for CudaMachine {
    type Memory = Numbers;

    fn computed(&self, operator: MapOperator, size: Dims, arguments: &[&Numbers]) -> Result<Numbers> {
        let Some(call) = operator.of(size) else {
            return Err(Error::Msg(format!("{operator:?}: maps of {size:?} are too large, empty or of a form that it has not")));
        };
        let wanted: Vec<Held> = call.arguments.into_iter().flatten().collect();
        let stream = self.device.cuda_stream();
        let asked = |to: u64| {
            self.with_addresses(arguments, &wanted, &mut Vec::new(), &mut |found| {
                let mut addresses = [0; 6];
                addresses.iter_mut().zip(found).for_each(|(slot, address)| *slot = *address);
                self.launch(&call, addresses, to)
            })
            .map_err(|error| Error::Msg(format!("{operator:?}: {error}")))
        };
        Ok(match call.result {
            Held::Brains(values) => {
                let mut to = unwritten::<bf16>(&self.device, values)?;
                asked(to.device_ptr_mut(&stream).0)?;
                Numbers::Brains(to)
            }
            Held::Floats(values) => {
                let mut to = unwritten::<f32>(&self.device, values)?;
                asked(to.device_ptr_mut(&stream).0)?;
                Numbers::Floats(self.floats(to, &[values]))
            }
        })
    }

    fn convolved(&self, maps: &Numbers, filter: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        Ok(Numbers::Brains(convolved_view(&self.device, &brains(maps)?, &brains(filter)?, Self::form(of))?))
    }

    fn map_gradient(&self, filter: &Numbers, gradient: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        Ok(Numbers::Brains(picture_gradient_view(&self.device, &brains(filter)?, &brains(gradient)?, Self::form(of))?))
    }

    fn filter_gradient(&self, maps: &Numbers, gradient: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        Ok(Numbers::Brains(weight_gradient_view(&self.device, &brains(maps)?, &brains(gradient)?, Self::form(of))?))
    }

    fn memory(&self, tensor: &Tensor) -> Result<Numbers> {
        Ok(Numbers::Floats(tensor.detach().contiguous()?))
    }

    fn tensor(&self, memory: &Numbers, shape: &[usize]) -> Result<Tensor> {
        match memory {
            Numbers::Floats(tensor) => tensor.reshape(shape),
            Numbers::Brains(_) => Err(Error::Msg("a map of brain floats is not lent".into())),
        }
    }
}
