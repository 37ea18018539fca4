//! One CUDA device: memory, cuDNN's fused convolutions called directly, a few kernels of our own, graphs of them.
//!
//! All work is on one stream, in the order in which it is asked for; places in memory are checked here, before
//! anything is launched.

use super::INFERENCE;
use super::fault::{CudaFault, Result};
use super::launch::threads_for;
use super::memory::{Maps, Memory, Pinned, Stretch, fits, holds};
use super::number::Number;
use candle_core::cuda_backend::cudarc::cudnn::{
    ActivationDescriptor, ConvBiasActivationForward, ConvDescriptor, Cudnn, FilterDescriptor, TensorDescriptor, sys as dnn,
};
use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaStream, DeviceRepr, PushKernelArg, ValidAsZeroBits, sys as driver,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use std::marker::PhantomData;
use std::sync::Arc;

/// The least that multiplies brain floats; later devices translate it for themselves.
const ARCHITECTURE: &str = "compute_80";
/// The one that cuDNN's fused convolution takes with and without an activation.
const ALGORITHM: dnn::cudnnConvolutionFwdAlgo_t = dnn::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

/// A device and the stream on which it works, with kernels for maps of `N`.
pub(in crate::nn) struct Gpu<N> {
    stream: Arc<CudaStream>,
    cudnn: Arc<Cudnn>,
    first: CudaFunction,
    pool: CudaFunction,
    interpolate: CudaFunction,
    interleave: CudaFunction,
    look: CudaFunction,
    head: CudaFunction,
    numbers: PhantomData<N>,
}

/// A convolution's weights on the device.
pub(in crate::nn) struct Filter<N> {
    inputs: usize,
    outputs: usize,
    weights: Memory<N>,
    bias: Memory<N>,
    convolution: ConvDescriptor<f32>,
    activation: ActivationDescriptor<f32>,
    filter: FilterDescriptor<N>,
    bias_shape: TensorDescriptor<N>,
}

/// Recorded work, to be done again with one call.
pub(in crate::nn) struct Graph(CudaGraph);

// SAFETY: cuDNN's handle and descriptors and CUDA's graphs may be used by any thread, only not by two at a time; none
// of these types can be shared (`Sync`), only handed over, and every call makes the context that of its thread.
unsafe impl<N: Number> Send for Gpu<N> {}
// SAFETY: as for `Gpu`.
unsafe impl<N: Number> Send for Filter<N> {}
// SAFETY: as for `Gpu`.
unsafe impl Send for Graph {}

/// What a kernel is called with.
enum Argument {
    Address(u64),
    Count(u32),
    Value(f32),
}

impl<N: Number> Gpu<N> {
    /// The device `ordinal`, with a stream of its own.
    pub fn new(ordinal: usize) -> Result<Self> {
        let context = CudaContext::new(ordinal)?;
        // SAFETY: all memory of this context object is used on the one stream made below, whose order keeps writes and reads
        // apart; recorded work must not wait for events from outside.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream()?;
        let options = N::OPTIONS.iter().map(|option| (*option).to_owned()).collect();
        let options = CompileOptions { arch: Some(ARCHITECTURE), options, ..Default::default() };
        let module = context.load_module(compile_ptx_with_opts(INFERENCE, options)?)?;
        let function = |name: &str| module.load_function(name);
        Ok(Self {
            cudnn: Cudnn::new(stream.clone())?,
            first: function("first")?,
            pool: function("pool")?,
            interpolate: function("interpolate")?,
            interleave: function("interleave")?,
            look: function("look")?,
            head: function("head")?,
            stream,
            numbers: PhantomData,
        })
    }

    /// So many values, all zero.
    pub fn memory<T: DeviceRepr + ValidAsZeroBits>(&self, values: usize) -> Result<Memory<T>> {
        let memory = Memory(self.stream.alloc_zeros(values)?);
        // It may come from another stream's pool: nothing may be in flight when graphs begin to use it.
        self.stream.synchronize()?;
        Ok(memory)
    }

    /// These values.
    pub fn values<T: DeviceRepr + ValidAsZeroBits>(&self, values: &[T]) -> Result<Memory<T>> {
        let memory = Memory(self.stream.clone_htod(values)?);
        self.stream.synchronize()?;
        Ok(memory)
    }

