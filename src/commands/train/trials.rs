//! Trainings of a search or comparison: each in a run folder and a process of its own, several at a time.

use super::fit::{settings_json, stored_options};
use super::interrupt::Interrupt;
use super::machine::MachineOptions;
use super::options::FitOptions;
use crate::config::DeviceChoice;
use crate::train::{Journal, RunFolder};
use anyhow::Context;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Machine")]
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
    pub pa: f64,
    pub oii: f64,
    pub step_of_half_the_final_iou: Option<u64>,
    /// Its last evaluation: what the finished training came to, where the one above is its best moment.
    #[serde(skip)]
    pub last: Last,
}

/// Measures of a training's last evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub(super) struct Last {
    pub iou: f64,
    pub pa: f64,
    pub oii: f64,
}

/// What became of a training: its result, or why it failed.
pub(super) type TrialEnd = Result<TrialResult, String>;

#[derive(Deserialize)]
struct ResultFile {
    best: Option<TrialResult>,
}

impl TrialOptions {
    /// Does the trainings that are not done yet, going on with those that were begun; their ends in their order. One
    /// that fails holds up no other.
    ///
    /// `None` where Ctrl-C ended it: the same call goes on.
    pub(super) fn run(&self, trials: &[Trial]) -> anyhow::Result<Option<Vec<TrialEnd>>> {
        let interrupt = Interrupt::listen()?;
        let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![None; trials.len()]));
        let lane = |lane: usize| -> anyhow::Result<()> {
            while !interrupt.stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = trials.get(index) else { break };
                let result = self.train(trial, lane, &interrupt.stop)?;
                results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[index] = result;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.parallel.clamp(1, trials.len().max(1)))
                .map(|i| std::thread::Builder::new().name(format!("trial-{i}")).spawn_scoped(scope, move || lane(i)))
                .collect::<Result<_, _>>()
                .context("cannot start a thread")?;
            lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|_| anyhow::bail!("a thread that waits for a training ended")))
        })?;
        let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(results.into_iter().collect())
    }

    /// `None` where the training was stopped.
    fn train(&self, trial: &Trial, lane: usize, stop: &AtomicBool) -> anyhow::Result<Option<TrialEnd>> {
        let root = &trial.folder;
        let run = if root.exists() {
            let run = RunFolder::open(root)?;
            // Compared as they are read back: a number in a file may be another one in its last bit.
            let asked: FitOptions = serde_json::from_str(&serde_json::to_string(&trial.options)?)?;
            anyhow::ensure!(
                stored_options(&run)? == asked,
                "{}: was begun with other options (see its settings.json; runs that tell no precision were --precision f32); choose \
                 another --dir, or remove it",
                root.display()
            );
            run
        } else {
            // Told wrongly or without data, a training leaves no folder.
            trial.options.try_out(&MachineOptions {
                device: self.devices[lane % self.devices.len()],
                threads: self.threads,
                workers: self.workers,
            })?;
            RunFolder::create(root, &settings_json(&trial.options))?
        };
        if let Some(result) = finished(&run)? {
            return Ok(Some(Ok(result)));
        }
        eprintln!("training {}", root.display());
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
        let status = ended(training, stop).context("cannot wait for a training")?;
        if !status.success() {
            let problem = format!("{}: the training failed ({status}): {}", root.display(), last_line(&console));
            eprintln!("{problem}");
            return Ok(Some(Err(problem)));
        }
        Ok(finished(&run)?.map(Ok))
    }

    fn arguments(&self, lane: usize) -> Vec<String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.threads > 0 { self.threads } else { (cores / self.parallel.max(1)).max(1) };
        let device = self.devices[lane % self.devices.len()].to_string();
        ["--device", &device, "--threads", &threads.to_string(), "--workers", &self.workers.to_string()].map(str::to_owned).into()
    }
}

/// Waits for a training, and hands it the wish to stop: a terminal's Ctrl-C reaches it by itself, a signal to this process
/// does not.
fn ended(mut training: Child, stop: &AtomicBool) -> std::io::Result<ExitStatus> {
    let mut told = false;
    loop {
        if let Some(status) = training.try_wait()? {
            return Ok(status);
        }
        if !told && stop.load(Ordering::Relaxed) {
            told = true;
            if let Some(process) = i32::try_from(training.id()).ok().and_then(rustix::process::Pid::from_raw) {
                // It fails only where the training has just ended.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn finished(run: &RunFolder) -> anyhow::Result<Option<TrialResult>> {
    let Some(best) = run.read_json::<ResultFile>("result.json")?.and_then(|result| result.best) else { return Ok(None) };
    let log = Journal::read(&run.path("log.jsonl"))?;
    let last = log.into_iter().rev().find(|entry| entry["event"] == "evaluation").and_then(|entry| serde_json::from_value(entry).ok());
    Ok(Some(TrialResult { last: last.unwrap_or(Last { iou: best.iou, pa: best.pa, oii: best.oii }), ..best }))
}

fn last_line(console: &Path) -> String {
    let text = std::fs::read_to_string(console).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
