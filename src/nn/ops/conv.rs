use super::{dims, dims_of, values, with_values};
use crate::nn::kernels::{Packed, conv_nchw, weight_gradient};
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

/// Convolution with padding that keeps the size; arguments: picture, weights.
pub(super) struct Convolution {
    /// Distance of a 3×3 kernel's taps.
    pub dilation: usize,
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let size = dims_of(l1)?;
        let kernel = dims_of(l2)?;
        if kernel.c != size.c || kernel.h != kernel.w || !matches!(kernel.w, 1 | 3) {
            candle_core::bail!("convolution: picture {:?} and weights {:?} do not fit (side 1 or 3)", l1.shape(), l2.shape());
        }
        let packed = Packed::forward(values(s2, l2, self.name())?, kernel.n, kernel.c, kernel.w, None);
        let out_size = size.with_channels(kernel.n);
        let mut out = vec![0.0; out_size.len()];
        conv_nchw(values(s1, l1, self.name())?, size, &packed, self.dilation, &mut out);
        Ok((CpuStorage::F32(out), (size.n, kernel.n, size.h, size.w).into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (size, kernel) = (dims(x)?, dims(weight)?);
        let gradient = gradient.contiguous()?;
        with_values([x, weight, &gradient], self.name(), |[xs, ws, gs]| {
            // The picture itself needs no gradient, and would cost as much as a whole convolution.
            let dx = x.track_op().then(|| {
                let packed = Packed::backward(ws, kernel.n, kernel.c, kernel.w);
                let mut dx = vec![0.0; size.len()];
                conv_nchw(gs, size.with_channels(kernel.n), &packed, self.dilation, &mut dx);
                Tensor::from_vec(dx, x.shape(), &Device::Cpu)
            });
            let dw = weight_gradient(xs, size, gs, kernel.n, kernel.w, self.dilation);
            Ok((dx.transpose()?, Some(Tensor::from_vec(dw, weight.shape(), &Device::Cpu)?)))
        })?
    }
}
