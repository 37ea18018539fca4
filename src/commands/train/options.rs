//! What a training is told, as arguments of the command line and as a run folder's `settings.json`.

mod check;
mod data;
mod names;

use super::machine::MachineOptions;
use crate::config::Precision;
use crate::loss::{Hyperparameters, Loss, Objective};
use crate::nn::{Architecture, Checkpoint, Network, NetworkShape, Normalisation, Upsampling};
use crate::train::{Augmentation, BestBy, Decay, Files, FitSettings, Kinds, Learnt, OptimiserSettings, Rule, Sampling, Schedule, Source};
use anyhow::Context;
use candle_core::Device;
use names::{AugmentName, DecayName, RuleName};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What makes a training what it is: with the same options, the same data and seed give the same model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
#[command(group(clap::ArgGroup::new("source").args(["data", "simulate"])))]
pub struct FitOptions {
    /// Folder with images/NAME.png and masks/NAME.png (PNG, JPEG or TIFF, 8 or 16 bit; masks are white on
    /// crack; whole cells scaled to 1344 px for the longer side; pixels that are exactly 0 at the ends of a line lie outside the wafer)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Learn from simulated wafers, each made afresh and never written to disk
    #[arg(long, value_name = "KIND")]
    simulate: Option<Kinds>,
    /// Name of the model, told in every verdict it gives [default: that of the folder of --run, else of the file of --out]
    #[arg(long)]
    name: Option<String>,

