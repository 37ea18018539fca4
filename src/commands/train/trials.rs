//! Trainings of a search or comparison: each in a run folder and a process of its own, several at a time.

use super::fit::{model_name, settings_json, stored_options};
use super::interrupt::{ENDED_BY_INTERRUPT, Interrupt};
use super::machine::MachineOptions;
use super::options::FitOptions;
use crate::commands::arguments::threads;
use crate::commands::terminal::note;
use crate::config::DeviceChoice;
use crate::nn::Checkpoint;
use crate::train::{Log, LoggedEvaluation, RunFolder};
use anyhow::Context;
use serde::Deserialize;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How trainings are spread over the machine.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct TrialOptions {
    /// Trainings at a time, each in a process of its own
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Machine")]
    parallel: usize,
    /// Devices that they take in turn: auto, cpu, cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_delimiter = ',', help_heading = "Machine")]
    devices: Vec<DeviceChoice>,
    /// CPU threads of each; 0: the machine's, shared out among them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads, help_heading = "Machine")]
    threads: usize,
    /// Threads of each that prepare crops
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Machine")]
    workers: usize,
}

/// A training to be done.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub folder: PathBuf,
    pub options: FitOptions,
}

/// What a finished training came to, from its `result.json`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct TrialResult {
    pub iou: f64,
    /// Mean over pictures; trainings of earlier versions do not tell it.
    #[serde(default)]
    pub mean_iou: Option<f64>,
    pub pa: f64,
    pub oii: f64,
    pub step_of_half_the_final_iou: Option<u64>,
    /// Its last evaluation: what the finished training came to, where the one above is its best moment.
    #[serde(skip)]
    pub last: Last,
}

/// Measures of a training's last evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Last {
    pub iou: f64,
    pub mean_iou: Option<f64>,
    pub pa: f64,
    pub oii: f64,
}

impl Last {
    fn of(&LoggedEvaluation { iou, mean_iou, pa, oii, .. }: &LoggedEvaluation) -> Self {
        Self { iou, mean_iou, pa, oii }
    }
}

/// What became of a training: its result, or why it failed.
pub(super) type TrialEnd = Result<TrialResult, String>;

#[derive(Deserialize)]
struct ResultFile {
    best: Option<TrialResult>,
}

/// Digests of the data of trainings, or why these cannot be used, by what tells them apart: each is read once, however many
/// trainings take it.
type Checked = Mutex<HashMap<String, Result<String, String>>>;

