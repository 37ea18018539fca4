//! Whatever a camera may see: the first byte of each line says what lies in it.
#![no_main]

use hairline::cell::{CameraEvent, HoldReason, LineBlock, LossCause, Moment, PixelFormat, StitchEvent};
use hairline::config::{Belt, GapKind, Wafer};
use hairline::stitch::Stitcher;
use libfuzzer_sys::fuzz_target;

const WIDTH_PX: u32 = 96;

fuzz_target!(|bytes: &[u8]| {
    let product = Wafer { width_mm: 40.0, length_mm: 40.0, corners_mm: [2.0; 4], tolerance_mm: 2.0 };
    let belt = Belt {
        gap: GapKind::Dark,
        edge_level: 0.3,
        gap_level: 0.2,
        edge_lines: 3,
        skew_deg_max: 3.2,
        noise_share_max: 0.04,
        mm_per_px: Some(0.5),
        mm_per_line: Some(0.5),
    };
    let Ok(mut stitcher) = Stitcher::new("fuzzed".into(), &product, &belt, None) else { return };
    let (mut out, mut line) = (Vec::new(), 0);
    for pair in bytes.chunks_exact(2) {
        let lines = u64::from(pair[1] % 32) + 1;
        let event = if pair[0] == 255 {
            CameraEvent::Lost { first_line: line, lines, cause: LossCause::FramesMissing }
        } else {
            let (left, right) = (usize::from(pair[0] % 16), WIDTH_PX as usize - usize::from(pair[0] / 16 % 16));
            let mut pixels = vec![8; WIDTH_PX as usize];
            if pair[0] % 3 != 0 {
                pixels[left..right].fill(200);
            }
            CameraEvent::Block(LineBlock {
                first_line: line,
                lines: lines as u32,
                width_px: WIDTH_PX,
                stride_bytes: WIDTH_PX as usize,
                format: PixelFormat::Gray8,
                pixels: pixels.repeat(lines as usize).into(),
                last_line_at: Moment::now(),
                camera_time_ns: None,
                encoder_count: None,
                line_period_ns: 50_000.0,
            })
        };
        stitcher.push(&event, &mut out);
        line += lines;
    }
    stitcher.finish(HoldReason::Restart, Moment::now(), &mut out);
    let count = |of: fn(&StitchEvent) -> bool| out.iter().filter(|event| of(event)).count();
    assert_eq!(count(|e| matches!(e, StitchEvent::Begun { .. })), count(|e| matches!(e, StitchEvent::Ended(_))), "every cell ends once");
});
