//! Simulated wafers passing under a simulated line camera, with their truth.

use super::CameraError;
use super::ahead::Ahead;
use super::feed::Feed;
use super::pacer::LinePacer;
use crate::cell::{CELL_PX, CameraEvent, LossCause, Mask, PixelFormat, TrueMask};
use crate::config::{Belt, Camera, SimulatedCamera, Wafer};
use crate::simulate::{LaidWafer, Lay, WaferSettings, lay, wafer};
use crate::stop::{Stop, Stopped};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Noise of the simulated sensor, grey levels (standard deviation).
const NOISE: f64 = 1.5;
/// Wafers lie off the middle by up to this share of the room beside them.
const OFF_MIDDLE: f64 = 0.5;

/// Looks whether wafers have room on the line, without drawing any.
///
/// # Errors
/// [`CameraError::WaferTooWide`] where turned wafers reach over the line's ends.
pub(super) fn check(settings: &SimulatedCamera, product: &Wafer, belt: &Belt) -> Result<(), CameraError> {
    Room::new(settings, product, belt).map(drop)
}

/// The room that wafers have on the line, camera pixels.
struct Room {
    /// Side of a wafer.
    side_px: f64,
    /// What is left on each side of one that lies turned as far as they do.
    beside_px: f64,
}

impl Room {
    fn new(settings: &SimulatedCamera, product: &Wafer, belt: &Belt) -> Result<Self, CameraError> {
        let width_px = f64::from(settings.width_px);
        let side_px = belt.mm_per_px.map_or(width_px * SimulatedCamera::WAFER_SHARE, |mm_per_px| product.width_mm / mm_per_px);
        let (sin, cos) = settings.skew_deg_max.to_radians().sin_cos();
        let needed_px = (side_px * (cos + sin.abs())).ceil();
        if needed_px.is_nan() || needed_px > width_px {
            return Err(CameraError::WaferTooWide {
                side_px,
                skew_deg: settings.skew_deg_max,
                needed_px: needed_px as u32,
                width_px: settings.width_px,
            });
        }
        Ok(Self { side_px, beside_px: (width_px - needed_px) / 2.0 })
    }
}

/// The simulated belt: wafers drawn one ahead of the line that passes.
pub(super) struct Line {
    wafers: Ahead<(LaidWafer, Arc<Mask>)>,
    settings: SimulatedCamera,
    gap_level: u8,
    line_rate_hz: Option<f64>,
    block_lines: u32,
}

impl Line {
    /// Begins to draw the first wafer.
    ///
    /// # Errors
    /// [`CameraError::WaferTooWide`] where turned wafers reach over the line's ends.
    pub(super) fn new(lane: &str, settings: &SimulatedCamera, camera: &Camera, product: &Wafer, belt: &Belt) -> Result<Self, CameraError> {
        let Room { side_px, beside_px } = Room::new(settings, product, belt)?;
        let gap_level = belt.gap.drawn_grey();
        let longer_mm = product.width_mm.max(product.length_mm);
        let corner_px = (product.corners_mm[0] / longer_mm * CELL_PX as f64).round() as u32;
        let looks =
            WaferSettings { kind: settings.wafer, seed: settings.seed, cracked_share: settings.cracked_share, corner_px: Some(corner_px) };
        let usual =
            Lay { line_width_px: settings.width_px, side_px, skew_deg: 0.0, offset_px: 0.0, gap_level, noise: NOISE, noise_seed: 0 };
        let (skew_deg_max, off_px_max) = (settings.skew_deg_max, beside_px * OFF_MIDDLE);
        let draw = move |index: u64| {
            let mut dice = ChaCha8Rng::seed_from_u64(looks.seed);
            dice.set_stream(index);
            let lies = Lay {
                skew_deg: dice.random_range(-1.0..=1.0) * skew_deg_max,
                offset_px: dice.random_range(-1.0..=1.0) * off_px_max,
                noise_seed: dice.random(),
                ..usual
            };
            let wafer = wafer(&looks, index);
            (lay(&wafer, &lies), Arc::new(wafer.mask))
        };
        let count = settings.wafers;
        let wafers = Ahead::start(lane, (0..).take_while(move |index| count == 0 || *index < count).map(draw))?;
        Ok(Self { wafers, settings: settings.clone(), gap_level, line_rate_hz: camera.line_rate_hz, block_lines: camera.block_lines })
    }

    /// Lets all wafers pass, each after a gap, and a last gap.
    pub(super) fn run(self, feed: Feed, stop: Stop) -> Result<(), Stopped> {
        let Self { wafers, settings, gap_level, line_rate_hz, block_lines } = self;
        let mut lines = LinePacer::new(feed, stop, settings.width_px, block_lines, PixelFormat::Gray8, line_rate_hz);
        let gap = vec![gap_level; settings.width_px as usize];
        for (number, (laid, mask)) in (1..).zip(wafers) {
            lines.repeat(&gap, settings.gap_lines)?;
            let middle_line = lines.next_line() + u64::from(laid.middle_line);
            lines.tell(CameraEvent::Truth(TrueMask { middle_line, mask }))?;
            let lost: u32 = settings.lose_lines.iter().filter(|(wafer, _)| *wafer == number).map(|(_, lines)| lines).sum();
            let lost = lost.min(laid.lines);
            let lost_from = laid.middle_line.saturating_sub(lost / 2).min(laid.lines - lost);
            for (line, pixels) in (0..).zip(laid.pixels.chunks_exact(gap.len().max(1))) {
                if lost > 0 && line == lost_from {
                    lines.lose(lost, LossCause::FramesMissing)?;
                }
                if !(lost_from..lost_from + lost).contains(&line) {
                    lines.line(pixels)?;
                }
            }
        }
        lines.repeat(&gap, settings.gap_lines)?;
        lines.flush()
    }
}