impl TrialOptions {
    /// Does the trainings that are not done yet, going on with those that were begun; their ends in their order. One
    /// that fails, or cannot be begun, holds up no other.
    ///
    /// `None` where `interrupt` ended it: the same call goes on.
    pub(super) fn run(&self, trials: &[Trial], commit: Option<&str>, interrupt: &Interrupt) -> anyhow::Result<Option<Vec<TrialEnd>>> {
        // What cannot go on is told before hours of other trainings, not after them.
        trials.iter().try_for_each(|trial| begun(trial).map(drop))?;
        let (next, results, checked) = (AtomicUsize::new(0), Mutex::new(vec![None; trials.len()]), Checked::default());
        let lane = |lane: usize| -> anyhow::Result<()> {
            while !interrupt.is_raised() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = trials.get(index) else { break };
                let result = match self.prepare(trial, lane, commit, &checked)? {
                    Ok(run) => self.train(&run, lane, interrupt)?,
                    Err(problem) => {
                        note!("{problem}");
                        Some(Err(problem))
                    }
                };
                results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[index] = result;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let lane = &lane;
            let lanes: Vec<_> = (0..self.parallel.clamp(1, trials.len().max(1)))
                .map(|i| std::thread::Builder::new().name(format!("trial-{i}")).spawn_scoped(scope, move || lane(i)))
                .collect::<Result<_, _>>()
                .context("cannot start a thread")?;
            lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|_| anyhow::bail!("a thread that waits for a training ended")))
        })?;
        let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(results.into_iter().collect())
    }

    /// The run folder of a training, made if it is not there; inside, why the training cannot be begun.
    fn prepare(&self, trial: &Trial, lane: usize, commit: Option<&str>, checked: &Checked) -> anyhow::Result<Result<RunFolder, String>> {
        let root = &trial.folder;
        if let Some(run) = begun(trial)? {
            return Ok(finished_on_these_data(&run, &trial.options, checked).map(|()| run));
        }
        // Told wrongly or without data, a training leaves no folder.
        let machine = MachineOptions { device: self.devices[lane % self.devices.len()], threads: self.threads, workers: self.workers };
        let told = trial.options.check(&model_name(root), &machine).map_err(|error| format!("{error:#}"));
        if let Err(problem) = told.and_then(|()| digest(&trial.options, None, checked)) {
            return Ok(Err(format!("{}: the training cannot be begun: {problem}", root.display())));
        }
        Ok(Ok(RunFolder::create(root, &settings_json(&trial.options, commit))?))
    }

    /// `None` where the training was stopped.
    fn train(&self, run: &RunFolder, lane: usize, interrupt: &Interrupt) -> anyhow::Result<Option<TrialEnd>> {
        if let Some(result) = finished(run)? {
            return Ok(Some(Ok(result)));
        }
        if interrupt.is_raised() {
            return Ok(None);
        }
        let root = run.root();
        note!("training {}", root.display());
        let console = root.join("console.log");
        let output = || std::fs::File::options().create(true).append(true).open(&console);
        let training = Command::new(std::env::current_exe().context("cannot tell where this program lies")?)
            .args(["fit", "--resume"])
            .arg(root)
            .args(self.arguments(lane))
            .stdin(Stdio::null())
            .stdout(output().with_context(|| console.display().to_string())?)
            .stderr(output().with_context(|| console.display().to_string())?)
            .spawn()
            .context("cannot start a training")?;
        let status = ended(training, interrupt).context("cannot wait for a training")?;
        // One that was told before it listened has not failed either.
        if status.code() == Some(ENDED_BY_INTERRUPT.into()) || (interrupt.is_raised() && status.signal().is_some()) {
            return Ok(None);
        }
        if !status.success() {
            let problem = format!("{}: the training failed ({status}): {}", root.display(), last_line(&console));
            note!("{problem}");
            return Ok(Some(Err(problem)));
        }
        Ok(finished(run)?.map(Ok))
    }

    fn arguments(&self, lane: usize) -> Vec<String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.threads > 0 { self.threads } else { (cores / self.parallel.max(1)).max(1) };
        let device = self.devices[lane % self.devices.len()].to_string();
        ["--device", &device, "--threads", &threads.to_string(), "--workers", &self.workers.to_string()].map(str::to_owned).into()
    }
}

/// The run folder of a training that was begun before; one that was begun with other options is an error.
fn begun(trial: &Trial) -> anyhow::Result<Option<RunFolder>> {
    let root = &trial.folder;
    if !root.exists() {
        return Ok(None);
    }
    let run = RunFolder::open(root)?;
    // Compared as they are read back: a number in a file may be another one in its last bit.
    let asked: FitOptions = serde_json::from_str(&serde_json::to_string(&trial.options)?)?;
    anyhow::ensure!(
        stored_options(&run)? == asked,
        "{}: was begun with other options (see its settings.json; runs that tell no precision were --precision f32); choose \
         another --dir, or remove it",
        root.display()
    );
    Ok(Some(run))
}

/// The digest of a training's data, in the parts that they have where it was begun, or why they cannot be used.
fn digest(options: &FitOptions, begun: Option<&RunFolder>, checked: &Checked) -> Result<String, String> {
    let mut checked = checked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let source = || begun.map_or_else(|| options.source(), |run| options.source_of(run));
    let read = || source().and_then(|source| Ok(source.digest()?)).map_err(|error| format!("{error:#}"));
    // Runs whose pictures are in the same parts have the same data.
    let split = begun.and_then(|run| std::fs::read_to_string(run.path("split.csv")).ok()).unwrap_or_default();
    checked.entry(options.data_key() + &split).or_insert_with(read).clone()
}

