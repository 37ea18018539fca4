//! `train compare`: losses × networks × data sets, as one file says.

use super::interrupt::Interrupt;
use super::options::FitOptions;
use super::trials::{MEANS, Trial, TrialOptions, told_below};
use crate::commands::terminal::{note, say};
use crate::train::{Chart, Compared, RunFolder, Scale, Series, comparison_tables, write_beside};
use anyhow::{Context, bail};
use clap::Parser;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Train every loss with every network on every data set, with several seeds, and print the paper's tables
///
/// The plan is a TOML file:
///
///   seeds = [1, 2, 3]
///   losses = ["dibe", "tversky"]      # as --loss takes them
///   networks = ["unet"]               # as --network takes them; may be left out
///   [options]                         # of `train fit`, for all
///   steps = 3000
///   base-width = 16
///   [data.Crack]                      # options of `train fit` for one data set, before those for all
///   data = "mtsdd-crack"              # in --data-root; other files lie beside the plan
///
/// Every training is a run folder in --dir; the same command goes on where it was interrupted, and
/// refuses what was trained on data that have changed. Leaves table.md, results.csv and, for each
/// data set, a plot of the IoU by step (iou-DATA.svg) in --dir.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[allow(rustdoc::broken_intra_doc_links)] // the plan's [tables] are no links
pub struct TrainCompareArgs {
    /// The plan
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// Folder of the trainings and tables
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where the data folders of the plan lie [default: beside it]
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    #[command(flatten)]
    trials: TrialOptions,
}

/// Where the files that a plan names are looked for.
#[derive(Debug, Clone, Copy)]
struct Places<'a> {
    data: &'a Path,
    others: &'a Path,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    seeds: Vec<u64>,
    losses: Vec<String>,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    options: toml::Table,
    data: BTreeMap<String, toml::Table>,
}

/// Reads options of `train fit` as the command line would.
#[derive(Debug, clap::Parser)]
#[command(name = "train fit", no_binary_name = true)]
struct Options {
    #[command(flatten)]
    options: FitOptions,
}

/// Runs the command; `commit` is that of the source the program was built from, where it is known.
pub fn run(args: TrainCompareArgs, commit: Option<&str>) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.plan).with_context(|| format!("{}: cannot be read", args.plan.display()))?;
    let plan: Plan = toml::from_str(&text).with_context(|| format!("{}: cannot be understood", args.plan.display()))?;
    let beside = args.plan.parent().unwrap_or(Path::new("."));
    let places = Places { data: args.data_root.as_deref().unwrap_or(beside), others: beside };
    let (names, trials): (Vec<Compared>, Vec<Trial>) =
        plan.trials(places, &args.dir).with_context(|| args.plan.display().to_string())?.into_iter().unzip();
    note!("{} trainings", trials.len());
    std::fs::create_dir_all(&args.dir)?;
    let Some(ends) = args.trials.run(&trials, commit, &Interrupt::listen()?)? else {
        note!("interrupted; the same command goes on");
        return Ok(ExitCode::FAILURE);
    };
    let figures = |(name, result): (Compared, &super::trials::TrialResult)| Compared {
        iou: result.iou,
        mean_iou: result.mean_iou,
        pa: result.pa,
        oii: result.oii,
        // Trainings of earlier versions tell one though their last evaluation found nothing.
        half_step: result.step_of_half_the_final_iou.filter(|_| result.last.iou > 0.0),
        ..name
    };
    let failed: Vec<String> = ends.iter().filter_map(|end| end.as_ref().err().cloned()).collect();
    let all: Vec<Compared> = names.into_iter().zip(&ends).filter_map(|(name, end)| Some(figures((name, end.as_ref().ok()?)))).collect();
    let done: Vec<Trial> = trials.into_iter().zip(&ends).filter_map(|(trial, end)| end.is_ok().then_some(trial)).collect();
    let tables = comparison_tables(&all) + MEANS + &told_below(&failed, ends.len(), &done)?;
    let line = |c: &Compared| {
        let mean = c.mean_iou.map_or(String::new(), |mean| mean.to_string());
        format!("{},{},{},{},{},{},{},{mean}\n", c.data, c.network, c.loss, c.seed, c.iou, c.pa, c.oii)
    };
    let csv = "data,network,loss,seed,iou,pa,oii,mean_iou\n".to_owned() + &all.iter().map(line).collect::<String>();
    write_beside(&args.dir.join("table.md"), tables.as_bytes())?;
    write_beside(&args.dir.join("results.csv"), csv.as_bytes())?;
    for data in plan.data.keys() {
        let trained = all.iter().filter(|done| done.data == *data);
        write_beside(&args.dir.join(format!("iou-{data}.svg")), curves(data, trained, &args.dir)?.svg().as_bytes())?;
    }
    say!("{tables}")?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a training lies.
