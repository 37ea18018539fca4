//! The training loop.

use super::{Augmentation, Batches, CropPlan, Evaluation, Schedule, Sgd, SgdSettings, Source, TrainError, evaluate};
use crate::config::DeviceChoice;
use crate::loss::Objective;
use crate::measure::Counts;
use crate::nn::{Checkpoint, CheckpointMeta, Mode, Network, Normalisation};
use candle_core::Device;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Everything that [`fit`] is told.
#[derive(Debug, Clone)]
pub struct FitSettings {
    /// Where the best checkpoint goes; the last one goes to [`last_path`] of it.
    pub out: PathBuf,
    /// The model's name.
    pub name: String,
    /// What is minimised.
    pub objective: Objective,
    /// Steps, at most.
    pub steps: u64,
    /// Time, at most, from the first step. The learning rate then follows the larger of both shares.
    pub time: Option<Duration>,
    /// Steps between evaluations; absent: [`EVALUATIONS`](Self::EVALUATIONS) in all.
    pub eval_every: Option<u64>,
    /// Crops in a batch.
    pub batch: usize,
    /// Side of a crop in pixels.
    pub crop_px: usize,
    /// How crops are varied.
    pub augmentation: Augmentation,
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// The optimiser.
    pub sgd: SgdSettings,
    /// Seed of crops and their variation.
    pub seed: u64,
    /// Probability from which a pixel is called crack.
    pub threshold: f32,
    /// Smallest and largest pixel pitch that the model is good for, mm.
    pub mm_per_px: (f64, f64),
    /// Threads that prepare crops.
    pub workers: usize,
    /// CPU threads of the evaluating engine; 0: as many as the machine has.
    pub threads: usize,
    /// Where the evaluating engine runs.
    pub engine_device: DeviceChoice,
}

impl FitSettings {
    /// Evaluations of a training that is not told how often.
    pub const EVALUATIONS: u64 = 20;

    fn check(&self) -> Result<(), TrainError> {
        let check = |ok: bool, name, problem: &str| if ok { Ok(()) } else { Err(TrainError::Setting { name, problem: problem.into() }) };
        check(self.steps > 0, "steps", "0 steps teach nothing")?;
        check(self.eval_every != Some(0), "eval-every", "0 steps between evaluations; leave it out for 20 in all")?;
        check(self.learning_rate.is_finite() && self.learning_rate > 0.0, "learning-rate", "must be above 0, such as 0.02")?;
        check((0.0..1.0).contains(&self.sgd.momentum), "momentum", "must lie within [0, 1), such as 0.9")?;
        check(self.threshold > 0.0 && self.threshold < 1.0, "threshold", "must lie within (0, 1), such as 0.5")?;
        let (min, max) = self.mm_per_px;
        check(min > 0.0 && max >= min && max.is_finite(), "mm-per-px", "the smallest must be above 0 and not above the largest")
    }

    /// Share of the training that is over, 0 to 1: the larger of its steps' and its time's.
    fn progress(&self, steps: u64, elapsed: Duration) -> f64 {
        let by_time = self.time.map_or(0.0, |time| elapsed.as_secs_f64() / time.as_secs_f64().max(1e-9));
        (steps as f64 / self.steps as f64).max(by_time).min(1.0)
    }

    /// Whether an evaluation is due after `step`, which took progress from `before` to `after`.
    fn evaluation_due(&self, step: u64, before: f64, after: f64) -> bool {
        match self.eval_every {
            Some(every) => step.is_multiple_of(every),
            None => {
                let share = |progress: f64| (progress * Self::EVALUATIONS as f64) as u64;
                share(after) > share(before)
            }
        }
    }
}

/// Where the last checkpoint of a training that writes to `out` lies: `NAME.last.safetensors`.
pub fn last_path(out: &Path) -> PathBuf {
    out.with_extension("last.safetensors")
}

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
}

/// Watches a training.
pub trait Observer {
    /// After every step.
    ///
    /// # Errors
    /// Ends the training.
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError>;

