//! Cells that cannot be judged, and what comes after them.

use super::*;

#[test]
fn two_stuck_cells_are_one_hold_and_the_next_is_right() {
    let mut scene = row_of_wafers(3, 0.5);
    scene.wafers[1].centre.1 = scene.wafers[0].centre.1 + SIDE;
    assert_eq!(holds(&run(&mut standard(), &scene)), ["stuck", "none"]);
}

#[test]
fn one_that_measures_too_long_is_told_so_and_not_as_several() {
    for (skew, longer_px) in [(0.0, 5.0), (0.0, 12.0), (3.0, 12.0), (-2.0, 60.0), (0.0, 140.0), (0.0, 160.0)] {
        let mut scene = row_of_wafers(3, skew);
        scene.wafers[0].length_px += longer_px;
        scene.wafers[0].centre.1 += 0.5 * longer_px;
        scene.wafers.remove(1);
        let events = run(&mut standard(), &scene);
        let holds: Vec<_> = ends(&events).into_iter().map(|end| end.hold).collect();
        let [Some(hold), None] = &holds[..] else { panic!("{skew}°, {longer_px} px: {holds:?}") };
        if longer_px >= 0.5 * SIDE {
            assert_eq!(*hold, HoldReason::Stuck);
            continue;
        }
        let HoldReason::Geometry { detail } = hold else { panic!("{skew}°, {longer_px} px: {hold:?}") };
        let (length, remedy) = detail.split_once(" mm long, expected 182.0 mm; look at belt speed, `mm_per_line`, ").expect(detail);
        let off = length.parse::<f64>().expect(detail) - 182.0 * (1.0 + longer_px / SIDE);
        assert!(off.abs() < 1.3 && remedy.contains("overlapping"), "{skew}°, {longer_px} px: {detail}");
    }
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

/// As a camera sees them whose line is not square to the belt, or on a belt that they slip along.
#[test]
fn wafers_whose_sides_lean_are_held_for_that() {
    let lean = |degrees: f64, skew: f64| {
        let scene = row_of_wafers(1, skew);
        let line = |line: usize| {
            let mut leant = scene.clone();
            leant.wafers[0].centre.0 += degrees.to_radians().tan() * (line as f64 - scene.wafers[0].centre.1);
            leant.line(line)
        };
        let pixels: Vec<u8> = (0..scene.lines).flat_map(line).map(|v| (v * 255.0).round() as u8).collect();
        let lines = block(&pixels.into(), WIDTH, PixelFormat::Gray8, 0..scene.lines, Moment::now());
        ends(&push_all(&mut standard(), &[lines]))[0].hold.clone()
    };
    for skew in [-1.5, 0.0, 0.7] {
        for degrees in [-0.1, 0.1] {
            assert_eq!(lean(degrees, skew), None, "{degrees}° at a skew of {skew}°");
        }
        for degrees in [-0.5_f64, 0.5, 1.0] {
            let Some(HoldReason::Geometry { detail }) = lean(degrees, skew) else { panic!("{degrees}° at a skew of {skew}°") };
            let told = detail.strip_prefix("its sides lie ").and_then(|told| told.split_once('°')).expect(&detail);
            assert!((told.0.parse::<f64>().expect(&detail) - degrees.abs()).abs() < 0.2, "{degrees}° at a skew of {skew}°: {detail}");
        }
    }
}

#[test]
fn a_wafer_without_gap_beside_it_is_held_however_little_may_be_missing() {
    // Its sides lie at columns 19.5 and 319.5 of 340.
    for (shift, expected) in [(0.0, "none"), (18.0, "none"), (20.0, "geometry"), (21.0, "geometry"), (22.5, "geometry"), (24.0, "geometry")]
    {
        for side in [-1.0, 1.0] {
            let mut scene = row_of_wafers(1, 0.0);
            scene.wafers[0].centre.0 += side * shift;
            assert_eq!(holds(&run(&mut standard(), &scene)), [expected], "moved by {}", side * shift);
        }
    }
}

#[test]
fn the_shortest_line_that_is_told_is_the_shortest_that_will_do_within_two_pixels() {
    for skew_deg in [0.0, 1.3, 3.0] {
        let width_px = standard().line_px_min(skew_deg) as usize;
        for (width_px, expected) in [(width_px + 2, "none"), (width_px - 2, "geometry")] {
            let wafer = Drawn::square(SIDE, 0.5 * (width_px as f64 - 1.0), 30.0, skew_deg);
            let scene = Scene { width_px, lines: 30 + PITCH as usize, gap: 0.03, wafers: vec![wafer] };
            assert_eq!(holds(&run(&mut standard(), &scene)), [expected], "{width_px} px at {skew_deg}°");
        }
    }
}

/// What the stitcher says of drawn lines after `change`, which gets each pixel's place on the first wafer and its value.
fn changed(scene: &Scene, belt: &Belt, change: impl Fn(f64, f64, f64) -> f64) -> Vec<&'static str> {
    let seen = |(n, value): (usize, f64)| {
        let (across, along) = scene.wafers[0].on_wafer((n % WIDTH) as f64, (n / WIDTH) as f64);
        change(across, along, value).min(1.0)
    };
    let values: Vec<f64> = (0..scene.lines).flat_map(|line| scene.line(line)).enumerate().map(seen).collect();
    let told = |pixels: Vec<u8>, format: PixelFormat| {
        let lines = block(&pixels.into(), WIDTH, format, 0..scene.lines, Moment::now());
        holds(&push_all(&mut stitcher(&product(SIDE).0, belt), &[lines]))
    };
    let of_8_bits = told(values.iter().map(|v| (v * 255.0).round() as u8).collect(), PixelFormat::Gray8);
    for bits in [10, 12, 16] {
        let format = PixelFormat::Gray16Le { bits };
        let pixels = values.iter().flat_map(|v| ((v * f64::from(format.white())).round() as u16).to_le_bytes()).collect();
        assert_eq!(told(pixels, format), of_8_bits, "{bits} bits");
    }
    of_8_bits
}

