//! `train search`: which α suits the data.

use super::interrupt::Interrupt;
use super::options::FitOptions;
use super::trials::{Last, Trial, TrialOptions, TrialResult};
use crate::train::{Chart, Goal, Guide, SearchRow, Series, centroids, guide, search_table, trainings_table, write_beside};
use std::path::PathBuf;
use std::process::ExitCode;

/// Find the weight of false alarms against missed cracks (alpha) that suits the data.
///
/// Guided by the output imbalance index (OII), it bisects the candidates 1/2N, 3/2N ... until the index on the
/// validation pictures lies within the goal: at most floor(log2 N) + 1 trainings. A grid trains all N. A training is
/// measured by its last evaluation, not its best, which is a matter of luck. Every training is a run folder in --dir;
/// the same command goes on where it was interrupted, and grid and guided search share their trainings. Takes the
/// options of `train fit`. Leaves table.md and oii.svg in --dir.
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
    /// Number of candidates
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
    let args = TrainSearchArgs { options: args.options.with_absolute_paths()?, ..args };
    args.options.check_alpha()?;
    std::fs::create_dir_all(&args.dir)?;
    let mut rows = Vec::new();
    let mut tried: Vec<(f64, TrialResult)> = Vec::new();
    let interrupt = Interrupt::listen()?;
    let train = |alphas: &[f64]| {
        let trials: Vec<Trial> = alphas.iter().map(|alpha| args.trial(*alpha)).collect();
        let Some(ends) = args.trials.run(&trials, commit, &interrupt)? else { return Ok(None) };
        ends.into_iter().collect::<Result<Vec<_>, _>>().map(Some).map_err(anyhow::Error::msg)
    };
    if args.method != Method::Grid {
        let chosen = loop {
            let history: Vec<(f64, f64)> = tried.iter().map(|(alpha, result)| (*alpha, result.last.oii)).collect();
            match guide(parts, &args.goal, &history) {
                Guide::Train(alpha) => {
                    let Some(results) = train(&[alpha])? else { return Ok(interrupted()) };
                    tried.extend(results.iter().map(|result| (alpha, *result)));
                    results
                        .iter()
                        .for_each(|r| eprintln!("alpha {alpha:.3}: IoU {:.3}, PA {:.3}, OII {:+.3}", r.last.iou, r.last.pa, r.last.oii));
                }
                Guide::Reached(alpha) => break alpha,
                Guide::Nearest(alpha) => {
                    eprintln!("no candidate's OII lies within {} to {}; the nearest is taken", args.goal.low, args.goal.high);
                    break alpha;
                }
            }
        };
        rows.push(row("basic", 1, &tried[0]));
        rows.extend(tried.iter().find(|(alpha, _)| *alpha == chosen).map(|found| row("OII-guided", tried.len(), found)));
    }
    if args.method != Method::Guided {
        let alphas = centroids(parts);
        let Some(results) = train(&alphas)? else { return Ok(interrupted()) };
        tried = alphas.into_iter().zip(results).collect();
        let best = tried.iter().max_by(|one, other| one.1.last.iou.total_cmp(&other.1.last.iou));
        rows.extend(best.map(|best| row(&format!("{parts}-way grid"), parts, best)));
    }
    tried.sort_by(|one, other| one.0.total_cmp(&other.0));
    let loss = args.options.loss_name();
    let trainings: Vec<_> = tried.iter().map(|found| row("", 1, found)).collect();
    let table = search_table(&loss, &rows) + "\nAll trainings:\n\n" + &trainings_table(&trainings);
    println!("{table}");
    write_beside(&args.dir.join("table.md"), table.as_bytes())?;
    write_beside(&args.dir.join("oii.svg"), plot(&loss, &args.goal, &tried).svg().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl TrainSearchArgs {
    fn trial(&self, alpha: f64) -> Trial {
        Trial { folder: self.dir.join(format!("alpha-{alpha:.4}")), options: self.options.clone().with_alpha(alpha) }
    }
}

fn row(method: &str, trainings: usize, (alpha, result): &(f64, TrialResult)) -> SearchRow {
    let Last { iou, mean_iou, pa, oii } = result.last;
    SearchRow { method: method.into(), trainings, alpha: *alpha, iou, mean_iou, pa, oii }
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
        log_y: false,
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
    eprintln!("interrupted; the same command goes on");
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
    fn goals_are_intervals_within_the_index() {
        assert_eq!(goal("-0.1, 0.2"), Ok(Goal { low: -0.1, high: 0.2 }));
        for wrong in ["0.2", "0.4,0.2", "0,2", "a,b", "nan,nan"] {
            assert!(goal(wrong).is_err(), "{wrong}");
        }
    }
}
