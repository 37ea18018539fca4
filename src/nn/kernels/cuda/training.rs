//! cuDNN's convolutions forward and both ways back, `f32` or bf16: candle's own have no cuDNN on the way back, and one that walks
//! through memory for the weights. On candle's tensors in NCHW order, on maps of a tape in NHWC order.

use super::argument::OnCuda;
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::sys as dnn;
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, CudnnDataType, CudnnError, FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, DeviceId};
use candle_core::{DType, Error, Result};
use half::bf16;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    /// cuDNN's handles belong to a thread.
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::default();
    /// As do the choices of its algorithms here: the same convolutions come again with every step.
    static CHOICES: Choices = Choices::default();
}

/// What a convolution is done with, and bytes of memory beside its maps.
type Choice<Algorithm> = (Algorithm, usize);
type Chosen<Algorithm> = RefCell<HashMap<Key, Choice<Algorithm>>>;

#[derive(Default)]
struct Choices {
    forward: Chosen<dnn::cudnnConvolutionFwdAlgo_t>,
    picture: Chosen<dnn::cudnnConvolutionBwdDataAlgo_t>,
    weights: Chosen<dnn::cudnnConvolutionBwdFilterAlgo_t>,
}

/// All that a choice depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: DeviceId,
    form: Form,
    numbers: DType,
}

/// A convolution that keeps the size.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// `[n, inputs, h, w]`, whatever the order.
    pub picture: [usize; 4],
    pub outputs: usize,
    pub side: usize,
    pub how: How,
    pub order: Order,
}

impl Form {
    fn pictures(&self) -> usize {
        self.picture.iter().product()
    }

    fn weights(&self) -> usize {
        self.outputs * self.picture[1] * self.side * self.side
    }

    fn results(&self) -> usize {
        let [n, _, h, w] = self.picture;
        n * self.outputs * h * w
    }
}

/// Which index of pictures and weights counts fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// Pixels in a line.
    Nchw,
    /// Channels.
    Nhwc,
}

impl From<Order> for dnn::cudnnTensorFormat_t {
    fn from(order: Order) -> Self {
        match order {
            Order::Nchw => Self::CUDNN_TENSOR_NCHW,
            Order::Nhwc => Self::CUDNN_TENSOR_NHWC,
        }
    }
}

/// The choice for `key`, made by `choose` when it is asked for first.
fn chosen<A: Copy>(known: &Chosen<A>, key: Key, choose: impl FnOnce() -> std::result::Result<Choice<A>, CudnnError>) -> Result<Choice<A>> {
    if let Some(choice) = known.borrow().get(&key) {
        return Ok(*choice);
    }
    let choice = choose()?;
    known.borrow_mut().insert(key, choice);
    Ok(choice)
}

/// Numbers that cuDNN multiplies; it sums in `f32`.
pub(super) trait Multiplied: CudaDType + CudnnDataType + DeviceRepr {
    /// What results are multiplied by, and what was there before them.
    const ONLY_THE_RESULT: (Self, Self);
    const DTYPE: DType;

    /// Whether products may be of fewer digits than these numbers have.
    fn products(exact: bool) -> dnn::cudnnMathType_t;
}

impl Multiplied for f32 {
    const ONLY_THE_RESULT: (Self, Self) = (1.0, 0.0);
    const DTYPE: DType = DType::F32;

    fn products(exact: bool) -> dnn::cudnnMathType_t {
        if exact { dnn::cudnnMathType_t::CUDNN_FMA_MATH } else { dnn::cudnnMathType_t::CUDNN_DEFAULT_MATH }
    }
}

impl Multiplied for bf16 {
    const ONLY_THE_RESULT: (Self, Self) = (bf16::ONE, bf16::ZERO);
    const DTYPE: DType = DType::BF16;

    fn products(_: bool) -> dnn::cudnnMathType_t {
        dnn::cudnnMathType_t::CUDNN_TENSOR_OP_MATH
    }
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::nn) struct How {
    /// Distance of a kernel's taps.
    pub dilation: usize,
    /// Whether TF32 will not do for products of `f32`.
    pub exact: bool,
}