fn bright() -> Belt {
    Belt { gap: GapKind::Bright, edge_level: 0.93, gap_level: 0.955, ..product(SIDE).1 }
}

#[test]
fn an_overexposed_cell_is_held() {
    let mut scene = row_of_wafers(1, 0.7);
    scene.gap = 0.01;
    let dark = product(SIDE).1;
    let spot = |side: f64| {
        move |across: f64, along: f64, value: f64| {
            if (100.0..100.0 + side).contains(&across.min(along)) && across.max(along) < 100.0 + side { 1.0 } else { value }
        }
    };
    assert_eq!(changed(&scene, &dark, |_, _, value| value), ["none"]);
    assert_eq!(changed(&scene, &dark, |_, _, value| 1.4 * value), ["none"], "bright, but not white");
    assert_eq!(changed(&scene, &dark, |_, _, value| 3.0 * value), ["overexposed"]);
    assert_eq!(changed(&scene, &dark, spot(20.0)), ["none"], "less than a hundredth");
    assert_eq!(changed(&scene, &dark, spot(40.0)), ["overexposed"]);
    scene.gap = 1.0;
    assert_eq!(changed(&scene, &bright(), |_, _, value| value), ["none"], "the gap may be white");
}

#[test]
fn a_cell_too_dark_to_show_cracks_is_held() {
    let mut scene = row_of_wafers(1, 0.7);
    scene.gap = 0.98;
    // The same noise whatever the light, as a sensor's own is. Less than a fourth of it is left between these finer pixels.
    let told = |light: f64, noise: f64| {
        let number = std::cell::Cell::new(0_u64);
        changed(&scene, &bright(), |across, along, value| {
            number.set(number.get() + 1);
            let dice = (number.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24) - 0.5;
            let on_wafer = (0.0..SIDE).contains(&across) && (0.0..SIDE).contains(&along);
            if on_wafer { light * value + noise * dice } else { value }
        })
    };
    assert_eq!((told(1.0, 0.04), told(0.5, 0.04)), (vec!["none"], vec!["none"]));
    assert_eq!(told(0.1, 0.04), ["underexposed"]);
    assert_eq!(told(1.0, 0.4), ["underexposed"], "whatever makes the noise");
    // Without any noise: 5 grey levels tell no hundredths, as as much light in 12 bit does.
    let seen = |format: PixelFormat| {
        let dim = |value: f64| if value < 0.9 { 0.045 * value } else { value };
        let levels = (0..scene.lines).flat_map(|line| scene.line(line)).map(|v| (dim(v) * f64::from(format.white())).round() as u16);
        let pixels: Vec<u8> = match format {
            PixelFormat::Gray8 => levels.map(|v| v as u8).collect(),
            PixelFormat::Gray16Le { .. } => levels.flat_map(u16::to_le_bytes).collect(),
        };
        let lines = block(&pixels.into(), WIDTH, format, 0..scene.lines, Moment::now());
        holds(&push_all(&mut stitcher(&product(SIDE).0, &bright()), &[lines]))
    };
    assert_eq!((seen(PixelFormat::Gray8), seen(PixelFormat::Gray16Le { bits: 12 })), (vec!["underexposed"], vec!["none"]));
}

