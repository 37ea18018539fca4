//! Cells that are whole.

use super::*;
use crate::cell::ProbabilityMap;
use crate::judge::{Recipe, judge};

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
    wafer.corners_mm = [20.0 * 182.0 / SIDE; 4];
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
fn each_corner_may_be_cut_or_whole() {
    let leg_px = 25.0;
    let (mut wafer, belt) = product(SIDE);
    for (skew, cut) in [(0.0, [true, true, false, false]), (0.8, [false, false, true, true]), (-2.0, [true, false, true, true])] {
        let mut scene = row_of_wafers(2, skew);
        let legs = cut.map(|cut| if cut { leg_px } else { 0.0 });
        (scene.wafers[0].corners_px, scene.wafers[1].corners_px) = (legs, legs);
        wafer.corners_mm = legs.map(|leg_px| leg_px * 182.0 / SIDE);
        // A piece of a whole corner is gone.
        let whole = cut.iter().position(|cut| !cut).expect("one is whole");
        scene.wafers[1].corners_px[whole] = 12.0;
        let events = run(&mut stitcher(&wafer, &belt), &scene);
        assert_eq!(holds(&events), ["none", "none"]);
        let missing: Vec<_> = ends(&events).into_iter().map(|end| end.missing_corners).collect();
        assert_eq!(missing, [vec![], vec![whole as u8]], "skew {skew}, cut {cut:?}");
        let rows = stitched(&events);
        for (number, cut) in cut.into_iter().enumerate() {
            let span = if number < 2 { rows[0].spans[8] } else { rows[2].spans[TILE_PX - 9] };
            let off = if matches!(number, 0 | 3) { usize::from(span.start) } else { CELL_PX - usize::from(span.end) };
            assert_eq!(off > 80, cut, "skew {skew}, corner {number}: {off} px off");
            assert!(cut || off < 12, "skew {skew}, corner {number}: {off} px off");
        }
    }
}

#[test]
fn behind_the_trailing_edge_nothing_is_wafer_however_late_the_edge_counts() {
    let (mut wafer, mut belt) = product(SIDE);
    (wafer.tolerance_mm, belt.edge_lines) = (6.0, 14);
    for skew in [-3.0, 0.0, 1.0] {
        let mut scene = row_of_wafers(2, skew);
        scene.wafers[0].length_px -= 8.0;
        let events = run(&mut stitcher(&wafer, &belt), &scene);
        assert_eq!(holds(&events), ["none", "none"], "skew {skew}");
        let rows = stitched(&events);
        let shorter = (8.0 * CELL_PX as f64 / SIDE) as usize;
        let behind = &rows[2].spans[TILE_PX - shorter / 2..];
        assert!(behind.iter().all(|span| span.start == span.end), "skew {skew}: {behind:?}");
        let before = rows[2].spans[TILE_PX - 2 * shorter];
        assert!(before.start < 20 && usize::from(before.end) > CELL_PX - 20, "skew {skew}: {before:?}");
        assert!(rows[5].spans[TILE_PX - 20].end > rows[5].spans[TILE_PX - 20].start + 1300, "the next one is whole");
    }
}

/// A busbar in electroluminescence, dark as the gap.
#[test]
fn a_dark_bar_along_the_trailing_edge_is_wafer() {
    let (wafer, mut belt) = product(SIDE);
    belt.edge_lines = 14;
    for skew in [-2.0, 0.0, 2.0] {
        let scene = row_of_wafers(1, skew);
        let mut pixels = scene.gray8();
        for (n, pixel) in pixels.iter_mut().enumerate() {
            let (_, along) = scene.wafers[0].on_wafer((n % WIDTH) as f64, (n / WIDTH) as f64);
            if (SIDE - 20.0..SIDE - 12.0).contains(&along) {
                *pixel = 8;
            }
        }
        let pixels = Bytes::from(pixels);
        let blocks: Vec<_> =
            (0..scene.lines).map(|line| block(&pixels, WIDTH, PixelFormat::Gray8, line..line + 1, Moment::now())).collect();
        let events = push_all(&mut stitcher(&wafer, &belt), &blocks);
        assert_eq!(holds(&events), ["none"], "skew {skew}");
        for span in &stitched(&events)[2].spans[TILE_PX - 90..TILE_PX - 50] {
            assert!(span.start < 45 && usize::from(span.end) > CELL_PX - 45, "skew {skew}: {span:?}");
        }
    }
}

#[test]
fn a_wide_chip_in_the_leading_edge_moves_neither_it_nor_the_skew() {
    // In pixels of 300: more than half of the part that corners do not reach into, and at its ends.
    for (chip, skew) in [(95.0..205.0, 0.0), (95.0..205.0, 1.5), (55.0..150.0, 0.0), (140.0..245.0, -0.8)] {
        let scene = row_of_wafers(1, skew);
        let mut pixels = scene.gray8();
        for (n, pixel) in pixels.iter_mut().enumerate() {
            let (across, along) = scene.wafers[0].on_wafer((n % WIDTH) as f64, (n / WIDTH) as f64);
            if chip.contains(&across) && along < 2.9 {
                *pixel = 8;
            }
        }
        let events = push_all(&mut standard(), &[block(&pixels.into(), WIDTH, PixelFormat::Gray8, 0..scene.lines, Moment::now())]);
        assert_eq!(holds(&events), ["none"]);
        let told = ends(&events)[0].geometry.expect("measured");
        assert!((told.length_mm - 182.0).abs() < 0.5, "{chip:?}, skew {skew}: {:.2} mm long", told.length_mm);
        assert!((told.skew_deg - skew).abs() < 0.1, "{chip:?}, skew {skew}: {:.2}°", told.skew_deg);
    }
}

