//! `hairline listen`: a station's verdicts on the terminal.

use crate::cell::{Gate, VerdictKind, mask_png};
use crate::publish::wire::{
    BeltState, BlindMessage, CameraState, ReplayRequest, ReplyBody, Request, RunNumbers, StatusMessage, VerdictMessage,
};
use crate::publish::{Gap, Heard, Numbers, PublishError, Requester, Stretch, Subscriber};
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a message before looking whether to stop.
const TICK_MS: i64 = 100;
/// Silence after which the user is told that there is some: three times what lies between two status messages by default.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the mask of the last wanted cell is waited for.
const LAST_MASK: Duration = Duration::from_secs(1);
/// Verdicts asked for at once in a replay.
const REPLAY: u64 = 256;

/// Subscribe to a station and show its verdicts as they come.
///
/// Ctrl-C ends it, with a summary. Verdicts go to standard output, all else to standard error. With --requests those that were
/// missed are asked for again.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenArgs {
    /// The station's feed: `publish.feed` of its configuration, such as tcp://127.0.0.1:5556
    #[arg(long, value_name = "tcp://HOST:PORT")]
    pub connect: String,
    /// The station's request socket (`publish.requests`); asks again for verdicts that were missed
    #[arg(long, value_name = "tcp://HOST:PORT")]
    pub requests: Option<String>,
    /// Listen to this lane only
    #[arg(long)]
    pub lane: Option<String>,
    /// Print each message as a line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Save each crack mask as DIR/RUN/LANE-NUMBER.png: with each run, that is, start of the station, numbers begin at 1 again
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Stop after this many verdicts
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Listens until enough verdicts came or Ctrl-C, and ends with a summary on standard error.
pub fn run(args: ListenArgs) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("listen").build()?;
    runtime.block_on(async {
        let told = stop.clone();
        let mut listening = tokio::task::spawn_blocking(move || listen(&args, &mut io::stdout(), &mut io::stderr(), &told));
        let ended = tokio::select! {
            ended = &mut listening => ended,
            _ = tokio::signal::ctrl_c() => {
                stop.store(true, Ordering::Release);
                listening.await
            }
        };
        ended?
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Listens, writing verdicts to `out` and all else to `notes`.
fn listen(args: &ListenArgs, out: &mut impl Write, notes: &mut impl Write, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut subscriber = Subscriber::connect(&args.connect, args.lane.as_deref(), args.save.is_some()).context("--connect")?;
    let requester = args.requests.as_deref().map(Requester::new).transpose().context("--requests")?;
    if let Some(dir) = &args.save {
        std::fs::create_dir_all(dir).with_context(|| format!("--save: cannot create the folder {}", dir.display()))?;
    }
    let mut session =
        Session { args, out, notes, requester, numbers: Numbers::default(), summary: Summary::default(), states: BTreeMap::new() };
    let heard = session.hear(&mut subscriber, stop);
    // Whoever reads our output may stop reading it (`| head`): that is an end like any other.
    match heard {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Ok(writeln!(session.notes, "{}", session.summary)?),
    }
}

struct Session<'a, O, N> {
    args: &'a ListenArgs,
    out: &'a mut O,
    notes: &'a mut N,
    requester: Option<Requester>,
    numbers: Numbers,
    summary: Summary,
    states: BTreeMap<String, &'static str>,
}

impl<O: Write, N: Write> Session<'_, O, N> {
    fn hear(&mut self, subscriber: &mut Subscriber, stop: &AtomicBool) -> anyhow::Result<()> {
        if !self.args.json {
            writeln!(
                self.out,
                "{:<16} {:<7} {:<36} {:>9} {:>6} {:<5} {:>8}",
                "cell", "verdict", "why", "longest", "score", "gate", "time"
            )?;
        }
        let (mut last_heard, mut silence_told) = (Instant::now(), false);
        let mut mask_until = None::<Instant>;
        while !stop.load(Ordering::Acquire) {
            let enough = self.args.count.is_some_and(|count| self.summary.verdicts() >= count);
            if enough && mask_until.is_none_or(|until| Instant::now() >= until) {
                break;
            }
            let Some(heard) = subscriber.next(TICK_MS)? else {
                if !silence_told && last_heard.elapsed() >= SILENCE {
                    silence_told = true;
                    self.note(&silence(self.args))?;
                }
                continue;
            };
            (last_heard, silence_told) = (Instant::now(), false);
            match heard {
                Heard::Verdict(_) if enough => {}
                Heard::Verdict(message) => {
                    self.verdict(&message)?;
                    mask_until = self.args.save.as_ref().map(|_| Instant::now() + LAST_MASK);
                }
                Heard::Mask(header, png) => {
                    mask_until = None;
                    self.save(&header.run, &header.lane, header.number, &png)?;
                    if self.args.json {
                        self.json_line(&header)?;
                    }
                }
                Heard::Status(message) => self.status(&message)?,
                Heard::Blind(message) => self.blind(&message)?,
                Heard::Foreign { topic, reason } => self.note(&format!("`{topic}`: not understood: {reason}"))?,
            }
        }
        Ok(())
    }

    fn verdict(&mut self, message: &VerdictMessage) -> anyhow::Result<()> {
        if let Some(gap) = self.numbers.note(&message.run, &message.lane, message.number) {
            self.gap(&gap)?;
        }
        self.show(message)
    }

    /// Tells a gap, and fills it by replays where the station can be asked.
    fn gap(&mut self, gap: &Gap) -> anyhow::Result<()> {
        let mut runs = Vec::new();
        if gap.is_restart() {
            let (lane, last) = (&gap.lane, gap.after.1);
            let unknown = match self.requester.as_ref().map(known_runs) {
                None => "; what it said after that is not known here (--requests asks for it)".to_owned(),
                Some(Ok(held)) if held.iter().all(|r| r.lane != *lane || r.run != gap.after.0) => {
                    "; what it said after that is not in its ledger".to_owned()
                }
                Some(Ok(held)) => {
                    runs = held;
                    String::new()
                }
                Some(Err(error)) => format!("; what it said after that cannot be asked: {error}"),
            };
            self.note(&format!("lane {lane}: the station was started anew after {lane}/{last} was heard{unknown}"))?;
        }
        gap.stretches(&runs).iter().try_for_each(|stretch| self.fill(&gap.lane, stretch))
    }

    /// Tells what is missing of one run, and asks for it.
    fn fill(&mut self, lane: &str, missing: &Stretch) -> anyhow::Result<()> {
        self.note(&format!("missed {lane}/{} to {} ({} cells)", missing.from, missing.to, missing.cells()))?;
        let (mut next, mut filled) = (missing.from, 0);
        while let Some(requester) = self.requester.as_ref().filter(|_| next <= missing.to) {
            let limit = (missing.to - next + 1).min(REPLAY);
            let request = ReplayRequest { run: Some(missing.run.clone()), lane: lane.to_owned(), from: next, limit: Some(limit) };
            let mut told = Vec::new();
            let replay = requester.replay(request, |message, mask| told.push((message, mask.to_vec())));
            // Where the ledger lacks some, the replay goes on behind the gap.
            for (message, mask) in told.iter().filter(|(message, _)| message.number <= missing.to) {
                self.show(message)?;
                self.save(&message.run, &message.lane, message.number, mask)?;
                filled += 1;
            }
            match replay {
                Ok(resent) if resent.sent > 0 => next = resent.next.max(next + 1),
                Ok(_) => break,
                Err(error) => {
                    self.note(&format!("the replay failed: {error}"))?;
                    break;
                }
            }
        }
        self.summary.missed = self.summary.missed.saturating_add(missing.cells().saturating_sub(filled));
        Ok(())
    }

    fn show(&mut self, message: &VerdictMessage) -> anyhow::Result<()> {
        self.summary.count(message.verdict);
        if self.args.json {
            return self.json_line(message);
        }
        let cell = format!("{}/{}", message.lane, message.number);
        let number = |value: Option<f64>, digits, unit| value.map_or("-".to_owned(), |v| format!("{v:.digits$}{unit}"));
        let (longest, score) = (number(Some(message.longest_mm), 2, " mm"), number(message.score, 3, ""));
        let time = number(message.latency_ms.total, 1, " ms");
        let gate = match message.gate {
            Gate::Open => "open",
            Gate::Eject => "eject",
        };
        let resent = if message.resent { "  (told again)" } else { "" };
        let (verdict, why) = (message.verdict.name(), why(message));
        let line = format!("{cell:<16} {verdict:<7} {why:<36} {longest:>9} {score:>6} {gate:<5} {time:>8}{resent}");
        writeln!(self.out, "{}", plain(&line))?;
        Ok(())
    }

    fn status(&mut self, message: &StatusMessage) -> anyhow::Result<()> {
        if let Some(gap) = self.numbers.note_told(&message.run, &message.lane, message.cells) {
            self.gap(&gap)?;
        }
        if self.args.json {
            return self.json_line(message);
        }
        let state = describe(message);
        if self.states.insert(message.lane.clone(), state) != Some(state) {
            self.note(&format!("lane {}: {state}", message.lane))?;
        }
        Ok(())
    }

    fn blind(&mut self, message: &BlindMessage) -> anyhow::Result<()> {
        if self.args.json {
            return self.json_line(message);
        }
        let seconds = message.to_unix_ns.saturating_sub(message.from_unix_ns) as f64 * 1e-9;
        self.note(&format!("lane {}: blind for {seconds:.1} s: {}", message.lane, message.reason))
    }

    fn note(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.notes, "{}", plain(text))?;
        Ok(())
    }

    fn json_line(&mut self, message: &impl serde::Serialize) -> anyhow::Result<()> {
        writeln!(self.out, "{}", serde_json::to_string(message)?)?;
        Ok(())
    }

    /// Saves a mask if it is wanted and is one.
    fn save(&mut self, run: &str, lane: &str, number: u64, png: &[u8]) -> anyhow::Result<()> {
        let Some(dir) = self.args.save.as_deref().filter(|_| !png.is_empty()) else { return Ok(()) };
        let Some(file) = mask_file(dir, run, lane, number) else {
            return self.note(&format!("mask of `{lane}`/{number} of run `{run}` not saved: that is no lane's name, or no run's"));
        };
        if let Err(error) = mask_png::decode(png) {
            return self.note(&format!("mask of {lane}/{number} not saved: {error}"));
        }
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, png));
        written.with_context(|| format!("--save: cannot write {}", file.display()))
    }
}

