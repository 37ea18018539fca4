//! `train fit`: trains a network and leaves a checkpoint that the line can load.

use crate::config::DeviceChoice;
use crate::loss::{Hyperparameters, Loss, Objective};
use crate::measure::Counts;
use crate::nn::{Architecture, Checkpoint, Network, NetworkShape, Upsampling};
use crate::train::{
    Augmentation, Evaluation, FitSettings, Folder, Journal, Kinds, Observer, Schedule, Set, SgdSettings, Simulated, SimulatedSettings,
    Source, StepReport, TrainError, fit, last_path,
};
use anyhow::Context;
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Train a network on pictures with masks, or on simulated wafers.
///
/// Writes three files: the checkpoint with the best IoU on the validation pictures at --out, the last
/// one beside it as NAME.last.safetensors, and a log of every step as NAME.jsonl. Ctrl-C saves and stops.
/// The same seed gives the same model on a CPU, unless --minutes is used.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["data", "simulate"])))]
pub struct TrainFitArgs {
    /// Folder with images/NAME.png and masks/NAME.png (PNG or JPEG, 8 or 16 bit; masks are white on
    /// crack; pixels that are exactly 0 at the ends of a line lie outside the wafer)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Learn from simulated wafers, each made afresh and never written to disk
    #[arg(long, value_name = "KIND")]
    simulate: Option<Kinds>,
    /// Where the trained model goes
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Name of the model, told in every verdict it gives [default: the file's]
    #[arg(long)]
    name: Option<String>,

    /// Which network learns; only U-Net has the compiled engine's speed on the line
    #[arg(long, value_enum, default_value = "unet", help_heading = "Network")]
    network: Architecture,
    /// Channels of the network's first level: 16, 32 or 64; more finds more and costs more
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Network")]
    base_width: usize,
    /// How a U-Net doubles the size on its way up: bilinear or transposed
    #[arg(long, value_name = "WAY", default_value = "bilinear", value_parser = upsampling, help_heading = "Network")]
    upsampling: Upsampling,
    /// Continue from the weights of this checkpoint (its network, its width)
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["network", "base_width", "upsampling"], help_heading = "Network")]
    init: Option<PathBuf>,
    /// Smallest pixel pitch the model is good for, mm
    #[arg(long, value_name = "MM", default_value_t = 0.10, help_heading = "Network")]
    mm_per_px_min: f64,
    /// Largest pixel pitch the model is good for, mm
    #[arg(long, value_name = "MM", default_value_t = 0.20, help_heading = "Network")]
    mm_per_px_max: f64,
    /// Probability from which a pixel is called crack
    #[arg(long, value_name = "P", default_value_t = 0.5, help_heading = "Network")]
    threshold: f32,

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
    /// Stop after so many minutes; the learning rate follows whichever of steps and time is nearer its end
    #[arg(long, value_name = "M", help_heading = "Training")]
    minutes: Option<f64>,
    /// Crops in a batch
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Training")]
    batch: usize,
    /// Side of a crop in pixels, a multiple of 16
    #[arg(long, value_name = "PX", default_value_t = 224, help_heading = "Training")]
    crop: usize,
    /// Learning rate of the first step; it falls to 0 as (1 - t)^0.9
    #[arg(long, value_name = "RATE", default_value_t = 0.02, help_heading = "Training")]
    learning_rate: f64,
    /// Share of a step that goes on into the next
    #[arg(long, default_value_t = SgdSettings::default().momentum, help_heading = "Training")]
    momentum: f64,
    /// Pull of the weights towards 0
    #[arg(long, default_value_t = SgdSettings::default().weight_decay, help_heading = "Training")]
    weight_decay: f64,
    /// Plain momentum instead of Nesterov's
    #[arg(long, help_heading = "Training")]
    no_nesterov: bool,
    /// Cut gradients to this norm; 0: never
    #[arg(long, value_name = "NORM", default_value_t = SgdSettings::default().clip_norm, help_heading = "Training")]
    clip_norm: f64,
    /// Leave crops as they are: no mirroring, turning, gamma, blur, contrast or brightness
    #[arg(long, help_heading = "Training")]
    no_augmentation: bool,
    /// Seed of everything random
    #[arg(long, default_value_t = 1, help_heading = "Training")]
    seed: u64,

    /// Share of a folder's pictures that is held back for validation
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, help_heading = "Validation")]
    validation_share: f64,
    /// Simulated wafers to validate with
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Validation")]
    validation_wafers: usize,
    /// Share of simulated training wafers that are cracked
    #[arg(long, value_name = "SHARE", default_value_t = 0.75, help_heading = "Validation")]
    cracked_share: f64,
    /// Steps between evaluations [default: a twentieth of the training]
    #[arg(long, value_name = "N", help_heading = "Validation")]
    eval_every: Option<u64>,

    /// Where to train: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", value_parser = device_choice, help_heading = "Machine")]
    device: DeviceChoice,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Machine")]
    threads: usize,
    /// Threads that prepare crops ahead of the training
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Machine")]
    workers: usize,
}

