//! `hairline bench`: what each stage of the line costs on this machine.

use super::against::seconds_a_cell;
use super::run::start_log;
use crate::cell::{CELL_PX, CameraEvent, LineBlock, Moment, PixelFormat, ProbabilityMap, ProbabilityRow, StitchEvent, TileRow};
use crate::config::{Belt, DeviceChoice, GapKind, Precision, Wafer, WaferKind};
use crate::inspect::Inspector;
use crate::judge::{Recipe, judge};
use crate::publish::encode_mask;
use crate::simulate::{Lay, WaferSettings, lay, wafer};
use crate::station::load_checkpoint;
use crate::stitch::Stitcher;
use anyhow::Context;
use bytes::Bytes;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

const LINE_PX: u32 = 1500;
const BLOCK_LINES: u32 = 128;
const GAP_LINES: u32 = 100;
const SKEW_DEG: f64 = 1.5;

/// Arguments of `hairline bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// The network to time; without one every stage but the network is timed
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Simulated wafers to time, after one to warm up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    cells: u64,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Where the network runs: auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// How exactly the network is computed: f32, f32-grade, bf16 or int8
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Hold the network against another program: a shell command that infers the same cells and ends with a line such as
    /// {"seconds": [0.13, 0.14]}; it is run before and after, and the ratio of the medians told
    #[arg(long, value_name = "COMMAND", requires = "model")]
    against: Option<String>,
}

