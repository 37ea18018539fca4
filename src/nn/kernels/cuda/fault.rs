use candle_core::cuda_backend::cudarc::cudnn::CudnnError;
use candle_core::cuda_backend::cudarc::driver::DriverError;
use candle_core::cuda_backend::cudarc::nvrtc::CompileError;
use thiserror::Error;

/// Why a device did not do what it was asked for.
#[derive(Debug, Error)]
pub(in crate::nn) enum CudaFault {
    #[error("CUDA driver: {0}")]
    Driver(#[from] DriverError),
    #[error("cuDNN: {0}")]
    Cudnn(#[from] CudnnError),
    #[error("NVRTC, which compiles the network's own kernels: {0}")]
    Compile(#[from] CompileError),
    #[error("a place of {values} values from {start} in a memory of {held}")]
    Place { start: usize, values: usize, held: usize },
    #[error("{0} is more than a kernel can count")]
    Count(usize),
}

pub(super) type Result<T> = std::result::Result<T, CudaFault>;