/// The runs that the station's ledger holds.
fn known_runs(requester: &Requester) -> Result<Vec<RunNumbers>, PublishError> {
    match requester.ask(&Request::Runs)? {
        ReplyBody::Runs { runs } => Ok(runs),
        other => Err(PublishError::Answer(format!("{other:?}, which does not tell the runs"))),
    }
}

/// The file a mask is saved as, in a folder for its run; `None` where a name could lead out of the folder.
fn mask_file(dir: &Path, run: &str, lane: &str, number: u64) -> Option<PathBuf> {
    let fit = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (fit(run) && fit(lane)).then(|| dir.join(run).join(format!("{lane}-{number}.png")))
}

/// Text from the network without what could move the terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn why(message: &VerdictMessage) -> String {
    match (&message.hold, &message.rule) {
        (Some(hold), _) => hold.to_string(),
        (None, Some(rule)) => format!("{} {:.2} > {:.2}", rule.rule, rule.measured, rule.limit),
        (None, None) => String::new(),
    }
}

fn describe(message: &StatusMessage) -> &'static str {
    match (message.camera, message.belt) {
        (CameraState::Starting, _) => "the camera is starting",
        (CameraState::Gone, _) => "the camera is gone",
        (CameraState::Ended, _) => "the camera's stream has ended",
        (CameraState::Unknown, _) | (_, BeltState::Unknown) => "camera and belt are in a state that this version does not know",
        (_, BeltState::StandsInCell) => "the belt stands, a cell lies under the camera",
        (_, BeltState::StandsInGap) => "the belt stands, no cell lies under the camera",
        (_, BeltState::Moving) if message.no_gap_since_unix_ns.is_some() => "the belt moves, no gap is seen between wafers: none is judged",
        (_, BeltState::Moving) if message.no_wafer_since_unix_ns.is_some() => {
            "the belt moves, no wafer is seen: it is empty, or the light is out"
        }
        (_, BeltState::Moving) => "the belt moves",
    }
}