    /// Which network learns; on CUDA only U-Net has the compiled engine's speed on the line, and int8 is for it alone
    #[arg(long, value_enum, default_value = "unet", help_heading = "Network")]
    network: Architecture,
    /// Channels of the network's first level, an even number from 2 to 256: more finds more and costs more
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Network")]
    base_width: usize,
    /// How a U-Net doubles the size on its way up: bilinear or transposed
    #[arg(long, value_name = "WAY", default_value = "bilinear", value_parser = upsampling, help_heading = "Network")]
    upsampling: Upsampling,
    /// Continue from the weights of this checkpoint (its network, its width); it is evaluated first, as step 0, and stays the
    /// best until something better is learnt
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["network", "base_width", "upsampling", "prior"], help_heading = "Network")]
    pub(super) init: Option<PathBuf>,
    /// Probability of crack that a new network begins with, everywhere: near the share of crack in the data it learns
    /// from the first steps on; 0.5 as in the paper, where much of a training can go by before anything is found
    #[arg(long, value_name = "P", default_value_t = PRIOR, help_heading = "Network")]
    #[serde(default = "before_prior")]
    prior: f64,
    /// How input is made of grey values: as the checkpoint to begin with has it.
    #[arg(skip)]
    #[serde(default)]
    normalisation: Option<Normalisation>,
    /// Smallest pixel pitch the model is good for, mm [default: that of --init, else 0.1]
    #[arg(long, value_name = "MM", help_heading = "Network")]
    mm_per_px_min: Option<f64>,
    /// Largest pixel pitch the model is good for, mm [default: that of --init, else 0.2]
    #[arg(long, value_name = "MM", help_heading = "Network")]
    mm_per_px_max: Option<f64>,
    /// Probability from which a pixel is called crack [default: that of --init, else 0.5]
    #[arg(long, value_name = "P", help_heading = "Network")]
    threshold: Option<f32>,

    /// What training makes small; --alpha, --omega, --gamma, --gamma-reg and --lambda each act on the losses
    /// that know them
    #[arg(long, value_enum, default_value = "dibe", help_heading = "Loss")]
    loss: Loss,
    /// False alarms against missed cracks, between 0 and 1: above 0.5 fewer good cells rejected (overkill), below 0.5
    /// fewer cracks passed (escapes) [default: 0.5]
    #[arg(long, help_heading = "Loss")]
    alpha: Option<f64>,
    /// Crack pixels against the others in the pixel-wise part, between 0 and 1: nearer 1 the more
    /// the few crack pixels count [default: 0.75]
    #[arg(long, help_heading = "Loss")]
    omega: Option<f64>,
    /// How much the pixel-wise part looks at the pixels it still gets wrong, 0 (all alike) or more
    /// [default: 2; 0.3 with exponential-logarithmic, where it is the power of the logarithm]
    #[arg(long, help_heading = "Loss")]
    gamma: Option<f64>,
    /// Power of the overlap part, above 0: below 1 it pushes on when the overlap is nearly
    /// perfect, above 1 it lets go [default: 0.3; 1.333 with focal-tversky and hybrid-focal]
    #[arg(long, help_heading = "Loss")]
    gamma_reg: Option<f64>,
    /// One power for both parts: that of --gamma
    #[arg(long, conflicts_with = "gamma_reg", help_heading = "Loss")]
    tied_gamma: bool,
    /// Share of the pixel-wise part in a loss of two parts, 0 to 1; less where cracks are a very small
    /// part of the pictures [default: 0.5; 0.2 with exponential-logarithmic]
    #[arg(long, help_heading = "Loss")]
    lambda: Option<f64>,

    /// Steps to train; with --minutes as many as there is time for unless told [default: 3000]
    #[arg(long, value_name = "N", help_heading = "Training")]
    steps: Option<u64>,
    /// Passes over the training pictures, each of as many draws as there are pictures, eight crops a draw; evaluates after each
    /// unless told otherwise. Only with --sampling uniform is every picture drawn once a pass: balanced, every second
    /// draw is a cracked one
    #[arg(long, value_name = "N", requires = "data", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..=1_000_000),
          help_heading = "Training")]
    #[serde(default)]
    epochs: Option<u64>,
    /// Stop after so many minutes; the learning rate follows whichever of steps and time is nearer its end
    #[arg(long, value_name = "M", help_heading = "Training")]
    minutes: Option<f64>,
    /// Crops in a batch
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Training")]
    batch: usize,
    /// Side of a crop in pixels, a multiple of 16
    #[arg(long, value_name = "PX", default_value_t = 224, help_heading = "Training")]
    crop: usize,
    /// Learning rate before it falls
    #[arg(long, value_name = "RATE", default_value_t = 0.02, help_heading = "Training")]
    learning_rate: f64,
    /// How it falls: as (1 - t)^0.9, as a cosine, in steps (see --decay-steps), or not
    #[arg(long, value_enum, default_value = "poly", help_heading = "Training")]
    schedule: DecayName,
    /// With --schedule step: falls so often, evenly over the training
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Training")]
    decay_steps: u32,
    /// With --schedule step: to this share of itself each time
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, help_heading = "Training")]
    decay_factor: f64,
    /// Steps in which the learning rate rises from 0 first
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    warmup: u64,
    /// Which rule moves the weights; AdamW wants a learning rate about 20 times smaller
    #[arg(long, value_enum, default_value = "sgd", help_heading = "Training")]
    optimiser: RuleName,
    /// With SGD: share of a step that goes on into the next
    #[arg(long, default_value_t = OptimiserSettings::MOMENTUM, help_heading = "Training")]
    momentum: f64,
    /// Pull of the weights towards 0
    #[arg(long, default_value_t = OptimiserSettings::default().weight_decay, help_heading = "Training")]
    weight_decay: f64,
    /// Plain momentum instead of Nesterov's
    #[arg(long, help_heading = "Training")]
    no_nesterov: bool,
    /// Cut gradients to this norm; 0: never
    #[arg(long, value_name = "NORM", default_value_t = OptimiserSettings::default().clip_norm, help_heading = "Training")]
    clip_norm: f64,
    /// Products of convolutions on the CPU: f32, f32-grade (as good, faster) or bf16 (8 significant bits with AMX or AMD's
    /// AVX-512, faster still); on CUDA with cuDNN f32 is exact, f32-grade is TF32 (11 bits) where the device has it, bf16 is bf16
    #[arg(long, default_value_t, value_parser = training_precision, help_heading = "Training")]
    #[serde(default = "before_precision")]
    precision: Precision,
    /// Crops taken: half of them aimed at cracks, or from all over the pictures
    #[arg(long, value_enum, default_value = "balanced", help_heading = "Training")]
    sampling: Sampling,
    /// Share of crops taken from the corners of their pictures instead, where a wafer's cut corners are
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Training")]
    #[serde(default)]
    corner_share: f64,
    /// How crops are varied: as a camera and a lamp may vary them (mirrored, turned by quarters, gamma, blur,
    /// contrast, brightness), as the paper's five variants, or not; a change of saturation is none, as the network sees
    /// one grey channel
    #[arg(long, value_enum, default_value = "camera", help_heading = "Training")]
    augment: AugmentName,
    /// Turn crops by up to so many degrees as well
    #[arg(long, value_name = "DEG", default_value_t = 0.0, help_heading = "Training")]
    rotate_deg: f32,
    /// Shift crops by up to so many pixels as well
    #[arg(long, value_name = "PX", default_value_t = 0.0, help_heading = "Training")]
    shift_px: f32,
    /// Seed of everything random
    #[arg(long, default_value_t = 1, help_heading = "Training")]
    seed: u64,

    /// Share of a folder's pictures that is held back for validation; none that the network of --init has learnt from, unless it
    /// knows them all
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, conflicts_with = "simulate", help_heading = "Validation")]
    validation_share: f64,
    /// Which pictures are held back, instead: a file of lines `picture,training` or `picture,validation`
    #[arg(long, value_name = "FILE.csv", requires = "data", conflicts_with_all = ["validation_share", "folds"], help_heading = "Validation")]
    split: Option<PathBuf>,
    /// Cross-validation, instead: split into so many folds and hold back --fold
    #[arg(long, value_name = "K", requires_all = ["data", "fold"], conflicts_with = "validation_share", help_heading = "Validation")]
    folds: Option<usize>,
    /// The fold that is held back, 1 to K
    #[arg(long, value_name = "N", requires = "folds", help_heading = "Validation")]
    fold: Option<usize>,
    /// Pictures that belong together and must not be torn apart, such as a lot's cells: a pattern that finds
    /// the lot in a picture's name, such as '^(lot[0-9]+)_'
    #[arg(long, value_name = "REGEX", requires = "data", help_heading = "Validation")]
    group_by: Option<String>,
    /// The same as a file of lines `picture,group`
    #[arg(long, value_name = "FILE.csv", requires = "data", conflicts_with = "group_by", help_heading = "Validation")]
    groups: Option<PathBuf>,
    /// Simulated wafers to validate with
    #[arg(long, value_name = "N", default_value_t = 16, conflicts_with = "data", help_heading = "Validation")]
    validation_wafers: usize,
    /// Validate on squares of this side around the cracks of the validation pictures, as the paper's tables do, instead of on
    /// whole pictures [default: whole]
    #[arg(long, value_name = "PX", help_heading = "Validation")]
    #[serde(default)]
    validation_crop: Option<usize>,
    /// Share of simulated training wafers that are cracked
    #[arg(long, value_name = "SHARE", default_value_t = 0.75, conflicts_with = "data", help_heading = "Validation")]
    cracked_share: f64,
    /// Steps between evaluations [default: a twentieth of the training; with --minutes more, where evaluating would take longer
    /// than learning]
    #[arg(long, value_name = "N", help_heading = "Validation")]
    eval_every: Option<u64>,
    /// Which checkpoint is the best: highest IoU, highest PA, or OII nearest 0
    #[arg(long, value_enum, default_value = "iou", help_heading = "Validation")]
    best_by: BestBy,
    /// Keep the checkpoint of every evaluation in the run folder
    #[arg(long, help_heading = "Validation")]
    pub(super) keep_all: bool,
}

