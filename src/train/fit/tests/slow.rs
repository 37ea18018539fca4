//! Trainings whose time is limited, with evaluations that take long.

use super::*;

const A_LOOK: Duration = Duration::from_millis(200);

/// Speckled pictures, one of which is looked at slowly.
struct Slow(Speckled);

impl Source for Slow {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        self.0.training(draw)
    }
    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        std::thread::sleep(A_LOOK);
        self.0.validation(index)
    }
    fn validation_count(&self) -> usize {
        1
    }
    fn cracked_share(&self) -> f64 {
        self.0.cracked_share()
    }
    fn digest(&self) -> Result<String, TrainError> {
        self.0.digest()
    }
    fn summary(&self) -> serde_json::Value {
        self.0.summary()
    }
}

fn train_slowly(settings: &FitSettings) -> (Outcome, Notes) {
    let mut notes = Notes::default();
    let stop = notes.stop.clone();
    let outcome = fit(settings, &network(1), &Device::Cpu, Arc::new(Slow(Speckled::new(5))), None, &stop, &mut notes);
    (outcome.unwrap(), notes)
}

#[test]
fn slow_evaluations_take_no_more_time_than_learning() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { time: Some(Duration::from_secs(2)), ..settings(folder.path(), u64::MAX) };
    let (outcome, notes) = train_slowly(&settings);
    let most = outcome.elapsed.as_secs_f64() / (2.0 * A_LOOK.as_secs_f64()) + 2.0;
    assert!(notes.evaluations.len() as f64 <= most, "{} in {:?}", notes.evaluations.len(), outcome.elapsed);
    assert!(!outcome.stopped && notes.evaluations.last().unwrap().0 == outcome.steps, "the last step is judged");
}

#[test]
fn a_training_whose_time_runs_out_in_an_evaluation_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FitSettings { time: Some(A_LOOK), eval_every: Some(1), ..settings(folder.path(), u64::MAX) };
    let (outcome, notes) = train_slowly(&settings);
    assert_eq!((outcome.steps, notes.evaluations.len(), outcome.stopped), (1, 1, false));
}
