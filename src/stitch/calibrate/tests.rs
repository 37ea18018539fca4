use super::{Catch, Picture, chart, dark_field, flat_field, scale};
use crate::cell::{Moment, PixelFormat};
use crate::config::{Belt, GapKind};
use crate::stitch::drawing::{Drawn, Scene, block, product};
use crate::stitch::{Calibration, CalibrationError, Stitcher};
use bytes::Bytes;

const WIDTH: usize = 340;

/// Response of the drawn camera's columns: falls off to the sides, 1 on average.
fn vignette() -> Vec<f64> {
    let fall = |c: usize| 1.0 - 0.3 * ((c as f64 / WIDTH as f64) * 2.0 - 1.0).powi(2);
    let mean = (0..WIDTH).map(fall).sum::<f64>() / WIDTH as f64;
    (0..WIDTH).map(|c| fall(c) / mean).collect()
}

/// What the drawn camera makes of light: `shares` of white, line by line.
fn seen(light: impl Iterator<Item = f64>) -> Picture {
    let response = vignette();
    let dark = |column: usize| 0.01 + 0.01 * (column % 2) as f64;
    let pixels = light.enumerate().map(|(n, v)| ((dark(n % WIDTH) + v * response[n % WIDTH]).min(1.0) * 65535.0) as u16).collect();
    Picture { width_px: WIDTH, pixels }
}

fn even(light: f64) -> Picture {
    seen(std::iter::repeat_n(light, WIDTH * 20))
}

fn scene(gap: f64) -> Scene {
    let wafer = Drawn::square(300.0, 169.5, 40.0, 1.4);
    Scene { width_px: WIDTH, lines: 400, gap, wafers: vec![wafer] }
}

fn calibration() -> Calibration {
    let dark = dark_field(&[even(0.0)]).expect("dark");
    let flat = flat_field(&[even(0.6)], &dark).expect("even");
    Calibration {
        camera_id: "cam".into(),
        width_px: WIDTH as u32,
        mm_per_px: 0.0,
        mm_per_line: 0.0,
        made: "2026-01-01T00:00:00Z".into(),
        dark,
        flat,
    }
}

fn wafer_picture(gap: f64) -> Picture {
    picture_of(&scene(gap))
}

fn picture_of(scene: &Scene) -> Picture {
    seen((0..scene.lines).flat_map(|l| scene.line(l)))
}

#[test]
fn dark_flat_and_scale_are_recovered() {
    let calibration = calibration();
    for (flat, response) in calibration.flat.iter().zip(vignette()) {
        assert!((f64::from(*flat) - response).abs() < 1e-3);
    }
    for (gap, kind) in [(0.05, GapKind::Dark), (0.8, GapKind::Bright)] {
        let found = scale(&wafer_picture(gap), &calibration, 182.0, 182.0).expect("a wafer");
        assert!((found.mm_per_px * 300.0 - 182.0).abs() < 0.6, "{found:?}");
        assert!((found.mm_per_line * 300.0 - 182.0).abs() < 0.6, "{found:?}");
        assert!((found.skew_deg - 1.4).abs() < 0.1, "{found:?}");
        assert_eq!(found.gap, kind);
        assert_eq!(found.usual_levels_do, kind == GapKind::Dark, "{found:?}");
    }
    let mut straight = scene(0.05);
    straight.wafers = vec![Drawn { length_px: 240.0, ..Drawn::square(300.0, 169.5, 70.0, 0.0) }];
    let found = scale(&picture_of(&straight), &calibration, 182.0, 182.0).expect("a wafer");
    assert!((found.mm_per_line * 240.0 - 182.0).abs() < 0.8, "lines may be longer than pixels are wide: {found:?}");
}

#[test]
fn a_calibration_survives_its_file_and_makes_the_stitcher_right() {
    let mut calibration = calibration();
    let wafer = wafer_picture(0.05);
    let found = scale(&wafer, &calibration, 182.0, 182.0).expect("a wafer");
    (calibration.mm_per_px, calibration.mm_per_line) = (found.mm_per_px, found.mm_per_line);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calibration.toml");
    calibration.save(&file).expect("written");
    let read = Calibration::load(&file).expect("read");
    assert_eq!(read, calibration);

    let belt = product(300.0).1;
    stitches(&wafer, &read, belt);
}

/// A stitcher with this calibration and belt sees the wafer of this picture.
fn stitches(wafer: &Picture, calibration: &Calibration, mut belt: Belt) {
    (belt.mm_per_px, belt.mm_per_line) = (None, None);
    let mut stitcher = Stitcher::new("A".into(), &product(300.0).0, &belt, Some(calibration)).expect("calibrated");
    let pixels: Bytes = wafer.pixels.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
    let mut out = Vec::new();
    stitcher.push(&block(&pixels, WIDTH, PixelFormat::Gray16Le { bits: 16 }, 0..400, Moment::now()), &mut out);
    let Some(crate::cell::StitchEvent::Ended(end)) = out.last() else { panic!("no cell ended: {out:?}") };
    assert_eq!(end.hold, None);
    assert!((end.geometry.expect("measured").length_mm - 182.0).abs() < 0.6);
}

#[test]
fn the_levels_that_are_told_for_a_bright_gap_see_wafers_under_any_lens() {
    let mut calibration = calibration();
    for gap in [0.85, 1.0, 1.5] {
        let wafer = wafer_picture(gap);
        let found = scale(&wafer, &calibration, 182.0, 182.0).expect("a wafer");
        (calibration.mm_per_px, calibration.mm_per_line) = (found.mm_per_px, found.mm_per_line);
        let (edge_level, gap_level) = if found.usual_levels_do { GapKind::Bright.usual_levels() } else { found.levels };
        assert!(gap != 1.5 || found.usual_levels_do, "a gap at full white stays so: {found:?}");
        stitches(&wafer, &calibration, Belt { gap: GapKind::Bright, edge_level, gap_level, ..product(300.0).1 });
    }
}

