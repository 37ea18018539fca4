//! Geometry, over random wafers.

use super::*;

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
        product.corners_mm = [corner * 182.0 / SIDE; 4];
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
    fn the_rim_is_taken_off_wherever_a_wafer_begins_and_ends(length_mm in 60.0..90.0f64, off_mm in -1.5..1.5f64, skew in -0.4..0.4f64) {
        let scale = SIDE / 210.0;
        let mut scene = row_of_wafers(1, skew);
        scene.wafers[0].length_px = (length_mm + off_mm) * scale;
        let (mut product, belt) = product(SIDE);
        (product.width_mm, product.length_mm) = (210.0, length_mm);
        let belt = Belt { mm_per_px: Some(1.0 / scale), mm_per_line: Some(1.0 / scale), ..belt };
        let events = run(&mut stitcher(&product, &belt), &scene);
        prop_assert_eq!(holds(&events), ["none"]);
        let rows = stitched(&events);
        let lines = |spans: Vec<Span>| (0..CELL_PX).filter(|y| !spans[*y].is_empty()).collect::<Vec<_>>();
        let outline = lines(rows.iter().flat_map(|row| row.spans.iter().copied()).collect());
        let inside = lines(rows.iter().flat_map(|row| row.inside()).collect());
        let rim = usize::from(RIM_PX);
        prop_assert_eq!(&outline[rim..outline.len() - rim], &inside[..]);
        let told = (outline.len() as f64 - (length_mm + off_mm) * CELL_PX as f64 / 210.0).abs();
        prop_assert!(told < CELL_PX as f64 / SIDE, "{} lines", outline.len());
    }

    #[test]
    fn no_crack_as_fine_as_a_camera_pixel_falls_between_samples(ratio in 1.0..3.0f64, along in any::<bool>()) {
        let (long_px, short_px) = ((CELL_PX as f64 * ratio).round(), 150);
        let long = long_px as usize;
        let (width_px, lines) = if along { (short_px, long) } else { (long, short_px) };
        let (sensor_px, all_lines) = (width_px + 40, lines + 60);
        let cracks: Vec<usize> = (1..20).map(|n| n * long / 20 + n % 3).collect();
        let pixels: Vec<u8> = (0..all_lines).flat_map(|line| (0..sensor_px).map(move |column| (line, column))).map(|(line, column)| {
            let (x, y) = (column.wrapping_sub(20), line.wrapping_sub(30));
            match (x < width_px && y < lines, cracks.contains(if along { &y } else { &x })) {
                (false, _) => 0,
                (true, false) => 200,
                (true, true) => 100,
            }
        }).collect();
        let mm = 182.0 / long_px;
        let (product, belt) = product(SIDE);
        let product = Wafer { width_mm: width_px as f64 * mm, length_mm: lines as f64 * mm, ..product };
        let belt = Belt { skew_deg_max: 0.5, mm_per_px: Some(mm), mm_per_line: Some(mm), ..belt };
        let lines = block(&pixels.into(), sensor_px, PixelFormat::Gray8, 0..all_lines, Moment::now());
        let events = push_all(&mut stitcher(&product, &belt), &[lines]);
        prop_assert_eq!(holds(&events), ["none"]);
        let rows = stitched(&events);
        let middle = CELL_PX / 2;
        let grey = |at: usize| {
            let (x, y) = if along { (middle, at) } else { (at, middle) };
            rows[y / TILE_PX].pixels[(y % TILE_PX) * CELL_PX + x] / 257
        };
        for crack in cracks {
            let at = ((crack as f64 + 0.5) / ratio) as usize;
            let darkest = (at - 3..=at + 3).map(grey).min().unwrap_or_default();
            prop_assert!(darkest <= 200 - 15, "the crack at {crack} is as light as {darkest}");
        }
    }

    #[test]
    fn what_a_wafer_measures_too_much_is_looked_at(more_px in 4.0..12.0f64, along in any::<bool>(), left in any::<bool>()) {
        // 182 mm are 1300 camera pixels; a crack lies 8 of them from an edge.
        let (side, short) = (1300.0, 286.0);
        let drawn = if along { (short, side + more_px) } else { (side + more_px, short) };
        let width_px = drawn.0 as usize + 40;
        let square = Drawn::square(1.0, 0.5 * width_px as f64, 0.0, 0.0);
        let wafer = Drawn { centre: (square.centre.0, 40.0 + 0.5 * drawn.1), width_px: drawn.0, length_px: drawn.1, ..square };
        let scene = Scene { width_px, lines: drawn.1 as usize + 80, gap: 0.03, wafers: vec![wafer.clone()] };
        let from_edge = |column: f64, line: f64| {
            let (across, down) = wafer.on_wafer(column, line);
            if along { drawn.1 - down } else if left { across } else { drawn.0 - across }
        };
        let mut pixels = scene.gray8();
        for (n, pixel) in pixels.iter_mut().enumerate() {
            if (8.0..11.0).contains(&from_edge((n % width_px) as f64, (n / width_px) as f64)) {
                *pixel = 25;
            }
        }
        let (product, belt) = product(side);
        let nominal = if along { (short, side) } else { (side, short) };
        let product = Wafer { width_mm: nominal.0 * 182.0 / side, length_mm: nominal.1 * 182.0 / side, ..product };
        let lines = block(&pixels.into(), width_px, PixelFormat::Gray8, 0..scene.lines, Moment::now());
        let events = push_all(&mut stitcher(&product, &belt), &[lines]);
        prop_assert_eq!(holds(&events), ["none"]);
        let middle = CELL_PX / 2;
        let rows = stitched(&events);
        let inside: Vec<Span> = rows.iter().flat_map(|row| row.inside()).collect();
        let is_dark = |x: usize, y: usize| inside[y].contains(x) && rows[y / TILE_PX].pixels[(y % TILE_PX) * CELL_PX + x] < 35 * 257;
        let seen = (0..CELL_PX).any(|at| if along { is_dark(middle, at) } else { is_dark(at, middle) });
        prop_assert!(seen, "the crack is not shown");
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
            StitchEvent::Begun { cell } => format!("{cell:?}"),
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
        assert_eq!((&end.hold, &end.doubt, &end.missing_corners), (&None, &None, &vec![]), "{kind:?} {index}");
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
