//! Lines of changing width and depth on a canvas and on a mask.

use super::canvas::Canvas;
use crate::cell::Mask;

/// One point of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half the line's width here, pixels.
    pub(super) half_width: f32,
    /// What the line writes, in the canvas's unit.
    pub(super) depth: f32,
}

/// Length along a line, pixels.
pub(super) fn length_px(points: &[Point]) -> f32 {
    points.windows(2).map(|pair| (pair[1].x - pair[0].x).hypot(pair[1].y - pair[0].y)).sum()
}

/// Writes a line into a layer: where lines meet, the deeper one stays (their sum would leave
/// knots at every joint). `soft_px` is the width of the transition at its borders.
pub(super) fn draw(layer: &mut Canvas, points: &[Point], soft_px: f32) {
    let side = layer.side;
    let soft = soft_px.max(1.0);
    for pair in points.windows(2) {
        near(side, pair, soft / 2.0, |x, y, distance, t| {
            let half = pair[0].half_width + (pair[1].half_width - pair[0].half_width) * t;
            let depth = pair[0].depth + (pair[1].depth - pair[0].depth) * t;
            let value = depth * ((half - distance) / soft + 0.5).clamp(0.0, (2.0 * half / soft).min(1.0));
            let old = &mut layer.values[y * side + x];
            if value.abs() > old.abs() {
                *old = value;
            }
        });
    }
}

/// Sets the pixels whose middle lies within half the width of a line.
pub(super) fn draw_mask(mask: &mut Mask, points: &[Point]) {
    for pair in points.windows(2) {
        near(mask.width_px(), pair, 0.0, |x, y, distance, t| {
            if distance <= pair[0].half_width + (pair[1].half_width - pair[0].half_width) * t {
                mask.set(x, y, true);
            }
        });
    }
}

/// Calls `each` with (x, y, distance to the segment, place along it 0..=1) for the pixels around a segment.
fn near(side: usize, pair: &[Point], margin_px: f32, mut each: impl FnMut(usize, usize, f32, f32)) {
    let (a, b) = (pair[0], pair[1]);
    let reach = a.half_width.max(b.half_width) + margin_px + 0.5;
    let limit = side as f32;
    let columns = (a.x.min(b.x) - reach).clamp(0.0, limit) as usize..(a.x.max(b.x) + reach).ceil().clamp(0.0, limit) as usize;
    let lines = (a.y.min(b.y) - reach).clamp(0.0, limit) as usize..(a.y.max(b.y) + reach).ceil().clamp(0.0, limit) as usize;
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let squared = (dx * dx + dy * dy).max(1e-6);
    for y in lines {
        for x in columns.clone() {
            let (px, py) = (x as f32 + 0.5 - a.x, y as f32 + 0.5 - a.y);
            let t = ((px * dx + py * dy) / squared).clamp(0.0, 1.0);
            let distance = (px - t * dx).hypot(py - t * dy);
            if distance <= reach {
                each(x, y, distance, t);
            }
        }
    }
}
