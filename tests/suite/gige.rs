//! The GigE Vision source against a camera that speaks the real protocol.

use crate::loopback::{LineCamera, cell_pictures, in_loopback};
use hairline::camera::{CameraError, CameraLink};
use hairline::cell::{CameraEvent, LineBlock, LossCause, PixelFormat};
use hairline::config::{Belt, Camera, CameraKind, FeatureValue, GapKind, GigeCamera, Wafer};
use std::path::Path;
use std::time::Duration;

/// Longer than any machine needs; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);
/// A level that no cell shows, so that a line is gap or cell beyond doubt.
const GAP_LEVEL: u8 = 255;
/// What all tests here show: small cells, no noise, a bright gap.
const SHOWN: &str = "--width 420 --cell-px 400 --gap-lines 70 --gap-level 255 --noise 0 ";

fn gige() -> GigeCamera {
    GigeCamera {
        id: "Aravis-Fake-LINE01".into(),
        width_px: Some(420),
        pixel_format: Some("Mono8".into()),
        features: vec![("AcquisitionFrameRate".into(), FeatureValue::Integer(80))],
        buffers: 64,
        reconnect_first_ms: 100,
        reconnect_max_ms: 400,
        encoder_chunk: None,
        packet_socket: true,
    }
}

/// A link for which no pause is a belt that stands: on a busy machine the camera itself makes some.
fn start(settings: GigeCamera) -> Result<CameraLink, CameraError> {
    start_with(settings, 3600.0)
}

fn start_with(settings: GigeCamera, idle_after_s: f64) -> Result<CameraLink, CameraError> {
    let camera = Camera { kind: CameraKind::Gige(settings), line_rate_hz: Some(2560.0), block_lines: 32, idle_after_s };
    let belt = Belt {
        gap: GapKind::Bright,
        edge_level: 0.9,
        gap_level: 0.95,
        edge_lines: 4,
        skew_deg_max: 3.0,
        noise_share_max: 0.04,
        mm_per_px: None,
        mm_per_line: None,
    };
    CameraLink::start("test", &camera, &Wafer::of_format("M6").unwrap(), &belt, 256)
}

fn next(link: &CameraLink) -> CameraEvent {
    link.events().recv_timeout(PATIENCE).expect("the camera says nothing")
}

fn next_block(link: &CameraLink) -> LineBlock {
    match next(link) {
        CameraEvent::Block(block) => block,
        other => panic!("expected lines, got {other:?}"),
    }
}

/// What is on every line: `None` where it was lost, else whether it is gap.
#[derive(Default)]
struct Lines {
    gap: Vec<Option<bool>>,
}

impl Lines {
    fn take(&mut self, event: &CameraEvent) {
        let (first_line, lines) = match event {
            CameraEvent::Block(block) => {
                let is_gap = |n| Some(block.line(n).iter().all(|p| *p == GAP_LEVEL));
                (block.first_line, (0..block.lines).map(is_gap).collect())
            }
            CameraEvent::Lost { first_line, lines, .. } => (*first_line, vec![None; *lines as usize]),
            other => panic!("unexpected {other:?}"),
        };
        assert_eq!(first_line, self.gap.len() as u64, "every line is delivered or told as lost, once and in order");
        self.gap.extend(lines);
    }

    /// Holds the lines against the camera's log, of which `missed` lines went by before the first one here; tells how many
    /// cell borders were compared, or which line is wrong.
    fn compare(&self, log: &Path, missed: usize) -> Result<usize, String> {
        let mut compared = 0;
        for truth in std::fs::read_to_string(log).unwrap().lines() {
            let truth: serde_json::Value = serde_json::from_str(truth).unwrap();
            let first = truth["first_line"].as_u64().unwrap() as usize;
            let end = first + truth["lines"].as_u64().unwrap() as usize;
            for (line, is_gap) in [(first - 1, true), (first, false), (end - 1, false), (end, true)] {
                let Some(seen) = line.checked_sub(missed).and_then(|line| self.gap.get(line).copied().flatten()) else { continue };
                if seen != is_gap {
                    return Err(format!("line {line} of {truth}"));
                }
                compared += 1;
            }
        }
        Ok(compared)
    }
}

#[test]
fn every_line_of_some_cells_arrives_in_its_place() {
    in_loopback("gige::every_line_of_some_cells_arrives_in_its_place", || {
        let log = tempfile::NamedTempFile::new().unwrap();
        let shown = format!("{SHOWN} --cells 6 --log {}", log.path().display());
        let _camera = LineCamera::start(&shown, &cell_pictures());
        let link = start(gige()).unwrap();
        let mut lines = Lines::default();
        let mut camera_times = Vec::new();
        while lines.gap.len() < 6 * 470 + 100 {
            let block = next_block(&link);
            assert_eq!((block.width_px, block.lines, block.format), (420, 32, PixelFormat::Gray8));
            camera_times.push((block.camera_time_ns.unwrap(), block.last_line_at.unix_ns));
            lines.take(&CameraEvent::Block(block));
        }
        assert_eq!(lines.compare(log.path(), 0), Ok(24));
        assert!(camera_times.is_sorted(), "camera time and its image on our clock run forward");
        link.stop();
    });
}

