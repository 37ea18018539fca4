use super::*;

const KINDS: [WaferKind; 2] = [WaferKind::Laser, WaferKind::Electroluminescence];

fn settings(kind: WaferKind, cracked_share: f64) -> WaferSettings {
    WaferSettings { kind, seed: 7, cracked_share, corner_px: None }
}

#[test]
fn a_wafer_depends_on_settings_and_index_alone() {
    for kind in KINDS {
        let settings = settings(kind, 1.0);
        let (third, first) = (wafer(&settings, 3), wafer(&settings, 1));
        assert_eq!(first, wafer(&settings, 1));
        assert_eq!(third, wafer(&settings, 3));
        assert_ne!(first.pixels, third.pixels);
        assert_ne!(first.pixels, wafer(&WaferSettings { seed: 8, ..settings }, 1).pixels);
    }
}

#[test]
fn cracks_lie_inside_the_outline_and_levels_keep_clear_of_both_gaps() {
    for kind in KINDS {
        for index in 0..4 {
            let wafer = wafer(&settings(kind, 1.0), index);
            assert!(!wafer.cracks.is_empty() && !wafer.mask.is_empty(), "{kind:?} {index} is cracked");
            for (i, level) in wafer.pixels.iter().enumerate() {
                let (x, y) = (i % wafer.side_px, i / wafer.side_px);
                assert!(*level == 0 || (35..=225).contains(level), "{kind:?} {index}: level {level} at ({x}, {y})");
                assert!(*level > 0 || !wafer.mask.get(x, y), "{kind:?} {index}: crack outside at ({x}, {y})");
            }
            let border = &wafer.pixels[CELL_PX / 4..3 * CELL_PX / 4];
            assert!(border.iter().all(|level| *level >= 40), "{kind:?} {index}: the leading edge is too dark to be found");
        }
    }
}

#[test]
fn sound_wafers_have_empty_masks_and_about_the_share_asked_for_is_cracked() {
    for kind in KINDS {
        for index in 0..4 {
            let wafer = wafer(&settings(kind, 0.0), index);
            assert!(wafer.mask.is_empty() && wafer.cracks.is_empty(), "{kind:?} {index}");
        }
    }
    let cracked = (0..24).filter(|index| !wafer(&settings(WaferKind::Laser, 0.5), *index).mask.is_empty()).count();
    assert!((5..=19).contains(&cracked), "{cracked} of 24");
}

#[test]
fn corners_are_cut_where_the_settings_say() {
    for kind in KINDS {
        for corner_px in [0, 40] {
            let wafer = wafer(&WaferSettings { corner_px: Some(corner_px), ..settings(kind, 0.0) }, 5);
            let first = wafer.pixels.iter().position(|level| *level > 0).unwrap();
            assert_eq!(first, corner_px as usize, "first pixel of the leading edge");
            let outside = wafer.pixels.iter().filter(|level| **level == 0).count();
            let corners = 4 * corner_px as usize * (corner_px as usize + 1) / 2;
            assert_eq!(outside, corners, "{kind:?}");
        }
    }
}

#[test]
fn laser_cracks_are_rare_pixels_of_visible_contrast() {
    let (mut crack_px, mut all_px) = (0, 0);
    for index in 0..20 {
        let wafer = wafer(&settings(WaferKind::Laser, 1.0), index);
        crack_px += wafer.mask.count();
        all_px += wafer.pixels.iter().filter(|level| **level > 0).count() as u64;
        for crack in &wafer.cracks {
            assert!(crack.length_px > 2.0 && (0.5..4.0).contains(&crack.width_px), "{crack:?}");
            assert!((3.0..36.0).contains(&crack.contrast.abs()), "{crack:?}");
        }
    }
    let background = all_px / crack_px;
    assert!((500..8000).contains(&background), "1:{background}");
}

/// The mean difference of mask pixels to the unmasked ones of their neighbourhood.
fn measured_contrast(wafer: &SimulatedWafer) -> f64 {
    const REACH: usize = 12;
    let (mut sum, mut count) = (0.0, 0.0);
    for y in REACH..wafer.side_px - REACH {
        for x in (REACH..wafer.side_px - REACH).filter(|x| wafer.mask.get(*x, y)) {
            let level = |x: usize, y: usize| f64::from(wafer.pixels[y * wafer.side_px + x]);
            let around = [(x - REACH, y), (x + REACH, y), (x, y - REACH), (x, y + REACH)];
            let around: Vec<f64> = around.into_iter().filter(|(x, y)| !wafer.mask.get(*x, *y)).map(|(x, y)| level(x, y)).collect();
            if !around.is_empty() && !around.contains(&0.0) {
                sum += level(x, y) - around.iter().sum::<f64>() / around.len() as f64;
                count += 1.0;
            }
        }
    }
    sum / count
}

