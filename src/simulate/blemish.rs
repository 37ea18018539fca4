//! What is no crack and must not be taken for one.

use super::canvas::Canvas;
use super::crack::{self, Run};
use super::grid::Grid;
use super::outline::Outline;
use super::random::Dice;
use super::stroke;

/// Small specks, mostly dark.
pub(super) fn dust(dice: &mut Dice, canvas: &mut Canvas) {
    let side = canvas.side as f32;
    let most = if dice.chance(0.15) { 120 } else { 25 };
    for _ in 0..dice.count(0, most) {
        let radius = dice.log_range(0.8, 4.5);
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        let amplitude = dice.log_range(4.0, 45.0) * if dice.chance(0.8) { -1.0 } else { 1.0 };
        let stretch = dice.range(0.7, 1.4);
        canvas.add_spot(place, (radius * stretch, radius / stretch), amplitude, 3);
    }
}

/// Smooth stains of ±`strongest` grey levels.
pub(super) fn stains(dice: &mut Dice, canvas: &mut Canvas, strongest: f32) {
    let side = canvas.side as f32;
    for _ in 0..dice.count(0, 5) {
        let radius = dice.log_range(12.0, 160.0);
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        let amplitude = dice.log_range(1.5, strongest) * if dice.chance(0.75) { -1.0 } else { 1.0 };
        let stretch = dice.range(0.6, 1.6);
        canvas.add_spot(place, (radius * stretch, radius / stretch), amplitude, 2);
    }
}

/// Wide, faint, gently bent scratches, at most ±`deepest`.
pub(super) fn scratches(dice: &mut Dice, canvas: &mut Canvas, outline: &Outline, deepest: f32) {
    if dice.chance(0.6) {
        return;
    }
    let mut layer = Canvas::flat(canvas.side, 0.0);
    for _ in 0..dice.count(1, 3) {
        let how = Run {
            start: crack::any_place(dice, outline, 5.0),
            heading: dice.range(0.0, std::f32::consts::TAU),
            length_px: dice.log_range(100.0, 900.0),
            jitter: 0.004,
            bend: dice.range(-0.001, 0.001),
            kinks: 0.0,
        };
        let line = crack::run(dice, &how, outline);
        let width = dice.range(10.0, 34.0);
        let depth = dice.range(0.25, 1.0) * deepest * dice.sign();
        if line.len() > 1 {
            stroke::draw(&mut layer, &crack::weighted(dice, &line, width, depth), width * 0.9);
        }
    }
    canvas.values.iter_mut().zip(&layer.values).for_each(|(value, scratch)| *value += scratch);
}

/// All that darkens a metallised cell without being a crack, taken off the share of light that leaves it.
pub(super) fn on_cell(dice: &mut Dice, sheen: &mut Canvas, grid: &Grid, outline: &Outline) {
    let mut share = Canvas::flat(sheen.side, 0.0);
    specks(dice, &mut share);
    smears(dice, &mut share, outline);
    clouds(dice, &mut share);
    finger_stripes(dice, &mut share, grid);
    bands(dice, &mut share, grid);
    scratches(dice, sheen, outline, 0.05);
    for (value, share) in sheen.values.iter_mut().zip(&share.values) {
        *value *= 1.0 - share.clamp(-0.3, 1.0);
    }
}

/// Specks and spots of all sizes.
fn specks(dice: &mut Dice, share: &mut Canvas) {
    let side = share.side as f32;
    let most = if dice.chance(0.15) { 40 } else { 8 };
    for _ in 0..dice.count(0, most) {
        let radius = dice.log_range(1.5, 12.0);
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        let stretch = dice.range(0.6, 1.6);
        let depth = dice.log_range(0.05, 0.7);
        share.add_spot(place, (radius * stretch, radius / stretch), depth, 3);
    }
}

/// Short soft strokes in any direction, wider for their length than cracks are: handling leaves them on sound cells.
fn smears(dice: &mut Dice, share: &mut Canvas, outline: &Outline) {
    let most = if dice.chance(0.3) { 10 } else { 3 };
    for _ in 0..dice.count(0, most) {
        let length_px = dice.range(12.0, 34.0);
        let how = Run {
            start: crack::any_place(dice, outline, 10.0),
            heading: dice.range(0.0, std::f32::consts::TAU),
            length_px,
            jitter: 0.1,
            bend: 0.0,
            kinks: 0.0,
        };
        let line = crack::run(dice, &how, outline);
        let width = dice.range(0.3, 0.6) * length_px;
        let depth = dice.log_range(0.03, 0.3);
        if line.len() > 1 {
            stroke::draw(share, &crack::weighted(dice, &line, width, depth), width * 0.9);
        }
    }
}