#[test]
fn lost_packets_are_counted_to_the_line() {
    in_loopback("gige::lost_packets_are_counted_to_the_line", || {
        let log = tempfile::NamedTempFile::new().unwrap();
        let shown = format!("{SHOWN} --lost 0.02 --log {}", log.path().display());
        let _camera = LineCamera::start(&shown, &cell_pictures());
        let link = start(gige()).unwrap();
        let (mut lines, mut damaged) = (Lines::default(), 0);
        while lines.gap.len() < 20 * 470 {
            let event = next(&link);
            damaged += u32::from(matches!(event, CameraEvent::Lost { cause: LossCause::FrameDamaged, .. }));
            lines.take(&event);
        }
        let lost = lines.gap.iter().filter(|line| line.is_none()).count();
        assert!(lost > 0 && damaged > 0, "the camera was to lose packets; lost {lost} lines, {damaged} damaged frames");
        // Frames that are lost whole before the first one arrives are the camera's secret.
        let found: Vec<_> = (0..4).map(|frames| lines.compare(log.path(), frames * 32)).collect();
        assert!(
            found.iter().any(|found| found.as_ref().is_ok_and(|compared| *compared > 40)),
            "after a loss lines are out of place: {found:?}"
        );
        link.stop();
    });
}

#[test]
fn a_belt_that_stands_is_told_once_and_is_no_error() {
    in_loopback("gige::a_belt_that_stands_is_told_once_and_is_no_error", || {
        let log = tempfile::NamedTempFile::new().unwrap();
        // Longer than the camera pauses on a busy machine, shorter than its client does without the answer to a heartbeat.
        let shown = format!("{SHOWN} --cells 3 --stop-at-line 640 --stop-s 3.5 --log {}", log.path().display());
        let _camera = LineCamera::start(&shown, &cell_pictures());
        let link = start_with(gige(), 2.0).unwrap();
        let (mut lines, mut idle_at) = (Lines::default(), Vec::new());
        while lines.gap.len() < 3 * 470 + 100 {
            match next(&link) {
                CameraEvent::Idle { .. } => idle_at.push(lines.gap.len()),
                event => lines.take(&event),
            }
        }
        assert_eq!(idle_at, [640], "told once, where the belt stood");
        assert_eq!(lines.compare(log.path(), 0), Ok(12));
        link.stop();
    });
}

#[test]
fn a_camera_that_goes_away_is_told_and_got_back() {
    in_loopback("gige::a_camera_that_goes_away_is_told_and_got_back", || {
        let link = start(gige()).expect("a camera that is not there yet is no error");
        assert!(matches!(next(&link), CameraEvent::Gone { reason, .. } if reason.contains("Aravis-Fake-LINE01")));
        let camera = LineCamera::start(SHOWN, &cell_pictures()[..2]);
        let told = next(&link);
        assert!(matches!(told, CameraEvent::Back { .. }), "{told:?}");
        let mut end_line = next_block(&link).end_line();
        drop(camera);
        let reason = loop {
            match next(&link) {
                CameraEvent::Block(block) => end_line = block.end_line(),
                CameraEvent::Lost { first_line, lines, .. } => end_line = first_line + lines,
                CameraEvent::Idle { .. } => {}
                CameraEvent::Gone { reason, .. } => break reason,
                other => panic!("unexpected {other:?}"),
            }
        };
        assert!(reason.contains("heartbeat"), "{reason}");
        let _camera = LineCamera::start(SHOWN, &cell_pictures()[..2]);
        assert!(matches!(next(&link), CameraEvent::Back { attempts, .. } if attempts >= 1));
        assert_eq!(next_block(&link).first_line, end_line, "lines are numbered on");
        link.stop();
    });
}

#[test]
fn wrong_settings_are_refused_with_what_the_camera_takes() {
    in_loopback("gige::wrong_settings_are_refused_with_what_the_camera_takes", || {
        let _camera = LineCamera::start(SHOWN, &cell_pictures()[..1]);
        let refused = |change: &dyn Fn(&mut GigeCamera)| {
            let mut settings = gige();
            change(&mut settings);
            start(settings).err().expect("not refused").to_string()
        };
        let feature = |name: &str, value: FeatureValue| {
            let name = name.to_owned();
            refused(&move |s| s.features.push((name.clone(), value.clone())))
        };
        let told = feature("LineRait", FeatureValue::Integer(1));
        assert!(told.contains("LineRait = 1") && told.contains("no such feature"), "{told}");
        let told = feature("AcquisitionFrameRate", FeatureValue::Text("fast".into()));
        assert!(told.contains("takes a number"), "{told}");
        let told = feature("TriggerMode", FeatureValue::Text("Perhaps".into()));
        assert!(told.contains("one of: ") && told.contains("On"), "{told}");
        let told = refused(&|s| s.width_px = Some(1_000_000));
        assert!(told.contains("Width = 1000000"), "{told}");
        let told = refused(&|s| s.encoder_chunk = Some("EncoderValue".into()));
        assert!(told.contains("encoder_chunk") && told.contains("EncoderValue"), "{told}");
        let told = refused(&|s| s.pixel_format = Some("RGB8".into()));
        assert!(told.contains("RGB8") && told.contains("Mono8"), "{told}");
    });
}
