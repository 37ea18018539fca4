use super::drawing::{Drawn, PERIOD_NS, Scene, block, product, texture};
use super::{BeltState, Stitcher};
use crate::cell::{CELL_PX, CameraEvent, CellEnd, HoldReason, LossCause, Mask, Moment, PixelFormat, StitchEvent, TILE_PX, TileRow, Truth};
use crate::config::{Belt, GapKind, Wafer};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

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
            StitchEvent::Begun { cell, .. } => {
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
    ends(events).iter().map(|e| e.hold.as_ref().map_or("none", HoldReason::name)).collect()
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

#[test]
fn every_cell_is_seen_and_shows_what_lay_there() {
    for skew in [-3.0, -0.4, 0.0, 1.5, 3.0] {
        let scene = row_of_wafers(3, skew);
        let events = run(&mut standard(), &scene);
        let ends = ends(&events);
        assert_eq!(holds(&events), ["none"; 3], "skew {skew}");
        for (end, (wafer, rows)) in ends.iter().zip(scene.wafers.iter().zip(stitched(&events).chunks(3))) {
            let geometry = end.geometry.expect("a whole cell has a geometry");
            let first = wafer.to_camera(0.0, 0.0).1.min(wafer.to_camera(SIDE, 0.0).1);
            assert!((geometry.first_line as f64 - first).abs() <= 2.0, "first line {} for {first}", geometry.first_line);
            let error = texture_error(rows, SIDE);
            assert!(error < 0.012, "skew {skew}: a pixel off by {error} on average");
            assert_eq!(end.missing_corners, Vec::<u8>::new());
        }
    }
}

#[test]
fn pixels_outside_the_outline_are_zero_and_none_inside() {
    let mut scene = row_of_wafers(1, 1.0);
    scene.wafers[0].corners_px = [20.0; 4];
    let (mut wafer, belt) = product(SIDE);
    wafer.corner_mm = 20.0 * 182.0 / SIDE;
    let events = run(&mut stitcher(&wafer, &belt), &scene);
    assert_eq!(ends(&events)[0].missing_corners, Vec::<u8>::new(), "cut corners are this product's shape");
    for row in stitched(&events) {
        for (span, line) in row.spans.iter().zip(row.pixels.chunks(CELL_PX)) {
            for (x, pixel) in line.iter().enumerate() {
                assert_eq!(span.contains(x), *pixel > 0);
            }
        }
    }
    let top = stitched(&events)[0].spans[2];
    let leg = 20.0 * CELL_PX as f64 / SIDE;
    assert!((f64::from(top.start) - leg).abs() < 8.0 && (f64::from(top.end) - (CELL_PX as f64 - leg)).abs() < 8.0, "{top:?}");
}

#[test]
fn missing_corners_are_told_and_lie_outside_the_outline() {
    let mut scene = row_of_wafers(2, -1.0);
    scene.wafers[0].corners_px = [0.0, 25.0, 0.0, 18.0];
    let events = run(&mut standard(), &scene);
    let ends = ends(&events);
    assert_eq!(holds(&events), ["none", "none"]);
    assert_eq!(ends[0].missing_corners, [1, 3]);
    assert_eq!(ends[1].missing_corners, Vec::<u8>::new());
    let rows = stitched(&events);
    assert!(rows[0].spans[4].end < 1270, "the missing corner is no wafer: {:?}", rows[0].spans[4]);
    assert!(rows[2].spans[TILE_PX - 5].start > 50, "{:?}", rows[2].spans[TILE_PX - 5]);
    assert!(rows[3].spans[4].end > 1335, "the next cell is whole: {:?}", rows[3].spans[4]);
}

#[test]
fn a_rectangle_is_padded_at_one_scale() {
    let (mut wafer, belt) = product(SIDE);
    wafer.width_mm = 91.0;
    let mut scene = row_of_wafers(1, 2.0);
    scene.wafers[0].width_px = 0.5 * SIDE;
    let events = run(&mut stitcher(&wafer, &belt), &scene);
    let geometry = ends(&events)[0].geometry.expect("measured");
    assert!((geometry.width_mm - 91.0).abs() < 0.7 && (geometry.length_mm - 182.0).abs() < 0.7, "{geometry:?}");
    let span = stitched(&events)[1].spans[100];
    assert!((i32::from(span.start) - 336).abs() <= 3 && (i32::from(span.end) - 1008).abs() <= 3, "{span:?}");
}

#[test]
fn a_bright_gap_is_a_gap() {
    let (wafer, mut belt) = product(SIDE);
    (belt.gap, belt.edge_level, belt.gap_level) = (GapKind::Bright, 0.85, 0.9);
    let mut scene = row_of_wafers(2, 2.5);
    scene.gap = 0.98;
    let events = run(&mut stitcher(&wafer, &belt), &scene);
    assert_eq!(holds(&events), ["none", "none"]);
    assert!(texture_error(&stitched(&events)[..3], SIDE) < 0.012);
}

#[test]
fn twelve_bits_in_sixteen_give_the_same_cell() {
    let scene = row_of_wafers(1, -2.0);
    let pixels = Bytes::from(scene.gray16(12));
    let blocks = block(&pixels, WIDTH, PixelFormat::Gray16Le { bits: 12 }, 0..scene.lines, Moment::now());
    let events = push_all(&mut standard(), &[blocks]);
    assert_eq!(holds(&events), ["none"]);
    assert!(texture_error(&stitched(&events), SIDE) < 0.012);
}

#[test]
fn a_camera_finer_than_the_stitched_frame_is_averaged() {
    let side = 2800.0;
    let (wafer, belt) = product(side);
    let drawn = Drawn::square(side, 1449.5, 20.0, 1.0);
    let scene = Scene { width_px: 2900, lines: 2920, gap: 0.03, wafers: vec![drawn] };
    let events = run(&mut stitcher(&wafer, &belt), &scene);
    assert_eq!(holds(&events), ["none"]);
    assert!(texture_error(&stitched(&events), side) < 0.006);
}

#[test]
fn the_end_tells_when_and_where_the_trailing_edge_passed() {
    let start = Moment::now();
    let scene = row_of_wafers(1, 0.0);
    let events = push_all(&mut standard(), &blocks(&scene, 50, 0..0, start));
    let end = &ends(&events)[0];
    let line = 30 + SIDE as u64 - 1;
    let told = end.camera_time_ns.expect("the camera told its time") / PERIOD_NS;
    assert!(told.abs_diff(line) <= 1, "line {told}, expected {line}");
    assert_eq!(end.encoder_count, Some(4 * told as i64));
    assert_eq!((end.at.unix_ns - start.unix_ns) as u64 / PERIOD_NS, told);
}

#[test]
fn a_row_comes_as_soon_as_its_lines_are_in() {
    let mut stitcher = standard();
    let scene = row_of_wafers(1, 3.0);
    let mut rows_at = Vec::new();
    for (n, event) in blocks(&scene, 1, 0..0, Moment::now()).iter().enumerate() {
        let mut out = Vec::new();
        stitcher.push(event, &mut out);
        rows_at.extend(stitched(&out).iter().map(|_| n));
    }
    let reach = SIDE * 3f64.to_radians().sin();
    let due = [1.0, 2.0, 3.0].map(|n| 30.0 + n * SIDE / 3.0 + reach);
    for (at, due) in rows_at.iter().zip(due) {
        assert!((*at as f64 - due).abs() < 5.0, "rows came with lines {rows_at:?}, due {due:?}");
    }
}

#[test]
fn two_stuck_cells_are_one_hold_and_the_next_is_right() {
    let mut scene = row_of_wafers(3, 0.5);
    scene.wafers[1].centre.1 = scene.wafers[0].centre.1 + SIDE;
    assert_eq!(holds(&run(&mut standard(), &scene)), ["stuck", "none"]);
}

#[test]
fn what_never_ends_is_given_up_and_the_next_after_a_gap_is_right() {
    let mut scene = row_of_wafers(7, 0.0);
    scene.wafers[0].length_px = 5.5 * PITCH;
    scene.wafers[0].centre.1 = 30.0 + 2.75 * PITCH;
    scene.wafers.drain(1..6);
    let mut stitcher = standard();
    let events = blocks(&scene, 64, 0..0, Moment::now());
    let (first, rest) = events.split_at(22);
    let mut out = push_all(&mut stitcher, first);
    assert_eq!(stitcher.state(), BeltState::Blocked);
    out.extend(push_all(&mut stitcher, rest));
    assert_eq!(holds(&out), ["never_ends", "none"]);
}

#[test]
fn broken_cells_are_held_and_the_next_is_right() {
    #[allow(clippy::type_complexity)]
    let breaks: [(&str, fn(&mut Drawn)); 4] = [
        ("short", |w| w.length_px = 200.0),
        ("a strip", |w| w.length_px = 40.0),
        ("narrow", |w| w.width_px = 250.0),
        ("a corner broken off", |w| w.corners_px[0] = 200.0),
    ];
    for (what, break_it) in breaks {
        let mut scene = row_of_wafers(2, 0.7);
        break_it(&mut scene.wafers[0]);
        assert_eq!(holds(&run(&mut standard(), &scene)), ["broken", "none"], "{what}");
    }
}

#[test]
fn cells_that_lie_wrong_are_held_and_the_next_is_right() {
    #[allow(clippy::type_complexity)]
    let shifts: [(&str, fn(&mut Drawn)); 3] =
        [("skewed", |w| w.skew_deg = 4.0), ("off the sensor", |w| w.centre.0 += 60.0), ("too wide", |w| w.width_px = 315.0)];
    for (what, shift) in shifts {
        let mut scene = row_of_wafers(2, 0.7);
        shift(&mut scene.wafers[0]);
        assert_eq!(holds(&run(&mut standard(), &scene)), ["geometry", "none"], "{what}");
    }
}

#[test]
fn another_line_width_holds_the_cell_under_it_only() {
    let narrow = row_of_wafers(1, 0.0);
    let mut wide = row_of_wafers(2, 0.0);
    wide.width_px = 400;
    let start = Moment::now();
    let mut events = blocks(&narrow, 10, 0..0, start);
    events.truncate(20);
    events.extend(blocks(&wide, 10, 0..0, start).split_off(20));
    assert_eq!(holds(&push_all(&mut standard(), &events)), ["width_changed", "none"]);
}

#[test]
fn losses_hold_what_they_touched_and_nothing_else() {
    // Wafers lie on lines 30..330, 390..690, 750..1050, 1110..1410.
    let cases: [(std::ops::Range<usize>, &[&str]); 7] = [
        (340..370, &["none", "none", "none", "none"]),
        (400..420, &["none", "lines_lost", "none", "none"]),
        (350..440, &["none", "lines_lost", "none", "none"]),
        (600..720, &["none", "lines_lost", "none", "none"]),
        (600..800, &["none", "lines_lost", "lines_lost", "none"]),
        (600..1200, &["none", "lines_lost", "lines_lost"]),
        (350..740, &["none", "none", "none"]),
    ];
    let scene = row_of_wafers(4, 0.0);
    for (lost, expected) in cases {
        let start = Moment::now();
        let events = push_all(&mut standard(), &blocks(&scene, 64, lost.clone(), start));
        assert_eq!(holds(&events), expected, "lines {lost:?} lost");
        if lost == (600..720) {
            let line = ends(&events)[1].camera_time_ns.expect("told") / PERIOD_NS;
            assert!(line.abs_diff(689) <= 2, "the trailing edge is reckoned from the nominal length: {line}");
        }
    }
}

#[test]
fn lines_that_are_missing_without_a_word_are_lost_too() {
    let scene = row_of_wafers(2, 0.0);
    let mut events = blocks(&scene, 64, 100..120, Moment::now());
    events.retain(|e| !matches!(e, CameraEvent::Lost { .. }));
    let events = push_all(&mut standard(), &events);
    assert_eq!(holds(&events), ["lines_lost", "none"]);
    assert_eq!(ends(&events)[0].hold, Some(HoldReason::LinesLost { lines: 20 }));
}

#[test]
fn a_camera_that_goes_takes_its_cell_with_it() {
    let scene = row_of_wafers(2, 0.0);
    let mut events = blocks(&scene, 60, 0..0, Moment::now());
    events.insert(3, CameraEvent::Gone { at: Moment::now(), reason: "no answer".into() });
    let mut stitcher = standard();
    let out = push_all(&mut stitcher, &events);
    assert_eq!(holds(&out), ["camera_gone", "camera_gone", "none"], "what is seen after the return is a cell of its own");
    assert_eq!(stitcher.cells(), 3);
}

#[test]
fn the_end_of_the_stream_ends_the_open_cell() {
    let mut scene = row_of_wafers(1, 0.0);
    scene.lines = 200;
    let mut stitcher = standard();
    let mut out = run(&mut stitcher, &scene);
    assert!(matches!(stitcher.state(), BeltState::InCell { lines: 168..=172, .. }), "{:?}", stitcher.state());
    stitcher.finish(HoldReason::Restart, Moment::now(), &mut out);
    assert_eq!(holds(&out), ["restart"]);
    assert_eq!(stitcher.state(), BeltState::Gap);
}

#[test]
fn wafer_at_the_very_start_is_held() {
    let mut scene = row_of_wafers(2, 0.0);
    scene.wafers[0].centre.1 -= 100.0;
    assert_eq!(holds(&run(&mut standard(), &scene)), ["restart", "none"]);
}

#[test]
fn truth_finds_its_cell() {
    let scene = row_of_wafers(3, 0.0);
    let mut events = blocks(&scene, 64, 0..0, Moment::now());
    for wafer in [0, 2] {
        let middle_line = scene.wafers[wafer].centre.1 as u64;
        events.insert(wafer, CameraEvent::Truth(Truth { middle_line, mask: Arc::new(Mask::new(8, 8)) }));
    }
    let ends = ends(&push_all(&mut standard(), &events));
    let middles: Vec<_> = ends.iter().map(|e| e.truth.as_ref().map(|t| t.middle_line)).collect();
    assert_eq!(middles, [Some(scene.wafers[0].centre.1 as u64), None, Some(scene.wafers[2].centre.1 as u64)]);
}

#[test]
fn specks_dark_areas_and_noise_do_not_disturb() {
    let scene = row_of_wafers(2, 1.5);
    let mut pixels = scene.gray8();
    for (n, pixel) in pixels.iter_mut().enumerate() {
        let (column, line) = (n % WIDTH, n / WIDTH);
        let dark_side = (100..160).contains(&line) && column < 60;
        let dark_lead = (30..70).contains(&line) && (60..85).contains(&column);
        if dark_side || dark_lead {
            *pixel = 8;
        }
        *pixel = (*pixel).saturating_add_signed((((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as i8 - 8) / 2);
        if column == 3 || column == 4 {
            *pixel = 60;
        }
    }
    let block = block(&pixels.into(), WIDTH, PixelFormat::Gray8, 0..scene.lines, Moment::now());
    let events = push_all(&mut standard(), &[block]);
    assert_eq!(holds(&events), ["none", "none"]);
    assert!(texture_error(&stitched(&events)[3..], SIDE) < 0.02);
}

/// Where the camera would look for a stitched place, from the told geometry.
fn reported_place(end: &CellEnd, x: f64, y: f64) -> (f64, f64) {
    let geometry = end.geometry.expect("measured");
    let (sin, cos) = geometry.skew_deg.to_radians().sin_cos();
    let scale = SIDE / CELL_PX as f64;
    let (a, b) = (x * scale, y * scale - 0.5 * geometry.length_mm * SIDE / 182.0);
    (geometry.left_px + a * cos - b * sin, a * sin + b * cos)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn skew_and_offset_are_recovered_within_a_pixel(
        skew in -3.0..3.0f64, column in 165.0..174.0f64, first in 30.0..31.0f64, corner in 0.0..15.0f64
    ) {
        let wafer = Drawn::square(SIDE, column, first, skew).with_corners(corner);
        let scene = Scene { width_px: WIDTH, lines: 400, gap: 0.03, wafers: vec![wafer.clone()] };
        let (mut product, belt) = product(SIDE);
        product.corner_mm = corner * 182.0 / SIDE;
        let events = run(&mut stitcher(&product, &belt), &scene);
        let ends = ends(&events);
        prop_assert_eq!(holds(&events), ["none"]);
        let told = ends[0].geometry.expect("measured");
        prop_assert!((told.skew_deg - skew).to_radians().abs() * SIDE < 1.0, "skew {} for {skew}", told.skew_deg);
        let left = wafer.to_camera(0.0, 0.5 * SIDE).0;
        prop_assert!((told.left_px - left).abs() < 1.0, "left {} for {left}", told.left_px);
        let (told_right, right) = (reported_place(&ends[0], CELL_PX as f64, 0.0).0, wafer.to_camera(SIDE, 0.0).0);
        prop_assert!((told_right - right).abs() < 1.0, "right {told_right} for {right}");
        prop_assert!(texture_error(&stitched(&events), SIDE) < 0.012);
    }

    #[test]
    fn blocks_of_any_height_give_the_same_cells(skew in -3.0..3.0f64, cuts in prop::collection::vec(1usize..200, 1..12), lossy in any::<bool>()) {
        let scene = row_of_wafers(2, skew);
        let pixels = Bytes::from(scene.gray8());
        let start = Moment::now();
        let lost = if lossy { 420..440 } else { 0..0 };
        let whole = push_all(&mut standard(), &blocks(&scene, 1000, lost.clone(), start));
        let (mut split, mut line) = (Vec::new(), 0);
        for height in cuts.iter().cycle() {
            if line >= scene.lines {
                break;
            }
            let limit = if line < lost.start { lost.start } else { scene.lines };
            let end = (line + height).min(limit);
            split.push(block(&pixels, WIDTH, PixelFormat::Gray8, line..end, start));
            line = if end == lost.start && lossy { lost.end } else { end };
        }
        let split = push_all(&mut standard(), &split);
        // Encoder counts within the first block have no block before to be reckoned from.
        let told = |events: &[StitchEvent]| events.iter().map(|e| match e {
            StitchEvent::Begun { cell, at } => format!("{cell:?} {}", at.unix_ns),
            StitchEvent::Row(row) => format!("{:?} {} {:?} {:?}", row.cell, row.row, row.pixels, row.spans),
            StitchEvent::Ended(end) => format!("{:?}", CellEnd { encoder_count: None, ..end.clone() }),
        }).collect::<Vec<_>>();
        prop_assert!(told(&whole) == told(&split), "the same lines, cut otherwise, gave other cells");
    }
}

#[test]
fn simulated_wafers_come_back_as_they_were_drawn() {
    use crate::config::WaferKind;
    use crate::simulate::{Lay, WaferSettings, lay, wafer};
    let side = 1300.0;
    let (product, belt) = product(side);
    for (kind, index, skew_deg) in
        [(WaferKind::Laser, 0, 2.0), (WaferKind::Electroluminescence, 1, -3.0), (WaferKind::Electroluminescence, 2, 0.3)]
    {
        let settings = WaferSettings { kind, seed: 5, cracked_share: 1.0, corner_px: Some(0) };
        let drawn = wafer(&settings, index);
        let how = Lay { line_width_px: 1420, side_px: side, skew_deg, offset_px: 4.0, gap_level: 8, noise: 1.0, noise_seed: 1 };
        let laid = lay(&drawn, &how);
        let gap = vec![8; 1420 * 40];
        let pixels = Bytes::from([gap.clone(), laid.pixels, gap].concat());
        let lines = laid.lines as usize + 80;
        let events = push_all(&mut stitcher(&product, &belt), &[block(&pixels, 1420, PixelFormat::Gray8, 0..lines, Moment::now())]);
        let end = &ends(&events)[0];
        assert_eq!((&end.hold, &end.missing_corners), (&None, &vec![]), "{kind:?} {index}");
        let first = end.geometry.expect("measured").first_line;
        assert!(first.abs_diff(40) <= 2, "{kind:?} {index}: first line {first}, expected 40");
        let rows = stitched(&events);
        let difference = |shift_x: usize, shift_y: usize| {
            let places = (100..1240).step_by(3).flat_map(|y| (100..1240).step_by(3).map(move |x| (x, y)));
            let differences = places.map(|(x, y)| {
                let value = f64::from(rows[y / TILE_PX].pixels[(y % TILE_PX) * CELL_PX + x]) / 257.0;
                (value - f64::from(drawn.pixels[(y + shift_y - 2) * CELL_PX + x + shift_x - 2])).powi(2)
            });
            differences.sum::<f64>()
        };
        let best = (0..25).min_by(|a, b| difference(a % 5, a / 5).total_cmp(&difference(b % 5, b / 5)));
        assert_eq!(best.map(|b| (b % 5, b / 5)), Some((2, 2)), "{kind:?} {index}: the picture is shifted");
    }
}
