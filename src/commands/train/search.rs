//! `train search`: which α suits the data.

use super::interrupt::Interrupt;
use super::options::FitOptions;
use super::trials::{Last, MEANS, Trial, TrialEnd, TrialOptions, TrialResult, told_below};
use crate::commands::terminal::{note, say};
use crate::train::{
    Chart, Goal, Guide, Scale, SearchRow, Series, centroids, guide, most_trainings, search_table, trainings_table, write_beside,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Find the weight of false alarms against missed cracks (alpha) that suits the data.
///
/// Guided by the output imbalance index (OII), it bisects the candidates 1/2N, 3/2N ... until the index on the
/// validation pictures lies within the goal: at most floor(log2 N) + 1 trainings. A grid trains all N. A training is
/// measured by its last evaluation, not its best, which is a matter of luck. Every training is a run folder in --dir;
/// the same command goes on where it was interrupted, and grid and guided search share their trainings. A training
/// that fails, or whose data have changed, is left out and named. Takes the options of `train fit`. Leaves table.md and oii.svg in --dir.
#[derive(Debug, clap::Args)]
pub struct TrainSearchArgs {
    /// Folder of the trainings, the table and the plot
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How alpha is chosen
    #[arg(long, value_enum, default_value = "guided")]
    method: Method,
    /// The interval in which the OII is wanted, such as 0.2,0.4: above 0 there are more false alarms than misses
    #[arg(long, value_name = "LOW,HIGH", default_value = "0.2,0.4", value_parser = goal, allow_hyphen_values = true)]
    goal: Goal,
    /// Number of candidates; of an odd number the middle one is 0.5, the paper's basic training
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=999))]
    parts: u16,
    #[command(flatten)]
    trials: TrialOptions,
    #[command(flatten)]
    options: FitOptions,
}

/// What `--method` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Bisection by the output imbalance index
    Guided,
    /// All candidates; the one of the highest IoU
    Grid,
    /// Both, to compare them
    Both,
}

