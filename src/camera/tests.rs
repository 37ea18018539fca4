//! Behaviour of the sources that need nothing but this process.

use super::*;
use crate::cell::{CameraEvent, LineBlock, LossCause, PixelFormat};
use crate::config::{Belt, Camera, CameraKind, FilesCamera, GapKind, GstreamerCamera, SimulatedCamera, Wafer, WaferKind};
use crossbeam_channel::Receiver;
use std::path::Path;
use std::time::Duration;

/// Longer than any machine needs; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn camera(kind: CameraKind, block_lines: u32) -> Camera {
    Camera { kind, line_rate_hz: None, block_lines, idle_after_s: 3.0 }
}

fn belt(gap: GapKind) -> Belt {
    Belt {
        gap,
        edge_level: 0.2,
        gap_level: 0.1,
        edge_lines: 4,
        skew_deg_max: 3.0,
        noise_share_max: 0.04,
        mm_per_px: None,
        mm_per_line: None,
    }
}

fn start(kind: CameraKind, block_lines: u32, queue_blocks: usize) -> Result<CameraLink, CameraError> {
    let wafer = Wafer::of_format("M6").unwrap();
    CameraLink::start("test", &camera(kind, block_lines), &wafer, &belt(GapKind::Dark), queue_blocks)
}

/// All events up to and without the end.
fn until_end(events: &Receiver<CameraEvent>) -> Vec<CameraEvent> {
    let next = || events.recv_timeout(PATIENCE).expect("the camera says nothing more, not even the end");
    std::iter::repeat_with(next).take_while(|event| !matches!(event, CameraEvent::End)).collect()
}

fn blocks(events: &[CameraEvent]) -> Vec<&LineBlock> {
    events.iter().filter_map(|e| if let CameraEvent::Block(b) = e { Some(b) } else { None }).collect()
}

fn lines(blocks: &[&LineBlock]) -> Vec<Vec<u8>> {
    blocks.iter().flat_map(|b| (0..b.lines).map(|n| b.line(n).to_vec())).collect()
}

fn files(path: &Path) -> FilesCamera {
    FilesCamera { path: path.to_owned(), whole_cells: false, width_px: None, cell_px: None, gap_lines: 3, gap_level: Some(0.1), rounds: 1 }
}

fn grey(width: u32, lines: u32, seed: u32) -> image::GrayImage {
    image::GrayImage::from_fn(width, lines, |x, y| image::Luma([(x * 7 + y * 13 + seed * 31) as u8]))
}

#[test]
fn consecutive_lines_come_back_exactly_whatever_the_block() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (grey(37, 20, 1), grey(37, 9, 2));
    first.save(folder.path().join("1.png")).unwrap();
    second.save(folder.path().join("2.tif")).unwrap();
    let link = start(CameraKind::Files(files(folder.path())), 8, 2).unwrap();
    let events = until_end(link.events());
    let blocks = blocks(&events);
    assert_eq!(events.len(), blocks.len(), "{events:?}");
    assert_eq!(blocks.iter().map(|b| (b.first_line, b.lines)).collect::<Vec<_>>(), [(0, 8), (8, 8), (16, 8), (24, 5)]);
    let expected: Vec<Vec<u8>> = first.rows().chain(second.rows()).map(|row| row.map(|p| p.0[0]).collect()).collect();
    assert_eq!(lines(&blocks), expected);
    link.stop();
}

#[test]
fn whole_cells_lie_in_the_middle_of_the_line_with_a_gap_around_each() {
    let folder = tempfile::tempdir().unwrap();
    let cell = image::ImageBuffer::from_fn(10, 6, |x, y| image::Luma([60_000 - (x * 100 + y) as u16]));
    cell.save(folder.path().join("cell.png")).unwrap();
    let settings = FilesCamera { whole_cells: true, width_px: Some(16), rounds: 2, ..files(folder.path()) };
    let link = start(CameraKind::Files(settings), 4, 2).unwrap();
    let events = until_end(link.events());
    let blocks = blocks(&events);
    assert!(blocks.iter().all(|b| b.format == PixelFormat::Gray16Le { bits: 16 } && b.width_px == 16));
    let values: Vec<Vec<u16>> = lines(&blocks).iter().map(|l| l.chunks(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect()).collect();
    let gap = vec![6554_u16; 16];
    let mut expected = vec![gap.clone(); 3];
    for _ in 0..2 {
        for y in 0..6 {
            let mut line = gap.clone();
            (0..10).for_each(|x| line[3 + x as usize] = cell.get_pixel(x, y).0[0]);
            expected.push(line);
        }
        expected.extend(vec![gap.clone(); 3]);
    }
    assert_eq!(values, expected);
}

#[test]
fn cells_are_scaled_to_the_size_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    image::GrayImage::from_pixel(30, 20, image::Luma([200])).save(folder.path().join("cell.png")).unwrap();
    let settings = FilesCamera { whole_cells: true, cell_px: Some(60), gap_level: Some(0.0), ..files(folder.path()) };
    let link = start(CameraKind::Files(settings), 16, 4).unwrap();
    let events = until_end(link.events());
    let lines = lines(&blocks(&events));
    assert!(lines.iter().all(|l| l.len() == 66), "60 px and a tenth");
    assert_eq!(lines.iter().filter(|l| l.iter().filter(|p| **p == 200).count() == 60).count(), 40);
}