#[test]
fn cracks_on_a_wafer_that_is_too_large_are_as_long_as_they_are() {
    let (side, mm) = (1300.0, 182.0 / 1300.0);
    let (product, belt) = product(side);
    for (more, what) in [((12.0, 0.0), "wide"), ((0.0, 12.0), "long"), ((12.0, 12.0), "both")] {
        let wafer = Drawn { width_px: side + more.0, length_px: side + more.1, ..Drawn::square(1.0, 699.5, 0.0, 0.0) };
        let wafer = Drawn { centre: (699.5, 40.0 + 0.5 * wafer.length_px), ..wafer };
        let scene = Scene { width_px: 1400, lines: 1392, gap: 0.03, wafers: vec![wafer.clone()] };
        let mut pixels = scene.gray8();
        for (n, pixel) in pixels.iter_mut().enumerate() {
            let (across, along) = wafer.on_wafer((n % 1400) as f64, (n / 1400) as f64);
            // One across the middle, one along the belt that ends 2 mm ahead of the trailing edge.
            let is_across = (200.0..1200.0).contains(&across) && (600.0..603.0).contains(&along);
            let is_along = (650.0..653.0).contains(&across) && (15.0..87.0).contains(&(wafer.length_px - along));
            if is_across || is_along {
                *pixel = 25;
            }
        }
        let events = push_all(&mut stitcher(&product, &belt), &[block(&pixels.into(), 1400, PixelFormat::Gray8, 0..1392, Moment::now())]);
        assert_eq!(holds(&events), ["none"], "{what}");
        let rows: [&TileRow; 3] = stitched(&events).try_into().expect("three rows");
        let dark = |row: &TileRow| row.pixels.iter().map(|pixel| if *pixel < 40 * 257 { 255 } else { 0 }).collect();
        let map = ProbabilityMap::new(rows.map(dark), rows.map(|row| row.inside().into())).expect("whole rows");
        let map = map.squeezed(ends(&events)[0].squeeze);
        let found = judge(&map, 182.0 / CELL_PX as f64, &[], 0.5, &Recipe::default()).defects;
        let lengths: Vec<f64> = found.iter().map(|crack| crack.length_mm).collect();
        assert!(lengths.len() == 2 && (lengths[0] - 1000.0 * mm).abs() < 0.3, "{what}: {lengths:?} mm");
        assert!((lengths[1] - 72.0 * mm).abs() < 0.3, "{what}: {lengths:?} mm");
    }
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
    // Its waves are as steep here as noise that would hide cracks.
    assert_eq!(ends(&events)[0].hold, None);
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
fn an_encoder_that_is_set_to_nought_as_a_cell_ends_tells_where_its_edge_passed_since() {
    let (start, nought) = (Moment::now(), 680);
    let (mut stitcher, mut events, mut recounts) = (standard(), Vec::new(), Vec::new());
    for mut event in blocks(&row_of_wafers(2, 0.0), 50, 0..0, start) {
        let CameraEvent::Block(block) = &mut event else { panic!("a loss") };
        let last = block.end_line() as i64 - 1;
        block.encoder_count = Some(if last < nought { 4_000_000 + 4 * last } else { 4 * (last - nought) });
        stitcher.push(&event, &mut events);
        recounts.extend(stitcher.take_recount());
    }
    let end = &ends(&events)[1];
    let told = (end.camera_time_ns.expect("the camera told its time") / PERIOD_NS) as i64;
    assert_eq!(end.encoder_count, Some(4 * (told - nought)));
    // It is told with the last line before.
    assert_eq!(recounts.iter().map(|at| (at.unix_ns - start.unix_ns) as u64 / PERIOD_NS).collect::<Vec<_>>(), [649]);
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
fn truth_finds_its_cell() {
    let scene = row_of_wafers(3, 0.0);
    let mut events = blocks(&scene, 64, 0..0, Moment::now());
    for wafer in [0, 2] {
        let middle_line = scene.wafers[wafer].centre.1 as u64;
        events.insert(wafer, CameraEvent::Truth(TrueMask { middle_line, mask: Arc::new(Mask::new(8, 8)) }));
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

#[test]
fn memory_that_is_used_again_shows_nothing_of_the_cell_before() {
    let scenes = [row_of_wafers(1, 0.0), row_of_wafers(1, 2.5)];
    let mut stitcher = standard();
    // Its rows are gone before the next cell needs memory.
    assert_eq!(stitched(&run(&mut stitcher, &scenes[0])).len(), 3);
    let moved = |event: CameraEvent| match event {
        CameraEvent::Block(block) => {
            CameraEvent::Block(crate::cell::LineBlock { first_line: block.first_line + scenes[0].lines as u64, ..block })
        }
        other => other,
    };
    let again: Vec<CameraEvent> = blocks(&scenes[1], 64, 0..0, Moment::now()).into_iter().map(moved).collect();
    let (again, fresh) = (push_all(&mut stitcher, &again), run(&mut standard(), &scenes[1]));
    let (again, fresh) = (stitched(&again), stitched(&fresh));
    assert_eq!((again.len(), fresh.len()), (3, 3));
    assert!(again.iter().zip(&fresh).all(|(again, fresh)| again.pixels == fresh.pixels && again.spans == fresh.spans));
}
