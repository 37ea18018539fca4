//! cuDNN's convolutions on candle's tensors, forward and both ways back, `f32` in NCHW order: candle's own have no cuDNN on
//! the way back, and one that walks through memory for the weights.

use candle_core::cuda_backend::cudarc::cudnn::sys as dnn;
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, DeviceId};
use candle_core::{Error, Layout, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    /// cuDNN's handles belong to a thread.
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::default();
}

/// A contiguous tensor on a CUDA device.
pub(in crate::nn) struct OnCuda<'a> {
    pub storage: &'a CudaStorage,
    pub layout: &'a Layout,
}

impl OnCuda<'_> {
    fn view(&self) -> Result<CudaView<'_, f32>> {
        let Some((start, end)) = self.layout.contiguous_offsets() else {
            return Err(Error::Msg("convolution: argument is not contiguous".into()));
        };
        let slice = self.storage.as_cuda_slice::<f32>()?;
        slice.try_slice(start..end).ok_or_else(|| Error::Msg("convolution: layout beyond its storage".into()))
    }
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct How {
    /// Distance of a kernel's taps.
    pub dilation: usize,
    /// Whether TF32 will not do.
    pub exact: bool,
}

/// What cuDNN is told of a convolution that keeps the size.
struct Described {
    convolution: ConvDescriptor<f32>,
    picture: TensorDescriptor<f32>,
    weights: FilterDescriptor<f32>,
    result: TensorDescriptor<f32>,
}

/// Pictures `[n, inputs, h, w]`, weights `[outputs, inputs, side, side]`.
///
/// `exact` products are of `f32`; others may be of TF32, which has ten bits.
fn described(device: &CudaDevice, picture: [usize; 4], outputs: usize, side: usize, how: How) -> Result<Described> {
    let How { dilation, exact } = how;
    let cudnn = HANDLES.with(|handles| match handles.borrow_mut().entry(device.id()) {
        std::collections::hash_map::Entry::Occupied(found) => Ok::<_, Error>(found.get().clone()),
        std::collections::hash_map::Entry::Vacant(place) => Ok(place.insert(Cudnn::new(device.cuda_stream())?).clone()),
    })?;
    let number = |value: usize| i32::try_from(value).map_err(|_| Error::Msg(format!("convolution: {value} is too large for cuDNN")));
    let [n, inputs, h, w] = picture;
    let [n, inputs, h, w, outputs, side] = [number(n)?, number(inputs)?, number(h)?, number(w)?, number(outputs)?, number(side)?];
    let dilation = number(dilation)?;
    let (order, mode) = (dnn::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW, dnn::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION);
    let mut convolution = cudnn.create_conv2d([side / 2 * dilation; 2], [1; 2], [dilation; 2], mode)?;
    if exact {
        convolution.set_math_type(dnn::cudnnMathType_t::CUDNN_FMA_MATH)?;
    }
    Ok(Described {
        convolution,
        picture: cudnn.create_4d_tensor(order, [n, inputs, h, w])?,
        weights: cudnn.create_4d_filter(order, [outputs, inputs, side, side])?,
        result: cudnn.create_4d_tensor(order, [n, outputs, h, w])?,
    })
}

/// Memory that is written before it is read.
fn unwritten<T: DeviceRepr>(device: &CudaDevice, values: usize) -> Result<CudaSlice<T>> {
    // SAFETY: cuDNN writes every result (they are not added to), and reads no workspace that it has not written.
    Ok(unsafe { device.cuda_stream().alloc(values) }?)
}

/// Checks that arguments are as large as what cuDNN is told.
fn fits(view: &CudaView<f32>, values: usize) -> Result<()> {
    if view.len() == values { Ok(()) } else { Err(Error::Msg(format!("convolution: {} values, expected {values}", view.len()))) }
}

/// The convolved pictures, `[n, outputs, h, w]`.
pub(in crate::nn) fn convolved(x: &OnCuda, weights: &OnCuda, how: How) -> Result<CudaStorage> {
    let device = &x.storage.device;
    let (n, inputs, h, w) = x.layout.shape().dims4()?;
    let (outputs, _, side, _) = weights.layout.shape().dims4()?;
    let made = described(device, [n, inputs, h, w], outputs, side, how)?;
    let (x, weights) = (x.view()?, weights.view()?);
    fits(&x, n * inputs * h * w)?;
    fits(&weights, outputs * inputs * side * side)?;
    let mut result = unwritten::<f32>(device, n * outputs * h * w)?;
    let asked = ConvForward { conv: &made.convolution, x: &made.picture, w: &made.weights, y: &made.result };
    let algorithm = asked.pick_algorithm()?;
    let mut space = unwritten::<u8>(device, asked.get_workspace_size(algorithm)?)?;
    // SAFETY: the slices are as large as the descriptors say, checked above.
    unsafe { asked.launch(algorithm, Some(&mut space), (1.0, 0.0), &x, &weights, &mut result) }?;
    Ok(CudaStorage::wrap_cuda_slice(result, device.clone()))
}

/// Gradient of the pictures whose results have this gradient, `[n, inputs, h, w]`.
pub(in crate::nn) fn picture_gradient(weights: &OnCuda, gradient: &OnCuda, how: How) -> Result<CudaStorage> {
    let device = &gradient.storage.device;
    let (n, outputs, h, w) = gradient.layout.shape().dims4()?;
    let (_, inputs, side, _) = weights.layout.shape().dims4()?;
    let made = described(device, [n, inputs, h, w], outputs, side, how)?;
    let (weights, gradient) = (weights.view()?, gradient.view()?);
    fits(&weights, outputs * inputs * side * side)?;
    fits(&gradient, n * outputs * h * w)?;
    let mut result = unwritten::<f32>(device, n * inputs * h * w)?;
    let asked = ConvBackwardData { conv: &made.convolution, dx: &made.picture, w: &made.weights, dy: &made.result };
    let algorithm = asked.pick_algorithm()?;
    let mut space = unwritten::<u8>(device, asked.get_workspace_size(algorithm)?)?;
    // SAFETY: as in `convolved`.
    unsafe { asked.launch(algorithm, Some(&mut space), (1.0, 0.0), &mut result, &weights, &gradient) }?;
    Ok(CudaStorage::wrap_cuda_slice(result, device.clone()))
}

/// Gradient of weights `[outputs, inputs, side, side]`.
pub(in crate::nn) fn weight_gradient(x: &OnCuda, gradient: &OnCuda, side: usize, how: How) -> Result<CudaStorage> {
    let device = &x.storage.device;
    let (n, inputs, h, w) = x.layout.shape().dims4()?;
    let (_, outputs, _, _) = gradient.layout.shape().dims4()?;
    let made = described(device, [n, inputs, h, w], outputs, side, how)?;
    let (x, gradient) = (x.view()?, gradient.view()?);
    fits(&x, n * inputs * h * w)?;
    fits(&gradient, n * outputs * h * w)?;
    let mut result = unwritten::<f32>(device, outputs * inputs * side * side)?;
    let asked = ConvBackwardFilter { conv: &made.convolution, x: &made.picture, dy: &made.result, dw: &made.weights };
    let algorithm = asked.pick_algorithm()?;
    let mut space = unwritten::<u8>(device, asked.get_workspace_size(algorithm)?)?;
    // SAFETY: as in `convolved`.
    unsafe { asked.launch(algorithm, Some(&mut space), (1.0, 0.0), &x, &mut result, &gradient) }?;
    Ok(CudaStorage::wrap_cuda_slice(result, device.clone()))
}
