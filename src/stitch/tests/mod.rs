use super::drawing::{Drawn, PERIOD_NS, Scene, block, product, texture};
use super::{BeltState, Stitcher};
use crate::cell::{
    CELL_PX, CameraEvent, CellEnd, HoldReason, LossCause, Mask, Moment, PixelFormat, RIM_PX, Span, StitchEvent, TILE_PX, TileRow, TrueMask,
};
use crate::config::{Belt, GapKind, Wafer};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

mod cut_corners;
mod held;
mod properties;
mod whole;

/// Camera pixels along a side of the wafers in these tests.
const SIDE: f64 = 300.0;
const WIDTH: usize = 340;
const PITCH: f64 = 360.0;

fn stitcher(wafer: &Wafer, belt: &Belt) -> Stitcher {
    Stitcher::new("A".into(), wafer, belt, None).expect("a plausible product")
}

fn standard() -> Stitcher {
    let (wafer, belt) = product(SIDE);
    stitcher(&wafer, &belt)
}

/// `count` wafers, one every [`PITCH`] lines from line 30.
fn row_of_wafers(count: usize, skew_deg: f64) -> Scene {
    let wafers = (0..count).map(|n| Drawn::square(SIDE, 169.5, 30.0 + n as f64 * PITCH, skew_deg)).collect();
    Scene { width_px: WIDTH, lines: 30 + (count as f64 * PITCH) as usize, gap: 0.03, wafers }
}

/// The blocks of a scene, `lines` each; where `lost` names a stretch of lines, it never comes.
fn blocks(scene: &Scene, lines: usize, lost: std::ops::Range<usize>, start: Moment) -> Vec<CameraEvent> {
    let pixels = Bytes::from(scene.gray8());
    let cuts = |range: std::ops::Range<usize>| {
        let pixels = pixels.clone();
        range.clone().step_by(lines).map(move |l| block(&pixels, scene.width_px, PixelFormat::Gray8, l..(l + lines).min(range.end), start))
    };
    if lost.is_empty() {
        return cuts(0..scene.lines).collect();
    }
    let told = CameraEvent::Lost { first_line: lost.start as u64, lines: lost.len() as u64, cause: LossCause::FramesMissing };
    cuts(0..lost.start).chain([told]).chain(cuts(lost.end..scene.lines)).collect()
}

fn push_all(stitcher: &mut Stitcher, events: &[CameraEvent]) -> Vec<StitchEvent> {
    let mut out = Vec::new();
    for event in events {
        stitcher.push(event, &mut out);
    }
    out
}

fn run(stitcher: &mut Stitcher, scene: &Scene) -> Vec<StitchEvent> {
    push_all(stitcher, &blocks(scene, 64, 0..0, Moment::now()))
}

/// The ends, after checking that numbers, order and rows are as promised.
fn ends(events: &[StitchEvent]) -> Vec<CellEnd> {
    let (mut ends, mut open, mut rows) = (Vec::new(), None, 0);
    for event in events {
        match event {
            StitchEvent::Begun { cell } => {
                assert_eq!(open, None, "a cell began within another");
                assert_eq!(cell.number, ends.len() as u64 + 1, "numbers have no gaps");
                (open, rows) = (Some(cell.number), 0);
            }
            StitchEvent::Row(row) => {
                assert_eq!((Some(row.cell.number), row.row), (open, rows), "rows come in order, within their cell");
                assert_eq!((row.pixels.len(), row.spans.len()), (TileRow::PIXELS, TILE_PX));
                rows += 1;
            }
            StitchEvent::Ended(end) => {
                assert_eq!(Some(end.cell.number), open.take(), "a cell ended that had not begun");
                assert!(rows == 3 || end.hold.is_some(), "{} rows of a cell that is not held", rows);
                ends.push(end.clone());
            }
        }
    }
    assert_eq!(open, None, "a cell did not end");
    ends
}

fn holds(events: &[StitchEvent]) -> Vec<&'static str> {
    ends(events).iter().map(|e| e.hold.as_ref().or(e.doubt.as_ref()).map_or("none", HoldReason::name)).collect()
}

fn stitched(events: &[StitchEvent]) -> Vec<&TileRow> {
    events.iter().filter_map(|e| if let StitchEvent::Row(row) = e { Some(row) } else { None }).collect()
}

/// Mean difference between a stitched cell and the texture it should show, share of white, away from its edges.
fn texture_error(rows: &[&TileRow], side_px: f64) -> f64 {
    let scale = side_px / CELL_PX as f64;
    let (mut sum, mut count) = (0.0, 0.0);
    for y in (40..CELL_PX - 40).step_by(7) {
        for x in (40..CELL_PX - 40).step_by(7) {
            let row = rows[y / TILE_PX];
            let value = f64::from(row.pixels[(y % TILE_PX) * CELL_PX + x]) / 65535.0;
            sum += (value - texture((x as f64 + 0.5) * scale, (y as f64 + 0.5) * scale)).abs();
            count += 1.0;
        }
    }
    sum / count
}