fn folder(dir: &Path, Compared { data, network, loss, seed, .. }: &Compared) -> PathBuf {
    dir.join(format!("{data}-{network}-{loss}-seed{seed}"))
}

/// Validation IoU by step of the trainings on one data set, those of all seeds of a network and a loss in one colour.
fn curves<'a>(data: &str, trained: impl Iterator<Item = &'a Compared>, dir: &Path) -> anyhow::Result<Chart> {
    let trained: Vec<&Compared> = trained.collect();
    let one_network = trained.iter().all(|done| done.network == trained[0].network);
    let mut series: Vec<Series> = Vec::new();
    let mut last = None;
    for done in trained {
        let log = RunFolder::open(&folder(dir, done))?.log()?;
        let points = log.evaluations().map(|evaluation| (evaluation.step as f64, evaluation.iou)).collect();
        let kind = (&done.network, &done.loss);
        let name = match last.replace(kind) == Some(kind) {
            true => String::new(),
            false if one_network => done.loss.clone(),
            false => format!("{} {}", done.network, done.loss),
        };
        series.push(Series { name, points, dots: false });
    }
    Ok(Chart {
        title: format!("{data}: validation IoU, a line for each seed"),
        x_label: "step".into(),
        y_range: None,
        y_scale: Scale::Even,
        series,
    })
}

/// Options that the plan has lists of.
const LISTED: [&str; 3] = ["loss", "network", "seed"];

impl Plan {
    /// Every training with its names; figures are filled in later.
    fn trials(&self, places: Places, dir: &Path) -> anyhow::Result<Vec<(Compared, Trial)>> {
        if self.seeds.is_empty() || self.losses.is_empty() || self.data.is_empty() {
            bail!("nothing to compare: seeds, losses and data must each name at least one");
        }
        // Without a choice, the network is that of `train fit`.
        let networks: Vec<Option<&str>> =
            if self.networks.is_empty() { vec![None] } else { self.networks.iter().map(|n| Some(n.as_str())).collect() };
        let mut trials = Vec::new();
        for (data, own) in &self.data {
            if Path::new(data).file_name() != Some(data.as_ref()) {
                bail!("[data.{data:?}]: a data set's name becomes part of files' names; give it one without / and other than . and ..");
            }
            let told: toml::Table = self.options.iter().chain(own).map(|(key, value)| (key.clone(), value.clone())).collect();
            if let Some(key) = told.keys().find(|key| LISTED.contains(&key.as_str())) {
                bail!("{key}: is no option for [options] or [data.{data}]; name all that are compared in losses, networks and seeds");
            }
            for loss in &self.losses {
                for network in &networks {
                    for seed in &self.seeds {
                        let mut arguments = arguments(&told, places).with_context(|| format!("[options] and [data.{data}]"))?;
                        arguments.extend(["--loss".into(), loss.clone(), "--seed".into(), seed.to_string()]);
                        arguments.extend(network.iter().flat_map(|network| ["--network".to_owned(), (*network).to_owned()]));
                        let network = network.unwrap_or("unet");
                        let options = Options::try_parse_from(arguments).with_context(|| format!("{data}, {network}, {loss}"))?.options;
                        let names = Compared {
                            data: data.clone(),
                            network: network.into(),
                            loss: loss.clone(),
                            seed: *seed,
                            iou: 0.0,
                            mean_iou: None,
                            pa: 0.0,
                            oii: 0.0,
                            half_step: None,
                        };
                        let folder = folder(dir, &names);
                        trials.push((names, Trial { folder, options: options.settled()? }));
                    }
                }
            }
        }
        Ok(trials)
    }
}

