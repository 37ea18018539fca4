//! The whole of training, small: crops of 32 px, a network of base width 2, seconds.

use super::*;
use crate::cell::Mask;
use crate::config::DeviceChoice;
use crate::config::Precision;
use crate::loss::{Hyperparameters, Loss, Objective};
use crate::measure::Counts;
use crate::nn::{Architecture, Checkpoint, Network, NetworkShape, Upsampling};
use crate::train::*;
use candle_core::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Easy pictures of 64 × 64 px: noise, and in every second one a bright streak.
pub(in crate::train) struct Speckled {
    seed: u64,
}

impl Speckled {
    const SIDE: usize = 64;

    pub(in crate::train) fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn picture(&self, index: u64) -> Picture {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let mut truth = Mask::new(Self::SIDE, Self::SIDE);
        let mut pixels: Vec<u16> = (0..Self::SIDE * Self::SIDE).map(|_| rng.random_range(20_000..26_000)).collect();
        if index.is_multiple_of(2) {
            let y = rng.random_range(4..Self::SIDE - 4);
            for x in 8..56 {
                for y in y..y + 3 {
                    truth.set(x, y, true);
                    pixels[y * Self::SIDE + x] += 20_000;
                }
            }
        }
        Picture::new(format!("speckled {index}"), Self::SIDE, pixels, truth).unwrap()
    }
}

impl Source for Speckled {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        Ok(self.picture(draw))
    }
    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        Ok(self.picture((1 << 32) + index as u64))
    }
    fn validation_count(&self) -> usize {
        2
    }
    fn cracked_share(&self) -> f64 {
        0.5
    }
    fn digest(&self) -> Result<String, TrainError> {
        Ok("speckled".into())
    }
    fn summary(&self) -> serde_json::Value {
        serde_json::json!({ "source": "speckled" })
    }
}

fn network(seed: u64) -> Network {
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
    Network::new(&shape, seed, &Device::Cpu).unwrap()
}

pub fn settings(folder: &std::path::Path, steps: u64) -> FitSettings {
    FitSettings {
        files: Files::beside(&folder.join("tiny.safetensors")),
        best_by: BestBy::Iou,
        name: "tiny".into(),
        objective: Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap(),
        steps,
        time: None,
        eval_every: None,
        save_every: FitSettings::SAVE_EVERY,
        batch: 4,
        crop_px: 32,
        augmentation: Augmentation::default(),
        sampling: Sampling::Balanced,
        corner_share: 0.0,
        learning_rate: 0.05,
        schedule: Schedule { decay: Decay::Poly, warmup_steps: 0 },
        optimiser: OptimiserSettings::default(),
        precision: Precision::F32,
        seed: 11,
        threshold: 0.5,
        mm_per_px: (0.1, 0.2),
        workers: 2,
        threads: 0,
        engine_device: DeviceChoice::Cpu,
    }
}

/// Remembers everything it is told.
#[derive(Default)]
struct Notes {
    losses: Vec<f64>,
    evaluations: Vec<(u64, Counts, bool)>,
    warnings: Vec<String>,
    stop_at: Option<u64>,
    /// Ends the training at once at this step, as a power failure would.
    killed_at: Option<u64>,
    stop: Arc<AtomicBool>,
}

impl Observer for Notes {
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.losses.push(report.loss);
        self.stop.store(self.stop_at == Some(report.step), Ordering::Relaxed);
        if self.killed_at == Some(report.step) { Err(TrainError::Worker("power".into())) } else { Ok(()) }
    }
    fn evaluated(&mut self, step: u64, counts: &Counts, _: &Evaluation, best: bool) -> Result<(), TrainError> {
        self.evaluations.push((step, *counts, best));
        Ok(())
    }
    fn warned(&mut self, _: u64, warning: &str) -> Result<(), TrainError> {
        self.warnings.push(warning.to_owned());
        Ok(())
    }
}

