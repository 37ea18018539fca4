//! The training loop.

mod changes;
mod divergence;
mod keeper;
mod pace;
mod settings;
#[cfg(test)]
pub(super) mod tests;

pub use settings::{BestBy, Files, FitSettings};

use super::{Batch, Batches, Best, CropPlan, Entry, Evaluation, LoggedStep, Optimiser, Source, TrainError, TrainingState};
use crate::measure::Counts;
use crate::nn::Network;
use candle_core::Device;
use divergence::LastStep;
use keeper::Keeper;
use pace::Pace;
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

    /// Something that the user should know, found after `step`.
    ///
    /// # Errors
    /// Ends the training.
    fn warned(&mut self, step: u64, warning: &str) -> Result<(), TrainError>;
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

impl From<&StepReport> for Entry {
    fn from(&StepReport { step, loss, learning_rate, gradient_norm, elapsed, waited, .. }: &StepReport) -> Self {
        let (elapsed_s, waited_s) = (elapsed.as_secs_f64(), waited.as_secs_f64());
        Self::Step(LoggedStep { step, loss, learning_rate, gradient_norm, elapsed_s, waited_s })
    }
}

impl From<&Outcome> for Entry {
    fn from(&Outcome { steps, elapsed, waited, stopped, .. }: &Outcome) -> Self {
        Self::End { steps, elapsed_s: elapsed.as_secs_f64(), waited_s: waited.as_secs_f64(), stopped }
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    step: u64,
    elapsed: Duration,
    waited: Duration,
    /// Whether the weights of this step have been evaluated.
    evaluated: bool,
    /// Whether they must be before the next step.
    evaluation_due: bool,
}

/// Trains `network` on `source` until the steps or the time are over or `stop` is set; goes on `from` a
/// state, whose weights `network` must have.
///
/// A network that [knows](FitSettings::knows) something is evaluated before its first step, as step 0. After every evaluation, and at
/// least every [`FitSettings::save_every`], the last checkpoint and the state to go on
/// from are written; the best checkpoint is kept. A training that is stopped, or whose data cannot be read any more, saves
/// both, and its checkpoint as the best if there is no other. An evaluation is stopped between two pictures and done again
/// by whoever goes on. On a CPU of the same instruction sets the same settings, data and network give the same weights,
/// interrupted or not, unless a time limit makes the learning rate depend on the machine.
///
/// # Errors
/// Settings that make no sense, data that cannot be read, data or settings that are not those of the state, files that cannot be
/// written; [`TrainError::Diverged`] where a loss, a gradient, a weight or an answer is no number any more: nothing is saved
/// then, so that what was good is kept.
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
    let mut keeper =
        Keeper { settings, network, data_digest: source.digest()?, source: source.as_ref(), best: None, told_of_silence: false };
    let mut at = match from {
        Some(state) => resume(state, &mut keeper, &mut optimiser, device)?,
        None => Position { evaluation_due: settings.knows, ..Position::default() },
    };
    let before = at.elapsed;
    let mut progress = settings.progress(at.step, before);
    // Where time ran out between its last step and its being stopped, that step is still to be judged.
    at.evaluation_due |= progress >= 1.0 && at.step > 0 && !at.evaluated;
    let mut batches = Batches::start(source.clone(), plan(settings), settings.batch, settings.seed, settings.workers, at.step)?;
    let (started, mut saved, mut grown) = (Instant::now(), Instant::now(), false);
    let learning_rate = |step: u64, progress: f64| settings.schedule.at(settings.learning_rate, step, progress);
    let mut last = LastStep { step: at.step, learning_rate: learning_rate(at.step, progress), gradient_norm: 0.0, batch: None };
    let elapsed = || before + started.elapsed();
    let mut pace = Pace::from(progress);