    /// So many values in the host's memory.
    pub fn pinned<T: DeviceRepr + ValidAsZeroBits + Default>(&self, values: usize) -> Result<Pinned<T>> {
        // SAFETY: every value is written before it is lent out.
        let mut pinned = unsafe { self.stream.context().alloc_pinned_with_flags(values, 0) }?;
        pinned.as_mut_slice()?.fill_with(T::default);
        Ok(Pinned(pinned))
    }

    /// A convolution with weights `[outputs, side, side, inputs]`, which keeps the size.
    pub fn filter(&self, weights: &[f32], bias: &[f32], inputs: usize, side: usize, relu: bool) -> Result<Filter<N>> {
        let outputs = bias.len();
        let held = weights.len();
        if held != outputs * side * side * inputs {
            return Err(CudaFault::Place { start: 0, values: outputs * side * side * inputs, held });
        }
        let rounded = |values: &[f32]| values.iter().map(|value| N::rounded(*value)).collect::<Vec<_>>();
        let pad = integer(side / 2)?;
        let mode = dnn::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let mut convolution = self.cudnn.create_conv2d::<f32>([pad; 2], [1; 2], [1; 2], mode)?;
        convolution.set_math_type(dnn::cudnnMathType_t::CUDNN_TENSOR_OP_MATH)?;
        let activation =
            if relu { dnn::cudnnActivationMode_t::CUDNN_ACTIVATION_RELU } else { dnn::cudnnActivationMode_t::CUDNN_ACTIVATION_IDENTITY };
        // The only one that the fused convolution takes; the kernels look for what is no number.
        let nans = dnn::cudnnNanPropagation_t::CUDNN_NOT_PROPAGATE_NAN;
        Ok(Filter {
            inputs,
            outputs,
            weights: self.values(&rounded(weights))?,
            bias: self.values(&rounded(bias))?,
            convolution,
            activation: self.cudnn.create_activation(activation, nans, 0.0)?,
            filter: self.cudnn.create_4d_filter(NHWC, [integer(outputs)?, integer(inputs)?, integer(side)?, integer(side)?])?,
            bias_shape: self.cudnn.create_4d_tensor(NHWC, [1, integer(outputs)?, 1, 1])?,
        })
    }

    /// Bytes of memory that a convolution of such maps needs beside them.
    pub fn workspace(&self, filter: &Filter<N>, tiles: usize, side: usize) -> Result<usize> {
        let (x, y) = (self.shape(tiles, side, filter.inputs)?, self.shape(tiles, side, filter.outputs)?);
        Ok(filter.operation(&x, &y).get_workspace_size(ALGORITHM)?)
    }

    /// Convolution, bias, and ReLU if the filter has one.
    pub fn convolve(&self, filter: &Filter<N>, from: &Maps<N>, to: &Maps<N>, workspace: &Memory<u8>) -> Result<()> {
        fits(from, from.tiles, to.side, filter.inputs)?;
        fits(to, from.tiles, from.side, filter.outputs)?;
        let (x, y) = (self.shape(from.tiles, from.side, filter.inputs)?, self.shape(to.tiles, to.side, filter.outputs)?);
        let whole = |memory: &Memory<N>| memory.0.len();
        let weights = filter.weights.stretch(0, whole(&filter.weights))?;
        let bias = filter.bias.stretch(0, whole(&filter.bias))?;
        let mut space = workspace.stretch(0, workspace.0.len())?;
        let mut result = to.stretch.again();
        // SAFETY: descriptors and stretches are of the same shapes, checked above. The addend is multiplied by zero; the
        // result stands in for it, as it has its size.
        unsafe {
            filter.operation(&x, &y).launch(
                ALGORITHM,
                Some(&mut space),
                (N::ONE, N::ZERO),
                &from.stretch,
                &weights,
                &to.stretch,
                &bias,
                &mut result,
            )
        }?;
        Ok(())
    }

    /// Sets all of it to zero.
    pub fn clear<T: DeviceRepr + ValidAsZeroBits>(&self, memory: &Memory<T>) -> Result<()> {
        Ok(self.stream.memset_zeros(&mut memory.stretch(0, memory.0.len())?)?)
    }