fn train(settings: &FitSettings, network: &Network, mut notes: Notes) -> (Result<Outcome, TrainError>, Notes) {
    let stop = notes.stop.clone();
    (fit(settings, network, &Device::Cpu, Arc::new(Speckled::new(5)), None, &stop, &mut notes), notes)
}

#[test]
fn loss_falls_and_iou_rises_and_the_best_checkpoint_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(30), learning_rate: 0.3, ..settings(folder.path(), 90) };
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    let outcome = outcome.unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&notes.losses[70..]) < 0.7 * mean(&notes.losses[..20]), "{:?}", notes.losses);
    let steps: Vec<u64> = notes.evaluations.iter().map(|(step, ..)| *step).collect();
    assert_eq!(steps, [30, 60, 90]);
    let Best { step: best_step, counts: best } = outcome.best.unwrap();
    assert!(best.iou() > 0.5, "{:?}", notes.evaluations);
    assert!(notes.evaluations.iter().all(|(_, counts, _)| counts.iou() <= best.iou()));
    let kept = Checkpoint::load(&settings.files.best, &Device::Cpu).unwrap().meta;
    assert_eq!((kept.name.as_str(), kept.data_digest.as_str(), kept.training["steps"].as_u64()), ("tiny", "speckled", Some(best_step)));
    assert!((kept.training["validation"]["iou"].as_f64().unwrap() - best.iou()).abs() < 1e-12);
    assert_eq!(Checkpoint::load(&settings.files.last, &Device::Cpu).unwrap().meta.training["steps"], 90);
}

#[test]
fn a_learning_rate_far_too_high_is_told_though_gradients_are_clipped() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(10), learning_rate: 1000.0, ..settings(folder.path(), 30) };
    assert!(settings.optimiser.clip_norm > 0.0);
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    outcome.unwrap();
    assert_eq!(notes.warnings.len(), 1, "{:?}", notes.warnings);
    assert!(notes.warnings[0].contains("--learning-rate"), "{:?}", notes.warnings);
    let settings = FitSettings { learning_rate: 0.3, ..settings };
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    outcome.unwrap();
    assert_eq!(notes.warnings, [""; 0]);
}

#[test]
fn the_same_seed_gives_the_same_weights_bit_for_bit() {
    let weights = |workers| {
        let folder = tempfile::tempdir().unwrap();
        let settings = FitSettings { workers, eval_every: Some(100), ..settings(folder.path(), 6) };
        let network = network(2);
        train(&settings, &network, Notes::default()).0.unwrap();
        bits(&settings.files.last)
    };
    let one = weights(1);
    assert!(one == weights(3));
}

