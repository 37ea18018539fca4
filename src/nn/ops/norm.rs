use super::{dims, dims_of, values, with_values};
use crate::nn::kernels::{channel_gradients, moments, norm_relu as norm_relu_kernel, norm_relu_input_gradient};
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, Var};

/// What is added to variances, as PyTorch does.
pub(in crate::nn) const EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics, as PyTorch's default.
pub(super) const MOMENTUM: f64 = 0.1;

/// Parameters and running statistics of a batch norm, each `[channels]`.
pub(in crate::nn) struct BatchNorm {
    pub gain: Var,
    pub offset: Var,
    pub running_mean: Var,
    pub running_var: Var,
}

/// Batch norm (batch statistics when training, running ones else) and ReLU of a contiguous tensor.
pub(super) fn norm_relu(x: &Tensor, norm: &BatchNorm, train: bool) -> Result<Tensor> {
    let (mean, variance) = if train {
        let size = dims(x)?;
        let m = with_values([x], "batch norm", |[x]| moments(x, size))?;
        let count = (size.n * size.plane()) as f64;
        let unbiased = count / (count - 1.0).max(1.0);
        update(&norm.running_mean, &m.mean, 1.0)?;
        update(&norm.running_var, &m.variance, unbiased)?;
        (m.mean, m.variance)
    } else {
        let wide = |v: &Var| -> Result<Vec<f64>> { Ok(v.to_vec1::<f32>()?.into_iter().map(f64::from).collect()) };
        (wide(&norm.running_mean)?, wide(&norm.running_var)?)
    };
    let op = NormRelu {
        mean: mean.iter().map(|m| *m as f32).collect(),
        inverse_deviation: variance.iter().map(|v| (1.0 / (v + EPSILON).sqrt()) as f32).collect(),
        of_batch: train,
    };
    x.apply_op3(&norm.gain, &norm.offset, op)
}

fn update(running: &Var, batch: &[f64], factor: f64) -> Result<()> {
    let old = running.to_vec1::<f32>()?;
    let new: Vec<f32> =
        old.iter().zip(batch).map(|(old, batch)| (f64::from(*old) * (1.0 - MOMENTUM) + batch * factor * MOMENTUM) as f32).collect();
    running.set(&Tensor::new(new, &Device::Cpu)?)
}

/// `max(0, gain * (x - mean) * inverse_deviation + offset)`; arguments: picture, gain, offset.
struct NormRelu {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    /// Whether mean and deviation come from the picture, so that its gradient passes through them.
    of_batch: bool,
}

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
        let size = dims_of(l1)?;
        let (gain, offset) = (values(s2, l2, self.name())?, values(s3, l3, self.name())?);
        if [gain.len(), offset.len(), self.mean.len()] != [size.c; 3] {
            candle_core::bail!(
                "batch norm: {} channels, but parameters for {}, {} and {}",
                size.c,
                gain.len(),
                offset.len(),
                self.mean.len()
            );
        }
        let scale: Vec<f32> = gain.iter().zip(&self.inverse_deviation).map(|(g, d)| g * d).collect();
        let shift: Vec<f32> = offset.iter().zip(&scale).zip(&self.mean).map(|((o, s), m)| o - s * m).collect();
        let mut out = vec![0.0; size.len()];
        norm_relu_kernel(values(s1, l1, self.name())?, size, &scale, &shift, &mut out);
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = dims(x)?;
        let gradient = gradient.contiguous()?;
        with_values([x, gain, y, &gradient], self.name(), |[xs, gain, ys, gs]| {
            let (sums, products) = channel_gradients(xs, ys, gs, size, &self.mean, &self.inverse_deviation);
            let count = (size.n * size.plane()) as f64;
            let scale: Vec<f32> = gain.iter().zip(&self.inverse_deviation).map(|(g, d)| g * d).collect();
            let (mut slope, mut shift) = (vec![0.0_f32; size.c], vec![0.0_f32; size.c]);
            if self.of_batch {
                for c in 0..size.c {
                    let (scale, deviation) = (f64::from(scale[c]), f64::from(self.inverse_deviation[c]));
                    let along = products[c] / count * deviation;
                    slope[c] = (-scale * along) as f32;
                    shift[c] = (scale * (f64::from(self.mean[c]) * along - sums[c] / count)) as f32;
                }
            }
            let mut dx = vec![0.0; size.len()];
            norm_relu_input_gradient(xs, ys, gs, size, &scale, &slope, &shift, &mut dx);
            let narrow = |v: Vec<f64>| Tensor::new(v.into_iter().map(|v| v as f32).collect::<Vec<_>>(), &Device::Cpu);
            Ok((Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?), Some(narrow(products)?), Some(narrow(sums)?)))
        })?
    }
}
