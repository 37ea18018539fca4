#[cfg(feature = "cudnn")]
use super::on_cuda::applied;
use super::{by_plane, dims, dims_of, values, with_values};
#[cfg(feature = "cudnn")]
use crate::nn::kernels::cuda::{OnCuda, Operator, computed};
use crate::nn::kernels::{Dims, max_pool, max_pool_gradient, max_pool_indices, unpool, unpool_gradient};
#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Error, Layout, Result, Shape, Storage, Tensor};

/// Size of what is pooled; sides must be even.
fn even_dims(layout: &Layout, op: &str) -> Result<Dims> {
    let size = dims_of(layout)?;
    if !size.h.is_multiple_of(2) || !size.w.is_multiple_of(2) {
        candle_core::bail!("{op}: sides must be even, found {} × {}", size.h, size.w);
    }
    Ok(size)
}

/// Maximum of 2×2 squares.
pub(super) struct MaxPool;

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Dims { n, c, h, w } = even_dims(layout, self.name())?;
        let x = values(storage, layout, self.name())?;
        let out = by_plane(n * c, h * w / 4, |plane, target| max_pool(&x[plane * h * w..][..h * w], w, h, w, target, w / 2));
        Ok((CpuStorage::F32(out), (n, c, h / 2, w / 2).into()))
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let size = even_dims(layout, self.name())?;
        let pooled = computed(Operator::MaxPool, size, &[&OnCuda { storage, layout }])?;
        Ok((pooled, (size.n, size.c, size.h / 2, size.w / 2).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Dims { n, c, h, w } = dims(x)?;
        let gradient = gradient.contiguous()?;
        #[cfg(feature = "cudnn")]
        if x.device().is_cuda() {
            return applied(Operator::MaxPoolGradient, dims(x)?, &[x, &gradient])?.reshape(x.shape()).map(Some);
        }
        let dx = with_values([x, &gradient], self.name(), |[x, g]| {
            by_plane(n * c, h * w, |plane, target| {
                max_pool_gradient(&x[plane * h * w..][..h * w], h, w, &g[plane * h * w / 4..][..h * w / 4], target);
            })
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?))
    }
}

/// Places of the maxima of 2×2 squares.
pub(super) struct MaxPoolIndices;

impl CustomOp1 for MaxPoolIndices {
    fn name(&self) -> &'static str {
        "max pool indices"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Dims { n, c, h, w } = even_dims(layout, self.name())?;
        let x = values(storage, layout, self.name())?;
        let out = by_plane(n * c, h * w / 4, |plane, target| max_pool_indices(&x[plane * h * w..][..h * w], w, target));
        Ok((CpuStorage::U8(out), (n, c, h / 2, w / 2).into()))
    }
}

/// Values back in the places of the maxima; arguments: values, places.
pub(super) struct Unpool;

/// The places of a contiguous `u8` storage.
fn places<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [u8]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| Error::Msg("unpooling: places are not contiguous".into()))?;
    storage.as_slice::<u8>()?.get(start..end).ok_or_else(|| Error::Msg("unpooling: layout beyond its storage".into()))
}

impl CustomOp2 for Unpool {
    fn name(&self) -> &'static str {
        "unpooling"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        if l1.shape() != l2.shape() {
            candle_core::bail!("unpooling: values of {:?} for places of {:?}", l1.shape(), l2.shape());
        }
        let Dims { n, c, h, w } = dims_of(l1)?;
        let (x, places, pixels) = (values(s1, l1, self.name())?, places(s2, l2)?, h * w);
        let out = by_plane(n * c, 4 * pixels, |plane, target| {
            let part = plane * pixels..(plane + 1) * pixels;
            unpool(&x[part.clone()], &places[part], 2 * w, target);
        });
        Ok((CpuStorage::F32(out), (n, c, 2 * h, 2 * w).into()))
    }

    fn bwd(&self, x: &Tensor, indices: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Dims { n, c, h, w } = dims(x)?;
        let (gradient, pixels) = (gradient.contiguous()?, h * w);
        let (storage, layout) = indices.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { candle_core::bail!("unpooling: places are not on the CPU") };
        let places = places(storage, layout)?;
        let dx = with_values([&gradient], self.name(), |[g]| {
            by_plane(n * c, pixels, |plane, target| {
                unpool_gradient(&g[plane * 4 * pixels..][..4 * pixels], &places[plane * pixels..][..pixels], 2 * w, target);
            })
        })?;
        Ok((Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?), None))
    }
}