/// Times each stage on simulated wafers that lie turned by 1.5°, one core for all but the network.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    start_log("warn");
    let started = Instant::now();
    let mut inspector = match &args.model {
        Some(file) => Some(Inspector::new(&load_checkpoint(file)?, args.device, args.precision, args.threads)?),
        None => None,
    };
    if let Some(inspector) = &mut inspector {
        inspector.warm_up()?;
        println!("{}: loaded, compiled and warm after {:.0} ms", inspector.info().engine, ms_since(started));
    }
    let ask = || args.against.as_deref().map(seconds_a_cell).transpose();
    let mut others = ask()?.unwrap_or_default();
    let stages = ["stitch", "network", "last row", "judge", "encode mask"];
    let mut times: [Vec<f64>; 5] = Default::default();
    let bar = indicatif::ProgressBar::new(args.cells + 1);
    for index in 0..=args.cells {
        let measured = time_cell(index, inspector.as_mut())?;
        if index > 0 {
            for (all, ms) in times.iter_mut().zip(measured) {
                all.push(ms);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    others.extend(ask()?.unwrap_or_default());
    println!("milliseconds a cell of {CELL_PX}×{CELL_PX}, 8 bit, skew {SKEW_DEG}°, {} cells", args.cells);
    println!("{:<12} {:>9} {:>9} {:>9} {:>9}", "stage", "min", "median", "p99", "max");
    let network_ms = median(times[1].clone()).unwrap_or_default();
    for (stage, mut all) in stages.into_iter().zip(times) {
        all.sort_by(f64::total_cmp);
        if matches!(stage, "network" | "last row") && args.model.is_none() {
            continue;
        }
        let most = all.len() - 1;
        println!("{stage:<12} {:>9.2} {:>9.2} {:>9.2} {:>9.2}", all[0], all[all.len() / 2], all[most * 99 / 100], all[most]);
    }
    if let Some(other) = median(others) {
        println!("against: {:.1} ms; the network takes {:.2} of it", 1000.0 * other, network_ms / 1000.0 / other);
    }
    if let Some(mb) = super::memory::peak_mb() {
        println!("{mb:.0} MB of memory at most, simulated wafers and all");
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of stitching, network, its last row, judging and encoding for one simulated wafer.
fn time_cell(index: u64, inspector: Option<&mut Inspector>) -> anyhow::Result<[f64; 5]> {
    let settings = WaferSettings { kind: WaferKind::Laser, seed: 1, cracked_share: 0.5, corner_px: Some(0) };
    let made = wafer(&settings, index);
    let side_px = f64::from(LINE_PX) * 0.92;
    let gap_level = 250;
    let how = Lay { line_width_px: LINE_PX, side_px, skew_deg: SKEW_DEG, offset_px: 0.0, gap_level, noise: 1.0, noise_seed: index };
    let laid = lay(&made, &how);
    let gap = vec![gap_level; (GAP_LINES * LINE_PX) as usize];
    let pixels = Bytes::from([gap.as_slice(), &laid.pixels, &gap].concat());
    let product = Wafer::of_format("M10").context("M10 is a known format")?;
    let scale = product.width_mm / side_px;
    let belt = Belt {
        gap: GapKind::Bright,
        edge_level: 0.93,
        gap_level: 0.955,
        edge_lines: 3,
        skew_deg_max: 3.2,
        mm_per_px: Some(scale),
        mm_per_line: Some(scale),
    };
    let mut stitcher = Stitcher::new(Arc::from("bench"), &product, &belt, None)?;

    let started = Instant::now();
    let mut out = Vec::new();
    let lines = laid.lines + 2 * GAP_LINES;
    for first in (0..lines).step_by(BLOCK_LINES as usize) {
        let count = BLOCK_LINES.min(lines - first);
        let bytes = (first * LINE_PX) as usize..((first + count) * LINE_PX) as usize;
        let block = LineBlock {
            first_line: u64::from(first),
            lines: count,
            width_px: LINE_PX,
            stride_bytes: LINE_PX as usize,
            format: PixelFormat::Gray8,
            pixels: pixels.slice(bytes),
            last_line_at: Moment::now(),
            camera_time_ns: None,
            encoder_count: None,
            line_period_ns: 0.0,
        };
        stitcher.push(&CameraEvent::Block(block), &mut out);
    }
    let stitch_ms = ms_since(started);

    let rows: Vec<TileRow> = out.into_iter().filter_map(|e| if let StitchEvent::Row(row) = e { Some(row) } else { None }).collect();
    let (mut network_ms, mut last_row_ms) = (0.0, 0.0);
    let mut seen: Vec<ProbabilityRow> = Vec::new();
    match inspector {
        // Row by row, as on the line: when the cell's last line is in, only the last row is left.
        Some(inspector) => {
            for row in &rows {
                let started = Instant::now();
                seen.push(inspector.inspect(row)?);
                last_row_ms = ms_since(started);
                network_ms += last_row_ms;
            }
        }
        None => seen.extend(rows.iter().map(|row| truth_as_probability(row, &made.mask))),
    }
    let [a, b, c] = seen.as_slice() else { anyhow::bail!("the stitcher gave {} rows for simulated wafer {index}, not 3", seen.len()) };
    let values = [a, b, c].map(|r| r.values.clone());
    let map = ProbabilityMap::new(values, [a, b, c].map(|r| r.spans.clone())).context("rows of another size")?;

    let started = Instant::now();
    let judgement = judge(&map, product.width_mm / CELL_PX as f64, &[], 0.5, &Recipe::default());
    let judge_ms = ms_since(started);
    let started = Instant::now();
    encode_mask(&judgement.mask)?;
    Ok([stitch_ms, network_ms, last_row_ms, judge_ms, ms_since(started)])
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn ms_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}

/// Where no network is timed, the judge gets the simulation's own mask.
fn truth_as_probability(row: &TileRow, mask: &crate::cell::Mask) -> ProbabilityRow {
    let first = usize::from(row.row) * (TileRow::PIXELS / CELL_PX);
    let values = (0..TileRow::PIXELS).map(|i| if mask.get(i % CELL_PX, first + i / CELL_PX) { 255 } else { 0 });
    ProbabilityRow { cell: row.cell.clone(), row: row.row, values: values.collect(), spans: row.spans.clone() }
}