    /// After every evaluation: micro counts at the threshold, all that was found, and whether it is the
    /// best so far (by IoU).
    ///
    /// # Errors
    /// Ends the training.
    fn evaluated(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError>;
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// Time taken.
    pub elapsed: Duration,
    /// The best validation counts and the step they were reached at; absent where none was evaluated.
    pub best: Option<(u64, Counts)>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Trains `network` on `source` until the steps or the time are over or `stop` is set.
///
/// After every evaluation the last checkpoint is written, and the one with the best validation IoU kept
/// at [`FitSettings::out`]. A training that is stopped saves its last checkpoint, and that as the best
/// if there is no other. On the CPU the same settings, data and network give the same weights, unless
/// a time limit makes the learning rate depend on the machine.
///
/// # Errors
/// Settings that make no sense, data that cannot be read, a loss that is no number any more, files that
/// cannot be written.
pub fn fit(
    settings: &FitSettings,
    network: &Network,
    device: &Device,
    source: Arc<dyn Source>,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    settings.check()?;
    let plan = CropPlan { side_px: settings.crop_px, normalisation: Normalisation::Tile, augmentation: settings.augmentation.clone() };
    let mut batches = Batches::start(source.clone(), plan, settings.batch, settings.seed, settings.workers)?;
    let mut keeper = Keeper { settings, network, data_digest: source.digest()?, source: source.as_ref(), best: None };
    let mut sgd = Sgd::new(network.variables().into_iter().map(|(_, variable)| variable), settings.sgd);
    let started = Instant::now();
    let (mut step, mut progress, mut gradient_norm) = (0, 0.0, 0.0);
    let mut evaluated_at = None;

    while progress < 1.0 && !stop.load(Ordering::Relaxed) {
        let learning_rate = settings.schedule.at(settings.learning_rate, progress);
        let batch = batches.next(device)?;
        step += 1;
        let loss = settings.objective.of(&network.forward(&batch.input, Mode::Train)?, &batch.label)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        let diverged = |gradient_norm| TrainError::Diverged { step, loss: value, learning_rate, gradient_norm };
        if !value.is_finite() {
            return Err(diverged(gradient_norm));
        }
        gradient_norm = sgd.step(&loss.backward()?, learning_rate)?;
        if !gradient_norm.is_finite() {
            return Err(diverged(gradient_norm));
        }
        let before = progress;
        progress = settings.progress(step, started.elapsed());
        observer.step(&StepReport { step, progress, loss: value, learning_rate, gradient_norm, elapsed: started.elapsed() })?;
        if settings.evaluation_due(step, before, progress) || progress >= 1.0 {
            keeper.evaluate(step, started.elapsed(), observer)?;
            evaluated_at = Some(step);
        }
    }
    if evaluated_at != Some(step) && step > 0 {
        keeper.save_unevaluated(step, started.elapsed())?;
    }
    Ok(Outcome { steps: step, elapsed: started.elapsed(), best: keeper.best, stopped: progress < 1.0 })
}

/// Evaluates and saves.
struct Keeper<'a> {
    settings: &'a FitSettings,
    network: &'a Network,
    source: &'a dyn Source,
    data_digest: String,
    best: Option<(u64, Counts)>,
}

impl Keeper<'_> {
    fn evaluate(&mut self, step: u64, elapsed: Duration, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let settings = self.settings;
        let mut checkpoint = self.checkpoint(step, elapsed)?;
        let mut engine = crate::nn::engine(&checkpoint, settings.engine_device, settings.threads)?;
        let (count, threshold) = (self.source.validation_count(), settings.threshold);
        let normalisation = &checkpoint.meta.normalisation;
        let evaluation = evaluate(engine.as_mut(), normalisation, threshold, count, |i| self.source.validation(i), |_| Ok(()))?;
        let counts = evaluation.pixels.counts(threshold);
        checkpoint.meta.training["validation"] = json!({
            "pictures": count, "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
            "cracked": evaluation.cracked, "detected": evaluation.detected, "clean": evaluation.clean, "alarmed": evaluation.alarmed,
        });
        checkpoint.save(last_path(&settings.out))?;
        let best = self.best.is_none_or(|(_, best)| counts.iou() > best.iou());
        if best {
            checkpoint.save(&settings.out)?;
            self.best = Some((step, counts));
        }
        observer.evaluated(step, &counts, &evaluation, best)
    }

    fn save_unevaluated(&self, step: u64, elapsed: Duration) -> Result<(), TrainError> {
        let checkpoint = self.checkpoint(step, elapsed)?;
        checkpoint.save(last_path(&self.settings.out))?;
        if self.best.is_none() {
            checkpoint.save(&self.settings.out)?;
        }
        Ok(())
    }

    fn checkpoint(&self, step: u64, elapsed: Duration) -> Result<Checkpoint, TrainError> {
        let settings = self.settings;
        let training = json!({
            "loss": settings.objective.loss(),
            "parameters": settings.objective.parameters(),
            "steps": step,
            "seconds": elapsed.as_secs(),
            "batch": settings.batch,
            "crop_px": settings.crop_px,
            "learning_rate": settings.learning_rate,
            "schedule": settings.schedule,
            "sgd": settings.sgd,
            "seed": settings.seed,
            "data": self.source.summary(),
        });
        let meta = CheckpointMeta {
            format: CheckpointMeta::FORMAT,
            shape: *self.network.shape(),
            normalisation: Normalisation::Tile,
            threshold: settings.threshold,
            mm_per_px_min: settings.mm_per_px.0,
            mm_per_px_max: settings.mm_per_px.1,
            training,
            data_digest: self.data_digest.clone(),
            name: settings.name.clone(),
        };
        Ok(Checkpoint { meta, tensors: self.network.tensors()?, digest: String::new() })
    }
}