#[test]
fn the_gap_between_cells_looks_as_the_belts_does() {
    let folder = tempfile::tempdir().unwrap();
    image::GrayImage::from_pixel(30, 20, image::Luma([128])).save(folder.path().join("cell.png")).unwrap();
    for (gap, expected) in [(GapKind::Dark, 8), (GapKind::Bright, 250)] {
        let settings = FilesCamera { whole_cells: true, gap_level: None, ..files(folder.path()) };
        let camera = camera(CameraKind::Files(settings), 16);
        let link = CameraLink::start("test", &camera, &Wafer::of_format("M6").unwrap(), &belt(gap), 4).unwrap();
        assert_eq!(lines(&blocks(&until_end(link.events())))[0], [expected; 33]);
    }
}

/// What the start of a folder's replay is refused with.
fn refusal(folder: &Path, change: impl Fn(&mut FilesCamera)) -> String {
    let mut settings = files(folder);
    change(&mut settings);
    match start(CameraKind::Files(settings), 8, 2) {
        Ok(_) => panic!("not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn pictures_that_cannot_be_used_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let told = refusal(&folder.path().join("nowhere"), |_| {});
    assert!(told.contains("nowhere") && told.contains("cannot be listed"), "{told}");
    let told = refusal(folder.path(), |_| {});
    assert!(told.contains("holds no picture") && told.contains("png"), "{told}");

    let place = |name: &str| folder.path().join(name);
    std::fs::write(place("a.png"), b"not a picture").unwrap();
    let told = refusal(folder.path(), |_| {});
    assert!(told.contains("a.png") && told.contains("cannot be decoded"), "{told}");

    image::RgbImage::new(8, 8).save(place("a.png")).unwrap();
    let told = refusal(folder.path(), |_| {});
    assert!(told.contains("a.png") && told.contains("3 channels") && told.contains("convert it to grey"), "{told}");

    grey(8, 8, 0).save(place("a.png")).unwrap();
    grey(9, 8, 0).save(place("b.png")).unwrap();
    let told = refusal(folder.path(), |_| {});
    assert!(told.contains("b.png") && told.contains("9 px") && told.contains("8 px"), "{told}");
    let told = refusal(folder.path(), |s| (s.whole_cells, s.width_px) = (true, Some(8)));
    assert!(told.contains("b.png") && told.contains("camera.width_px is 8"), "{told}");
}

/// A folder of three pictures of 64 × 64, the second of which breaks off.
fn with_a_broken_picture() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let place = |number: u32| folder.path().join(format!("{number}.png"));
    (1..=3).for_each(|number| grey(64, 64, number).save(place(number)).unwrap());
    let whole = std::fs::read(place(2)).unwrap();
    std::fs::write(place(2), &whole[..whole.len() / 2]).unwrap();
    folder
}

/// Blocks and losses as (first line, lines, lost).
fn stretches(events: &[CameraEvent]) -> Vec<(u64, u64, bool)> {
    let stretch = |event: &CameraEvent| match event {
        CameraEvent::Block(b) => (b.first_line, u64::from(b.lines), false),
        CameraEvent::Lost { first_line, lines, cause: LossCause::FrameDamaged } => (*first_line, *lines, true),
        other => panic!("unexpected {other:?}"),
    };
    events.iter().map(stretch).collect()
}

#[test]
fn the_lines_of_a_picture_that_breaks_off_are_lost_and_the_replay_goes_on() {
    let folder = with_a_broken_picture();
    let link = start(CameraKind::Files(files(folder.path())), 64, 4).unwrap();
    let events = until_end(link.events());
    assert_eq!(stretches(&events), [(0, 64, false), (64, 64, true), (128, 64, false)]);
}

#[test]
fn a_whole_cell_before_one_that_breaks_off_ends_with_its_gap() {
    let folder = with_a_broken_picture();
    let settings = FilesCamera { whole_cells: true, cell_px: Some(32), ..files(folder.path()) };
    let link = start(CameraKind::Files(settings), 100, 4).unwrap();
    let events = until_end(link.events());
    assert_eq!(stretches(&events), [(0, 3 + 32 + 3, false), (38, 32, true), (70, 3 + 32 + 3, false)]);
}

#[test]
fn a_replay_for_ever_ends_when_no_picture_can_be_decoded_any_more() {
    let folder = with_a_broken_picture();
    ["1.png", "3.png"].iter().for_each(|name| std::fs::remove_file(folder.path().join(name)).unwrap());
    let link = start(CameraKind::Files(FilesCamera { rounds: 0, ..files(folder.path()) }), 64, 4).unwrap();
    assert_eq!(stretches(&until_end(link.events())), [(0, 64, true)]);
}

#[test]
fn a_source_that_can_wait_waits_and_can_still_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    grey(16, 64, 1).save(folder.path().join("1.png")).unwrap();
    let link = start(CameraKind::Files(FilesCamera { rounds: 0, ..files(folder.path()) }), 1, 1).unwrap();
    for line in 0..200 {
        match link.events().recv_timeout(PATIENCE).unwrap() {
            CameraEvent::Block(block) => assert_eq!(block.first_line, line, "nothing is lost while it waits"),
            other => panic!("unexpected {other:?}"),
        }
    }
    link.stop();
}

