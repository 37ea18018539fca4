//! Wafers whose corners are not cut as the product's are.

use super::*;

/// What is said of a wafer with such legs, in pixels of 300, where the product's are 50, after `change` of its pixels.
fn told(legs_px: [f64; 4], skew: f64, bright: bool, change: fn(f64, f64, f64) -> f64) -> Option<HoldReason> {
    let (mut wafer, mut belt) = product(SIDE);
    wafer.corners_mm = [50.0 * 182.0 / SIDE; 4];
    if bright {
        (belt.gap, belt.edge_level, belt.gap_level) = (GapKind::Bright, 0.93, 0.955);
    }
    let mut scene = row_of_wafers(1, skew);
    scene.gap = if bright { 0.98 } else { 0.03 };
    scene.wafers[0].corners_px = legs_px;
    let seen = |(n, value): (usize, f64)| {
        let (across, along) = scene.wafers[0].on_wafer((n % WIDTH) as f64, (n / WIDTH) as f64);
        (change(across, along, value) * 255.0).round() as u8
    };
    let pixels: Vec<u8> = (0..scene.lines).flat_map(|line| scene.line(line)).enumerate().map(seen).collect();
    let lines = block(&pixels.into(), WIDTH, PixelFormat::Gray8, 0..scene.lines, Moment::now());
    let end = &ends(&push_all(&mut stitcher(&wafer, &belt), &[lines]))[0];
    assert_eq!((&end.hold, &end.missing_corners), (&None, &vec![]));
    end.doubt.clone()
}

#[test]
fn a_whole_corner_where_the_product_s_is_cut_holds_the_cell_with_its_name() {
    let corners = ["leading left", "leading right", "trailing right", "trailing left"];
    for (skew, bright) in [(0.0, true), (-2.0, true), (3.0, false), (0.5, false)] {
        for (number, corner) in corners.into_iter().enumerate() {
            let mut legs_px = [50.0; 4];
            legs_px[number] = 0.0;
            let Some(HoldReason::Geometry { detail }) = told(legs_px, skew, bright, |_, _, value| value) else {
                panic!("the {corner} corner at {skew}°, bright {bright}")
            };
            let words = [corner, "`corner_mm` has 30.3", "correct `corner_mm`"];
            assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
        }
    }
}

#[test]
fn corners_cut_about_as_the_product_s_are_hold_nothing() {
    for bright in [false, true] {
        for skew in [-3.0, 0.0, 1.5] {
            for leg_px in [50.0, 45.0, 35.0] {
                assert_eq!(told([leg_px; 4], skew, bright, |_, _, value| value), None, "{leg_px} px at {skew}°, bright {bright}");
            }
        }
    }
}

/// In electroluminescence no more is known of it.
#[test]
fn a_corner_that_is_whole_but_dark_holds_nothing() {
    let dark = |across: f64, along: f64, value: f64| {
        let (across, along) = (across.min(SIDE - across), along.min(SIDE - along));
        if across.min(along) > 0.0 && across + along < 55.0 { 0.6 * value } else { value }
    };
    assert_eq!(told([0.0; 4], 0.7, false, dark), None);
}
