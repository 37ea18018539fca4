//! `train fit`: trains a network and leaves a checkpoint that the line can load.

use super::interrupt::{ENDED_BY_INTERRUPT, Interrupt};
use super::learnt::learnt_by;
use super::machine::MachineOptions;
use super::options::FitOptions;
use super::watch::Watch;
use crate::commands::terminal::note;
use crate::config::Precision;
use crate::nn::Checkpoint;
use crate::train::{
    EventFile, Files, Findings, FitSettings, Gallery, Journal, Learnt, Log, Outcome, RunFolder, Source, TrainError, TrainingState,
    evaluate, fit, write_report,
};
use anyhow::Context;
use candle_core::Device;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Train a network on pictures with masks, or on simulated wafers.
///
/// With --run everything goes to a folder of its own: settings, log, TensorBoard events, the checkpoint with
/// the best IoU on the validation pictures, the last one, and the state from which --resume continues to the
/// very weights that an uninterrupted training would have reached (on a CPU, without --minutes). The last two are
/// written at every evaluation and at least every five minutes. Ctrl-C saves, says how to continue and ends with
/// status 130; a second one ends it at once. With --out alone three files are written: the best checkpoint at --out, the last
/// one beside it as NAME.last.safetensors, and the log as NAME.jsonl; none of them may be there yet.
#[derive(Debug, clap::Args)]
pub struct TrainFitArgs {
    /// Folder that is made for this training and can be resumed, such as runs/NAME
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Where the trained model goes; a new training takes no file's place
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Continue the training in this run folder as it was told when it began
    #[arg(long, value_name = "DIR", conflicts_with_all = ["run", "FitOptions"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    options: FitOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

/// Runs the command; `commit` is that of the source the program was built from, where it is known.
pub fn run(args: TrainFitArgs, commit: Option<&str>) -> anyhow::Result<ExitCode> {
    let TrainFitArgs { run, out, resume, options, machine } = args;
    if let Some(out) = &out {
        anyhow::ensure!(!out.is_dir(), "--out {0}: is a folder; give a file such as {0}/model.safetensors", out.display());
        match &resume {
            // Resumed, a training writes over what it left there itself.
            Some(root) => anyhow::ensure!(
                !out.exists() || is_left_by(root, out),
                "--out {}: exists already, and is no checkpoint of {}; choose another name or move it away",
                out.display(),
                root.display()
            ),
            None => anyhow::ensure!(
                !out.exists(),
                "--out {0}: exists already; choose another name or move it away; to go on from its weights give --init {1} and another --out",
                out.display(),
                quoted(out)
            ),
        }
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("--out: cannot make the folder {}", folder.display()))?;
        }
    }
    machine.apply()?;
    match (resume, run, out) {
        (Some(root), _, out) => {
            let run = RunFolder::open(&root).context("--resume")?;
            let options = stored_options(&run)?;
            // Until something is learnt the data are those that are there now.
            let source = if run.path(STATE).exists() { options.source_of(&run)? } else { options.source()? };
            train_in(&run, &options, source, out.as_deref(), &machine)
        }
        (None, Some(root), out) => {
            let options = options.settled()?;
            // Told wrongly or without data, a training leaves no folder.
            let source = options.try_out(&model_name(&root), &machine)?;
            let run = RunFolder::create(&root, &settings_json(&options, commit)).context("--run")?;
            // As they are read back, so that a resumed training has the same numbers to the last bit.
            let options = stored_options(&run)?;
            train_in(&run, &options, source, out.as_deref(), &machine)
        }
        (None, None, Some(out)) => {
            anyhow::ensure!(out.file_name().is_some(), "--out {}: not a file name", out.display());
            anyhow::ensure!(!options.keep_all, "--keep-all: keeps checkpoints in a run folder; give --run DIR as well");
            let files = Files::beside(&out);
            for beside in [&files.last, &files.log] {
                let (there, out, beside) = (beside.exists(), out.display(), beside.display());
                anyhow::ensure!(!there, "--out {out}: {beside} exists already; choose another name or move it away");
            }
            let options = options.settled()?;
            let name = Files::name(&out);
            let source = options.try_out(&name, &machine)?;
            let learnt = learnt_before(&options)?.and_from(&source.manifest());
            let settings = FitSettings { learnt, ..options.settings_on(source.as_ref(), files, &name, &machine)? };
            let interrupt = Interrupt::listen()?;
            let outcome = train(&options, &settings, source, &machine, None, &interrupt)?;
            if outcome.stopped {
                note!("stopped early; continue from its weights with --init {} and another --out", quoted(&settings.files.last));
            }
            Ok(ended(&outcome))
        }
        (None, None, None) => anyhow::bail!("nowhere to put the model: give --run DIR, --out FILE.safetensors or both"),
    }
}