/// Names and bits of all tensors of a checkpoint.
fn bits(path: &std::path::Path) -> Vec<(String, Vec<u32>)> {
    let bits = |(name, tensor): (String, candle_core::Tensor)| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (name, values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    Checkpoint::load(path, &Device::Cpu).unwrap().tensors.into_iter().map(bits).collect()
}

/// Trains in a run folder, from its state if it has one.
fn train_in(settings: &FitSettings, run: &RunFolder, source: Arc<dyn Source>, mut notes: Notes) -> (Result<Outcome, TrainError>, Notes) {
    let settings = FitSettings { files: Files::within(run.clone(), false), ..settings.clone() };
    let path = run.path("state.safetensors");
    let state = path.exists().then(|| TrainingState::load(&path).unwrap());
    let network = state.as_ref().map_or_else(|| network(6), |state| state.network(&Device::Cpu).unwrap());
    let stop = notes.stop.clone();
    (fit(&settings, &network, &Device::Cpu, source, state.as_ref(), &stop, &mut notes), notes)
}

/// Trains in a run folder, stopped after each of the given steps and resumed from its file.
fn train_in_parts(settings: &FitSettings, run: &RunFolder, stops: &[Option<u64>]) -> Vec<Notes> {
    let part = |stop_at: &Option<u64>| {
        let (outcome, notes) = train_in(settings, run, Arc::new(Speckled::new(5)), Notes { stop_at: *stop_at, ..Notes::default() });
        outcome.unwrap();
        notes
    };
    stops.iter().map(part).collect()
}

/// A run folder, and another one of a training that nothing has interrupted.
fn with_whole(folder: &std::path::Path, settings: &FitSettings) -> (RunFolder, RunFolder, Notes) {
    let [whole, run] = ["whole", "run"].map(|name| RunFolder::create(&folder.join(name), &serde_json::json!({})).unwrap());
    let notes = train_in_parts(settings, &whole, &[None]).remove(0);
    (run, whole, notes)
}

/// [`Speckled`] on a disk that fails, or with somebody who loses patience.
struct Troubled {
    pictures: Speckled,
    /// Draws from this one on cannot be read.
    gone_from: u64,
    /// Set while validation pictures are looked at.
    stop: Arc<AtomicBool>,
}

impl Source for Troubled {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        let gone = || TrainError::Data { path: "cell7.png".into(), problem: "gone".into() };
        if draw >= self.gone_from { Err(gone()) } else { self.pictures.training(draw) }
    }
    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        self.stop.store(true, Ordering::Relaxed);
        self.pictures.validation(index)
    }
    fn validation_count(&self) -> usize {
        self.pictures.validation_count()
    }
    fn cracked_share(&self) -> f64 {
        self.pictures.cracked_share()
    }
    fn digest(&self) -> Result<String, TrainError> {
        self.pictures.digest()
    }
    fn summary(&self) -> serde_json::Value {
        self.pictures.summary()
    }
}

#[test]
fn what_was_learnt_before_a_picture_could_not_be_read_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(100), ..settings(folder.path(), 12) };
    let (run, whole, at_once) = with_whole(folder.path(), &settings);
    let source = Troubled { pictures: Speckled::new(5), gone_from: 4, stop: Arc::default() };
    let (outcome, before) = train_in(&settings, &run, Arc::new(source), Notes::default());
    assert_eq!(outcome.unwrap_err().to_string(), "cell7.png: gone");
    let state = TrainingState::load(&run.path("state.safetensors")).unwrap();
    assert!(state.step > 0 && state.step == before.losses.len() as u64, "{} of {}", state.step, before.losses.len());
    let after = train_in_parts(&settings, &run, &[None]).remove(0);
    assert_eq!([before.losses, after.losses].concat(), at_once.losses);
    assert!(bits(&whole.path("last.safetensors")) == bits(&run.path("last.safetensors")));
}

#[test]
fn an_evaluation_that_is_stopped_is_done_by_whoever_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for steps in [5, 8] {
        let folder = folder.path().join(steps.to_string());
        let settings = FitSettings { eval_every: Some(5), ..settings(&folder, steps) };
        let (run, whole, at_once) = with_whole(&folder, &settings);
        let notes = Notes::default();
        let source = Troubled { pictures: Speckled::new(5), gone_from: u64::MAX, stop: notes.stop.clone() };
        let (outcome, before) = train_in(&settings, &run, Arc::new(source), notes);
        let outcome = outcome.unwrap();
        assert!(outcome.stopped && outcome.best.is_none() && before.evaluations.is_empty(), "{outcome:?}");
        assert_eq!(before.losses.len(), 5);
        let after = train_in_parts(&settings, &run, &[None]).remove(0);
        assert_eq!(after.evaluations, at_once.evaluations);
        for file in ["best.safetensors", "last.safetensors"] {
            assert!(bits(&whole.path(file)) == bits(&run.path(file)), "{file}");
        }
    }
}