fn simulated() -> SimulatedCamera {
    SimulatedCamera {
        wafer: WaferKind::Laser,
        seed: 5,
        wafers: 2,
        cracked_share: 1.0,
        width_px: 300,
        gap_lines: 50,
        skew_deg_max: 1.0,
        lose_lines: vec![(2, 17)],
    }
}

#[test]
fn the_simulated_camera_loses_exactly_what_it_says_and_knows_the_truth() {
    let link = start(CameraKind::Simulated(simulated()), 32, 4).unwrap();
    let events = until_end(link.events());
    let mut next = 0;
    let (mut truths, mut lost) = (Vec::new(), Vec::new());
    for event in &events {
        match event {
            CameraEvent::Block(block) => {
                assert_eq!(block.first_line, next);
                next = block.end_line();
            }
            CameraEvent::Lost { first_line, lines, cause } => {
                assert_eq!((*first_line, *cause), (next, LossCause::FramesMissing));
                next += lines;
                lost.push((*first_line, *lines));
            }
            CameraEvent::Truth(truth) => {
                assert!(truth.middle_line > next && !truth.mask.is_empty());
                truths.push(truth.middle_line);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!((truths.len(), lost.len()), (2, 1));
    assert_eq!(lost[0].1, 17);
    assert!((lost[0].0..lost[0].0 + 17).contains(&truths[1]), "{lost:?} is not the middle {} of the second wafer", truths[1]);
    // The line at a wafer's middle shows it, the lines half a wafer away show the gap.
    let line = |number: u64| {
        let block = blocks(&events).into_iter().find(|b| (b.first_line..b.end_line()).contains(&number)).unwrap();
        block.line((number - block.first_line) as u32).to_vec()
    };
    let bright = |number| line(number).iter().filter(|p| **p > 40).count();
    assert!(bright(truths[0]) > 260 && bright(truths[0] - 150) == 0 && bright(truths[0] + 150) == 0);
}

#[test]
fn the_same_seed_gives_the_same_lines() {
    let once = || {
        let link = start(CameraKind::Simulated(SimulatedCamera { wafers: 1, ..simulated() }), 32, 64).unwrap();
        lines(&blocks(&until_end(link.events())))
    };
    assert_eq!(once(), once());
}

#[test]
fn wafers_wider_than_the_line_are_refused() {
    let checked = |kind| check(&camera(kind, 32), &Wafer::of_format("M6").unwrap(), &belt(GapKind::Dark));
    let wide = CameraKind::Simulated(SimulatedCamera { skew_deg_max: 20.0, ..simulated() });
    for error in [start(wide.clone(), 32, 4).err().unwrap(), checked(wide).unwrap_err()] {
        assert!(error.is_configuration() && error.to_string().contains("raise camera.width_px"), "{error}");
    }
    checked(CameraKind::Simulated(simulated())).unwrap();
}

fn fragment(fragment: &str) -> CameraKind {
    CameraKind::Gstreamer(GstreamerCamera { fragment: fragment.into(), bits: 12 })
}

#[test]
fn any_grey_gstreamer_source_is_a_camera() {
    let source = "videotestsrc num-buffers=6 pattern=white ! video/x-raw,format=GRAY8,width=90,height=16";
    let link = start(fragment(source), 1, 2).unwrap();
    let events = until_end(link.events());
    let blocks = blocks(&events);
    assert_eq!(blocks.iter().map(|b| b.first_line).collect::<Vec<_>>(), [0, 16, 32, 48, 64, 80]);
    assert!(lines(&blocks).iter().all(|line| line.len() == 90 && line.iter().all(|p| *p > 200)), "white, without the padding");

    let source = "videotestsrc num-buffers=1 ! video/x-raw,format=GRAY16_LE,width=64,height=4";
    let link = start(fragment(source), 1, 2).unwrap();
    let events = until_end(link.events());
    assert!(matches!(&events[..], [CameraEvent::Block(b)] if b.format == PixelFormat::Gray16Le { bits: 12 }), "{events:?}");
}

#[test]
fn lines_lie_as_far_apart_as_a_buffer_tells() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = |n: u32| [[n as u8; 1500].as_slice(), &[255; 36]].concat();
    std::fs::write(file.path(), (0..256).flat_map(line).collect::<Vec<u8>>()).unwrap();
    let layout = "format=gray8 width=1500 height=128 plane-strides=\"<1536>\" frame-size=196608";
    let link = start(fragment(&format!("filesrc location={} ! rawvideoparse {layout}", file.path().display())), 1, 4).unwrap();
    let expected: Vec<Vec<u8>> = (0..256).map(|n| vec![n as u8; 1500]).collect();
    assert_eq!(lines(&blocks(&until_end(link.events()))), expected);
}

#[test]
fn fragments_that_cannot_be_cameras_are_refused_with_the_remedy() {
    let refused = |text: &str| start(fragment(text), 1, 2).err().expect("not refused").to_string();
    let told = refused("videotestsrc ! video/x-raw,format=RGB,width=64,height=4");
    assert!(told.contains("RGB") && told.contains("! videoconvert ! video/x-raw,format=GRAY8"), "{told}");
    let told = refused("nosuchelement");
    assert!(told.contains("nosuchelement"), "{told}");
    let told = refused("videotestsrc ! fakesink");
    assert!(told.contains("could not link"), "{told}");
}

#[test]
fn three_channels_that_show_only_while_it_runs_are_told_with_the_remedy() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![9; 16 * 16 * 3]).unwrap();
    let source = format!("filesrc location={} ! rawvideoparse format=rgb width=16 height=16", file.path().display());
    let told = match start(fragment(&source), 1, 2) {
        Err(error) => error.to_string(),
        Ok(link) => match link.events().recv_timeout(PATIENCE).unwrap() {
            CameraEvent::Gone { reason, .. } => reason,
            other => panic!("unexpected {other:?}"),
        },
    };
    assert!(told.contains("RGB") && told.contains("! videoconvert ! video/x-raw,format=GRAY8"), "{told}");
}

#[test]
fn a_pipeline_that_fails_is_gone_and_comes_back() {
    // It fails after more frames than the pipeline holds, so that some were read by then.
    let source = "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=4 ! identity error-after=30";
    let link = start(fragment(source), 1, 64).unwrap();
    let (mut before, mut next_line) = (0, 0);
    loop {
        match link.events().recv_timeout(PATIENCE).unwrap() {
            CameraEvent::Block(block) => {
                assert_eq!(block.first_line, next_line, "lines are numbered on");
                next_line = block.end_line();
                before += 1;
            }
            CameraEvent::Gone { reason, .. } => assert!(reason.contains("identity") && before > 0, "{reason}"),
            CameraEvent::Back { attempts, .. } => break assert_eq!(attempts, 1),
            other => panic!("unexpected {other:?} after {before}"),
        }
    }
}
