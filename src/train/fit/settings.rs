use crate::config::{DeviceChoice, Precision};
use crate::loss::Objective;
use crate::measure::Counts;
use crate::nn::{CheckpointMeta, Normalisation};
use crate::train::{Augmentation, CropPlan, Decay, Learnt, OptimiserSettings, Rule, RunFolder, Sampling, Schedule, TrainError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a training leaves its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The best one.
    pub best: PathBuf,
    /// The last one.
    pub last: PathBuf,
    /// Every step and evaluation.
    pub log: PathBuf,
    /// The run folder, where there is one: the state to go on from, and the batch that ended it.
    pub run: Option<RunFolder>,
    /// Keep the checkpoint of every evaluation in the run folder.
    pub keep_all: bool,
}

impl Files {
    /// The best at `out`, the last beside it as `NAME.last.safetensors`, the log as `NAME.jsonl`; nothing to go on from.
    pub fn beside(out: &Path) -> Self {
        let beside = |ending: &str| out.with_file_name(Self::name(out) + ending);
        Self { best: out.to_owned(), last: beside(".last.safetensors"), log: beside(".jsonl"), run: None, keep_all: false }
    }

    /// What a model at `out` is called: its file, without `.safetensors`. Other dots belong to it.
    pub fn name(out: &Path) -> String {
        let file = out.file_name().unwrap_or_default().to_string_lossy();
        file.strip_suffix(".safetensors").filter(|name| !name.is_empty()).unwrap_or(&file).to_owned()
    }

    /// Everything in a run folder.
    pub fn within(run: RunFolder, keep_all: bool) -> Self {
        let [best, last, log] = ["best.safetensors", "last.safetensors", "log.jsonl"].map(|name| run.path(name));
        Self { best, last, log, run: Some(run), keep_all }
    }
}

/// By which validation metric the best checkpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// The highest intersection over union.
    Iou,
    /// The highest pixel accuracy (recall of crack pixels).
    Pa,
    /// The output imbalance index nearest 0.
    Oii,
}

impl BestBy {
    /// More is better.
    pub fn score(self, counts: &Counts) -> f64 {
        match self {
            Self::Iou => counts.iou(),
            Self::Pa => counts.pa(),
            Self::Oii => -counts.oii().abs(),
        }
    }
}

/// Everything that [`fit`](super::fit) is told.
#[derive(Debug, Clone)]
pub struct FitSettings {
    /// Where checkpoints go.
    pub files: Files,
    /// Which evaluation is the best.
    pub best_by: BestBy,
    /// Whether the network knows something at its start: it is evaluated as it is then, and may be the best.
    pub knows: bool,
    /// What the network will have learnt from, with what it had before; checkpoints carry it.
    pub learnt: Learnt,
    /// The model's name.
    pub name: String,
    /// What is minimised.
    pub objective: Objective,
    /// Steps, at most.
    pub steps: u64,
    /// Time, at most, from the first step. The learning rate then follows the larger of both shares.
    pub time: Option<Duration>,
    /// Steps between evaluations; absent: [`EVALUATIONS`](Self::EVALUATIONS) in all, fewer where time is limited and they
    /// would take more than half of it.
    pub eval_every: Option<u64>,
    /// Time after which what was learnt is saved, where no evaluation has done so.
    pub save_every: Duration,
    /// Crops in a batch.
    pub batch: usize,
    /// Side of a crop in pixels.
    pub crop_px: usize,
    /// How input is made of grey values.
    pub normalisation: Normalisation,
    /// How crops are varied.
    pub augmentation: Augmentation,
    /// Which crops are taken.
    pub sampling: Sampling,
    /// Share of crops from a corner of their picture.
    pub corner_share: f64,
    /// Learning rate before decay and warm-up.
    pub learning_rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// The optimiser.
    pub optimiser: OptimiserSettings,
    /// Precision of the convolutions' products.
    pub precision: Precision,
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
    /// [`save_every`](Self::save_every) of a training that is not told: what a power failure may cost.
    pub const SAVE_EVERY: Duration = Duration::from_secs(5 * 60);