/// What a new network takes for the share of crack, unless told.
const PRIOR: f64 = 0.01;

/// Threshold, and smallest and largest pixel pitch in mm, of a training that begins with nothing, unless told.
const USUAL: (f32, f64, f64) = (0.5, 0.1, 0.2);

/// What runs were before they could be told.
fn before_prior() -> f64 {
    0.5
}

/// What runs were before they could be told.
fn before_precision() -> Precision {
    Precision::F32
}

fn training_precision(text: &str) -> Result<Precision, String> {
    match text.parse() {
        Ok(Precision::F16 | Precision::Int8) | Err(_) => Err("give f32, f32-grade or bf16".into()),
        found => found,
    }
}

/// Steps of a training that is told neither steps nor minutes.
const DEFAULT_STEPS: u64 = 3000;

impl FitOptions {
    /// The same options, to be kept: with paths that do not depend on the working directory, and with what the checkpoint to begin
    /// with knows and nobody told otherwise, since that file may be gone when the training is resumed.
    pub(super) fn settled(mut self) -> anyhow::Result<Self> {
        for path in [&mut self.data, &mut self.init, &mut self.split, &mut self.groups].into_iter().flatten() {
            *path = std::path::absolute(&*path).with_context(|| format!("{}: no usable path", path.display()))?;
            anyhow::ensure!(path.to_str().is_some(), "{}: its name is not UTF-8, which no run folder can tell; rename it", path.display());
        }
        let known = match &self.init {
            Some(path) => {
                let meta = Checkpoint::load(path).context("--init")?.meta;
                self.normalisation = Some(meta.normalisation);
                self.learns(&meta.shape);
                (meta.threshold, meta.mm_per_px_min, meta.mm_per_px_max)
            }
            None => USUAL,
        };
        self.threshold.get_or_insert(known.0);
        self.mm_per_px_min.get_or_insert(known.1);
        self.mm_per_px_max.get_or_insert(known.2);
        Ok(self)
    }

    /// With the network of `--init`, which runs of earlier versions did not tell; as they are where that file is gone.
    pub(super) fn with_network_of_init(mut self) -> Self {
        if let Some(checkpoint) = self.init.as_ref().and_then(|file| Checkpoint::load(file).ok()) {
            self.learns(&checkpoint.meta.shape);
        }
        self
    }

    /// Which network learns.
    fn learns(&mut self, shape: &NetworkShape) {
        (self.network, self.base_width, self.upsampling) = (shape.architecture, shape.base_width, shape.upsampling);
    }

