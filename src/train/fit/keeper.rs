use super::changes::{changes, setting_changes};
use super::{FitSettings, Observer, Position};
use crate::config::Precision;
use crate::loss::Loss;
use crate::nn::{Checkpoint, CheckpointMeta, Network};
use crate::train::{Best, Optimiser, Source, TrainError, TrainingState, evaluate};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Evaluates and saves.
pub(super) struct Keeper<'a> {
    pub settings: &'a FitSettings,
    pub network: &'a Network,
    pub source: &'a dyn Source,
    pub data_digest: String,
    pub best: Option<Best>,
    /// Whether it was said that nothing is called a crack.
    pub told_of_silence: bool,
}

impl Keeper<'_> {
    /// Refuses a state that was trained on other data.
    pub fn check_data(&self, state: &TrainingState) -> Result<(), TrainError> {
        if state.weights.meta.data_digest == self.data_digest {
            return Ok(());
        }
        const NAMED: usize = 3;
        let manifest = self.settings.files.run.as_ref().and_then(|run| run.read_json("manifest.json").ok()?);
        let changes = changes(&manifest.unwrap_or_default(), &self.source.manifest());
        let what = match changes.len() {
            0 => "their digest is another one".to_owned(),
            few if few <= NAMED => changes.join(", "),
            many => format!("{}, and {} more", changes[..NAMED].join(", "), many - NAMED),
        };
        let problem = format!(
            "the data have changed since this training was interrupted ({what}); restore them, or begin a new training with --init from \
             its last checkpoint; of a folder that grows, train on a copy of images/ and masks/"
        );
        Err(TrainError::Setting { name: "resume", problem })
    }

    /// Refuses a state that was trained with other settings; more steps or time are none.
    pub fn check_settings(&self, state: &TrainingState) -> Result<(), TrainError> {
        // As it is read back from a state, to the last bit.
        let now = serde_json::from_str(&self.training(state.step, state.elapsed).to_string()).unwrap_or_default();
        let changes = setting_changes(&state.weights.meta.training, &now);
        if changes.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "the settings have changed since this training was interrupted ({}); restore its settings.json, or begin a new training \
             with --init from its last checkpoint",
            changes.join(", ")
        );
        Err(TrainError::Setting { name: "resume", problem })
    }

    /// Judges the network as it is and saves it, also as the best if it is.
    ///
    /// # Errors
    /// [`TrainError::Stopped`] where `stop` is set before the last picture: nothing is saved then.
    pub fn evaluate(&mut self, step: u64, elapsed: Duration, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let settings = self.settings;
        let mut checkpoint = self.checkpoint(step, elapsed)?;
        let mut engine = crate::nn::engine(&checkpoint, settings.engine_device, Precision::default(), settings.threads)?;
        let (count, threshold) = (self.source.validation_count(), settings.threshold);
        let normalisation = &checkpoint.meta.normalisation;
        let go_on = || if stop.load(Ordering::Relaxed) { Err(TrainError::Stopped) } else { Ok(()) };
        let evaluation = evaluate(engine.as_mut(), normalisation, threshold, count, |i| self.source.validation(i), |_| go_on())?;
        let counts = evaluation.pixels.counts(threshold);
        checkpoint.meta.training["validation"] = json!({
            "pictures": count, "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
            "cracked": evaluation.cracked, "detected": evaluation.detected, "clean": evaluation.clean, "alarmed": evaluation.alarmed,
        });
        self.save(&checkpoint, step)?;
        let found_before = self.best.is_some_and(|best| best.counts.tp > 0);
        let better = |best: Best| settings.best_by.score(&counts) > settings.best_by.score(&best.counts);
        let best = self.best.is_none_or(better);
        if best {
            checkpoint.save(&settings.files.best)?;
            self.best = Some(Best { step, counts });
        }
        observer.evaluated(step, &counts, &evaluation, best)?;
        // At first a network may call nothing a crack, and come to it; one that did so before and no longer does has no gradient to
        // come back by in many losses.
        let silent = counts.tp + counts.fp == 0 && counts.fn_ > 0;
        if silent && (found_before || settings.progress(step, elapsed) >= 0.5) && !self.told_of_silence {
            self.told_of_silence = true;
            let since =
                if found_before { " any more, though something was before" } else { ", and more than half of the training is over" };
            let other = if settings.objective.loss() == Loss::Dibe { "" } else { ", or take --loss dibe" };
            let warning = format!(
                "nothing is called a crack{since}: many losses have no gradient there to come back by; begin anew with a lower \
                 --learning-rate or another --seed{other}"
            );
            observer.warned(step, &warning)?;
        }
        Ok(())
    }

    /// Saves the network as the last one, and what training can go on from; as the best, too, where there is no other and `ends` says
    /// that none may come.
    pub fn save_unevaluated(&self, at: &Position, optimiser: &Optimiser, ends: bool) -> Result<(), TrainError> {
        let checkpoint = self.checkpoint(at.step, at.elapsed)?;
        checkpoint.save(&self.settings.files.last)?;
        if ends && self.best.is_none() {
            checkpoint.save(&self.settings.files.best)?;
        }
        self.save_state(at, optimiser)
    }

    /// Writes what [`fit`](super::fit()) can go on from, where there is a run folder.
    pub fn save_state(&self, at: &Position, optimiser: &Optimiser) -> Result<(), TrainError> {
        let Some(run) = &self.settings.files.run else { return Ok(()) };
        let Position { step, elapsed, waited, evaluated, evaluation_due } = *at;
        let weights = self.checkpoint(step, elapsed)?;
        let state =
            TrainingState { step, elapsed, waited, evaluated, evaluation_due, best: self.best, weights, optimiser: optimiser.tensors() };
        state.save(&run.path("state.safetensors"))
    }

    fn save(&self, checkpoint: &Checkpoint, step: u64) -> Result<(), TrainError> {
        let files = &self.settings.files;
        checkpoint.save(&files.last)?;
        if let Some(run) = files.run.as_ref().filter(|_| files.keep_all) {
            let folder = run.path("checkpoints");
            std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder, "cannot make this folder"))?;
            checkpoint.save(folder.join(format!("step-{step:08}.safetensors")))?;
        }
        Ok(())
    }

    /// What a checkpoint tells of the training.
    fn training(&self, step: u64, elapsed: Duration) -> serde_json::Value {
        let settings = self.settings;
        json!({
            "loss": settings.objective.loss(),
            "parameters": settings.objective.parameters(),
            "steps": step,
            "seconds": elapsed.as_secs(),
            "batch": settings.batch,
            "crop_px": settings.crop_px,
            "sampling": settings.sampling,
            "learning_rate": settings.learning_rate,
            "schedule": settings.schedule,
            "optimiser": settings.optimiser,
            "seed": settings.seed,
            "data": self.source.summary(),
        })
    }

    fn checkpoint(&self, step: u64, elapsed: Duration) -> Result<Checkpoint, TrainError> {
        let settings = self.settings;
        let meta = CheckpointMeta {
            normalisation: settings.normalisation,
            threshold: settings.threshold,
            mm_per_px_min: settings.mm_per_px.0,
            mm_per_px_max: settings.mm_per_px.1,
            training: self.training(step, elapsed),
            data_digest: self.data_digest.clone(),
            learnt: Some(settings.learnt.digests().clone()),
            ..CheckpointMeta::of(*self.network.shape(), &settings.name)
        };
        Ok(Checkpoint { meta, tensors: self.network.tensors()?, digest: String::new() })
    }
}
