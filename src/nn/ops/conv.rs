use super::{dims, dims_of, values, with_values};
use crate::config::Precision;
#[cfg(feature = "cudnn")]
use crate::nn::kernels::cuda::OnCuda;
#[cfg(feature = "cudnn")]
use crate::nn::kernels::cuda::training::{self, How};
use crate::nn::kernels::{Dims, Kernel, Pictures, Weights, convolved, convolved_apart, weight_gradient};
#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

/// Convolution with padding that keeps the size; arguments: picture, weights.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Convolution {
    /// Distance of a 3×3 kernel's taps.
    pub dilation: usize,
    /// Of its products.
    pub precision: Precision,
}

/// The size of weights that are to be laid over pictures of `size`.
pub(super) fn kernel_for(size: Dims, weights: &Layout) -> Result<Dims> {
    let kernel = dims_of(weights)?;
    if kernel.c != size.c || kernel.h != kernel.w || !matches!(kernel.w, 1 | 3) {
        candle_core::bail!("convolution: {size:?} and weights {:?} do not fit (side 1 or 3)", weights.shape());
    }
    Ok(kernel)
}

impl Convolution {
    #[cfg(feature = "cudnn")]
    fn how(&self) -> How {
        How { dilation: self.dilation, exact: self.precision == Precision::F32 }
    }

    /// The convolved pictures.
    pub fn of(&self, x: &Pictures, weights: &[f32], kernel: Dims) -> Vec<f32> {
        convolved(x, &Weights::forward(weights, kernel.n, kernel.c, kernel.w), self.dilation, self.precision)
    }

    /// Gradient of pictures that gave results of this `gradient`: of their first `first` channels, and of the others.
    pub fn picture_gradient(&self, weights: &[f32], kernel: Dims, gradient: &[f32], size: Dims, first: usize) -> [Vec<f32>; 2] {
        let backward = Weights::forward(weights, kernel.n, kernel.c, kernel.w).backward();
        let gradient = Pictures::plain(gradient, size.with_channels(kernel.n));
        convolved_apart(&gradient, &backward, self.dilation, self.precision, first)
    }

    /// Gradient of the weights.
    pub fn weight_gradient(&self, x: &Pictures, kernel: Dims, gradient: &Pictures) -> Vec<f32> {
        let kernel = Kernel { outputs: kernel.n, side: kernel.w, dilation: self.dilation };
        weight_gradient(x, gradient, kernel, self.precision)
    }

    /// Gradients of pictures (where `of_picture` asks for it) and weights.
    ///
    /// The network's own picture needs none, and would cost as much as a whole convolution.
    pub fn gradients(
        &self,
        x: &[f32],
        size: Dims,
        weights: &[f32],
        kernel: Dims,
        gradient: &[f32],
        of_picture: bool,
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let dx = of_picture.then(|| {
            let [dx, _] = self.picture_gradient(weights, kernel, gradient, size, size.c);
            dx
        });
        let gradient = Pictures::plain(gradient, size.with_channels(kernel.n));
        (dx, self.weight_gradient(&Pictures::plain(x, size), kernel, &gradient))
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let size = dims_of(l1)?;
        let kernel = kernel_for(size, l2)?;
        let out = self.of(&Pictures::plain(values(s1, l1, self.name())?, size), values(s2, l2, self.name())?, kernel);
        Ok((CpuStorage::F32(out), (size.n, kernel.n, size.h, size.w).into()))
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let size = dims_of(l1)?;
        let kernel = kernel_for(size, l2)?;
        let out = training::convolved(&OnCuda { storage: s1, layout: l1 }, &OnCuda { storage: s2, layout: l2 }, self.how())?;
        Ok((out, (size.n, kernel.n, size.h, size.w).into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (size, kernel) = (dims(x)?, dims(weight)?);
        let gradient = gradient.contiguous()?;
        #[cfg(feature = "cudnn")]
        if x.device().is_cuda() {
            let of = |of, other: &Tensor| other.apply_op2_no_bwd(&gradient, &Gradient { of, how: self.how() });
            let dx = x.track_op().then(|| of(Factor::Pictures, weight)).transpose()?;
            return Ok((dx, Some(of(Factor::Weights(kernel.w), x)?)));
        }
        with_values([x, weight, &gradient], self.name(), |[xs, ws, gs]| {
            let (dx, dw) = self.gradients(xs, size, ws, kernel, gs, x.track_op());
            let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), &Device::Cpu));
            Ok((dx.transpose()?, Some(Tensor::from_vec(dw, weight.shape(), &Device::Cpu)?)))
        })?
    }
}

/// A gradient of a convolution on CUDA; arguments: the other factor, gradient of the result.
#[cfg(feature = "cudnn")]
struct Gradient {
    of: Factor,
    how: How,
}

#[cfg(feature = "cudnn")]
enum Factor {
    Pictures,
    /// With kernels of this side.
    Weights(usize),
}

#[cfg(feature = "cudnn")]
impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of a convolution"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{}: for CUDA only", self.name())
    }

    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let (other, gradient) = (OnCuda { storage: s1, layout: l1 }, OnCuda { storage: s2, layout: l2 });
        let (of_other, of_gradient) = (dims_of(l1)?, dims_of(l2)?);
        Ok(match self.of {
            Factor::Pictures => {
                let shape = (of_gradient.n, of_other.c, of_gradient.h, of_gradient.w);
                (training::picture_gradient(&other, &gradient, self.how)?, shape.into())
            }
            Factor::Weights(side) => {
                let shape = (of_gradient.c, of_other.c, side, side);
                (training::weight_gradient(&other, &gradient, side, self.how)?, shape.into())
            }
        })
    }
}