    /// The same options with another α.
    pub(super) fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha: Some(alpha), ..self }
    }

    /// The loss, as `--loss` takes it.
    pub(super) fn loss_name(&self) -> String {
        name_of(self.loss)
    }

    /// The settings of the training loop; `name` is the model's unless the options tell one.
    pub(super) fn settings(&self, files: Files, name: &str, machine: &MachineOptions) -> anyhow::Result<FitSettings> {
        let FitOptions { momentum, weight_decay, clip_norm, .. } = *self;
        let time = match self.minutes {
            Some(minutes) if minutes.is_finite() && minutes > 0.0 && minutes < 1e6 => Some(Duration::from_secs_f64(60.0 * minutes)),
            Some(minutes) => anyhow::bail!("--minutes {minutes}: must be above 0"),
            None => None,
        };
        let decay = match self.schedule {
            DecayName::Poly => Decay::Poly,
            DecayName::Cosine => Decay::Cosine,
            DecayName::Step => Decay::Step { falls: self.decay_steps, factor: self.decay_factor },
            DecayName::Constant => Decay::Constant,
        };
        let rule = match self.optimiser {
            RuleName::Sgd => Rule::Sgd { momentum, nesterov: !self.no_nesterov },
            RuleName::AdamW => Rule::AdamW,
        };
        Ok(FitSettings {
            name: self.name.clone().unwrap_or_else(|| name.to_owned()),
            files,
            best_by: self.best_by,
            knows: self.init.is_some(),
            learnt: Learnt::default(),
            objective: Objective::new(self.loss, self.hyperparameters())?,
            steps: self.steps.unwrap_or(if time.is_some() { u64::MAX } else { DEFAULT_STEPS }),
            time,
            eval_every: self.eval_every,
            save_every: FitSettings::SAVE_EVERY,
            batch: self.batch,
            crop_px: self.crop,
            normalisation: self.normalisation.unwrap_or(Normalisation::Tile),
            augmentation: self.augmentation(),
            sampling: self.sampling,
            corner_share: self.corner_share,
            learning_rate: self.learning_rate,
            schedule: Schedule { decay, warmup_steps: self.warmup },
            optimiser: OptimiserSettings { rule, weight_decay, clip_norm },
            precision: self.precision,
            seed: self.seed,
            threshold: self.threshold.unwrap_or(USUAL.0),
            mm_per_px: (self.mm_per_px_min.unwrap_or(USUAL.1), self.mm_per_px_max.unwrap_or(USUAL.2)),
            workers: machine.workers,
            threads: machine.threads,
            engine_device: machine.device,
        })
    }

    /// As [`settings`](Self::settings), with steps that follow from the data's size where passes over it are told.
    pub(super) fn settings_on(
        &self,
        source: &dyn Source,
        files: Files,
        name: &str,
        machine: &MachineOptions,
    ) -> anyhow::Result<FitSettings> {
        let settings = self.settings(files, name, machine)?;
        Ok(match (self.epochs, source.training_count()) {
            (Some(epochs), Some(pictures)) => settings.of_epochs(epochs, pictures),
            _ => settings,
        })
    }

    /// The loss's numbers: those told, else its usual ones.
    fn hyperparameters(&self) -> Hyperparameters {
        let usual = Hyperparameters::of(self.loss);
        let told = Hyperparameters {
            alpha: self.alpha.unwrap_or(usual.alpha),
            omega: self.omega.unwrap_or(usual.omega),
            gamma: self.gamma.unwrap_or(usual.gamma),
            gamma_reg: self.gamma_reg.unwrap_or(usual.gamma_reg),
            lambda: self.lambda.unwrap_or(usual.lambda),
        };
        if self.tied_gamma { told.tied() } else { told }
    }

    fn augmentation(&self) -> Augmentation {
        let named = match self.augment {
            AugmentName::None => Augmentation::none(),
            AugmentName::Camera => Augmentation::default(),
            AugmentName::FiveFold => Augmentation::five_fold(),
        };
        Augmentation { rotation_max_deg: self.rotate_deg, shift_max_px: self.shift_px, ..named }
    }

    /// The network at its start.
    pub(super) fn network(&self, device: &Device) -> anyhow::Result<Network> {
        if let Some(path) = &self.init {
            return Ok(Network::from_checkpoint(&Checkpoint::load(path).context("--init")?, device)?);
        }
        let shape = NetworkShape { architecture: self.network, base_width: self.base_width, upsampling: self.upsampling };
        Network::new(&shape, self.seed, device)?.expecting(self.prior).context("--prior")
    }
}

/// A loss, as `--loss` takes it.
fn name_of(loss: Loss) -> String {
    clap::ValueEnum::to_possible_value(&loss).map_or_else(String::new, |value| value.get_name().to_owned())
}

fn upsampling(text: &str) -> Result<Upsampling, String> {
    match text {
        "bilinear" => Ok(Upsampling::Bilinear),
        "transposed" => Ok(Upsampling::Transposed),
        _ => Err("must be bilinear or transposed".into()),
    }
}
