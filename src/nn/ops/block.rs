use super::conv::{Convolution, kernel_for};
use super::norm::{BatchNorm, Statistics};
use super::{dims, dims_of, values, with_values};
use crate::nn::kernels::{Moments, Pictures, moments, norm_relu};
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// What the forward pass leaves to the backward pass.
struct Convolved {
    values: Vec<f32>,
    moments: Moments,
}

/// Convolution, batch norm with the batch's statistics, ReLU; arguments: picture, weights, gain over offset `[2, outputs]`.
///
/// One operator, so that neither the convolution's result nor its gradient goes through the graph, which would
/// zero, add and copy them once more.
struct ConvNormRelu {
    convolution: Convolution,
    convolved: Arc<OnceLock<Convolved>>,
}

/// Convolution, batch norm and ReLU of contiguous tensors, for training.
pub(super) fn conv_norm_relu(x: &Tensor, weight: &Tensor, convolution: Convolution, norm: &BatchNorm) -> Result<Tensor> {
    let convolved = Arc::new(OnceLock::new());
    let affine = Tensor::stack(&[norm.gain.as_tensor(), norm.offset.as_tensor()], 0)?;
    let y = x.apply_op3(weight, &affine, ConvNormRelu { convolution, convolved: convolved.clone() })?;
    if let Some(Convolved { moments, .. }) = convolved.get() {
        let size = dims(&y)?;
        norm.update(moments, size.n * size.plane())?;
    }
    Ok(y)
}

impl CustomOp3 for ConvNormRelu {
    fn name(&self) -> &'static str {
        "convolution, batch norm and ReLU"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let size = dims_of(l1)?;
        let kernel = kernel_for(size, l2)?;
        let x = Pictures::plain(values(s1, l1, self.name())?, size);
        let convolved = self.convolution.of(&x, values(s2, l2, self.name())?, kernel);
        let out_size = size.with_channels(kernel.n);
        let moments = moments(&convolved, out_size);
        let affine = values(s3, l3, self.name())?;
        let (gain, offset) = affine.split_at(affine.len() / 2);
        let affine = Statistics::of_batch(&moments).affine(gain, offset)?;
        let out = norm_relu(&convolved, out_size, &affine);
        // An operator runs forward once; were it run again, the first results would stand.
        let _ = self.convolved.set(Convolved { values: convolved, moments });
        Ok((CpuStorage::F32(out), (size.n, kernel.n, size.h, size.w).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(Convolved { values, moments }) = self.convolved.get() else {
            candle_core::bail!("{}: backward before forward", self.name());
        };
        let (size, kernel) = (dims(x)?, dims(weight)?);
        let mut gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        with_values([x, weight, affine], self.name(), |[xs, ws, affine]| {
            let (gain, offset) = affine.split_at(kernel.n);
            let statistics = Statistics::of_batch(moments);
            let affine = statistics.affine(gain, offset)?;
            let norm = statistics.gradients(values, &mut gradient, size.with_channels(kernel.n), &affine);
            let (dx, dw) = self.convolution.gradients(xs, size, ws, kernel, &gradient, x.track_op());
            let tensor = |values, shape: &Shape| Tensor::from_vec(values, shape, &Device::Cpu);
            let dx = dx.map(|dx| tensor(dx, x.shape())).transpose()?;
            Ok((dx, Some(tensor(dw, weight.shape())?), Some(tensor([norm.gain, norm.offset].concat(), &(2, kernel.n).into())?)))
        })?
    }
}
