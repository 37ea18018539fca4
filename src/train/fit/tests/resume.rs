//! Trainings that are interrupted, and what goes on from them.

use super::*;

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

/// [`Speckled`] on a disk that fails, or watched while its validation pictures are looked at.
struct Troubled<F> {
    pictures: Speckled,
    /// Draws from this one on cannot be read.
    gone_from: u64,
    at_validation: F,
}

impl<F: Fn() + Send + Sync> Source for Troubled<F> {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        let gone = || TrainError::Data { path: "cell7.png".into(), problem: "gone".into() };
        if draw >= self.gone_from { Err(gone()) } else { self.pictures.training(draw) }
    }
    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        (self.at_validation)();
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
    let source = Troubled { pictures: Speckled::new(5), gone_from: 4, at_validation: || () };
    let (outcome, before) = train_in(&settings, &run, Arc::new(source), Notes::default());
    assert_eq!(outcome.unwrap_err().to_string(), "cell7.png: gone");
    let state = TrainingState::load(&run.path("state.safetensors")).unwrap();
    assert!(state.step > 0 && state.step == before.losses.len() as u64, "{} of {}", state.step, before.losses.len());
    let after = train_in_parts(&settings, &run, &[None]).remove(0);
    assert_eq!([before.losses, after.losses].concat(), at_once.losses);
    assert!(bits(&whole.path("last.safetensors")) == bits(&run.path("last.safetensors")));
}

#[test]
fn other_settings_are_refused_with_both_values_but_more_steps_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 3);
    let run = RunFolder::create(&folder.path().join("run"), &serde_json::json!({})).unwrap();
    train_in_parts(&settings, &run, &[Some(2)]);
    let resumed = |settings: &FitSettings| train_in(settings, &run, Arc::new(Speckled::new(5)), Notes::default()).0;
    for (other, told) in [
        (FitSettings { learning_rate: 0.5, ..settings.clone() }, "learning_rate was 0.05 and is 0.5"),
        (FitSettings { batch: 2, ..settings.clone() }, "batch was 4 and is 2"),
        (FitSettings { objective: Objective::new(Loss::Wbce, Hyperparameters::of(Loss::Wbce)).unwrap(), ..settings.clone() }, "loss was"),
    ] {
        let error = resumed(&other).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("restore its settings.json") && error.contains("--init"), "{error}");
    }
    assert_eq!(resumed(&FitSettings { steps: 5, ..settings }).unwrap().steps, 5);
}

#[test]
fn an_evaluation_that_is_stopped_is_done_by_whoever_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for steps in [5, 8] {
        let folder = folder.path().join(steps.to_string());
        let settings = FitSettings { eval_every: Some(5), ..settings(&folder, steps) };
        let (run, whole, at_once) = with_whole(&folder, &settings);
        let notes = Notes::default();
        let stop = notes.stop.clone();
        let at_validation = move || stop.store(true, Ordering::Relaxed);
        let source = Troubled { pictures: Speckled::new(5), gone_from: u64::MAX, at_validation };
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
fn what_was_learnt_is_saved_before_an_evaluation_that_may_take_long() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(5), save_every: Duration::ZERO, ..settings(folder.path(), 5) };
    let run = RunFolder::create(&folder.path().join("run"), &serde_json::json!({})).unwrap();
    // At which step the training would go on from its file.
    let (steps, state) = (Arc::new(std::sync::Mutex::new(Vec::new())), run.path("state.safetensors"));
    let noted = steps.clone();
    let at_validation = move || noted.lock().unwrap().push(TrainingState::load(&state).unwrap().step);
    train_in(&settings, &run, Arc::new(Troubled { pictures: Speckled::new(5), gone_from: u64::MAX, at_validation }), Notes::default())
        .0
        .unwrap();
    let steps = steps.lock().unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|step| *step == 5), "{steps:?}");
}

#[test]
fn a_training_whose_time_ran_out_while_it_was_stopped_is_judged_by_whoever_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { eval_every: Some(100), ..settings(folder.path(), 12) };
    let run = RunFolder::create(&folder.path().join("run"), &serde_json::json!({})).unwrap();
    train_in_parts(&settings, &run, &[Some(3)]);
    let over = FitSettings { time: Some(Duration::from_nanos(1)), ..settings };
    let (outcome, notes) = train_in(&over, &run, Arc::new(Speckled::new(5)), Notes::default());
    let outcome = outcome.unwrap();
    assert!(!outcome.stopped && outcome.steps == 3 && outcome.best.is_some_and(|best| best.step == 3), "{outcome:?}");
    assert_eq!(notes.evaluations.len(), 1);
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
