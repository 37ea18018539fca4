//! Wafers under a line camera.

use super::SimulatedWafer;
use super::random::Dice;
use crate::cell::Span;

/// How a wafer lies under a line camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lay {
    /// Pixels of the camera's line.
    pub line_width_px: u32,
    /// The wafer's side in camera pixels, across and along.
    pub side_px: f64,
    /// Turn against the line, degrees; positive where the right end of the leading edge comes later.
    pub skew_deg: f64,
    /// Distance of the wafer's centre from the line's middle, pixels, positive to the right.
    pub offset_px: f64,
    /// What the camera sees beside the wafer, grey level.
    pub gap_level: u8,
    /// Standard deviation of the sensor's noise, grey levels.
    pub noise: f64,
    /// Seed of that noise.
    pub noise_seed: u64,
}

/// The camera lines on which a wafer lies, from the first it touches to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaidWafer {
    /// Number of lines.
    pub lines: u32,
    /// Grey levels, `lines` × [`Lay::line_width_px`].
    pub pixels: Vec<u8>,
    /// The line in which the wafer's centre lies.
    pub middle_line: u32,
}

/// Shows a wafer to a line camera: turned, shifted and resampled, the gap around it.
///
/// Resampling is bilinear between the wafer's own pixels; the outline is antialiased against the
/// gap. No line is added before or after the wafer. What reaches over the line's ends is cut off.
pub fn lay(wafer: &SimulatedWafer, how: &Lay) -> LaidWafer {
    let side = wafer.side_px;
    let scale = side as f64 / how.side_px.max(1.0);
    let (sin, cos) = how.skew_deg.to_radians().sin_cos();
    let (top, bottom) = reach_along(wafer, sin, cos);
    let centre_line = -top / scale;
    let lines = ((bottom - top) / scale - 1e-6).ceil().max(1.0) as u32;
    let width = how.line_width_px as usize;
    let centre_column = f64::from(how.line_width_px) / 2.0 + how.offset_px;

    let gap = f32::from(how.gap_level);
    // Fine lines would fall between the samples where the camera is coarser than the wafer.
    let samples = scale.round().clamp(1.0, 8.0) as usize;
    let mut pixels = vec![0; lines as usize * width];
    let mut levels = vec![0.0_f32; width];
    let mut dice = Dice::new(how.noise_seed, u64::MAX);
    for (line, out) in pixels.chunks_exact_mut(width.max(1)).enumerate() {
        levels.fill(0.0);
        for sub_line in 0..samples {
            let along = (line as f64 + (sub_line as f64 + 0.5) / samples as f64 - centre_line) * scale;
            for sub_column in 0..samples {
                let across = ((sub_column as f64 + 0.5) / samples as f64 - centre_column) * scale;
                let mut x = across * cos + along * sin + side as f64 / 2.0 - 0.5;
                let mut y = along * cos - across * sin + side as f64 / 2.0 - 0.5;
                for level in &mut levels {
                    *level += sample(wafer, x as f32, y as f32, gap);
                    x += cos * scale;
                    y -= sin * scale;
                }
            }
        }
        let share = 1.0 / (samples * samples) as f32;
        levels.iter_mut().for_each(|level| *level *= share);
        if how.noise > 0.0 {
            dice.add_grain(&mut levels, how.noise as f32);
        }
        for (pixel, level) in out.iter_mut().zip(&levels) {
            *pixel = (level + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
    LaidWafer { lines, pixels, middle_line: (centre_line as u32).min(lines - 1) }
}

/// Smallest and greatest place along the belt that the turned outline reaches, in wafer pixels from its centre.
fn reach_along(wafer: &SimulatedWafer, sin: f64, cos: f64) -> (f64, f64) {
    let half = wafer.side_px as f64 / 2.0;
    let (mut top, mut bottom) = (f64::INFINITY, f64::NEG_INFINITY);
    for (y, line) in wafer.pixels.chunks_exact(wafer.side_px.max(1)).enumerate() {
        let span = Span::of_line(line);
        if span.is_empty() {
            continue;
        }
        for x in [span.start, span.end] {
            for y in [y, y + 1] {
                let along = (x as f64 - half) * sin + (y as f64 - half) * cos;
                top = top.min(along);
                bottom = bottom.max(along);
            }
        }
    }
    if top < bottom { (top, bottom) } else { (-half, half) }
}

/// Bilinear among the pixels inside the outline, the rest of the weight going to the gap.
fn sample(wafer: &SimulatedWafer, x: f32, y: f32, gap: f32) -> f32 {
    let side = wafer.side_px as isize;
    if !(x > -1.0 && y > -1.0 && x < side as f32 && y < side as f32) {
        return gap;
    }
    // Truncation is a floor here, and far cheaper than one.
    let (column, line) = ((x + 1.0) as isize - 1, (y + 1.0) as isize - 1);
    let (u, v) = (x - column as f32, y - line as f32);
    let at = |x: isize, y: isize| {
        let inside = x >= 0 && y >= 0 && x < side && y < side;
        let level = if inside { wafer.pixels[(y * side + x) as usize] } else { 0 };
        if level == 0 { gap } else { f32::from(level) }
    };
    let upper = at(column, line) * (1.0 - u) + at(column + 1, line) * u;
    let lower = at(column, line + 1) * (1.0 - u) + at(column + 1, line + 1) * u;
    upper * (1.0 - v) + lower * v
}
