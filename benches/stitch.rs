//! What stitching costs: one 1300-px cell, turned by 2°, found, corrected and resampled to 1344 × 1344.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hairline::cell::{CameraEvent, LineBlock, Moment, PixelFormat};
use hairline::config::{Belt, GapKind, Wafer, WaferKind};
use hairline::simulate::{Lay, WaferSettings, lay, wafer};
use hairline::stitch::{Calibration, Stitcher};

const WIDTH_PX: u32 = 1420;
const SIDE_PX: f64 = 1300.0;
const GAP_LINES: usize = 40;

/// One cell with some gap around it, 8 bit, as one block.
fn cell() -> (Bytes, u32) {
    let settings = WaferSettings { kind: WaferKind::Laser, seed: 1, cracked_share: 1.0, corner_px: Some(0) };
    let how = Lay { line_width_px: WIDTH_PX, side_px: SIDE_PX, skew_deg: 2.0, offset_px: 3.0, gap_level: 8, noise: 1.0, noise_seed: 1 };
    let laid = lay(&wafer(&settings, 0), &how);
    let gap = vec![8; WIDTH_PX as usize * GAP_LINES];
    ([gap.clone(), laid.pixels, gap].concat().into(), laid.lines + 2 * GAP_LINES as u32)
}

fn blocks(pixels: &Bytes, lines: u32, first_line: u64) -> Vec<CameraEvent> {
    let width = WIDTH_PX as usize;
    let starts = (0..lines).step_by(64);
    let block = |start: u32| {
        let lines = (lines - start).min(64);
        CameraEvent::Block(LineBlock {
            first_line: first_line + u64::from(start),
            lines,
            width_px: WIDTH_PX,
            stride_bytes: width,
            format: PixelFormat::Gray8,
            pixels: pixels.slice(start as usize * width..(start + lines) as usize * width),
            last_line_at: Moment::now(),
            camera_time_ns: None,
            encoder_count: None,
            line_period_ns: 50_000.0,
        })
    };
    starts.map(block).collect()
}

fn stitch(c: &mut Criterion) {
    let product = Wafer { width_mm: 182.0, length_mm: 182.0, corners_mm: [0.0; 4], tolerance_mm: 2.0 };
    let scale = 182.0 / SIDE_PX;
    let belt = Belt {
        gap: GapKind::Dark,
        edge_level: 0.08,
        gap_level: 0.05,
        edge_lines: 8,
        skew_deg_max: 3.2,
        noise_share_max: 0.04,
        mm_per_px: Some(scale),
        mm_per_line: Some(scale),
    };
    let width = WIDTH_PX as usize;
    let calibration = Calibration {
        camera_id: String::new(),
        width_px: WIDTH_PX,
        mm_per_px: scale,
        mm_per_line: scale,
        made: String::new(),
        dark: vec![0.01; width],
        flat: vec![0.98; width],
    };
    let (pixels, lines) = cell();
    let mut group = c.benchmark_group("stitch one cell, 2 degrees");
    for (name, calibration) in [("raw", None), ("flat-field corrected", Some(&calibration))] {
        let mut stitcher = Stitcher::new("A".into(), &product, &belt, calibration).expect("a plausible product");
        let mut first_line = 0;
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    first_line += u64::from(lines);
                    blocks(&pixels, lines, first_line)
                },
                |events| {
                    let mut out = Vec::new();
                    events.iter().for_each(|event| stitcher.push(event, &mut out));
                    assert_eq!(out.len(), 5, "begun, three rows, ended");
                    out
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, stitch);
criterion_main!(benches);
