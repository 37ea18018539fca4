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