#[test]
fn the_chart_shows_the_outline_where_the_wafer_is() {
    let (calibration, wafer) = (calibration(), wafer_picture(0.05));
    let found = scale(&wafer, &calibration, 182.0, 182.0).expect("a wafer");
    let drawn = &scene(0.05).wafers[0];
    let corners = [(0.0, 0.0), (300.0, 0.0), (300.0, 300.0), (0.0, 300.0)].map(|(a, b)| drawn.to_camera(a, b));
    for (found, corner) in found.corners.iter().zip(corners) {
        assert!((found.0 - corner.0).abs() < 1.5 && (found.1 - corner.1).abs() < 1.5, "{found:?} for {corner:?}");
    }
    let picture = chart(&calibration, &wafer, &found);
    assert!(picture.pixels().filter(|p| p.0 == [230, 40, 30]).count() > 1000, "the outline is drawn");
}

#[test]
fn pictures_that_cannot_be_right_are_refused_with_what_and_remedy() {
    let good = calibration();
    let mut dead = even(0.6);
    dead.pixels.iter_mut().skip(17).step_by(WIDTH).for_each(|p| *p = 1000);
    let cut = Picture { width_px: WIDTH, pixels: wafer_picture(0.05).pixels.split_off(WIDTH * 100) };
    let refused = [
        (dark_field(&[even(0.5)]).err(), "cover the lens"),
        (dark_field(&[]).err(), "0 lines"),
        (flat_field(&[even(1.2)], &good.dark).err(), "saturated"),
        (flat_field(&[even(0.02)], &good.dark).err(), "more light"),
        (flat_field(&[dead], &good.dark).err(), "17"),
        (flat_field(&[even(0.5)], &good.dark[1..]).err(), "339"),
        (scale(&even(0.4), &good, 182.0, 182.0).err(), "no wafer stands out"),
        (scale(&cut, &good, 182.0, 182.0).err(), "border"),
    ];
    for (error, word) in refused {
        let message = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn a_calibration_of_another_camera_or_without_sense_is_refused() {
    let mut calibration = calibration();
    (calibration.mm_per_px, calibration.mm_per_line) = (0.1, 0.1);
    assert!(calibration.fits(WIDTH as u32, "cam").is_ok());
    assert!(matches!(calibration.fits(WIDTH as u32, "other"), Err(CalibrationError::Misfit { .. })));
    assert!(matches!(calibration.fits(7, "cam"), Err(CalibrationError::Misfit { .. })));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calibration.toml");
    #[allow(clippy::type_complexity)]
    let breaks: [(&str, fn(&mut Calibration)); 3] =
        [("mm_per_px", |c| c.mm_per_px = -1.0), ("dark", |c| c.dark.truncate(7)), ("column 3", |c| c.flat[3] = f32::NAN)];
    for (word, break_it) in breaks {
        let mut broken = calibration.clone();
        break_it(&mut broken);
        broken.save(&file).expect("written");
        let message = Calibration::load(&file).expect_err("nonsense").to_string();
        assert!(message.contains(word) && message.contains("calibration.toml"), "{message}");
    }
    std::fs::write(&file, "width = 3").expect("written");
    assert!(Calibration::load(&file).is_err());
    assert!(Calibration::load(&folder.path().join("none")).expect_err("no file").to_string().contains("none"));
}

#[test]
fn one_whole_wafer_is_caught_out_of_a_stream() {
    let (product, belt) = product(300.0);
    let first = Drawn::square(300.0, 169.5, -100.0, 0.0);
    let second = Drawn::square(300.0, 169.5, 260.0, 0.0);
    let scene = Scene { width_px: WIDTH, lines: 640, gap: 0.03, wafers: vec![first, second] };
    let pixels = Bytes::from(scene.gray8());
    let mut catch = Catch::wafer(&"A".into(), &belt, 900).expect("levels");
    let caught = (0..640)
        .step_by(40)
        .find_map(|l| catch.push(&block(&pixels, WIDTH, PixelFormat::Gray8, l..l + 40, Moment::now())).expect("a wafer"));
    let caught = caught.expect("the second wafer is whole");
    assert!((caught.lines().len() as i64 - 364).abs() < 8, "{} lines", caught.lines().len());
    let mut field = calibration();
    (field.dark, field.flat) = (vec![0.0; WIDTH], vec![1.0; WIDTH]);
    let found = scale(&caught, &field, product.width_mm, product.length_mm).expect("a wafer");
    assert!((found.mm_per_px * 300.0 - 182.0).abs() < 0.6, "{found:?}");
}

#[test]
fn colours_empty_folders_and_half_pictures_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Picture::load_all(&[folder.path().to_owned()], 16).expect_err("empty").to_string().contains("holds no picture"));
    let file = folder.path().join("rgb.png");
    image::RgbImage::new(4, 4).save(&file).expect("written");
    assert!(Picture::load(&file, 16).expect_err("colour").to_string().contains("3 channels"));
    let jpeg = folder.path().join("flat.jpg");
    image::GrayImage::from_pixel(64, 64, image::Luma([150])).save(&jpeg).expect("written");
    assert!(Picture::load(&jpeg, 16).is_ok());
    let whole = std::fs::read(&jpeg).expect("read");
    std::fs::write(&jpeg, &whole[..whole.len() - 8]).expect("written");
    assert!(Picture::load(&jpeg, 16).expect_err("half a picture").to_string().contains("cut off"));
}