#[test]
fn between_evaluations_the_state_is_saved_after_a_time_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(10), ..settings(folder.path(), 12) };
    let (run, whole, at_once) = with_whole(folder.path(), &settings);
    let often = FitSettings { save_every: Duration::ZERO, ..settings.clone() };
    let (outcome, _) = train_in(&often, &run, Arc::new(Speckled::new(5)), Notes { killed_at: Some(4), ..Notes::default() });
    assert!(outcome.is_err());
    let state = TrainingState::load(&run.path("state.safetensors")).unwrap();
    assert_eq!((state.step, state.evaluated), (3, false));
    assert!(run.path("last.safetensors").exists() && !run.path("best.safetensors").exists());
    let after = train_in_parts(&often, &run, &[None]).remove(0);
    assert_eq!((after.losses.as_slice(), after.evaluations), (&at_once.losses[3..], at_once.evaluations));
    assert!(bits(&whole.path("last.safetensors")) == bits(&run.path("last.safetensors")));
}

#[test]
fn an_interrupted_and_resumed_training_reaches_the_same_weights_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for rule in [OptimiserSettings::default().rule, Rule::AdamW] {
        let optimiser = OptimiserSettings { rule, ..OptimiserSettings::default() };
        let settings = FitSettings { eval_every: Some(5), optimiser, learning_rate: 0.01, ..settings(folder.path(), 14) };
        let run = |name: &str| RunFolder::create(&folder.path().join(format!("{name} {rule:?}")), &serde_json::json!({})).unwrap();
        let (whole, parts) = (run("whole"), run("parts"));
        let at_once = train_in_parts(&settings, &whole, &[None]);
        // Between two evaluations, right at one, and one step before the end.
        let in_parts = train_in_parts(&settings, &parts, &[Some(3), Some(10), Some(13), None]);
        assert!(bits(&whole.path("last.safetensors")) == bits(&parts.path("last.safetensors")), "{rule:?}");
        assert!(bits(&whole.path("best.safetensors")) == bits(&parts.path("best.safetensors")), "{rule:?}");
        let losses: Vec<f64> = in_parts.iter().flat_map(|notes| notes.losses.clone()).collect();
        assert_eq!(losses, at_once[0].losses, "no step is left out or done twice");
        let evaluations: Vec<_> = in_parts.iter().flat_map(|notes| notes.evaluations.clone()).collect();
        assert_eq!(evaluations, at_once[0].evaluations, "the best so far is remembered");
    }
}

#[test]
fn a_state_of_other_data_is_refused() {
    struct Other(Speckled);
    impl Source for Other {
        fn training(&self, draw: u64) -> Result<Picture, TrainError> {
            self.0.training(draw)
        }
        fn validation(&self, index: usize) -> Result<Picture, TrainError> {
            self.0.validation(index)
        }
        fn validation_count(&self) -> usize {
            self.0.validation_count()
        }
        fn cracked_share(&self) -> f64 {
            self.0.cracked_share()
        }
        fn digest(&self) -> Result<String, TrainError> {
            Ok("other".into())
        }
        fn summary(&self) -> serde_json::Value {
            self.0.summary()
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run"), &serde_json::json!({})).unwrap();
    let settings = FitSettings { eval_every: Some(100), ..settings(folder.path(), 9) };
    train_in_parts(&settings, &run, &[Some(2)]);
    let state = TrainingState::load(&run.path("state.safetensors")).unwrap();
    let resumed = state.network(&Device::Cpu).unwrap();
    let stop = AtomicBool::new(false);
    let source = Arc::new(Other(Speckled::new(5)));
    let error = fit(&settings, &resumed, &Device::Cpu, source, Some(&state), &stop, &mut Notes::default()).unwrap_err().to_string();
    assert!(error.contains("data have changed"), "{error}");
}

#[test]
fn the_batch_that_made_the_loss_no_number_is_kept_in_the_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run"), &serde_json::json!({})).unwrap();
    let optimiser = OptimiserSettings { clip_norm: 0.0, ..OptimiserSettings::default() };
    let files = Files::within(run.clone(), false);
    let settings = FitSettings { files, learning_rate: 1e38, optimiser, eval_every: Some(1000), ..settings(folder.path(), 200) };
    let error = train(&settings, &network(4), Notes::default()).0.unwrap_err().to_string();
    let path = run.path("diverged.safetensors");
    assert!(error.contains(&path.display().to_string()), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert!(header.metadata().as_ref().unwrap()["crops"].contains("speckled"), "it says where its crops come from");
    let batch = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
    assert_eq!(batch["input"].dims(), [4, 1, 32, 32]);
}

#[test]
fn a_training_that_is_stopped_saves_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(100), ..settings(folder.path(), 50) };
    let (outcome, notes) = train(&settings, &network(3), Notes { stop_at: Some(3), ..Notes::default() });
    let outcome = outcome.unwrap();
    assert!(outcome.stopped && outcome.best.is_none());
    assert_eq!((outcome.steps, notes.losses.len()), (3, 3));
    for path in [&settings.files.best, &settings.files.last] {
        assert_eq!(Checkpoint::load(path, &Device::Cpu).unwrap().meta.training["steps"], 3);
    }
}

