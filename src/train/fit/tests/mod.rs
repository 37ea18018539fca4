//! The whole of training, small: crops of 32 px, a network of base width 2, seconds.

mod resume;
mod slow;

use super::*;
use crate::cell::Mask;
use crate::config::DeviceChoice;
use crate::config::Precision;
use crate::loss::{Hyperparameters, Loss, Objective};
use crate::measure::Counts;
use crate::nn::{Architecture, Checkpoint, Network, NetworkShape, Normalisation, Upsampling};
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
        knows: false,
        learnt: Learnt::default(),
        name: "tiny".into(),
        objective: Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap(),
        steps,
        time: None,
        eval_every: None,
        save_every: FitSettings::SAVE_EVERY,
        batch: 4,
        crop_px: 32,
        normalisation: Normalisation::Tile,
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
    let kept = Checkpoint::load(&settings.files.best).unwrap().meta;
    assert_eq!((kept.name.as_str(), kept.data_digest.as_str(), kept.training["steps"].as_u64()), ("tiny", "speckled", Some(best_step)));
    assert!((kept.training["validation"]["iou"].as_f64().unwrap() - best.iou()).abs() < 1e-12);
    assert_eq!(Checkpoint::load(&settings.files.last).unwrap().meta.training["steps"], 90);
}

#[test]
fn a_learning_rate_far_too_high_is_told_though_gradients_are_clipped() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(10), learning_rate: 1000.0, ..settings(folder.path(), 30) };
    assert!(settings.optimiser.clip_norm > 0.0);
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    outcome.unwrap();
    let of_growth =
        |notes: &Notes| notes.warnings.iter().filter(|text| text.contains("weights are") && text.contains("--learning-rate")).count();
    assert_eq!(of_growth(&notes), 1, "{:?}", notes.warnings);
    let settings = FitSettings { learning_rate: 0.3, ..settings };
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    outcome.unwrap();
    assert_eq!(of_growth(&notes), 0, "{:?}", notes.warnings);
}

#[test]
fn a_network_that_still_calls_nothing_a_crack_is_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(2), threshold: 0.999, ..settings(folder.path(), 8) };
    let (outcome, notes) = train(&settings, &network(1), Notes::default());
    outcome.unwrap();
    assert!(notes.evaluations.iter().all(|(_, counts, _)| counts.tp + counts.fp == 0), "{:?}", notes.evaluations);
    assert!(matches!(notes.warnings.as_slice(), [one] if one.contains("nothing is called a crack")), "{:?}", notes.warnings);
}

#[test]
fn a_network_that_no_longer_calls_anything_a_crack_is_told_of_at_once() {
    let (folder, network) = (tempfile::tempdir().unwrap(), network(1));
    let (outcome, _) = train(&FitSettings { learning_rate: 0.3, ..settings(folder.path(), 90) }, &network, Notes::default());
    outcome.unwrap();
    // Cracks count for nothing: what has been found is unlearnt.
    let objective = Objective::new(Loss::Wbce, Hyperparameters { omega: 1e-4, ..Hyperparameters::of(Loss::Wbce) }).unwrap();
    let settings = FitSettings { eval_every: Some(2), objective, learning_rate: 2.0, ..settings(folder.path(), 60) };
    let (outcome, notes) = train(&settings, &network, Notes::default());
    outcome.unwrap();
    let silent = |counts: &Counts| counts.tp + counts.fp == 0;
    let fell_silent = notes.evaluations.windows(2).find(|two| two[0].1.tp > 0 && silent(&two[1].1)).unwrap()[1].0;
    assert!(fell_silent < 30, "{:?}", notes.evaluations);
    assert!(matches!(notes.warnings.as_slice(), [one] if one.contains("a crack any more")), "{:?}", notes.warnings);
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
    Checkpoint::load(path).unwrap().tensors.into_iter().map(bits).collect()
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
    // It is a divergence also where the batch finds no room.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    let error = train(&settings, &network(4), Notes::default()).0.unwrap_err();
    assert!(error.is_divergence() && error.to_string().contains("could not be kept"), "{error}");
}

#[test]
fn numbers_without_bounds_take_no_good_checkpoints_place() {
    let folder = tempfile::tempdir().unwrap();
    let optimiser = OptimiserSettings { clip_norm: 0.0, ..OptimiserSettings::default() };
    // The first has good losses throughout: it is running variances that overflow, after an evaluation.
    for (learning_rate, evaluated) in [(1e3, true), (1e25, false)] {
        let run = RunFolder::create(&folder.path().join(learning_rate.to_string()), &serde_json::json!({})).unwrap();
        let files = Files::within(run.clone(), false);
        let settings = FitSettings { files, learning_rate, optimiser, eval_every: Some(5), ..settings(folder.path(), 60) };
        let (outcome, notes) = train(&settings, &network(4), Notes::default());
        let error = outcome.unwrap_err();
        assert!(matches!(error, TrainError::Diverged { .. }) && notes.evaluations.is_empty() != evaluated, "{error}");
        assert!(error.to_string().contains("--learning-rate") && run.path("diverged.safetensors").exists(), "{error}");
        for file in ["best.safetensors", "last.safetensors"] {
            assert_eq!(Checkpoint::load(run.path(file)).is_ok(), evaluated, "{learning_rate} {file}");
        }
    }
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
        assert_eq!(Checkpoint::load(path).unwrap().meta.training["steps"], 3);
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
        (FitSettings { crop_px: 160_000_000, ..good.clone() }, "crop"),
        (FitSettings { batch: 0, ..good.clone() }, "batch"),
        (FitSettings { batch: 100_000_000, ..good.clone() }, "batch"),
        (FitSettings { name: "../evil".into(), ..good.clone() }, "name"),
        (FitSettings { name: String::new(), ..good.clone() }, "name"),
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

#[test]
fn a_network_that_knows_something_is_judged_at_its_start_and_stays_the_best_until_another_is_better() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(30), learning_rate: 0.3, ..settings(folder.path(), 90) };
    let taught = network(1);
    train(&settings, &taught, Notes::default()).0.unwrap();
    // Taught on at a rate that ruins it.
    let settings = FitSettings { knows: true, steps: 1, learning_rate: 1000.0, ..settings };
    let (outcome, notes) = train(&settings, &taught, Notes::default());
    let steps: Vec<(u64, bool)> = notes.evaluations.iter().map(|(step, _, best)| (*step, *best)).collect();
    assert_eq!(steps, [(0, true), (1, false)], "{:?}", notes.evaluations);
    let best = outcome.unwrap().best.unwrap();
    assert!(best.step == 0 && best.counts.iou() > 0.3, "{best:?}");
    assert_eq!(Checkpoint::load(&settings.files.best).unwrap().meta.training["steps"], 0);
}