/// Whether a checkpoint is one that the training in a run folder has left: another of its evaluations, all else the same.
fn is_left_by(root: &Path, checkpoint: &Path) -> bool {
    let told = |file: &Path| {
        let mut meta = Checkpoint::load(file).ok()?.meta;
        // Told by later versions only, and of one training the same.
        meta.learnt = None;
        let training = meta.training.as_object_mut()?;
        ["steps", "seconds", "validation"].iter().for_each(|changing| drop(training.remove(*changing)));
        Some(meta)
    };
    told(checkpoint).is_some_and(|found| Some(found) == told(&root.join("last.safetensors")))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !path.is_empty() && path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// What a run folder goes on from.
const STATE: &str = "state.safetensors";

/// What a run folder's `settings.json` holds.
pub(super) fn settings_json(options: &FitOptions, commit: Option<&str>) -> serde_json::Value {
    json!({ "version": env!("CARGO_PKG_VERSION"), "commit": commit, "options": options })
}

/// The options that a run folder was made with.
pub(super) fn stored_options(run: &RunFolder) -> anyhow::Result<FitOptions> {
    let mut settings: serde_json::Value = run.read_json("settings.json")?.unwrap_or_default();
    let path = run.path("settings.json");
    // Runs of earlier versions may have been told `--no-augmentation`.
    if settings["options"]["no_augmentation"] == true {
        settings["options"]["augment"] = "none".into();
    }
    let options: FitOptions = serde_json::from_value(settings["options"].take())
        .with_context(|| format!("{}: was written by another version", path.display()))?;
    Ok(options.with_network_of_init())
}

/// What the model of a run folder is called, unless the options tell.
pub(super) fn model_name(root: &Path) -> String {
    root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Trains in a run folder, from its state if it has one.
fn train_in(
    run: &RunFolder,
    options: &FitOptions,
    source: Arc<dyn Source>,
    out: Option<&Path>,
    machine: &MachineOptions,
) -> anyhow::Result<ExitCode> {
    let _alone = run.lock()?;
    let state_path = run.path(STATE);
    let state = if state_path.exists() { Some(TrainingState::load(&state_path)?) } else { None };
    let before = match &state {
        Some(state) => learnt_by("this training", &state_path, &state.weights.meta),
        None => learnt_before(options)?,
    };
    if state.is_none() {
        // Nothing is learnt yet. A state tells itself which data it was trained on.
        if let Some(split) = source.split_csv() {
            crate::train::write_beside(&run.path("split.csv"), split.as_bytes())?;
        }
        run.write_json("manifest.json", &source.manifest())?;
    }
    // Resumed from within, a folder is `.`.
    let root = run.root().canonicalize().with_context(|| run.root().display().to_string())?;
    let files = Files::within(run.clone(), options.keep_all);
    let settings = options.settings_on(source.as_ref(), files, &model_name(&root), machine)?;
    let settings = FitSettings { learnt: before.and_from(&source.manifest()), ..settings };
    let resume = || {
        let mut command = vec!["train fit --resume".to_owned(), quoted(run.root())];
        command.extend(machine.arguments());
        command.extend(out.map(|out| format!("--out {}", quoted(out))));
        command.join(" ")
    };
    let interrupt = Interrupt::listen()?;
    let outcome = match train(options, &settings, source.clone(), machine, state.as_ref(), &interrupt) {
        Ok(outcome) => outcome,
        Err(error) => {
            if error.downcast_ref().is_some_and(TrainError::is_divergence) {
                let best = settings.files.best.exists();
                if let Err(problem) = report(run, source.as_ref(), &settings, best, &interrupt) {
                    note!("no report: {problem:#}");
                }
            } else if state_path.exists() {
                note!("what was learnt until the last save is kept; once the error below is mended, continue with\n  {}", resume());
            }
            return Err(error);
        }
    };
    if outcome.steps > 0 {
        report(run, source.as_ref(), &settings, !outcome.stopped, &interrupt)?;
        if let Some(out) = out {
            let bytes =
                std::fs::read(&settings.files.best).with_context(|| format!("{}: cannot be read", settings.files.best.display()))?;
            crate::train::write_beside(out, &bytes).context("--out")?;
        }
    }
    if outcome.stopped {
        note!("stopped early; continue with\n  {}", resume());
    } else {
        run.write_json("result.json", &result(&outcome, &Log::read(&settings.files.log)?))?;
    }
    Ok(ended(&outcome))
}

/// What the network has learnt that a training begins with.
fn learnt_before(options: &FitOptions) -> anyhow::Result<Learnt> {
    let Some(init) = &options.init else { return Ok(Learnt::default()) };
    let meta = Checkpoint::load(init).context("--init")?.meta;
    Ok(learnt_by("the network of --init", init, &meta))
}

/// A training that was stopped is no success: what would come after it must not take its model for the trained one.
fn ended(outcome: &Outcome) -> ExitCode {
    if outcome.stopped { ExitCode::from(ENDED_BY_INTERRUPT) } else { ExitCode::SUCCESS }
}

/// Writes the page; if it is to `look`, with what the best checkpoint makes of the validation pictures, which takes as
/// long as an evaluation.
fn report(run: &RunFolder, source: &dyn Source, settings: &FitSettings, look: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let findings = match look.then(|| findings(source, settings, interrupt)).transpose() {
        Err(TrainError::Stopped) => None,
        found => found?,
    };
    let whole = findings.is_some();
    write_report(run, settings, findings)?;
    let missing = if whole { "" } else { " (without pictures: those come when a training has ended)" };
    note!("report: {}{missing}", run.path("report.html").display());
    Ok(())
}

/// Looks at the validation pictures with the best checkpoint.
fn findings(source: &dyn Source, settings: &FitSettings, interrupt: &Interrupt) -> Result<Findings, TrainError> {
    const SHOWN: usize = 6;
    let best = Checkpoint::load(&settings.files.best)?;
    let (threshold, normalisation) = (best.meta.threshold, best.meta.normalisation);
    let mut engine = crate::nn::engine(&best, settings.engine_device, Precision::default(), settings.threads)?;
    let mut gallery = Gallery::new(threshold, SHOWN);
    let picture = |index: usize| source.validation(index);
    let evaluation = evaluate(engine.as_mut(), &normalisation, threshold, source.validation_count(), picture, |seen| {
        interrupt.check()?;
        gallery.add(seen)
    })?;
    Ok(Findings { evaluation, threshold, gallery })
}

/// What `result.json` says of a finished training.
fn result(outcome: &Outcome, log: &Log) -> serde_json::Value {
    let mean_iou = |step: u64| log.evaluations().rev().find(|evaluation| evaluation.step == step).and_then(|of| of.mean_iou);
    let best = outcome.best.map(|best| {
        let counts = best.counts;
        json!({
            "step": best.step, "iou": counts.iou(), "mean_iou": mean_iou(best.step), "pa": counts.pa(), "oii": counts.oii(),
            "tp": counts.tp, "fp": counts.fp, "fn": counts.fn_, "step_of_half_the_final_iou": log.step_of_half_the_final_iou(),
        })
    });
    json!({ "steps": outcome.steps, "elapsed_s": outcome.elapsed.as_secs_f64(), "waited_s": outcome.waited.as_secs_f64(), "best": best })
}

fn train(
    options: &FitOptions,
    settings: &FitSettings,
    source: Arc<dyn Source>,
    machine: &MachineOptions,
    state: Option<&TrainingState>,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    crate::nn::keep_freed_memory();
    let device = machine.tensor_device()?;
    let network = match state {
        Some(state) => state.network(&device).context("--resume")?,
        None => options.network(&device)?,
    };
    let place = match device {
        Device::Cpu => format!("the CPU, {}", crate::nn::trained_in(settings.precision)),
        // What `--precision` says of CUDA.
        _ if cfg!(feature = "cudnn") && settings.precision == Precision::Bf16 => "CUDA, products of bf16".to_owned(),
        _ if cfg!(feature = "cudnn") && settings.precision != Precision::F32 => "CUDA, products of TF32 where the device has it".to_owned(),
        _ => "CUDA, f32".to_owned(),
    };
    note!("{} on {place}", network.shape());
    note!("data: {}", source.summary());
    let log = &settings.files.log;
    let journal = match state {
        Some(state) => Journal::resume(log, state.step)?,
        None => Journal::start(log, json!({ "told": options, "data": source.summary() }))?,
    };
    if let Some(state) = state {
        note!("going on after step {}", state.step);
    }
    let after = state.map_or(0, |state| state.step);
    let events = settings.files.run.as_ref().map(|run| EventFile::create(run.root(), after)).transpose()?;
    let mut watch = Watch::new(journal, events, settings);
    let outcome = fit(settings, &network, &device, source, state, &interrupt.stop, &mut watch);
    watch.end(&outcome)?;
    let outcome = outcome?;
    tell(&outcome, settings);
    Ok(outcome)
}

fn tell(outcome: &Outcome, settings: &FitSettings) {
    let seconds = outcome.elapsed.as_secs_f64();
    note!(
        "{} steps in {:.1} min, {:.3} s a step evaluations included, {:.1} % of it waiting for data",
        outcome.steps,
        seconds / 60.0,
        seconds / outcome.steps.max(1) as f64,
        100.0 * outcome.waited.as_secs_f64() / seconds.max(1e-9)
    );
    if let Some(mb) = crate::commands::memory::peak_mb() {
        note!("{mb:.0} MB of memory at most");
    }
    let best = settings.files.best.display();
    match outcome.best {
        Some(found) => {
            let counts = found.counts;
            let step = if found.step == 0 { "the start, as --init had it".into() } else { format!("step {}", found.step) };
            note!("best at {step}: IoU {:.3}, PA {:.3}, OII {:+.3}: {best}", counts.iou(), counts.pa(), counts.oii());
        }
        None if outcome.steps > 0 => note!("stopped before the first evaluation; saved as it was: {best}"),
        None => note!("stopped before the first step; nothing to save"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(no_binary_name = true)]
    struct Told {
        #[command(flatten)]
        options: FitOptions,
    }

    #[test]
    fn runs_of_earlier_versions_go_on_without_augmentation_where_they_were_told_so() {
        let told = |arguments: &[&str]| <Told as clap::Parser>::try_parse_from(arguments).unwrap().options;
        let dir = tempfile::tempdir().unwrap();
        for (before, now) in [(true, vec!["--augment", "none"]), (false, vec![])] {
            let mut settings = settings_json(&told(&[]), None);
            settings["options"]["no_augmentation"] = before.into();
            let run = RunFolder::create(&dir.path().join(before.to_string()), &settings).unwrap();
            assert_eq!(stored_options(&run).unwrap(), told(&now));
        }
    }

    #[test]
    fn advice_can_be_given_to_a_shell() {
        assert_eq!(quoted(Path::new("runs/lot-7_ä")), "runs/lot-7_ä");
        assert_eq!(quoted(Path::new("my run")), "'my run'");
        assert_eq!(quoted(Path::new("today's")), r"'today'\''s'");
    }
}