    /// Kernel `first`: weights `[3, 3, channels]`; here as below, one mark in `unsound` for each tile.
    pub fn first(
        &self,
        pictures: &Stretch<f32>,
        weights: &Memory<f32>,
        bias: &Memory<f32>,
        to: &Maps<N>,
        unsound: &Memory<u32>,
    ) -> Result<()> {
        let pixels = to.tiles * to.side * to.side;
        holds(pictures.values, pixels)?;
        holds(weights.0.len(), 9 * to.channels)?;
        holds(bias.0.len(), to.channels)?;
        holds(unsound.0.len(), to.tiles)?;
        let arguments = [
            Argument::Address(pictures.address),
            Argument::Address(weights.address()),
            Argument::Address(bias.address()),
            Argument::Address(to.stretch.address),
            Argument::Address(unsound.address()),
            number(to.tiles)?,
            number(to.side)?,
            number(to.channels)?,
        ];
        self.launch(&self.first, pixels / 4 * to.channels / 8, &arguments)
    }

    /// Kernel `pool`, and the copy of what is pooled in the first channels of `copy`.
    pub fn pool(&self, from: &Maps<N>, to: &Maps<N>, copy: &Maps<N>, unsound: &Memory<u32>) -> Result<()> {
        fits(to, from.tiles, from.side / 2, from.channels)?;
        fits(copy, from.tiles, from.side, copy.channels)?;
        holds(copy.channels, from.channels)?;
        holds(unsound.0.len(), from.tiles)?;
        let arguments = [
            Argument::Address(from.stretch.address),
            Argument::Address(to.stretch.address),
            Argument::Address(copy.stretch.address),
            Argument::Address(unsound.address()),
            number(from.tiles)?,
            number(from.side)?,
            number(from.channels)?,
            number(copy.channels)?,
        ];
        self.launch(&self.pool, to.stretch.values / 8, &arguments)
    }

    /// Kernel `interpolate` into the channels of `to` from `first_channel` on.
    pub fn interpolate(&self, from: &Maps<N>, to: &Maps<N>, first_channel: usize, unsound: &Memory<u32>) -> Result<()> {
        self.raise(&self.interpolate, from, from.channels, (to, first_channel), unsound)
    }

    /// Kernel `interleave` into the channels of `to` from `first_channel` on.
    pub fn interleave(&self, from: &Maps<N>, to: &Maps<N>, first_channel: usize, unsound: &Memory<u32>) -> Result<()> {
        self.raise(&self.interleave, from, from.channels / 4, (to, first_channel), unsound)
    }

    fn raise(
        &self,
        kernel: &CudaFunction,
        from: &Maps<N>,
        channels: usize,
        (to, first_channel): (&Maps<N>, usize),
        unsound: &Memory<u32>,
    ) -> Result<()> {
        fits(to, from.tiles, 2 * from.side, to.channels)?;
        holds(to.channels, first_channel + channels)?;
        holds(unsound.0.len(), from.tiles)?;
        let arguments = [
            Argument::Address(from.stretch.address),
            Argument::Address(to.stretch.address),
            Argument::Address(unsound.address()),
            number(from.tiles)?,
            number(from.side)?,
            number(channels)?,
            number(to.channels)?,
            number(first_channel)?,
        ];
        self.launch(kernel, to.tiles * to.side * to.side * channels / 8, &arguments)
    }

    /// Kernel `look`.
    pub fn look(&self, at: &Maps<N>, unsound: &Memory<u32>) -> Result<()> {
        holds(unsound.0.len(), at.tiles)?;
        let arguments = [
            Argument::Address(at.stretch.address),
            Argument::Address(unsound.address()),
            number(at.tiles)?,
            number(at.side)?,
            number(at.channels)?,
        ];
        self.launch(&self.look, at.stretch.values / 8, &arguments)
    }

    /// Kernel `head`.
    pub fn head(
        &self,
        from: &Maps<N>,
        weights: &Memory<f32>,
        bias: f32,
        logits: &Stretch<f32>,
        probabilities: &Stretch<u8>,
        unsound: &Memory<u32>,
    ) -> Result<()> {
        let pixels = from.tiles * from.side * from.side;
        holds(weights.0.len(), from.channels)?;
        holds(logits.values.min(probabilities.values), pixels)?;
        holds(unsound.0.len(), from.tiles)?;
        let arguments = [
            Argument::Address(from.stretch.address),
            Argument::Address(weights.address()),
            Argument::Value(bias),
            Argument::Address(logits.address),
            Argument::Address(probabilities.address),
            Argument::Address(unsound.address()),
            number(from.tiles)?,
            number(from.side)?,
            number(from.channels)?,
        ];
        self.launch(&self.head, pixels, &arguments)
    }