/// Runs the command; `commit` is that of the source the program was built from, where it is known.
pub fn run(args: TrainSearchArgs, commit: Option<&str>) -> anyhow::Result<ExitCode> {
    let parts = usize::from(args.parts);
    let args = TrainSearchArgs { options: args.options.settled()?, ..args };
    args.options.check_alpha()?;
    std::fs::create_dir_all(&args.dir)?;
    let mut rows = Vec::new();
    let (mut tried, mut failed, mut reached) = (Vec::new(), Vec::new(), String::new());
    let interrupt = Interrupt::listen()?;
    if args.method != Method::Grid {
        let Some(guided) = args.guided(parts, commit, &interrupt)? else { return Ok(interrupted()) };
        rows.extend(guided.rows);
        (tried, failed) = (guided.tried, guided.failed);
        let what = if guided.reached { "reached" } else { "not reached, the nearest is told" };
        reached = format!("\ngoal {} to {}: {what}\n", signed(args.goal.low), signed(args.goal.high));
    }
    if args.method != Method::Guided {
        let alphas = centroids(parts);
        let Some(ends) = args.train(&alphas, commit, &interrupt)? else { return Ok(interrupted()) };
        (tried, failed) = sorted_out(&alphas, ends);
        let best = tried.iter().max_by(|one, other| one.1.last.iou.total_cmp(&other.1.last.iou));
        rows.extend(best.map(|best| row(&format!("{parts}-way grid"), parts, best)));
    }
    tried.sort_by(|one, other| one.0.total_cmp(&other.0));
    let loss = args.options.loss_name();
    let trainings: Vec<_> = tried.iter().map(|found| row("", 1, found)).collect();
    let done: Vec<Trial> = tried.iter().map(|(alpha, _)| args.trial(*alpha)).collect();
    let below = told_below(&failed, tried.len() + failed.len(), &done)?;
    let table = format!("{}{reached}\nAll trainings:\n\n{}\n{MEANS}{below}", search_table(&loss, &rows), trainings_table(&trainings));
    write_beside(&args.dir.join("table.md"), table.as_bytes())?;
    write_beside(&args.dir.join("oii.svg"), plot(&loss, &args.goal, &tried).svg().as_bytes())?;
    say!("{table}")?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a guided search came to.
struct Guided {
    rows: Vec<SearchRow>,
    tried: Vec<(f64, TrialResult)>,
    /// Whether the chosen training's index lies within the goal.
    reached: bool,
    /// Why trainings failed.
    failed: Vec<String>,
}

/// The trainings that ended with a result, and why the others failed.
fn sorted_out(alphas: &[f64], ends: Vec<TrialEnd>) -> (Vec<(f64, TrialResult)>, Vec<String>) {
    let (mut tried, mut failed) = (Vec::new(), Vec::new());
    for (alpha, end) in alphas.iter().zip(ends) {
        match end {
            Ok(result) => tried.push((*alpha, result)),
            Err(problem) => failed.push(problem),
        }
    }
    (tried, failed)
}

impl TrainSearchArgs {
    /// Trains with each of `alphas`; `None` where that was interrupted.
    fn train(&self, alphas: &[f64], commit: Option<&str>, interrupt: &Interrupt) -> anyhow::Result<Option<Vec<TrialEnd>>> {
        let trials: Vec<Trial> = alphas.iter().map(|alpha| self.trial(*alpha)).collect();
        self.trials.run(&trials, commit, interrupt)
    }

    /// Bisects; a training that fails counts as one, and its α is left out. `None` where it was interrupted.
    fn guided(&self, parts: usize, commit: Option<&str>, interrupt: &Interrupt) -> anyhow::Result<Option<Guided>> {
        let mut candidates = centroids(parts);
        let (mut tried, mut failed) = (Vec::<(f64, TrialResult)>::new(), Vec::<String>::new());
        let (chosen, reached) = loop {
            if tried.len() + failed.len() == most_trainings(parts) {
                // What is tried is all there will be.
                candidates.clear();
            }
            let history: Vec<(f64, f64)> = tried.iter().map(|(alpha, result)| (*alpha, result.last.oii)).collect();
            match guide(&candidates, &self.goal, &history) {
                Guide::Train(alpha) => {
                    let Some(ends) = self.train(&[alpha], commit, interrupt)? else { return Ok(None) };
                    let (done, problems) = sorted_out(&[alpha], ends);
                    if done.is_empty() {
                        candidates.retain(|candidate| *candidate != alpha);
                    }
                    for (alpha, TrialResult { last: Last { iou, pa, oii, .. }, .. }) in &done {
                        note!("alpha {alpha:.3}: IoU {iou:.3}, PA {pa:.3}, OII {oii:+.3}");
                    }
                    tried.extend(done);
                    failed.extend(problems);
                }
                Guide::Reached(alpha) => break (alpha, true),
                Guide::Nearest(alpha) if tried.is_empty() => break (alpha, false),
                Guide::Nearest(alpha) => {
                    note!("no candidate's OII lies within {} to {}; the nearest is taken", self.goal.low, self.goal.high);
                    break (alpha, false);
                }
            }
        };
        let found = tried.iter().find(|(alpha, _)| *alpha == chosen);
        let rows = tried.first().map(first_row).into_iter().chain(found.map(|found| row("OII-guided", tried.len() + failed.len(), found)));
        Ok(Some(Guided { rows: rows.collect(), tried, reached, failed }))
    }

    fn trial(&self, alpha: f64) -> Trial {
        Trial { folder: self.dir.join(format!("alpha-{alpha:.4}")), options: self.options.clone().with_alpha(alpha) }
    }
}

fn row(method: &str, trainings: usize, (alpha, result): &(f64, TrialResult)) -> SearchRow {
    let Last { iou, mean_iou, pa, oii } = result.last;
    SearchRow { method: method.into(), trainings, alpha: *alpha, iou, mean_iou, pa, oii }
}

/// The paper's basic training is the one with α = ½, which an even number of candidates does not have.
fn first_row(found: &(f64, TrialResult)) -> SearchRow {
    row(if (found.0 - 0.5).abs() < 1e-9 { "basic" } else { "first candidate" }, 1, found)
}

/// A bound of the goal, as tables tell it.
fn signed(bound: f64) -> String {
    bound.to_string().replace('-', "−")
}

fn plot(loss: &str, goal: &Goal, tried: &[(f64, TrialResult)]) -> Chart {
    let curve = |name: &str, value: fn(&TrialResult) -> f64| Series {
        name: name.into(),
        points: tried.iter().map(|(alpha, result)| (*alpha, value(result))).collect(),
        dots: true,
    };
    let level = |name: &str, at: f64| Series { name: name.into(), points: vec![(0.0, at), (1.0, at)], dots: false };
    Chart {
        title: format!("Validation OII, IoU and PA over α, {loss}"),
        x_label: "α: weight of false alarms".into(),
        y_range: Some((-1.0, 1.0)),
        y_scale: Scale::Even,
        series: vec![
            curve("OII", |r| r.last.oii),
            curve("IoU", |r| r.last.iou),
            curve("PA", |r| r.last.pa),
            level("goal", goal.low),
            level("", goal.high),
        ],
    }
}

fn interrupted() -> ExitCode {
    note!("interrupted; the same command goes on");
    ExitCode::FAILURE
}

fn goal(text: &str) -> Result<Goal, String> {
    let wrong = || "must be two numbers within -1 and 1, the lower first, such as 0.2,0.4".to_owned();
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let (low, high) = low.trim().parse().ok().zip(high.trim().parse().ok()).ok_or_else(wrong)?;
    if -1.0 <= low && low <= high && high <= 1.0 { Ok(Goal { low, high }) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_training_with_an_alpha_of_a_half_is_called_basic() {
        let result = TrialResult { iou: 0.5, mean_iou: None, pa: 0.5, oii: 0.0, step_of_half_the_final_iou: None, last: Last::default() };
        let first = |parts: usize| match guide(&centroids(parts), &Goal { low: 0.2, high: 0.4 }, &[]) {
            Guide::Train(alpha) => first_row(&(alpha, result)).method,
            other => format!("{other:?}"),
        };
        assert_eq!([first(4), first(5)], ["first candidate", "basic"]);
    }

    #[test]
    fn goals_are_intervals_within_the_index() {
        assert_eq!(goal("-0.1, 0.2"), Ok(Goal { low: -0.1, high: 0.2 }));
        for wrong in ["0.2", "0.4,0.2", "0,2", "a,b", "nan,nan"] {
            assert!(goal(wrong).is_err(), "{wrong}");
        }
    }
}