    /// Crops in a batch, at most: beyond it no machine has the memory.
    const MOST_CROPS: usize = 4096;
    /// Side of a crop, at most; a line's tiles have 448 px.
    const LONGEST_CROP_PX: usize = 4096;

    /// The same with the steps of so many passes over `pictures` training pictures of
    /// [`CropPlan::PER_PICTURE`] crops each, evaluated after each pass unless it is told otherwise.
    pub fn of_epochs(self, epochs: u64, pictures: usize) -> Self {
        let pass = (pictures * CropPlan::PER_PICTURE).div_ceil(self.batch.max(1)).max(1) as u64;
        Self { steps: epochs.saturating_mul(pass), eval_every: self.eval_every.or(Some(pass)), ..self }
    }

    /// Whether a training can be begun with these.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the one that makes no sense, [`TrainError::Settings`] all of them.
    pub fn check(&self) -> Result<(), TrainError> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, name, problem: &str| {
            if !ok {
                faults.push(TrainError::Setting { name, problem: problem.into() });
            }
        };
        let not_below_0 = |value: f64| value.is_finite() && value >= 0.0;
        check(CheckpointMeta::is_name(&self.name), "name", "becomes a file's name; give one without / and \\, and other than . and ..");
        check(self.steps > 0, "steps", "0 steps teach nothing");
        check(self.eval_every != Some(0), "eval-every", "0 steps between evaluations; leave it out for 20 in all");
        check(self.learning_rate.is_finite() && self.learning_rate > 0.0, "learning-rate", "must be above 0, such as 0.02");
        if let Decay::Step { factor, .. } = self.schedule.decay {
            check(factor > 0.0 && factor <= 1.0, "decay-factor", "must be above 0 and not above 1, such as 0.1");
        }
        if let Rule::Sgd { momentum, .. } = self.optimiser.rule {
            check((0.0..1.0).contains(&momentum), "momentum", "must lie within [0, 1), such as 0.9");
        }
        check(not_below_0(self.optimiser.weight_decay), "weight-decay", "must not be below 0; 0.0001 is usual, 0 is none");
        check(not_below_0(self.optimiser.clip_norm), "clip-norm", "must not be below 0; 5 is usual, 0 cuts nothing");
        let Augmentation { rotation_max_deg, shift_max_px, .. } = self.augmentation;
        check((0.0..=180.0).contains(&rotation_max_deg), "rotate-deg", "must lie within [0, 180], such as 10");
        let less_than_a_crop = (0.0..self.crop_px.max(1) as f32).contains(&shift_max_px);
        check(less_than_a_crop, "shift-px", "must not be below 0 and must be less than a crop's side, such as 8");
        let teaches = !matches!(self.precision, Precision::F16 | Precision::Int8);
        check(teaches, "precision", "int8 and f16 teach nothing; take f32, f32-grade or bf16");
        check(self.threshold > 0.0 && self.threshold < 1.0, "threshold", "must lie within (0, 1), such as 0.5");
        let (min, max) = self.mm_per_px;
        check(min > 0.0 && max >= min && max.is_finite(), "mm-per-px", "the smallest must be above 0 and not above the largest");
        check(self.batch > 0, "batch", "0 crops teach nothing");
        check(self.batch <= Self::MOST_CROPS, "batch", "at most 4096; 4 are usual");
        check(self.crop_px <= Self::LONGEST_CROP_PX, "crop", "at most 4096 px; 224 are usual");
        check(self.workers <= 256, "workers", "at most 256; 2 are enough for most");
        faults.extend(super::plan(self).check().err());
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(TrainError::Settings(faults)),
        }
    }

    /// Share of the training that is over, 0 to 1: the larger of its steps' and its time's.
    pub(super) fn progress(&self, steps: u64, elapsed: Duration) -> f64 {
        let by_time = self.time.map_or(0.0, |time| elapsed.as_secs_f64() / time.as_secs_f64().max(1e-9));
        (steps as f64 / self.steps as f64).max(by_time).min(1.0)
    }
}
