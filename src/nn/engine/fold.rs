//! Weights out of a checkpoint, batch norm folded into them.

use crate::nn::kernels::nhwc::Convolution;
use crate::nn::layout::ConvNorm;
use crate::nn::ops::EPSILON;
use crate::nn::{Checkpoint, NnError};

/// A tensor's values.
pub(super) fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, NnError> {
    Ok(checkpoint.tensor(name)?.flatten_all()?.to_vec1()?)
}

/// A convolution with its batch norm folded into weights and bias.
pub(super) fn folded(checkpoint: &Checkpoint, half: &ConvNorm) -> Result<Convolution, NnError> {
    let mut weights = read(checkpoint, &format!("{}.weight", half.convolution))?;
    let part = |part: &str| read(checkpoint, &format!("{}.{part}", half.norm));
    let (gain, offset, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let scale: Vec<f64> = gain.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + EPSILON).sqrt()).collect();
    let bias: Vec<f32> = offset.iter().zip(&mean).zip(&scale).map(|((o, m), s)| (f64::from(*o) - f64::from(*m) * s) as f32).collect();
    for (weights, scale) in weights.chunks_exact_mut(half.input * 9).zip(&scale) {
        weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
    }
    Ok(Convolution { inputs: half.input, outputs: half.output, weights, bias })
}