/// As where a lamp fails, or a contact bar in electroluminescence. The camera's own noise stays.
#[test]
fn a_cell_of_which_a_part_is_too_dark_to_show_cracks_is_held_for_that_part() {
    let told = |light: fn(f64, f64) -> f64| {
        let mut scene = row_of_wafers(1, 0.7);
        scene.gap = 0.98;
        let values = (0..scene.lines).flat_map(|line| scene.line(line)).enumerate().map(|(n, value)| {
            let dice = ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24) - 0.5;
            let (across, along) = scene.wafers[0].on_wafer((n % WIDTH) as f64, (n / WIDTH) as f64);
            let on_wafer = (0.0..SIDE).contains(&across) && (0.0..SIDE).contains(&along);
            if on_wafer { light(across / SIDE, along / SIDE) * value + 0.04 * dice } else { value }
        });
        let pixels: Vec<u8> = values.map(|v| (v * 255.0).round() as u8).collect();
        let lines = block(&pixels.into(), WIDTH, PixelFormat::Gray8, 0..scene.lines, Moment::now());
        ends(&push_all(&mut stitcher(&product(SIDE).0, &bright()), &[lines]))[0].doubt.clone()
    };
    let dark = told(|across, _| if across > 0.66 { 0.1 } else { 1.0 });
    let Some(HoldReason::Underexposed { detail }) = dark else { panic!("{dark:?}") };
    assert!(detail.contains("hides cracks in 3 of its tiles") && detail.contains("column 3: "), "{detail}");
    let dark = told(|across, along| if across < 0.34 && (0.33..0.67).contains(&along) { 0.1 } else { 1.0 });
    let Some(HoldReason::Underexposed { detail }) = dark else { panic!("{dark:?}") };
    assert!(detail.contains("in 1 of its tiles, most in row 2, column 1: "), "{detail}");
    assert_eq!(told(|across, _| if across > 0.66 { 0.5 } else { 1.0 }), None, "dim, but cracks show");
    assert_eq!(told(|across, along| if across > 0.9 && along > 0.9 { 0.1 } else { 1.0 }), None, "a dark corner of a tile");
}

/// Sensors of 12 bit in Mono16 and of 10 bit in Mono12 end at these shares of white.
#[test]
fn a_cell_overexposed_on_a_sensor_that_ends_below_white_is_held() {
    let mut scene = row_of_wafers(1, 0.7);
    scene.gap = 0.01;
    for (full, bits) in [(65_520_u16, 16), (4092, 12)] {
        let format = PixelFormat::Gray16Le { bits };
        let white = f64::from(format.white());
        let seen = |gain: f64| {
            let values = (0..scene.lines).flat_map(|line| scene.line(line));
            let pixels: Vec<u8> = values.flat_map(|v| ((gain * v * white) as u16).min(full).to_le_bytes()).collect();
            let lines = block(&pixels.into(), WIDTH, format, 0..scene.lines, Moment::now());
            holds(&push_all(&mut standard(), &[lines]))
        };
        assert_eq!((seen(1.4), seen(3.0)), (vec!["none"], vec!["overexposed"]), "{full} of {white}");
    }
}

#[test]
fn a_bright_gap_within_the_outline_is_held() {
    let mut scene = row_of_wafers(1, 0.7);
    scene.gap = 0.98;
    let gap_where = |is_gap: fn(f64, f64) -> bool| {
        let told = changed(&scene, &bright(), move |across, along, value| if is_gap(across, along) { 0.98 } else { value });
        told[0]
    };
    assert_eq!(gap_where(|across, _| (150.0..153.0).contains(&across)), "broken", "two halves side by side");
    assert_eq!(gap_where(|across, along| (150.0..153.0).contains(&(along - 0.1 * across))), "broken", "two halves behind each other");
    assert_eq!(gap_where(|across, along| (across - 80.0).hypot(along - 200.0) < 4.0), "broken", "a hole");
    assert_eq!(gap_where(|across, along| (across - 80.0).hypot(along - 200.0) < 0.6), "none", "a speck");
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
