//! Laser transmission: an even wafer with saw marks and dust, crossed by hair-fine cracks.

use super::blemish;
use super::canvas::{Canvas, curve};
use super::crack::{self, Run};
use super::outline::Outline;
use super::random::Dice;
use super::stroke;
use super::{Crack, Picture};
use crate::cell::{CELL_PX, Mask};

/// Paints one laser-transmission wafer.
pub(super) fn picture(dice: &mut Dice, cracked: bool, corner_px: Option<u32>) -> Picture {
    let outline = match corner_px {
        Some(corner) => Outline { corner_px: (corner as f32).min(CELL_PX as f32 / 2.0) },
        None if dice.chance(0.5) => Outline { corner_px: dice.range(30.0, 130.0) },
        None => Outline { corner_px: 0.0 },
    };
    let mut canvas = Canvas::flat(CELL_PX, dice.range(85.0, 180.0));
    let (grain, fine) = (dice.range(0.6, 1.8), dice.range(0.2, 1.4));
    texture(dice, &mut canvas, fine);
    saw_marks(dice, &mut canvas);
    blemish::dust(dice, &mut canvas);
    blemish::stains(dice, &mut canvas, 12.0);
    blemish::scratches(dice, &mut canvas, &outline, 4.0);

    let mut mask = Mask::new(CELL_PX, CELL_PX);
    let mut cracks = vec![];
    if cracked {
        let mut layer = Canvas::flat(CELL_PX, 0.0);
        let least = 3.5 + grain + fine;
        let count = match dice.below(10) {
            0..=2 => 1,
            3..=5 => 2,
            _ => dice.count(3, 7),
        };
        // One that starts right at the outline may leave it at once.
        while cracks.len() < count {
            cracks.extend(add_crack(dice, &outline, least, &mut layer, &mut mask));
        }
        canvas.values.iter_mut().zip(&layer.values).for_each(|(value, crack)| *value += crack);
    }
    if dice.chance(0.7) {
        canvas.blur(dice.range(0.2, 0.5));
    }
    dice.add_grain(&mut canvas.values, grain);
    Picture { canvas, mask, cracks, outline, levels: (40.0, 225.0), border_level: 40.0 }
}

/// Slow shading, clouds, and a fine even texture of standard deviation `fine`.
fn texture(dice: &mut Dice, canvas: &mut Canvas, fine: f32) {
    let shading = dice.range(2.0, 10.0);
    canvas.add_noise(dice, (900.0, 900.0), shading);
    let cloud = dice.range(0.3, 2.2);
    let cloud_px = dice.range(80.0, 220.0);
    canvas.add_noise(dice, (cloud_px, cloud_px), cloud);
    let fine_px = dice.range(3.0, 9.0);
    canvas.add_noise(dice, (fine_px, fine_px), fine);
}

/// Fine parallel marks of the wire saw, wavy together, along or across the belt.
fn saw_marks(dice: &mut Dice, canvas: &mut Canvas) {
    let side = canvas.side;
    let fine_px = dice.range(3.0, 14.0);
    let fine = dice.range(0.2, 2.2);
    let wide_px = dice.range(20.0, 90.0);
    let wide = dice.range(0.0, 3.0);
    let reserve = 24;
    let mut profile = curve(dice, side + 2 * reserve, fine_px, fine);
    profile.iter_mut().zip(curve(dice, side + 2 * reserve, wide_px, wide)).for_each(|(a, b)| *a += b);
    let wave_px = dice.range(200.0, 900.0);
    let wave_depth = dice.range(0.0, 18.0);
    let wave = curve(dice, side, wave_px, wave_depth);
    let strength = curve(dice, side, 300.0, 0.5);
    for (line, values) in canvas.values.chunks_exact_mut(side).enumerate() {
        for ((value, shift), strength) in values.iter_mut().zip(&wave).zip(&strength) {
            let place = (line + reserve) as f32 + shift;
            let node = place as usize;
            let mark = profile[node] + (profile[node + 1] - profile[node]) * place.fract();
            *value += mark * (1.0 + strength);
        }
    }
}

/// Draws one crack, at least `least` grey levels deep, into the layer and the mask.
fn add_crack(dice: &mut Dice, outline: &Outline, least: f32, layer: &mut Canvas, mask: &mut Mask) -> Option<Crack> {
    let shape = crack::any_shape(dice);
    let length_px = if dice.chance(0.3) { dice.log_range(12.0, 60.0) } else { dice.range(60.0, 420.0) };
    let contrast = dice.log_range(least, 30.0) * if dice.chance(0.7) { -1.0 } else { 1.0 };
    // The faintest are not the finest too: such a crack would leave no trace in the noise.
    let width_px = if contrast.abs() < least + 3.0 { dice.range(1.6, 3.0) } else { dice.range(1.0, 3.0) };
    let at_edge = dice.chance(0.25);
    let main = Run {
        start: crack::any_place(dice, outline, if at_edge { 1.0 } else { 10.0 }),
        heading: crack::any_heading(dice, 0.4),
        length_px,
        jitter: dice.range(0.03, 0.25),
        bend: 0.0,
        kinks: if dice.chance(0.5) { 0.08 } else { 0.0 },
    };
    let lines: Vec<_> = crack::lines(dice, shape, &main, outline)
        .iter()
        .filter(|line| line.len() > 1)
        .map(|line| crack::weighted(dice, line, width_px, contrast))
        .collect();
    let points: Vec<_> = lines.iter().flatten().copied().collect();
    if points.is_empty() {
        return None;
    }
    for line in &lines {
        stroke::draw(layer, line, 1.0);
        let visible: Vec<_> = line.iter().map(|p| stroke::Point { half_width: p.half_width.max(0.7), ..*p }).collect();
        stroke::draw_mask(mask, &visible);
    }
    let mean = |of: fn(&stroke::Point) -> f32| f64::from(points.iter().map(of).sum::<f32>() / points.len() as f32);
    Some(Crack {
        length_px: lines.iter().map(|line| f64::from(stroke::length_px(line))).sum(),
        contrast: mean(|p| p.depth),
        width_px: mean(|p| 2.0 * p.half_width),
        shape,
    })
}
