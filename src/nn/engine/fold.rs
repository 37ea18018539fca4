//! Weights out of a checkpoint, batch norm folded into them.

use crate::nn::kernels::nhwc::{Convolution, Raising};
use crate::nn::layout::{ConvNorm, Up};
use crate::nn::ops::EPSILON;
use crate::nn::{Checkpoint, NnError};
use std::collections::BTreeMap;

/// A tensor's values.
pub(super) fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, NnError> {
    Ok(checkpoint.tensor(name)?.flatten_all()?.to_vec1()?)
}

/// A convolution with its batch norm folded into weights and bias.
///
/// # Errors
/// What is folded into numbers that are not finite: bytes would clip them, and a ReLU may make 0 of what they lead to.
pub(super) fn folded(checkpoint: &Checkpoint, half: &ConvNorm) -> Result<Convolution, NnError> {
    let mut weights = read(checkpoint, &format!("{}.weight", half.convolution))?;
    let part = |part: &str| read(checkpoint, &format!("{}.{part}", half.norm));
    let (gain, offset, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let scale: Vec<f64> = gain.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + EPSILON).sqrt()).collect();
    let bias: Vec<f32> = offset.iter().zip(&mean).zip(&scale).map(|((o, m), s)| (f64::from(*o) - f64::from(*m) * s) as f32).collect();
    for (weights, scale) in weights.chunks_exact_mut(half.input * half.side.pow(2)).zip(&scale) {
        weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
    }
    check_finite(checkpoint, &half.convolution, &[&weights, &bias])?;
    Ok(Convolution { inputs: half.input, outputs: half.output, side: half.side, weights, bias })
}

/// Refuses what the convolution `name` has become where it is not finite.
pub(super) fn check_finite(checkpoint: &Checkpoint, name: &str, values: &[&[f32]]) -> Result<(), NnError> {
    if values.iter().all(|values| values.iter().all(|value| value.is_finite())) {
        return Ok(());
    }
    Err(NnError::Unfit {
        origin: checkpoint.meta.name.clone(),
        found: format!("{name} with values that are not finite once batch norm and units are folded into them"),
        expected: "weights, gains, variances and ranges whose products and quotients are numbers".into(),
        remedy: "take an earlier checkpoint, or train again with a lower learning rate".into(),
    })
}

/// What stands for 0 where bytes have signs.
const MIDDLE: u8 = 128;

/// What activations are counted in. With ranges every convolution counts its result in 255ths of its range, so that
/// it fits a byte; without, as they are. A transposed one has no ReLU: it counts in 127ths, from the middle on.
///
/// A ReLU of a multiple is that multiple of the ReLU, so that the units go into the weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale<'a>(pub Option<&'a BTreeMap<String, f32>>);

impl Scale<'_> {
    /// The unit of a convolution's result.
    pub fn unit(self, convolution: &ConvNorm) -> Result<f32, NnError> {
        self.part(&convolution.convolution, u8::MAX)
    }

    /// The range of the convolution `name` in so many parts.
    fn part(self, name: &str, parts: u8) -> Result<f32, NnError> {
        let Some(ranges) = self.0 else { return Ok(1.0) };
        match ranges.get(name) {
            // What is divided by it must stay finite.
            Some(range) if *range > 0.0 && range.is_finite() && (f32::from(parts) / range).is_finite() => Ok(range / f32::from(parts)),
            found => Err(NnError::Unfit {
                origin: "the model's quantisation".into(),
                found: format!("{found:?} as the range of {name}"),
                expected: "a number well above 0 for every convolution".into(),
                remedy: "run `train quantise` again".into(),
            }),
        }
    }

    /// The folded convolution from inputs in these units, each for so many channels, to a result in its own.
    pub fn folded(self, checkpoint: &Checkpoint, half: &ConvNorm, inputs: &[(usize, f32)]) -> Result<Convolution, NnError> {
        let mut made = folded(checkpoint, half)?;
        if self.0.is_some() {
            let to = self.unit(half)?;
            let units: Vec<f32> = inputs.iter().flat_map(|(channels, unit)| std::iter::repeat_n(unit / to, *channels)).collect();
            let taps_of_one = half.side.pow(2);
            for taps in made.weights.chunks_exact_mut(units.len() * taps_of_one) {
                taps.chunks_exact_mut(taps_of_one).zip(&units).for_each(|(taps, unit)| taps.iter_mut().for_each(|weight| *weight *= unit));
            }
            made.bias.iter_mut().for_each(|bias| *bias /= to);
            check_finite(checkpoint, &half.convolution, &[&made.weights, &made.bias])?;
        }
        Ok(made)
    }

    /// How a level of the way up raises what comes from below, counted in `below`, and the unit of the result.
    pub fn raising(self, checkpoint: &Checkpoint, step: &Up, below: f32) -> Result<(Raising, f32), NnError> {
        let Some(name) = &step.transposed else { return Ok((Raising::Bilinear, below)) };
        let unit = self.part(name, u8::MAX - MIDDLE)?;
        let mut weights = read(checkpoint, &format!("{name}.weight"))?;
        weights.iter_mut().for_each(|weight| *weight *= below / unit);
        let mut bias = read(checkpoint, &format!("{name}.bias"))?;
        bias.iter_mut().for_each(|bias| *bias /= unit);
        check_finite(checkpoint, name, &[&weights, &bias])?;
        let zero = if self.0.is_some() { MIDDLE } else { 0 };
        Ok((Raising::Transposed { outputs: step.upsampled, weights, bias, zero }, unit))
    }
}
