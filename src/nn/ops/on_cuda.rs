//! The operators on CUDA: kernels of our own on candle's tensors.

use super::dims;
use super::norm::BatchNorm;
use crate::nn::kernels::Dims;
use crate::nn::kernels::cuda::{OnCuda, Operator, computed};
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

/// What `operator` makes of contiguous `arguments` for maps of `size`, one value after the other. Has no gradient.
pub(super) fn applied(operator: Operator, size: Dims, arguments: &[&Tensor]) -> Result<Tensor> {
    let op = Applied { operator, size };
    match arguments {
        [x] => x.apply_op1_no_bwd(&op),
        [x, other] => x.apply_op2_no_bwd(other, &op),
        [x, other, norm] => x.apply_op3_no_bwd(other, norm, &op),
        _ => candle_core::bail!("{operator:?}: {} arguments, expected one to three", arguments.len()),
    }
}

struct Applied {
    operator: Operator,
    size: Dims,
}

impl Applied {
    const NAME: &str = "an operator on CUDA";

    fn to(&self, arguments: &[&OnCuda]) -> Result<(CudaStorage, Shape)> {
        let made = computed(self.operator, self.size, arguments)?;
        let values = made.as_cuda_slice::<f32>()?.len();
        Ok((made, values.into()))
    }
}

impl CustomOp1 for Applied {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{:?}: for CUDA only", self.operator)
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.to(&[&OnCuda { storage, layout }])
    }
}

impl CustomOp2 for Applied {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{:?}: for CUDA only", self.operator)
    }

    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        self.to(&[&OnCuda { storage: s1, layout: l1 }, &OnCuda { storage: s2, layout: l2 }])
    }
}

impl CustomOp3 for Applied {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{:?}: for CUDA only", self.operator)
    }

    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let [x, other, norm] = [(s1, l1), (s2, l2), (s3, l3)].map(|(storage, layout)| OnCuda { storage, layout });
        self.to(&[&x, &other, &norm])
    }
}

/// Sums by parts of channels, of sums by slices of planes.
fn parts_of(size: Dims, slices: &Tensor) -> Result<Tensor> {
    applied(Operator::PartSums, size, &[slices])
}

/// As [`super::norm::norm_relu`].
pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    let size = dims(x)?;
    let rows = |values: &Tensor| values.reshape(((), size.c));
    let moments = if train {
        let parts = parts_of(size, &applied(Operator::PlaneMoments, size, &[x])?)?;
        let moments = rows(&applied(Operator::ChannelMoments, size, &[x, &parts])?)?;
        norm.update_on_device(&moments.get(0)?, &moments.get(1)?, size.n * size.plane())?;
        moments
    } else {
        Tensor::cat(&[rows(&norm.running_mean.as_detached_tensor())?, rows(&norm.running_var.as_detached_tensor())?], 0)?
    };
    let by = Tensor::cat(&[moments, rows(&norm.gain.as_detached_tensor())?, rows(&norm.offset.as_detached_tensor())?], 0)?;
    x.apply_op3(&norm.gain, &norm.offset, NormRelu { by, of_batch: train })
}

/// Normalisation and ReLU; arguments: picture, gain, offset.
struct NormRelu {
    /// Means, variances, gains and offsets, `[4, channels]`.
    by: Tensor,
    /// Whether the first two come from the values themselves, whose gradient then passes through them.
    of_batch: bool,
}

impl CustomOp3 for NormRelu {
    fn name(&self) -> &'static str {
        "batch norm and ReLU on CUDA"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{}: for CUDA only", self.name())
    }

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (by, by_layout) = self.by.storage_and_layout();
        let Storage::Cuda(by) = &*by else { candle_core::bail!("{}: parameters elsewhere", self.name()) };
        let arguments = [&OnCuda { storage, layout }, &OnCuda { storage: by, layout: by_layout }];
        Ok((computed(Operator::NormRelu, super::dims_of(layout)?, &arguments)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (size, gradient) = (dims(x)?, gradient.contiguous()?);
        let parts = parts_of(size, &applied(Operator::NormSlices, size, &[x, &gradient, &self.by])?)?;
        let sums = applied(Operator::NormSums, size, &[&parts])?.reshape((2, size.c))?;
        let through_moments = if self.of_batch { sums.clone() } else { sums.zeros_like()? };
        let by = Tensor::cat(&[&self.by, &through_moments], 0)?;
        let dx = applied(Operator::NormGradient, size, &[x, &gradient, &by])?.reshape(x.shape())?;
        Ok((Some(dx), Some(sums.get(1)?), Some(sums.get(0)?)))
    }
}
