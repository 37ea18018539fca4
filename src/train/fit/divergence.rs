use super::FitSettings;
use crate::nn::{Network, first_not_finite};
use crate::train::{Batch, Optimiser, TrainError};
use candle_core::Device;
use std::collections::HashMap;
use std::path::PathBuf;

/// The step that a training has come to, to be told where it led astray.
pub(super) struct LastStep {
    /// Its number; 0 before the first.
    pub step: u64,
    pub learning_rate: f64,
    /// Before clipping; 0 where no step was made since training began or went on.
    pub gradient_norm: f64,
    /// What it learnt from; absent where it was made before training went on.
    pub batch: Option<Batch>,
}

impl LastStep {
    /// Refuses to go on with weights, statistics or moments that are not finite: once saved they would take the place of good
    /// ones. A loss need not show them: normalised by an infinite deviation, values are 0.
    pub fn check(&self, settings: &FitSettings, network: &Network, optimiser: &Optimiser) -> Result<(), TrainError> {
        for tensors in [network.tensors()?, optimiser.tensors()] {
            if let Some(name) = first_not_finite(&tensors)? {
                return Err(self.diverged(settings, format!("{name} holds values that are not finite")));
            }
        }
        let growth = network.growth()?;
        if !growth.is_finite() {
            return Err(self.diverged(settings, "the weights have grown beyond all measure".into()));
        }
        Ok(())
    }

    /// The end of the training, with the batch that did it, which is kept in the run folder where there is one.
    pub fn diverged(&self, settings: &FitSettings, what: String) -> TrainError {
        let Self { step, learning_rate, gradient_norm, .. } = *self;
        let kept = settings.files.run.as_ref().zip(self.batch.as_ref());
        let (what, batch) = match kept.map(|(run, batch)| save(batch, run.path("diverged.safetensors"))).transpose() {
            Ok(batch) => (what, batch),
            Err(error) => (format!("{what} (its batch could not be kept: {error})"), None),
        };
        TrainError::Diverged { what, step, learning_rate, gradient_norm, batch }
    }
}

/// Writes `input` and `label` of a batch and where its crops come from.
fn save(batch: &Batch, path: PathBuf) -> Result<PathBuf, TrainError> {
    let tensors = [("input", batch.input.to_device(&Device::Cpu)?), ("label", batch.label.to_device(&Device::Cpu)?)];
    let origins = HashMap::from([("crops".to_owned(), batch.origins.join("; "))]);
    let bytes = safetensors::serialize(tensors, Some(origins)).map_err(candle_core::Error::wrap)?;
    crate::train::write_beside(&path, &bytes)?;
    Ok(path)
}