/// What may be the matter where nothing was heard for so long. Of a lane that does not exist no message ever comes.
fn silence(args: &ListenArgs) -> String {
    let heard = format!("from {} for {} s", args.connect, SILENCE.as_secs());
    let place = "is the station running, and is this its `publish.feed`? As shipped, that is heard on the station's own machine alone: \
                 for others give it tcp://*:5556 there, and tcp://*:5557 to `publish.requests`.";
    match &args.lane {
        None => format!("nothing {heard}: {place} Still listening."),
        Some(lane) => format!(
            "nothing of lane {lane:?} {heard}: has the station a lane of this name? Listen without --lane to see which it has. \
             If that hears nothing either: {place} Still listening."
        ),
    }
}

/// What was heard, for the end.
#[derive(Debug, Default)]
struct Summary {
    pass: u64,
    reject: u64,
    hold: u64,
    missed: u64,
}

impl Summary {
    fn count(&mut self, kind: VerdictKind) {
        match kind {
            VerdictKind::Pass => self.pass += 1,
            VerdictKind::Reject => self.reject += 1,
            VerdictKind::Hold => self.hold += 1,
        }
    }

    fn verdicts(&self) -> u64 {
        self.pass + self.reject + self.hold
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} verdicts: {} pass, {} reject, {} hold; {} missed", self.verdicts(), self.pass, self.reject, self.hold, self.missed)
    }
}

#[cfg(test)]
mod tests;
