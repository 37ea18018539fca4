//! How cracks run: jagged lines that keep their direction, alone, branched, crossed or bent.

use super::CrackShape;
use super::canvas::curve;
use super::outline::Outline;
use super::random::Dice;
use super::stroke::Point;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI, TAU};

/// Distance between two points of a crack, pixels.
pub(super) const STEP_PX: f32 = 3.0;

/// How one line of a crack runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Where it starts, pixels.
    pub(super) start: (f32, f32),
    /// The direction it keeps to, radians.
    pub(super) heading: f32,
    pub(super) length_px: f32,
    /// Random change of direction at each step, radians.
    pub(super) jitter: f32,
    /// Bend, radians per pixel.
    pub(super) bend: f32,
    /// Chance at each step that it jumps aside.
    pub(super) kinks: f64,
}

/// The points a run passes; it ends early where it leaves the outline.
pub(super) fn run(dice: &mut Dice, how: &Run, outline: &Outline) -> Vec<(f32, f32)> {
    let (mut x, mut y) = how.start;
    let mut kept = how.heading;
    let mut heading = how.heading;
    let mut points = vec![(x, y)];
    for _ in 0..(how.length_px / STEP_PX).ceil() as usize {
        kept += how.bend * STEP_PX;
        heading += how.jitter * dice.normal() - 0.25 * (heading - kept);
        if dice.chance(how.kinks) {
            heading = kept + dice.sign() * dice.range(0.4, 1.2);
        }
        x += STEP_PX * heading.cos();
        y += STEP_PX * heading.sin();
        if outline.depth_at(x, y) <= 0.0 {
            break;
        }
        points.push((x, y));
    }
    points
}

/// The lines of a whole crack of about `length_px` in all, starting with its main line.
pub(super) fn lines(dice: &mut Dice, shape: CrackShape, main: &Run, outline: &Outline) -> Vec<Vec<(f32, f32)>> {
    match shape {
        CrackShape::Line => vec![run(dice, main, outline)],
        CrackShape::Arc => {
            let turn = dice.range(0.6, 1.8) * dice.sign();
            vec![run(dice, &Run { bend: turn / main.length_px, ..*main }, outline)]
        }
        CrackShape::Branch => {
            let trunk = run(dice, &Run { length_px: main.length_px * 0.6, ..*main }, outline);
            let mut all = vec![];
            for _ in 0..dice.count(1, 3) {
                let from = trunk.len() / 4 + dice.below(trunk.len() / 2 + 1);
                if let Some(start) = trunk.get(from) {
                    let heading = main.heading + dice.sign() * dice.range(0.4, FRAC_PI_2);
                    let length_px = main.length_px * dice.range(0.15, 0.4);
                    all.push(run(dice, &Run { start: *start, heading, length_px, ..*main }, outline));
                }
            }
            all.insert(0, trunk);
            all
        }
        CrackShape::Cross => {
            let (first, second) = (main.heading, main.heading + dice.range(0.8, 1.2) * FRAC_PI_2);
            let quarter = main.length_px * 0.25;
            [first, first + PI, second, second + PI]
                .into_iter()
                .map(|heading| {
                    let length_px = quarter * dice.range(0.6, 1.4);
                    run(dice, &Run { heading, length_px, ..*main }, outline)
                })
                .collect()
        }
    }
}

/// Gives the points of a line width and depth, both fluctuating and tapering towards its ends.
pub(super) fn weighted(dice: &mut Dice, line: &[(f32, f32)], width_px: f32, depth: f32) -> Vec<Point> {
    let cell = dice.range(4.0, 14.0);
    let depths = curve(dice, line.len(), cell, 0.4);
    let widths = curve(dice, line.len(), cell, 0.25);
    let ends = 4.0_f32.min(line.len() as f32 / 4.0).max(1.0);
    line.iter()
        .enumerate()
        .map(|(i, (x, y))| {
            let from_end = (i.min(line.len() - 1 - i) as f32 / ends).min(1.0);
            let taper = 0.6 + 0.4 * from_end;
            Point { x: *x, y: *y, half_width: 0.5 * width_px * (1.0 + widths[i]) * taper, depth: depth * (1.0 + depths[i]) * taper }
        })
        .collect()
}

/// A shape, lines being the most frequent.
pub(super) fn any_shape(dice: &mut Dice) -> CrackShape {
    match dice.below(10) {
        0..=4 => CrackShape::Line,
        5..=6 => CrackShape::Branch,
        7 => CrackShape::Cross,
        _ => CrackShape::Arc,
    }
}

/// A direction: mono-crystalline wafers cleave at 45° to their sides, the rest goes anywhere.
pub(super) fn any_heading(dice: &mut Dice, cleaving_share: f64) -> f32 {
    if dice.chance(cleaving_share) { FRAC_PI_4 + FRAC_PI_2 * dice.below(4) as f32 + 0.06 * dice.normal() } else { dice.range(0.0, TAU) }
}

/// A place inside the outline, at least `margin_px` from its border.
pub(super) fn any_place(dice: &mut Dice, outline: &Outline, margin_px: f32) -> (f32, f32) {
    let side = crate::cell::CELL_PX as f32;
    loop {
        let place = (dice.range(0.0, side), dice.range(0.0, side));
        if outline.depth_at(place.0, place.1) > margin_px {
            return place;
        }
    }
}