/// What cuDNN is told of a convolution that keeps the size.
struct Described<T> {
    convolution: ConvDescriptor<f32>,
    picture: TensorDescriptor<T>,
    weights: FilterDescriptor<T>,
    result: TensorDescriptor<T>,
    key: Key,
}

fn described<T: Multiplied>(device: &CudaDevice, form: Form) -> Result<Described<T>> {
    let key = Key { device: device.id(), form, numbers: T::DTYPE };
    let cudnn = HANDLES.with(|handles| match handles.borrow_mut().entry(device.id()) {
        std::collections::hash_map::Entry::Occupied(found) => Ok::<_, Error>(found.get().clone()),
        std::collections::hash_map::Entry::Vacant(place) => Ok(place.insert(Cudnn::new(device.cuda_stream())?).clone()),
    })?;
    let number = |value: usize| i32::try_from(value).map_err(|_| Error::Msg(format!("convolution: {value} is too large for cuDNN")));
    let Form { picture: [n, inputs, h, w], outputs, side, how, order } = form;
    let [n, inputs, h, w, outputs, side] = [number(n)?, number(inputs)?, number(h)?, number(w)?, number(outputs)?, number(side)?];
    let dilation = number(how.dilation)?;
    let (order, mode) = (order.into(), dnn::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION);
    let mut convolution = cudnn.create_conv2d([side / 2 * dilation; 2], [1; 2], [dilation; 2], mode)?;
    convolution.set_math_type(T::products(how.exact))?;
    Ok(Described {
        convolution,
        picture: cudnn.create_4d_tensor(order, [n, inputs, h, w])?,
        weights: cudnn.create_4d_filter(order, [outputs, inputs, side, side])?,
        result: cudnn.create_4d_tensor(order, [n, outputs, h, w])?,
        key,
    })
}

/// Memory that is written before it is read.
pub(super) fn unwritten<T: DeviceRepr>(device: &CudaDevice, values: usize) -> Result<CudaSlice<T>> {
    // SAFETY: cuDNN and the kernels write every result (they are not added to), and cuDNN reads no workspace that it has not
    // written. Devices without memory pools refuse to hold nothing.
    Ok(unsafe { device.cuda_stream().alloc(values.max(1)) }?)
}

/// Checks that arguments are as large as what cuDNN is told.
fn fits<T>(view: &CudaView<T>, values: usize) -> Result<()> {
    if view.len() == values { Ok(()) } else { Err(Error::Msg(format!("convolution: {} values, expected {values}", view.len()))) }
}

/// The convolved pictures.
pub(super) fn convolved_view<T: Multiplied>(
    device: &CudaDevice,
    x: &CudaView<T>,
    weights: &CudaView<T>,
    form: Form,
) -> Result<CudaSlice<T>> {
    let made = described::<T>(device, form)?;
    fits(x, form.pictures())?;
    fits(weights, form.weights())?;
    let mut result = unwritten::<T>(device, form.results())?;
    let asked = ConvForward { conv: &made.convolution, x: &made.picture, w: &made.weights, y: &made.result };
    let choose = || asked.pick_algorithm().and_then(|algorithm| Ok((algorithm, asked.get_workspace_size(algorithm)?)));
    let (algorithm, bytes) = CHOICES.with(|choices| chosen(&choices.forward, made.key, choose))?;
    let mut space = unwritten::<u8>(device, bytes)?;
    // SAFETY: the slices are as large as the descriptors say, checked above.
    unsafe { asked.launch(algorithm, Some(&mut space), T::ONLY_THE_RESULT, x, weights, &mut result) }?;
    Ok(result)
}