/// Options of a table as arguments.
fn arguments(table: &toml::Table, places: Places) -> anyhow::Result<Vec<String>> {
    const PATHS: [&str; 3] = ["split", "groups", "init"];
    let mut arguments = Vec::new();
    for (key, value) in table {
        let name = format!("--{key}");
        match value {
            toml::Value::Boolean(true) => arguments.push(name),
            toml::Value::Boolean(false) => {}
            toml::Value::String(text) if key == "data" => arguments.extend([name, places.data.join(text).display().to_string()]),
            toml::Value::String(text) if PATHS.contains(&key.as_str()) => {
                arguments.extend([name, places.others.join(text).display().to_string()]);
            }
            toml::Value::String(text) => arguments.extend([name, text.clone()]),
            toml::Value::Integer(number) => arguments.extend([name, number.to_string()]),
            toml::Value::Float(number) => arguments.extend([name, number.to_string()]),
            other => bail!("{key}: {} is no option's value; give a text, a number, true or false", other.type_str()),
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(text: &str) -> anyhow::Result<Vec<(Compared, Trial)>> {
        let places = Places { data: Path::new("/data"), others: Path::new("/plans") };
        toml::from_str::<Plan>(text)?.trials(places, Path::new("/out"))
    }

    #[test]
    fn every_combination_is_trained_with_its_options() {
        let text = "seeds = [1, 2]\nlosses = [\"dibe\", \"tversky\"]\n[options]\nsteps = 9\naugment = \"none\"\n\
                    [data.Crack]\ndata = \"crack\"\n[data.wafers]\nsimulate = \"laser\"\nsteps = 7";
        let all = trials(text).unwrap();
        assert_eq!(all.len(), 8);
        let folders: Vec<String> = all.iter().map(|(_, trial)| trial.folder.display().to_string()).collect();
        assert_eq!(folders[0], "/out/Crack-unet-dibe-seed1");
        assert_eq!(folders[7], "/out/wafers-unet-tversky-seed2");
        let told = serde_json::to_value(&all[0].1.options).unwrap();
        assert_eq!((told["data"].as_str(), told["steps"].as_u64(), told["seed"].as_u64()), (Some("/data/crack"), Some(9), Some(1)));
        let told = serde_json::to_value(&all[7].1.options).unwrap();
        assert_eq!((told["steps"].as_u64(), told["augment"].as_str()), (Some(7), Some("none")), "a data set's own go before");
    }

    #[test]
    fn faults_of_a_plan_are_named() {
        let fault = |text: &str| format!("{:#}", trials(text).unwrap_err());
        let good = "seeds = [1]\nlosses = [\"dibe\"]\n[data.Crack]\ndata = \"crack\"\n";
        assert!(fault(&good.replace("dibe", "dibble")).contains("dibble"));
        assert!(fault(&good.replace("[1]", "[]")).contains("seeds"));
        assert!(fault(&(good.to_owned() + "seed = 4")).contains("seed: is no option for [options] or [data.Crack]"));
        let unknown = fault(&(good.to_owned() + "setps = 4"));
        assert!(unknown.contains("setps") && unknown.contains("train fit"), "{unknown}");
        assert!(fault(&(good.to_owned() + "steps = [4]")).contains("array"));
        assert!(fault(&good.replace("losses", "loses")).contains("loses"));
        assert!(fault(&good.replace("data.Crack", "data.\"lot/7\"")).contains("lot/7"));
    }
}