#[test]
fn a_loss_that_is_no_number_stops_and_names_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let optimiser = OptimiserSettings { clip_norm: 0.0, ..OptimiserSettings::default() };
    let settings = FitSettings { learning_rate: 1e38, optimiser, eval_every: Some(1000), ..settings(folder.path(), 200) };
    let (outcome, _) = train(&settings, &network(4), Notes::default());
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("step") && error.to_string().contains("--learning-rate"), "{error}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(folder.path(), 1);
    let falling_to =
        |factor| FitSettings { schedule: Schedule { decay: Decay::Step { falls: 2, factor }, warmup_steps: 0 }, ..good.clone() };
    let optimised = |optimiser| FitSettings { optimiser, ..good.clone() };
    let augmented = |augmentation| FitSettings { augmentation, ..good.clone() };
    for (bad, name) in [
        (FitSettings { crop_px: 100, ..good.clone() }, "crop"),
        (FitSettings { batch: 0, ..good.clone() }, "batch"),
        (FitSettings { steps: 0, ..good.clone() }, "steps"),
        (FitSettings { learning_rate: 0.0, ..good.clone() }, "learning-rate"),
        (FitSettings { threshold: 1.0, ..good.clone() }, "threshold"),
        (FitSettings { mm_per_px: (0.3, 0.2), ..good.clone() }, "mm-per-px"),
        (falling_to(0.0), "decay-factor"),
        (falling_to(f64::NAN), "decay-factor"),
        (optimised(OptimiserSettings { weight_decay: -1e-4, ..good.optimiser }), "weight-decay"),
        (optimised(OptimiserSettings { clip_norm: f64::INFINITY, ..good.optimiser }), "clip-norm"),
        (augmented(Augmentation { rotation_max_deg: -3.0, ..Augmentation::none() }), "rotate-deg"),
        (augmented(Augmentation { shift_max_px: f32::NAN, ..Augmentation::none() }), "shift-px"),
        (augmented(Augmentation { shift_max_px: 32.0, ..Augmentation::none() }), "shift-px"),
    ] {
        let error = train(&bad, &network(5), Notes::default()).0.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")), "{error}");
    }
    let error = FitSettings { batch: 0, threshold: 1.0, crop_px: 100, ..good }.check().unwrap_err().to_string();
    assert!(["3 settings", "batch", "threshold", "crop"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn an_epoch_is_a_pass_over_all_crops_and_ends_with_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let of = settings(folder.path(), 1).of_epochs(3, 5); // 40 crops in batches of 4
    assert_eq!((of.steps, of.eval_every), (30, Some(10)));
    let told = FitSettings { eval_every: Some(7), batch: 3, ..settings(folder.path(), 1) }.of_epochs(1, 5);
    assert_eq!((told.steps, told.eval_every), (14, Some(7)));
}
