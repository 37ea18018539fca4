#[cfg(feature = "cudnn")]
use super::on_cuda::applied;
use super::{by_plane, channel_sums, dims, dims_of, values, with_values};
#[cfg(feature = "cudnn")]
use crate::nn::kernels::cuda::{OnCuda, Operator, computed};
use crate::nn::kernels::{Dims, interleave, interleave_gradient, resize, resize_gradient};
#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor};

/// Bilinear interpolation to another size, corners aligned.
pub(super) struct Bilinear {
    /// Lines of the result.
    pub h: usize,
    /// Pixels in its lines.
    pub w: usize,
}

impl CustomOp1 for Bilinear {
    fn name(&self) -> &'static str {
        "bilinear interpolation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Dims { n, c, h, w } = dims_of(layout)?;
        if h * w == 0 {
            candle_core::bail!("bilinear interpolation: a picture of {h} × {w} has no pixels to go by");
        }
        let x = values(storage, layout, self.name())?;
        let size = [self.h, self.w];
        let out = by_plane(n * c, self.h * self.w, |plane, target| {
            resize(&x[plane * h * w..][..h * w], w, [h, w], target, self.w, size);
        });
        Ok((CpuStorage::F32(out), (n, c, self.h, self.w).into()))
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let size = dims_of(layout)?;
        let resized = computed(Operator::Resize(self.h, self.w), size, &[&OnCuda { storage, layout }])?;
        Ok((resized, (size.n, size.c, self.h, self.w).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Dims { n, c, h, w } = dims(x)?;
        let gradient = gradient.contiguous()?;
        #[cfg(feature = "cudnn")]
        if x.device().is_cuda() {
            return applied(Operator::ResizeGradient(self.h, self.w), dims(x)?, &[&gradient])?.reshape(x.shape()).map(Some);
        }
        let pixels = self.h * self.w;
        let dx = with_values([&gradient], self.name(), |[g]| {
            by_plane(n * c, h * w, |plane, target| resize_gradient(&g[plane * pixels..][..pixels], [self.h, self.w], [h, w], target))
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?))
    }
}

/// Puts four channels, the taps of a 2×2 kernel, in their places in one of twice the size, and adds the
/// bias; arguments: `[n, 4c, h, w]`, bias `[c]`.
pub(super) struct Interleave;

impl CustomOp2 for Interleave {
    fn name(&self) -> &'static str {
        "interleaving"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let Dims { n, c, h, w } = dims_of(l1)?;
        let (x, bias) = (values(s1, l1, self.name())?, values(s2, l2, self.name())?);
        if c != 4 * bias.len() {
            candle_core::bail!("interleaving: {c} channels for {} outputs, expected four each", bias.len());
        }
        let out = by_plane(n * c / 4, 4 * h * w, |plane, target| {
            interleave(&x[plane * 4 * h * w..][..4 * h * w], h * w, w, h, w, bias[plane % bias.len()], target, 2 * w);
        });
        Ok((CpuStorage::F32(out), (n, c / 4, 2 * h, 2 * w).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Dims { n, c, h, w } = dims(x)?;
        let gradient = gradient.contiguous()?;
        let (dx, db) = with_values([&gradient], self.name(), |[g]| {
            let dx =
                by_plane(n * c / 4, 4 * h * w, |plane, target| interleave_gradient(&g[plane * 4 * h * w..][..4 * h * w], h, w, target));
            (dx, channel_sums(g, Dims { n, c: c / 4, h: 2 * h, w: 2 * w }))
        })?;
        Ok((Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?), Some(db?)))
    }
}