/// Gradient of pictures whose results have this gradient.
pub(super) fn picture_gradient_view<T: Multiplied>(
    device: &CudaDevice,
    weights: &CudaView<T>,
    gradient: &CudaView<T>,
    form: Form,
) -> Result<CudaSlice<T>> {
    let made = described::<T>(device, form)?;
    fits(weights, form.weights())?;
    fits(gradient, form.results())?;
    let mut result = unwritten::<T>(device, form.pictures())?;
    let asked = ConvBackwardData { conv: &made.convolution, dx: &made.picture, w: &made.weights, dy: &made.result };
    let choose = || asked.pick_algorithm().and_then(|algorithm| Ok((algorithm, asked.get_workspace_size(algorithm)?)));
    let (algorithm, bytes) = CHOICES.with(|choices| chosen(&choices.picture, made.key, choose))?;
    let mut space = unwritten::<u8>(device, bytes)?;
    // SAFETY: as in `convolved_view`.
    unsafe { asked.launch(algorithm, Some(&mut space), T::ONLY_THE_RESULT, &mut result, weights, gradient) }?;
    Ok(result)
}

/// Gradient of the weights.
pub(super) fn weight_gradient_view<T: Multiplied>(
    device: &CudaDevice,
    x: &CudaView<T>,
    gradient: &CudaView<T>,
    form: Form,
) -> Result<CudaSlice<T>> {
    let made = described::<T>(device, form)?;
    fits(x, form.pictures())?;
    fits(gradient, form.results())?;
    let mut result = unwritten::<T>(device, form.weights())?;
    let asked = ConvBackwardFilter { conv: &made.convolution, x: &made.picture, dy: &made.result, dw: &made.weights };
    let choose = || asked.pick_algorithm().and_then(|algorithm| Ok((algorithm, asked.get_workspace_size(algorithm)?)));
    let (algorithm, bytes) = CHOICES.with(|choices| chosen(&choices.weights, made.key, choose))?;
    let mut space = unwritten::<u8>(device, bytes)?;
    // SAFETY: as in `convolved_view`.
    unsafe { asked.launch(algorithm, Some(&mut space), T::ONLY_THE_RESULT, x, &mut result, gradient) }?;
    Ok(result)
}

/// Calls a function of this file for the numbers that a storage holds.
macro_rules! by_numbers {
    ($of:expr, $function:ident($first:expr, $second:expr, $form:expr)) => {{
        let device = &$of.storage.device;
        match $of.storage.dtype() {
            DType::F32 => {
                Ok(CudaStorage::wrap_cuda_slice($function(device, &$first.view::<f32>()?, &$second.view()?, $form)?, device.clone()))
            }
            DType::BF16 => {
                Ok(CudaStorage::wrap_cuda_slice($function(device, &$first.view::<bf16>()?, &$second.view()?, $form)?, device.clone()))
            }
            other => Err(Error::Msg(format!("convolution: {} on CUDA, expected f32 or bf16", other.as_str()))),
        }
    }};
}

/// The convolved pictures, `[n, outputs, h, w]`.
pub(in crate::nn) fn convolved(x: &OnCuda, weights: &OnCuda, how: How) -> Result<CudaStorage> {
    let (n, inputs, h, w) = x.layout.shape().dims4()?;
    let (outputs, _, side, _) = weights.layout.shape().dims4()?;
    by_numbers!(x, convolved_view(x, weights, Form { picture: [n, inputs, h, w], outputs, side, how, order: Order::Nchw }))
}

/// Gradient of the pictures whose results have this gradient, `[n, inputs, h, w]`.
pub(in crate::nn) fn picture_gradient(weights: &OnCuda, gradient: &OnCuda, how: How) -> Result<CudaStorage> {
    let (n, outputs, h, w) = gradient.layout.shape().dims4()?;
    let (_, inputs, side, _) = weights.layout.shape().dims4()?;
    let form = Form { picture: [n, inputs, h, w], outputs, side, how, order: Order::Nchw };
    by_numbers!(gradient, picture_gradient_view(weights, gradient, form))
}

/// Gradient of weights `[outputs, inputs, side, side]`.
pub(in crate::nn) fn weight_gradient(x: &OnCuda, gradient: &OnCuda, side: usize, how: How) -> Result<CudaStorage> {
    let (n, inputs, h, w) = x.layout.shape().dims4()?;
    let (_, outputs, _, _) = gradient.layout.shape().dims4()?;
    by_numbers!(x, weight_gradient_view(x, gradient, Form { picture: [n, inputs, h, w], outputs, side, how, order: Order::Nchw }))
}