/// Steps of a training that is told neither steps nor minutes.
const DEFAULT_STEPS: u64 = 3000;

/// Runs the command.
pub fn run(args: TrainFitArgs) -> anyhow::Result<ExitCode> {
    if args.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global().context("--threads")?;
    }
    let settings = settings(&args)?;
    anyhow::ensure!(!args.out.is_dir(), "--out {0}: is a folder; give a file such as {0}/model.safetensors", args.out.display());
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("--out: cannot make the folder {}", folder.display()))?;
    }
    let source = source(&args)?;
    let device = tensor_device(args.device)?;
    let network = match &args.init {
        Some(path) => Network::from_checkpoint(&Checkpoint::load(path, &device).context("--init")?, &device)?,
        None => {
            let shape = NetworkShape { architecture: args.network, base_width: args.base_width, upsampling: args.upsampling };
            Network::new(&shape, args.seed, &device)?
        }
    };

    eprintln!("{} on {}", network.shape(), if device.is_cuda() { "CUDA" } else { "the CPU" });
    eprintln!("data: {}", source.summary());
    let told = format!("{settings:?}");
    let journal = Journal::start(&args.out.with_extension("jsonl"), serde_json::json!({ "told": told, "data": source.summary() }))?;
    let mut watch = Watch::new(journal, &settings);
    let interrupt = Interrupt::listen()?;
    let outcome = fit(&settings, &network, &device, source, &interrupt.stop, &mut watch)?;
    watch.journal.end(outcome.steps, outcome.elapsed.as_secs_f64(), outcome.stopped)?;
    watch.bar.finish_and_clear();

    let seconds = outcome.elapsed.as_secs_f64();
    eprintln!(
        "{} steps in {:.1} min, {:.3} s a step evaluations included",
        outcome.steps,
        seconds / 60.0,
        seconds / outcome.steps.max(1) as f64
    );
    match outcome.best {
        Some((step, counts)) => {
            eprintln!(
                "best at step {step}: IoU {:.3}, PA {:.3}, OII {:+.3}: {}",
                counts.iou(),
                counts.pa(),
                counts.oii(),
                args.out.display()
            );
        }
        None => eprintln!("stopped before the first evaluation; saved as it was: {}", args.out.display()),
    }
    if outcome.stopped {
        eprintln!("stopped early; continue from its weights with --init {}", last_path(&args.out).display());
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &TrainFitArgs) -> anyhow::Result<FitSettings> {
    let TrainFitArgs { momentum, weight_decay, clip_norm, .. } = *args;
    let stem = args.out.file_stem().with_context(|| format!("--out {}: not a file name", args.out.display()))?;
    let time = match args.minutes {
        Some(minutes) if minutes.is_finite() && minutes > 0.0 && minutes < 1e6 => Some(Duration::from_secs_f64(60.0 * minutes)),
        Some(minutes) => anyhow::bail!("--minutes {minutes}: must be above 0"),
        None => None,
    };
    Ok(FitSettings {
        name: args.name.clone().unwrap_or_else(|| stem.to_string_lossy().into_owned()),
        out: args.out.clone(),
        objective: Objective::new(args.loss, hyperparameters(args))?,
        steps: args.steps.unwrap_or(if time.is_some() { u64::MAX } else { DEFAULT_STEPS }),
        time,
        eval_every: args.eval_every,
        batch: args.batch,
        crop_px: args.crop,
        augmentation: if args.no_augmentation { Augmentation::none() } else { Augmentation::default() },
        learning_rate: args.learning_rate,
        schedule: Schedule::Poly,
        sgd: SgdSettings { momentum, weight_decay, nesterov: !args.no_nesterov, clip_norm },
        seed: args.seed,
        threshold: args.threshold,
        mm_per_px: (args.mm_per_px_min, args.mm_per_px_max),
        workers: args.workers,
        threads: args.threads,
        engine_device: args.device,
    })
}

fn hyperparameters(args: &TrainFitArgs) -> Hyperparameters {
    let usual = Hyperparameters::of(args.loss);
    let told = Hyperparameters {
        alpha: args.alpha.unwrap_or(usual.alpha),
        omega: args.omega.unwrap_or(usual.omega),
        gamma: args.gamma.unwrap_or(usual.gamma),
        gamma_reg: args.gamma_reg.unwrap_or(usual.gamma_reg),
        lambda: args.lambda.unwrap_or(usual.lambda),
    };
    if args.tied_gamma { told.tied() } else { told }
}