/// Smooth dark stains, now and then a large black one, and patches at the edges.
fn clouds(dice: &mut Dice, share: &mut Canvas) {
    let side = share.side as f32;
    for _ in 0..dice.count(0, 4) {
        let radius = dice.log_range(15.0, 200.0);
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        let stretch = dice.range(0.6, 1.6);
        let depth = dice.log_range(0.02, 0.3);
        share.add_spot(place, (radius * stretch, radius / stretch), depth, 2);
    }
    if dice.chance(0.12) {
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        let radius = (dice.range(60.0, 160.0), dice.range(80.0, 420.0));
        let (depth, sharpness) = (dice.range(0.4, 1.0), dice.count(2, 8) as i32);
        share.add_spot(place, radius, depth, sharpness);
    }
    for _ in 0..if dice.chance(0.3) { dice.count(1, 4) } else { 0 } {
        let along = dice.range(0.0, side);
        let at = if dice.chance(0.5) { 0.0 } else { side };
        let place = if dice.chance(0.5) { (at, along) } else { (along, at) };
        let radius = (dice.range(12.0, 80.0), dice.range(12.0, 80.0));
        let (depth, sharpness) = (dice.range(0.3, 1.0), dice.count(2, 8) as i32);
        share.add_spot(place, radius, depth, sharpness);
    }
}

/// Fingers that are interrupted: dark stripes one or a few fingers wide, singly or in combs at the edge.
fn finger_stripes(dice: &mut Dice, share: &mut Canvas, grid: &Grid) {
    let side = share.side as f32;
    let most = if dice.chance(0.3) { 20 } else { 4 };
    for _ in 0..dice.count(0, most) {
        let finger = dice.range(0.0, side / grid.finger_px).floor();
        let fingers = if dice.chance(0.8) { 1.0 } else { dice.range(1.0, 5.0).floor() };
        let length = dice.log_range(20.0, 320.0);
        let left = dice.range(-0.2 * length, side - 0.8 * length);
        let depth = if dice.chance(0.15) { -dice.range(0.03, 0.15) } else { dice.log_range(0.04, 0.55) };
        let soft = dice.range(1.0, 0.5 * length);
        add_stripe(share, (left, left + length), (finger * grid.finger_px, (finger + fingers) * grid.finger_px), soft, depth);
    }
    for _ in 0..if dice.chance(0.25) { dice.count(1, 3) } else { 0 } {
        let at_left = dice.chance(0.5);
        let start = dice.range(0.0, side / grid.finger_px).floor();
        let depth = dice.range(0.15, 0.8);
        for i in 0..dice.count(2, 12) {
            let length = dice.range(15.0, 160.0);
            let across = if at_left { (-50.0, length) } else { (side - length, side + 50.0) };
            let top = (start + i as f32) * grid.finger_px;
            let depth = depth * dice.range(0.3, 1.2);
            add_stripe(share, across, (top, top + grid.finger_px), dice.range(2.0, 20.0), depth);
        }
    }
}

/// Wide even bands along the fingers, across one or all fields between the bus bars.
fn bands(dice: &mut Dice, share: &mut Canvas, grid: &Grid) {
    let side = share.side as f32;
    for _ in 0..if dice.chance(0.25) { dice.count(1, 3) } else { 0 } {
        let finger = dice.range(0.0, side / grid.finger_px).floor();
        let fingers = dice.range(2.0, 14.0).floor();
        let mut borders: Vec<f32> = grid.bars.iter().map(|bar| (bar.borders[0].0 + bar.borders[0].1) / 2.0).collect();
        borders.insert(0, -60.0);
        borders.push(side + 60.0);
        let field = dice.below(borders.len() - 1);
        let across = if dice.chance(0.3) { (-60.0, side + 60.0) } else { (borders[field], borders[field + 1]) };
        let depth = dice.log_range(0.04, 0.45);
        let soft = dice.range(1.0, 60.0);
        add_stripe(share, across, (finger * grid.finger_px, (finger + fingers) * grid.finger_px), soft, depth);
    }
}

/// A rectangle whose ends fade over `soft_px` and whose long borders are sharp.
fn add_stripe(share: &mut Canvas, across: (f32, f32), along: (f32, f32), soft_px: f32, depth: f32) {
    let side = share.side as f32;
    let columns = across.0.clamp(0.0, side) as usize..across.1.clamp(0.0, side) as usize;
    let lines = along.0.clamp(0.0, side) as usize..along.1.clamp(0.0, side) as usize;
    for y in lines {
        for x in columns.clone() {
            let from_end = (x as f32 - across.0).min(across.1 - x as f32);
            share.values[y * share.side + x] += depth * (from_end / soft_px).clamp(0.0, 1.0);
        }
    }
}