    let end = loop {
        if stop.load(Ordering::Relaxed) {
            break Ok(());
        }
        if at.evaluation_due {
            let begun = Instant::now();
            match keeper.evaluate(at.step, elapsed(), stop, observer) {
                Ok(()) => {}
                Err(TrainError::NoNumber { picture }) => {
                    return Err(last.diverged(settings, format!("the network's answer to {picture} is not a number")));
                }
                Err(error) => break Err(error),
            }
            at = Position { elapsed: elapsed(), evaluated: true, evaluation_due: false, ..at };
            keeper.save_state(&at, &optimiser)?;
            saved = Instant::now();
            // A time limit goes on through an evaluation, which may be what it ends in.
            progress = settings.progress(at.step, at.elapsed);
            pace = Pace::after(progress, begun.elapsed());
        }
        if progress >= 1.0 {
            break Ok(());
        }
        let asked = Instant::now();
        let batch = match batches.next(device, stop) {
            Ok(batch) => batch,
            Err(error) => break Err(error),
        };
        let wait = asked.elapsed();
        let step = at.step + 1;
        let learning_rate = learning_rate(step, progress);
        (last.step, last.learning_rate) = (step, learning_rate);
        let loss = learn(settings, network, &mut optimiser, batch, &mut last)?;
        progress = settings.progress(step, elapsed());
        let gradient_norm = last.gradient_norm;
        observer.step(&StepReport { step, progress, loss, learning_rate, gradient_norm, elapsed: elapsed(), waited: wait })?;
        let evaluation_due = pace.evaluation_due(settings, step, progress);
        at = Position { step, elapsed: elapsed(), waited: at.waited + wait, evaluated: false, evaluation_due };
        // Also before an evaluation, which may take long.
        let save_due = saved.elapsed() >= settings.save_every;
        if evaluation_due || save_due {
            last.check(settings, network, &optimiser)?;
        }
        if save_due {
            keeper.save_unevaluated(&at, &optimiser, false)?;
            saved = Instant::now();
        }
        if evaluation_due {
            warn_of_growth(network, step, learning_rate, &mut grown, observer)?;
        }
    };
    let end = if matches!(end, Err(TrainError::Stopped)) { Ok(()) } else { end };
    at.elapsed = elapsed();
    if !at.evaluated && at.step > 0 {
        let saved = last.check(settings, network, &optimiser).and_then(|()| keeper.save_unevaluated(&at, &optimiser, true));
        match (saved, &end) {
            // What ended the training is its error; what that cost is told beside it.
            (Err(error), Err(_)) => observer.warned(at.step, &format!("the last steps are lost: {error}"))?,
            (saved, _) => saved?,
        }
    }
    let stopped = progress < 1.0 || at.evaluation_due;
    end.map(|()| Outcome { steps: at.step, elapsed: at.elapsed, waited: at.waited, best: keeper.best, stopped })
}

/// Takes up the training that `state` was saved from; returns how far it is.
fn resume(state: &TrainingState, keeper: &mut Keeper, optimiser: &mut Optimiser, device: &Device) -> Result<Position, TrainError> {
    keeper.check_data(state)?;
    keeper.check_settings(state)?;
    optimiser.restore(&state.optimiser, state.step, device)?;
    let TrainingState { step, elapsed, waited, evaluated, evaluation_due, best, .. } = *state;
    keeper.best = best;
    Ok(Position { step, elapsed, waited, evaluated, evaluation_due })
}

/// Makes the step that `now` numbers from `batch`, which `now` keeps; returns the batch's loss before it.
fn learn(
    settings: &FitSettings,
    network: &Network,
    optimiser: &mut Optimiser,
    batch: Batch,
    now: &mut LastStep,
) -> Result<f64, TrainError> {
    let (loss, gradients) = network.learn(&batch.input, settings.precision, |logits| settings.objective.of(logits, &batch.label))?;
    let loss = f64::from(loss.to_scalar::<f32>()?);
    now.batch = Some(batch);
    if !loss.is_finite() {
        return Err(now.diverged(settings, format!("the loss is {loss}")));
    }
    let gradient_norm = optimiser.step(&gradients, now.learning_rate)?;
    if !gradient_norm.is_finite() {
        return Err(now.diverged(settings, format!("the gradient's norm is {gradient_norm}")));
    }
    now.gradient_norm = gradient_norm;
    Ok(loss)
}

/// With clipped gradients and losses that are bounded, a learning rate that is far too high ends in no infinity: it shows
/// in weights that grow out of all measure. Told once.
fn warn_of_growth(
    network: &Network,
    step: u64,
    learning_rate: f64,
    told: &mut bool,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    const MUCH: f64 = 10.0;
    let growth = network.growth()?;
    // What is not finite is a divergence, which `LastStep::check` tells.
    if growth <= MUCH || *told {
        return Ok(());
    }
    *told = true;
    observer.warned(
        step,
        &format!(
            "the weights are {growth:.0} times as large as at the start: the training diverges; begin anew with a lower --learning-rate \
             (now {learning_rate:.4})"
        ),
    )
}

fn plan(settings: &FitSettings) -> CropPlan {
    CropPlan {
        side_px: settings.crop_px,
        normalisation: settings.normalisation,
        augmentation: settings.augmentation.clone(),
        sampling: settings.sampling,
        corner_share: settings.corner_share,
    }
}