fn source(args: &TrainFitArgs) -> anyhow::Result<Arc<dyn Source>> {
    if let Some(root) = &args.data {
        let folder = Folder::open(root, args.seed, args.validation_share)?;
        eprintln!("{} pictures to learn from, {} to validate with", folder.len(Set::Training), folder.len(Set::Validation));
        return Ok(Arc::new(folder));
    }
    let kinds = args.simulate.context("give --data or --simulate")?;
    let TrainFitArgs { seed, cracked_share, validation_wafers, .. } = *args;
    Ok(Arc::new(Simulated::new(SimulatedSettings { kinds, seed, cracked_share, validation_wafers })?))
}

/// Prints, draws the bar and writes the log.
struct Watch {
    journal: Journal,
    bar: ProgressBar,
    steps: u64,
    smooth_loss: Option<f64>,
    last: Option<Counts>,
}

impl Watch {
    const BAR_LENGTH: u64 = 10_000;

    fn new(journal: Journal, settings: &FitSettings) -> Self {
        let bar = ProgressBar::new(Self::BAR_LENGTH);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {elapsed} left {eta} | {msg}") {
            bar.set_style(style);
        }
        Self { journal, bar, steps: settings.steps, smooth_loss: None, last: None }
    }

    fn tell(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.journal.step(report)?;
        let smooth = self.smooth_loss.map_or(report.loss, |old| 0.95 * old + 0.05 * report.loss);
        self.smooth_loss = Some(smooth);
        let step = if self.steps == u64::MAX { report.step.to_string() } else { format!("{}/{}", report.step, self.steps) };
        let quality = self.last.map_or(String::new(), |c| format!(" IoU {:.3} PA {:.3} OII {:+.3}", c.iou(), c.pa(), c.oii()));
        self.bar.set_position((report.progress * Self::BAR_LENGTH as f64) as u64);
        self.bar.set_message(format!("step {step} loss {smooth:.4}{quality}"));
        Ok(())
    }

    fn evaluated(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError> {
        self.journal.evaluation(step, counts, evaluation, best)?;
        self.last = Some(*counts);
        let Evaluation { cracked, detected, clean, alarmed, .. } = evaluation;
        self.tell(&format!(
            "step {step:>6}  loss {:.4}  IoU {:.3}  PA {:.3}  OII {:+.3}  cracked cells found {detected}/{cracked}, clean cells alarmed {alarmed}/{clean}{}",
            self.smooth_loss.unwrap_or(f64::NAN),
            counts.iou(),
            counts.pa(),
            counts.oii(),
            if best { "  best" } else { "" },
        ));
        Ok(())
    }
}

/// Sets `stop` at Ctrl-C or SIGTERM; its thread is joined when this is dropped.
struct Interrupt {
    stop: Arc<AtomicBool>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Interrupt {
    fn listen() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot listen for Ctrl-C")?;
        let mut terminate = {
            let _inside = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("cannot listen for SIGTERM")?
        };
        let raised = stop.clone();
        let wait = async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = ended => return,
            }
            raised.store(true, Ordering::Relaxed);
            eprintln!("stopping after this step, saving the checkpoint");
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(Self { stop, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // Both fail only where the thread has ended by itself.
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where tensors live on a device of the user's choice.
fn tensor_device(choice: DeviceChoice) -> anyhow::Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(Device::cuda_if_available(0)?),
        DeviceChoice::Cuda(index) => Device::new_cuda(index)
            .with_context(|| format!("--device cuda:{index}: not available; take cpu, or a build with the feature `cuda`")),
    }
}

fn upsampling(text: &str) -> Result<Upsampling, String> {
    match text {
        "bilinear" => Ok(Upsampling::Bilinear),
        "transposed" => Ok(Upsampling::Transposed),
        _ => Err("must be bilinear or transposed".into()),
    }
}

/// Reads `auto`, `cpu` or `cuda:N`.
pub(super) fn device_choice(text: &str) -> Result<DeviceChoice, String> {
    match text.split_once(':') {
        None if text == "auto" => Ok(DeviceChoice::Auto),
        None if text == "cpu" => Ok(DeviceChoice::Cpu),
        Some(("cuda", index)) => index.parse().map(DeviceChoice::Cuda).map_err(|_| "cuda: needs a number, such as cuda:0".into()),
        _ => Err("must be auto, cpu or cuda:N".into()),
    }
}
