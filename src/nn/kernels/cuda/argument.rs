//! Candle's tensors on CUDA, as kernels take them.

use candle_core::cuda_backend::cudarc::driver::CudaView;
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::{Error, Layout, Result};

/// A contiguous tensor on a CUDA device.
pub(in crate::nn) struct OnCuda<'a> {
    pub storage: &'a CudaStorage,
    pub layout: &'a Layout,
}

impl<'a> OnCuda<'a> {
    pub(super) fn view<T: CudaDType>(&self) -> Result<CudaView<'a, T>> {
        let Some((start, end)) = self.layout.contiguous_offsets() else {
            return Err(Error::Msg("an argument on CUDA is not contiguous".into()));
        };
        let slice = self.storage.as_cuda_slice::<T>()?;
        slice.try_slice(start..end).ok_or_else(|| Error::Msg("the layout of an argument on CUDA reaches beyond its storage".into()))
    }
}