/// Refuses the result of a training whose data have changed since. One that is not finished finds that out when it goes on; one whose
/// data cannot be read any more counts as it is.
fn finished_on_these_data(run: &RunFolder, options: &FitOptions, checked: &Checked) -> Result<(), String> {
    let root = run.root().display();
    if !run.path("result.json").exists() {
        return Ok(());
    }
    let Some(before) = learnt_digest(run) else { return Ok(()) };
    match digest(options, Some(run), checked) {
        Ok(now) if now != before => Err(format!(
            "{root}: its data have changed since this training ended; restore them, or remove the folder or choose another --dir"
        )),
        Ok(_) => Ok(()),
        Err(problem) => {
            note!("warning: {root}: its data cannot be read any more, its result is taken as it is: {problem}");
            Ok(())
        }
    }
}

/// The digest of the data that a training has learnt from, as its manifest or its best checkpoint tells it.
fn learnt_digest(run: &RunFolder) -> Option<String> {
    let manifest: Option<serde_json::Value> = run.read_json("manifest.json").ok().flatten();
    let told = manifest.and_then(|manifest| Some(manifest["digest"].as_str()?.to_owned()));
    told.or_else(|| Some(Checkpoint::load(run.path("best.safetensors")).ok()?.meta.data_digest)).filter(|digest| !digest.is_empty())
}

/// Waits for a training, and hands it the wish to stop: a terminal's Ctrl-C reaches it by itself, a signal to this process
/// does not. As SIGTERM, because a second Ctrl-C would end it without saving.
fn ended(mut training: Child, interrupt: &Interrupt) -> std::io::Result<ExitStatus> {
    let mut told = false;
    loop {
        if let Some(status) = training.try_wait()? {
            return Ok(status);
        }
        if !told && interrupt.is_raised() {
            told = true;
            if let Some(process) = i32::try_from(training.id()).ok().and_then(rustix::process::Pid::from_raw) {
                // It fails only where the training has just ended.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the means over pictures in a table are to be read with.
pub(super) const MEANS: &str = "In means over pictures a clean picture in which nothing is found counts as 1.\n";

/// What stands below a table of trainings, in Markdown: which `failed`, of how many, and what was warned of in those
/// that are `done`.
pub(super) fn told_below(failed: &[String], all: usize, done: &[Trial]) -> anyhow::Result<String> {
    let list = |lines: Vec<String>| lines.iter().map(|line| format!("- {line}\n")).collect::<String>();
    let mut text = String::new();
    if !failed.is_empty() {
        text += &format!("\n{} of {all} trainings failed and are missing above:\n\n{}", failed.len(), list(failed.to_vec()));
    }
    let warnings: Vec<Vec<String>> = done.iter().map(|trial| warnings(&trial.folder)).collect::<anyhow::Result<_>>()?;
    let warnings = warnings.concat();
    if !warnings.is_empty() {
        text += &format!("\nWarnings:\n\n{}", list(warnings));
    }
    Ok(text)
}

/// What a training warned of; none where it was not begun.
fn warnings(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("log.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(Log::read(&path)?.warnings().map(|(step, text)| format!("{}: step {step}: {text}", root.display())).collect())
}

fn finished(run: &RunFolder) -> anyhow::Result<Option<TrialResult>> {
    let Some(best) = run.read_json::<ResultFile>("result.json")?.and_then(|result| result.best) else { return Ok(None) };
    let log = run.log()?;
    let last = log.evaluations().next_back().map(Last::of).filter(|last| [last.iou, last.pa, last.oii].iter().all(|of| of.is_finite()));
    Ok(Some(TrialResult { last: last.unwrap_or(Last { iou: best.iou, mean_iou: best.mean_iou, pa: best.pa, oii: best.oii }), ..best }))
}

fn last_line(console: &Path) -> String {
    let text = std::fs::read_to_string(console).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
