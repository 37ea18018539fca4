use super::{dims, dims_of, values, with_values};
use crate::nn::kernels::{
    Affine, Dims, Moments, Normalised, channel_gradients, moments, norm_relu as norm_relu_kernel, norm_relu_input_gradient,
};
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, Var};

/// What is added to variances, as PyTorch does.
pub(in crate::nn) const EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics, as PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// Parameters and running statistics of a batch norm, each `[channels]`.
pub(in crate::nn) struct BatchNorm {
    pub gain: Var,
    pub offset: Var,
    pub running_mean: Var,
    pub running_var: Var,
}

/// Batch norm (batch statistics when training, running ones else) and ReLU of a contiguous tensor.
pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    let statistics = if train {
        let size = dims(x)?;
        let moments = with_values([x], "batch norm", |[x]| moments(x, size))?;
        norm.update(&moments, size.n * size.plane())?;
        Statistics::of_batch(&moments)
    } else {
        Statistics::running(norm)?
    };
    x.apply_op3(&norm.gain, &norm.offset, NormRelu(statistics))
}

impl BatchNorm {
    /// Brings the running statistics up to date with those of a batch, which are of `count` values for each channel.
    pub(super) fn update(&self, batch: &Moments, count: usize) -> Result<()> {
        update(&self.running_mean, &batch.mean, 1.0)?;
        update(&self.running_var, &batch.variance, unbiased(count))
    }

    /// As [`update`](Self::update), where means and variances are on a device, which is not waited for.
    pub(super) fn update_on_device(&self, mean: &Tensor, variance: &Tensor, count: usize) -> Result<()> {
        for (running, batch, factor) in [(&self.running_mean, mean, 1.0), (&self.running_var, variance, unbiased(count))] {
            let batch = batch.detach().flatten_all()?.affine(MOMENTUM * factor, 0.0)?;
            running.set(&(running.as_detached_tensor().affine(1.0 - MOMENTUM, 0.0)? + batch)?)?;
        }
        Ok(())
    }
}

/// What makes the variance of `count` values that of what they were drawn from.
fn unbiased(count: usize) -> f64 {
    count as f64 / (count as f64 - 1.0).max(1.0)
}

fn update(running: &Var, batch: &[f64], factor: f64) -> Result<()> {
    let old = running.to_vec1::<f32>()?;
    let new: Vec<f32> =
        old.iter().zip(batch).map(|(old, batch)| (f64::from(*old) * (1.0 - MOMENTUM) + batch * factor * MOMENTUM) as f32).collect();
    running.set(&Tensor::new(new, &Device::Cpu)?)
}

/// What values are normalised by, for each channel.
pub(super) struct Statistics {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    /// Whether they come from the values themselves, whose gradient then passes through them.
    of_batch: bool,
}

/// Gradients of gain and offset.
pub(super) struct NormGradients {
    pub gain: Vec<f32>,
    pub offset: Vec<f32>,
}

impl Statistics {
    pub fn of_batch(moments: &Moments) -> Self {
        Self::new(moments.mean.iter().copied(), moments.variance.iter().copied(), true)
    }

    fn running(norm: &BatchNorm) -> Result<Self> {
        let (mean, variance) = (norm.running_mean.to_vec1::<f32>()?, norm.running_var.to_vec1::<f32>()?);
        Ok(Self::new(mean.into_iter().map(f64::from), variance.into_iter().map(f64::from), false))
    }

    fn new(mean: impl Iterator<Item = f64>, variance: impl Iterator<Item = f64>, of_batch: bool) -> Self {
        let inverse_deviation = variance.map(|v| (1.0 / (v + EPSILON).sqrt()) as f32).collect();
        Self { mean: mean.map(|m| m as f32).collect(), inverse_deviation, of_batch }
    }

    /// `gain * (x - mean) * inverse_deviation + offset` in its shortest form.
    pub fn affine(&self, gain: &[f32], offset: &[f32]) -> Result<Affine> {
        let channels = [gain.len(), offset.len(), self.mean.len()];
        if channels != [channels[0]; 3] {
            candle_core::bail!("batch norm: parameters for {channels:?} channels");
        }
        let scale: Vec<f32> = gain.iter().zip(&self.inverse_deviation).map(|(g, d)| g * d).collect();
        let shift = offset.iter().zip(&scale).zip(&self.mean).map(|((o, s), m)| o - s * m).collect();
        Ok(Affine { scale, shift })
    }

    /// From the values `x` and the gradient `g` of what became of them, in whose place the values' own is put.
    pub fn gradients(&self, x: &[f32], g: &mut [f32], size: Dims, affine: &Affine) -> NormGradients {
        let by = Normalised { affine, mean: &self.mean, inverse_deviation: &self.inverse_deviation };
        let (sums, products) = channel_gradients(x, g, size, by);
        let count = (size.n * size.plane()) as f64;
        let (mut slope, mut offset) = (vec![0.0_f32; size.c], vec![0.0_f32; size.c]);
        if self.of_batch {
            for c in 0..size.c {
                let (scale, deviation) = (f64::from(affine.scale[c]), f64::from(self.inverse_deviation[c]));
                let along = products[c] / count * deviation;
                slope[c] = (-scale * along) as f32;
                offset[c] = (scale * (f64::from(self.mean[c]) * along - sums[c] / count)) as f32;
            }
        }
        norm_relu_input_gradient(x, g, size, affine, &slope, &offset);
        let narrow = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
        NormGradients { gain: narrow(products), offset: narrow(sums) }
    }
}

/// Normalisation and ReLU; arguments: picture, gain, offset.
struct NormRelu(Statistics);

impl CustomOp3 for NormRelu {
    fn name(&self) -> &'static str {
        "batch norm and ReLU"
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
        let name = self.name();
        let (x, size) = (values(s1, l1, name)?, dims_of(l1)?);
        let affine = self.0.affine(values(s2, l2, name)?, values(s3, l3, name)?)?;
        if affine.scale.len() != size.c {
            candle_core::bail!("batch norm: {} channels, but parameters for {}", size.c, affine.scale.len());
        }
        Ok((CpuStorage::F32(norm_relu_kernel(x, size, &affine)), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        offset: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = dims(x)?;
        let mut dx = gradient.flatten_all()?.to_vec1::<f32>()?;
        let found = with_values([x, gain, offset], self.name(), |[x, gain, offset]| {
            self.0.affine(gain, offset).map(|affine| self.0.gradients(x, &mut dx, size, &affine))
        })??;
        let channels = |values| Tensor::new(values, &Device::Cpu);
        let dx = Tensor::from_vec(dx, x.shape(), &Device::Cpu)?;
        Ok((Some(dx), Some(channels(found.gain)?), Some(channels(found.offset)?)))
    }
}