    /// Brings to the device what `fill` writes into `pinned`, as much as `to` takes, in the stream's order:
    /// [`finish`](Self::finish) or [`fetch`](Self::fetch) something before `pinned` is used again.
    pub fn send(&self, pinned: &mut Pinned<f32>, to: &mut Stretch<f32>, fill: &mut dyn FnMut(&mut [f32])) -> Result<()> {
        holds(pinned.0.len(), to.values)?;
        let pinned = &mut pinned.0.as_mut_slice()?[..to.values];
        fill(pinned);
        Ok(self.stream.memcpy_htod(pinned, to)?)
    }

    /// Brings values back, after all that was asked for before; `pinned` holds them first when it returns.
    pub fn fetch<'a, T: DeviceRepr + ValidAsZeroBits>(&self, from: &Stretch<T>, pinned: &'a mut Pinned<T>) -> Result<&'a [T]> {
        holds(pinned.0.len(), from.values)?;
        let pinned = &mut pinned.0.as_mut_slice()?[..from.values];
        self.stream.memcpy_dtoh(from, pinned)?;
        self.stream.synchronize()?;
        Ok(pinned)
    }

    /// Records what `work` asks for instead of doing it.
    ///
    /// All of it must have been done once before: a kernel's first launch loads it, which cannot be recorded.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<Graph>> {
        self.stream.synchronize()?;
        self.stream.begin_capture(driver::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let asked = work();
        // Ended whatever happened, or the stream would go on recording.
        let graph = self.stream.end_capture(driver::CUgraphInstantiate_flags(0));
        asked?;
        let graph = graph?;
        if let Some(graph) = &graph {
            graph.upload()?;
        }
        Ok(graph.map(Graph))
    }

    /// Does recorded work.
    pub fn replay(&self, graph: &Graph) -> Result<()> {
        Ok(graph.0.launch()?)
    }

    /// Waits until all is done.
    pub fn finish(&self) -> Result<()> {
        Ok(self.stream.synchronize()?)
    }

    /// What cuDNN is told of maps, from whatever thread this runs on.
    fn shape(&self, tiles: usize, side: usize, channels: usize) -> Result<TensorDescriptor<N>> {
        self.stream.context().bind_to_thread()?;
        Ok(self.cudnn.create_4d_tensor(NHWC, [integer(tiles)?, integer(channels)?, integer(side)?, integer(side)?])?)
    }

    /// A thread for each of `items`.
    fn launch(&self, kernel: &CudaFunction, items: usize, arguments: &[Argument]) -> Result<()> {
        // The kernels count in 32 bits, with room for one step beyond the last item.
        let items = i32::try_from(items).map_err(|_| CudaFault::Count(items))? as u32;
        let mut launch = self.stream.launch_builder(kernel);
        for argument in arguments {
            match argument {
                Argument::Address(address) => launch.arg(address),
                Argument::Count(count) => launch.arg(count),
                Argument::Value(value) => launch.arg(value),
            };
        }
        // SAFETY: the callers pass each kernel what `inference.cu` declares for it, in that order, and have checked that the
        // maps behind the addresses are as large as the counts say.
        unsafe { launch.launch(threads_for(items)) }?;
        Ok(())
    }
}

const NHWC: dnn::cudnnTensorFormat_t = dnn::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;

impl<N: Number> Filter<N> {
    fn operation<'a>(&'a self, x: &'a TensorDescriptor<N>, y: &'a TensorDescriptor<N>) -> ConvBiasActivationForward<'a, N, f32, f32, N> {
        let (conv, act, w, bias) = (&self.convolution, &self.activation, &self.filter, &self.bias_shape);
        ConvBiasActivationForward { conv, act, x, w, z: y, bias, y }
    }
}

fn integer(value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|_| CudaFault::Count(value))
}

fn number(value: usize) -> Result<Argument> {
    u32::try_from(value).map(Argument::Count).map_err(|_| CudaFault::Count(value))
}
