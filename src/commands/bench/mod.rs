//! `hairline bench`: what each stage of the line costs on this machine.

mod blocks;
mod cell;
mod lanes;

use self::cell::{SKEW_DEG, StitchedCell};
use self::lanes::{Kept, Load};
use super::against::seconds_a_cell;
use super::arguments::threads;
use super::log;
use super::terminal::say;
use crate::cell::{CELL_PX, ProbabilityMap, mask_png};
use crate::config::{DeviceChoice, Precision};
use crate::inspect::Inspector;
use crate::judge::{Recipe, judge};
use crate::nn::{Checkpoint, limit_instructions};
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Wafers simulated and stitched; further cells are these again, stitching left out.
const DISTINCT: u64 = 20;

/// Time each stage of the line on this machine.
///
/// Simulated wafers that lie turned by 1.5° are stitched, inspected and judged, with one core for all but the network. Other
/// programs that run meanwhile make everything slower.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// The network to time; without one every stage but the network is timed
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Cells to time, after one to warm up; the wafers of the first 20 are simulated and shown again after them
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    cells: u64,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads, requires = "model")]
    threads: usize,
    /// Where the network runs: auto, cpu or cuda:N
    #[arg(long, default_value = "cpu", requires = "model")]
    device: DeviceChoice,
    /// How exactly the network is computed: f32, f32-grade, bf16, f16 (U-Nets on CUDA) or int8
    #[arg(long, default_value_t, requires = "model")]
    precision: Precision,
    /// Do with no greater instruction set of the CPU than this: portable, avx2, avx512, avx512-vnni, avx512-bf16 or amx
    #[arg(long, value_name = "SET")]
    instructions: Option<String>,
    /// Tell what each block of a network multiplies, moves and takes a tile, and its share of what the CPU's multipliers give
    #[arg(long, requires = "model")]
    blocks: bool,
    /// Hold the network against another program: a shell command that infers the same cells and ends with a line such as
    /// {"seconds": [0.13, 0.14]}; it is run before and after, and the ratio of the medians told
    #[arg(long, value_name = "COMMAND", requires = "model")]
    against: Option<String>,
    /// Then hold a load of so many lanes for as many cells and tell how late each one's last row comes
    #[arg(long, value_name = "N", requires = "model", value_parser = clap::value_parser!(u32).range(1..=1000))]
    lanes: Option<u32>,
    /// Milliseconds from a cell to the next on each of these lanes
    #[arg(long, value_name = "MS", default_value_t = 1000, requires = "lanes", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    takt_ms: u64,
    /// Milliseconds that may pass from such a cell's last line to its last row's probabilities
    #[arg(long, value_name = "MS", default_value_t = 100, requires = "lanes")]
    deadline_ms: u64,
}

