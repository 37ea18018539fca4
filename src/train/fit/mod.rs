//! The training loop.

mod keeper;
mod settings;
#[cfg(test)]
pub(super) mod tests;

pub use settings::{BestBy, Files, FitSettings};

use super::{Batch, Batches, Best, CropPlan, Evaluation, Optimiser, Source, TrainError, TrainingState};
use crate::measure::Counts;
use crate::nn::{Network, Normalisation};
use candle_core::Device;
use keeper::Keeper;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One step, as told to an [`Observer`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Share of the training that is over after it, 0 to 1.
    pub progress: f64,
    /// The batch's loss before the step.
    pub loss: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// The gradient's norm before clipping.
    pub gradient_norm: f64,
    /// Time since training began, evaluations included.
    pub elapsed: Duration,
    /// Time that this step waited for its batch.
    pub waited: Duration,
}

/// Watches a training.
pub trait Observer {
    /// After every step.
    ///
    /// # Errors
    /// Ends the training.
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError>;

    /// After every evaluation: micro counts at the threshold, all that was found, and whether it is the
    /// best so far.
    ///
    /// # Errors
    /// Ends the training.
    fn evaluated(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError>;

    /// Something that the user should know while the training goes on.
    fn warned(&mut self, warning: &str);
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// Time taken.
    pub elapsed: Duration,
    /// Thereof waiting for data.
    pub waited: Duration,
    /// The best evaluation; absent where there was none.
    pub best: Option<Best>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Trains `network` on `source` until the steps or the time are over or `stop` is set; goes on `from` a
/// state, whose weights `network` must have.
///
/// After every evaluation the last checkpoint and the state to go on from are written, and the best
/// checkpoint kept. A training that is stopped saves both, and its checkpoint as the best if there is no
/// other. On a CPU of the same instruction sets the same settings, data and network give the same weights, interrupted
/// or not, unless a time limit makes the learning rate depend on the machine.
///
/// # Errors
/// Settings that make no sense, data that cannot be read or are not those that the state was trained on, a
/// loss that is no number any more, files that cannot be written.
pub fn fit(
    settings: &FitSettings,
    network: &Network,
    device: &Device,
    source: Arc<dyn Source>,
    from: Option<&TrainingState>,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    settings.check()?;
    let mut optimiser = Optimiser::new(network.variables(), settings.optimiser);
    let mut keeper = Keeper { settings, network, data_digest: source.digest()?, source: source.as_ref(), best: None };
    let (mut step, mut evaluated_at, mut before, mut waited) = (0, None, Duration::ZERO, Duration::ZERO);
    if let Some(state) = from {
        keeper.check_data(state)?;
        optimiser.restore(&state.optimiser, state.step, device)?;
        (step, before, waited, keeper.best) = (state.step, state.elapsed, state.waited, state.best);
        evaluated_at = state.evaluated.then_some(step);
    }
    let mut progress = settings.progress(step, before);
    let mut batches = Batches::start(source.clone(), plan(settings), settings.batch, settings.seed, settings.workers, step)?;
    let (started, mut gradient_norm) = (Instant::now(), 0.0);
    let elapsed = || before + started.elapsed();
    let mut grown = false;

    while progress < 1.0 && !stop.load(Ordering::Relaxed) {
        let learning_rate = settings.schedule.at(settings.learning_rate, step + 1, progress);
        let asked = Instant::now();
        let batch = batches.next(device)?;
        let wait = asked.elapsed();
        waited += wait;
        step += 1;
        let (loss, gradients) = network.learn(&batch.input, settings.precision, |logits| settings.objective.of(logits, &batch.label))?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        let diverged = |gradient_norm: f64| {
            let batch = settings.files.run.as_ref().map(|run| save_batch(&batch, run.path("diverged.safetensors"))).transpose()?;
            Err(TrainError::Diverged { step, loss: value, learning_rate, gradient_norm, batch })
        };
        if !value.is_finite() {
            return diverged(gradient_norm);
        }
        gradient_norm = optimiser.step(&gradients, learning_rate)?;
        if !gradient_norm.is_finite() {
            return diverged(gradient_norm);
        }
        let progress_before = progress;
        progress = settings.progress(step, elapsed());
        observer.step(&StepReport { step, progress, loss: value, learning_rate, gradient_norm, elapsed: elapsed(), waited: wait })?;
        if settings.evaluation_due(step, progress_before, progress) || progress >= 1.0 {
            warn_of_growth(network, learning_rate, &mut grown, observer)?;
            keeper.evaluate(step, elapsed(), observer)?;
            evaluated_at = Some(step);
            keeper.save_state(step, elapsed(), waited, true, &optimiser)?;
        }
    }
    if evaluated_at != Some(step) && step > 0 {
        keeper.save_unevaluated(step, elapsed())?;
        keeper.save_state(step, elapsed(), waited, false, &optimiser)?;
    }
    Ok(Outcome { steps: step, elapsed: elapsed(), waited, best: keeper.best, stopped: progress < 1.0 })
}

/// With clipped gradients and losses that are bounded, a learning rate that is far too high ends in no infinity: it shows
/// in weights that grow out of all measure. Told once.
fn warn_of_growth(network: &Network, learning_rate: f64, told: &mut bool, observer: &mut dyn Observer) -> Result<(), TrainError> {
    const MUCH: f64 = 10.0;
    let growth = network.growth()?;
    if growth > MUCH && !*told {
        *told = true;
        observer.warned(&format!(
            "the weights are {growth:.0} times as large as at the start: the training diverges; begin anew with a lower --learning-rate \
             (now {learning_rate:.4})"
        ));
    }
    Ok(())
}

fn plan(settings: &FitSettings) -> CropPlan {
    CropPlan {
        side_px: settings.crop_px,
        normalisation: Normalisation::Tile,
        augmentation: settings.augmentation.clone(),
        sampling: settings.sampling,
        corner_share: settings.corner_share,
    }
}

/// Writes `input` and `label` of a batch and where its crops come from.
fn save_batch(batch: &Batch, path: PathBuf) -> Result<PathBuf, TrainError> {
    let tensors = [("input", batch.input.to_device(&Device::Cpu)?), ("label", batch.label.to_device(&Device::Cpu)?)];
    let origins = HashMap::from([("crops".to_owned(), batch.origins.join("; "))]);
    let bytes = safetensors::serialize(tensors, Some(origins)).map_err(candle_core::Error::wrap)?;
    super::run::write_beside(&path, &bytes)?;
    Ok(path)
}