#[test]
fn cracks_show_in_the_pixels() {
    let mut seen = 0;
    for index in 0..30 {
        let wafer = wafer(&settings(WaferKind::Laser, 1.0), index);
        if let [crack] = wafer.cracks[..]
            && crack.length_px > 60.0
        {
            let contrast = measured_contrast(&wafer);
            assert!(contrast * crack.contrast.signum() > 0.3 * crack.contrast.abs(), "{index}: {contrast} measured of {crack:?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} wafers with one long crack");
    let darker = (0..12).filter(|index| measured_contrast(&wafer(&settings(WaferKind::Electroluminescence, 1.0), *index)) < -1.0).count();
    assert!(darker >= 9, "in {darker} of 12 cells cracks are darker than their surroundings");
}

#[test]
fn a_laid_wafer_has_its_corners_where_skew_and_offset_say() {
    let wafer = wafer(&WaferSettings { corner_px: Some(0), ..settings(WaferKind::Laser, 0.0) }, 0);
    for (skew_deg, offset_px, side_px, gap_level) in
        [(0.0, 0.0, 1344.0, 8), (2.0, 17.5, 1300.0, 250), (-3.0, -30.0, 1200.0, 250), (1.5, 0.0, 700.0, 8)]
    {
        let how = Lay { line_width_px: 1500, side_px, skew_deg, offset_px, gap_level, noise: 0.0, noise_seed: 1 };
        let laid = lay(&wafer, &how);
        let (sin, cos) = f64::to_radians(skew_deg).sin_cos();
        let half = side_px / 2.0;
        let extent = half * (cos + sin.abs());
        assert!((f64::from(laid.lines) - 2.0 * extent).abs() <= 1.0, "{} lines at {skew_deg}°", laid.lines);
        assert_eq!(laid.pixels.len(), laid.lines as usize * 1500);
        assert!((f64::from(laid.middle_line) + 0.5 - extent).abs() <= 1.0, "middle line {}", laid.middle_line);

        let inside = |line: usize| {
            let pixels = &laid.pixels[line * 1500..(line + 1) * 1500];
            let level = |p: &u8| (f64::from(*p) - f64::from(gap_level)).abs() > 25.0;
            pixels.iter().position(level).map(|first| (first, pixels.iter().rposition(level).unwrap() + 1))
        };
        // The corners are the outline's extremes: first and last line, leftmost and rightmost column.
        let found: Vec<(usize, usize, usize)> = (0..laid.lines as usize).filter_map(|y| inside(y).map(|(a, b)| (y, a, b))).collect();
        let left = found.iter().map(|(_, a, _)| *a).min().unwrap() as f64;
        let right = found.iter().map(|(_, _, b)| *b).max().unwrap() as f64;
        let middle = 750.0 + offset_px;
        assert!((left - (middle - extent)).abs() <= 1.0, "left {left} at {skew_deg}°");
        assert!((right - (middle + extent)).abs() <= 1.0, "right {right} at {skew_deg}°");
        assert!(found[0].0 <= 1 && found[found.len() - 1].0 + 2 >= laid.lines as usize);
        // Along the leading edge, the right end comes later for a positive skew.
        let first_line = |column: f64| found.iter().find(|(_, a, b)| (*a..*b).contains(&(column as usize))).unwrap().0 as f64;
        let (a, b) = (middle - 0.6 * half, middle + 0.6 * half);
        assert!((first_line(b) - first_line(a) - (b - a) * sin / cos).abs() <= 1.5, "slope at {skew_deg}°");
    }
}

#[test]
fn a_laid_wafer_with_cut_corners_has_no_gap_lines() {
    let wafer = wafer(&WaferSettings { corner_px: Some(80), ..settings(WaferKind::Laser, 0.0) }, 0);
    let how = Lay { line_width_px: 1450, side_px: 1344.0, skew_deg: 2.5, offset_px: 0.0, gap_level: 8, noise: 0.0, noise_seed: 1 };
    let laid = lay(&wafer, &how);
    let seen = |line: &[u8]| line.iter().any(|level| *level > 20);
    let lines: Vec<&[u8]> = laid.pixels.chunks_exact(1450).collect();
    assert!(seen(lines[1]) && seen(lines[lines.len() - 2]));
}