/// Times each stage on simulated wafers that lie turned by 1.5°, one core for all but the network.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    log::start("warn");
    if let Some(most) = &args.instructions {
        limit_instructions(most)?;
    }
    let started = Instant::now();
    let mut inspector = match &args.model {
        Some(file) => Some(Inspector::new(&Checkpoint::load(file)?, args.device, args.precision, args.threads)?),
        None => None,
    };
    if let Some(inspector) = &mut inspector {
        inspector.warm_up()?;
        say!("{}: loaded, compiled and warm after {:.0} ms", inspector.info().engine, ms_since(started))?;
    }
    let ask = || args.against.as_deref().map(seconds_a_cell).transpose();
    let mut others = ask()?.unwrap_or_default();
    let stages = ["network", "last row", "at once", "judge", "encode mask"];
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut cells = Vec::new();
    let bar = indicatif::ProgressBar::new(args.cells + 1);
    for index in 0..=args.cells {
        if index <= DISTINCT.min(args.cells) {
            cells.push(StitchedCell::new(index)?);
        }
        let Some(cell) = cells.get((index % (DISTINCT + 1)) as usize) else { continue };
        let measured = time_cell(cell, inspector.as_mut())?;
        if index > 0 {
            for (all, ms) in times.iter_mut().zip(measured) {
                all.extend(ms);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    others.extend(ask()?.unwrap_or_default());
    say!("milliseconds a cell of {CELL_PX}×{CELL_PX}, 8 bit, skew {SKEW_DEG}°, {} cells", args.cells)?;
    say!("{:<12} {:>9} {:>9} {:>9} {:>9}", "stage", "min", "median", "p99", "max")?;
    let stitching = Spread::of(cells.iter().skip(1).map(|cell| cell.stitch_ms).collect());
    let spreads = times.map(Spread::of);
    let all = std::iter::once(("stitch", &stitching)).chain(stages.into_iter().zip(&spreads));
    for (stage, Spread { min, median, p99, max }) in all.filter(|(_, spread)| spread.max > 0.0) {
        say!("{stage:<12} {min:>9.2} {median:>9.2} {p99:>9.2} {max:>9.2}")?;
    }
    if !others.is_empty() {
        let other_ms = 1000.0 * Spread::of(others).median;
        say!("against: {other_ms:.1} ms; the network takes {:.2} of it", spreads[0].median / other_ms)?;
    }
    if args.blocks {
        match inspector.as_ref().and_then(Inspector::roofline) {
            Some(roofline) => say!("{}", blocks::table(&roofline))?,
            None => say!("blocks: only networks on the CPU can be told by blocks")?,
        }
    }
    if let (Some(lanes), Some(inspector)) = (args.lanes, &mut inspector) {
        let [takt, deadline] = [args.takt_ms, args.deadline_ms].map(Duration::from_millis);
        let Kept { last_row_ms, cells, late, busy_share, rows_a_batch } =
            Load { lanes, takt, deadline }.hold(inspector, &cells, u32::try_from(args.cells).unwrap_or(u32::MAX))?;
        say!(
            "{lanes} lanes, a cell each {} ms: {late} of {cells} cells later than {} ms after their last line",
            args.takt_ms,
            args.deadline_ms
        )?;
        say!(
            "last row after median {:.2}, p99 {:.2}, at most {:.2} ms; {rows_a_batch:.1} rows at a time, the network busy for {:.0} % of the time",
            last_row_ms.median,
            last_row_ms.p99,
            last_row_ms.max,
            100.0 * busy_share
        )?;
    }
    if let Some(mb) = super::memory::peak_mb() {
        say!("{mb:.0} MB of memory at most, simulated wafers and all")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of the network row by row, of its last row, of the network on all rows in one batch where it takes as many, of
/// judging and of encoding.
fn time_cell(cell: &StitchedCell, inspector: Option<&mut Inspector>) -> anyhow::Result<[Option<f64>; 5]> {
    let (mut network_ms, mut last_row_ms, mut at_once_ms) = (None, None, None);
    let [a, b, c] = match inspector {
        // Row by row, as on the line: when the cell's last line is in, only the last row is left.
        Some(inspector) => {
            if inspector.batch() >= cell.rows.len() {
                let started = Instant::now();
                inspector.inspect_all(&cell.rows).into_iter().collect::<Result<Vec<_>, _>>()?;
                at_once_ms = Some(ms_since(started));
            }
            let begun = Instant::now();
            let [first, second, last] = &cell.rows;
            let (first, second) = (inspector.inspect(first)?, inspector.inspect(second)?);
            let started = Instant::now();
            let last = inspector.inspect(last)?;
            (network_ms, last_row_ms) = (Some(ms_since(begun)), Some(ms_since(started)));
            [first, second, last]
        }
        None => cell.truth(),
    };
    let spans = [&a, &b, &c].map(|row| row.spans.clone());
    let map = ProbabilityMap::new([a.values, b.values, c.values], spans).context("rows of another size")?;

    let started = Instant::now();
    let judgement = judge(&map, cell.mm_per_px, &[], 0.5, &Recipe::default());
    let judge_ms = ms_since(started);
    let started = Instant::now();
    mask_png::encode(&judgement.mask)?;
    Ok([network_ms, last_row_ms, at_once_ms, Some(judge_ms), Some(ms_since(started))])
}

/// How values lie; all 0 where there are none.
#[derive(Debug, Default, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(most) = values.len().checked_sub(1) else { return Self::default() };
        // The least that 99 of 100 are not above.
        let p99 = values[(values.len() * 99).div_ceil(100) - 1];
        Self { min: values[0], median: values[values.len() / 2], p99, max: values[most] }
    }
}

fn ms_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninety_nine_of_a_hundred_are_not_above_p99() {
        let spread = |count: u32| Spread::of((1..=count).rev().map(f64::from).collect());
        assert_eq!([1, 2, 20, 100, 101, 1000].map(|count| spread(count).p99), [1.0, 2.0, 20.0, 99.0, 100.0, 990.0]);
        let Spread { min, median, max, .. } = spread(3);
        assert_eq!([min, median, max], [1.0, 2.0, 3.0]);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
