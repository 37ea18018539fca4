//! The metal on a cell: bus bars (vertical here; the finished wafer is turned) and fingers across them.

use super::canvas::{Canvas, curve};
use super::current::Station;
use super::random::Dice;
use crate::cell::CELL_PX;

/// Bus bars and fingers of one cell.
pub(super) struct Grid {
    pub(super) bars: Vec<Bar>,
    /// Distance from finger to finger, pixels.
    pub(super) finger_px: f32,
}

/// One bus bar.
pub(super) struct Bar {
    /// Left and right border on every line, pixels.
    pub(super) borders: Vec<(f32, f32)>,
    /// How much light it takes on every line, 0 to 1.
    shade: Vec<f32>,
    /// Contact to the left and right finger on every line, 0 = broken.
    contacts: Vec<(f32, f32)>,
}

impl Grid {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let count = [2, 2, 2, 3, 3, 3, 3, 4, 5, 5][dice.below(10)];
        let finger_px = dice.range(9.0, 22.0);
        let width = if count > 3 { dice.range(8.0, 20.0) } else { dice.range(12.0, 40.0) };
        let tilt = dice.range(-0.012, 0.012);
        let pitch = CELL_PX as f32 / count as f32;
        let shift = dice.range(-0.06, 0.06) * pitch;
        let look = Look::new(dice, width);
        let bars = (0..count)
            .map(|i| {
                let centre = (i as f32 + 0.5) * pitch + shift + dice.range(-4.0, 4.0);
                let tilt = tilt + dice.range(-0.003, 0.003);
                Bar::new(dice, centre, tilt, &look)
            })
            .collect();
        let mut grid = Self { bars, finger_px };
        grid.weaken_contacts(dice);
        grid
    }

    /// Fingers that lost their bus bar at random, as sound cells have them too.
    fn weaken_contacts(&mut self, dice: &mut Dice) {
        let most = if dice.chance(0.2) { 14 } else { 4 };
        for _ in 0..dice.count(0, most) {
            let line = dice.range(0.0, CELL_PX as f32);
            let bar = dice.below(self.bars.len());
            let loss = dice.range(0.2, 1.0);
            let fingers = if dice.chance(0.75) { 1 } else { dice.count(2, 4) };
            let left = dice.chance(0.5);
            self.break_contact(bar, left, line, fingers, loss);
        }
    }

    /// Takes `loss` (0 to 1) off the contact of the fingers around a line.
    pub(super) fn break_contact(&mut self, bar: usize, left: bool, line: f32, fingers: usize, loss: f32) {
        let first = (line / self.finger_px).floor() * self.finger_px;
        let lines = first.max(0.0) as usize..(first + fingers as f32 * self.finger_px).clamp(0.0, CELL_PX as f32) as usize;
        if let Some(contacts) = self.bars.get_mut(bar).and_then(|bar| bar.contacts.get_mut(lines)) {
            for contact in contacts {
                let side = if left { &mut contact.0 } else { &mut contact.1 };
                *side *= 1.0 - loss;
            }
        }
    }

    /// The bars as stations of the finger on `line`.
    pub(super) fn stations(&self, line: usize) -> impl Iterator<Item = Station> {
        self.bars.iter().map(move |bar| {
            let ((left_px, right_px), (left, right)) = (bar.borders[line], bar.contacts[line]);
            Station::Bar { left_px, right_px, left, right }
        })
    }

    /// The bar over a place, with `margin_px` around it.
    pub(super) fn bar_at(&self, x: f32, y: f32, margin_px: f32) -> Option<usize> {
        let line = (y.max(0.0) as usize).min(CELL_PX - 1);
        self.bars.iter().position(|bar| {
            let (left, right) = bar.borders[line];
            x > left - margin_px && x < right + margin_px && bar.shade[line] > 0.0
        })
    }

    /// Takes what bars and fingers hide off the share of light that leaves the cell.
    pub(super) fn shade(&self, dice: &mut Dice, sheen: &mut Canvas) {
        let side = sheen.side;
        let depth = dice.range(0.0, 0.16);
        let streaks = dice.range(0.0, 0.025);
        let streak = curve(dice, side, self.finger_px, streaks);
        for (y, line) in sheen.values.chunks_exact_mut(side).enumerate() {
            let shadow = (std::f32::consts::TAU * y as f32 / self.finger_px).cos().max(0.0).powi(4);
            let factor = (1.0 - depth * shadow) * (1.0 + streak[y]);
            line.iter_mut().for_each(|value| *value *= factor);
            for bar in &self.bars {
                let ((left, right), shade) = (bar.borders[y], bar.shade[y]);
                let columns = (left - 1.0).max(0.0) as usize..((right + 2.0).max(0.0) as usize).min(side);
                for x in columns {
                    let middle = x as f32 + 0.5;
                    let cover = (middle - left + 0.5).min(right - middle + 0.5).clamp(0.0, 1.0) * shade;
                    line[x] *= 1.0 - cover;
                }
            }
        }
    }
}

/// What the bars of one cell have in common.
struct Look {
    width_px: f32,
    shade: f32,
    /// Bare end before the wafer's edge, pixels.
    end_px: f32,
    /// Soldered pads: distance, share of it that is pad, and how much thinner the rest is.
    pads: Option<(f32, f32, f32)>,
    ragged: f32,
}

impl Look {
    fn new(dice: &mut Dice, width_px: f32) -> Self {
        let pads = dice.chance(0.3).then(|| (dice.range(110.0, 260.0), dice.range(0.35, 0.7), dice.range(0.2, 0.5)));
        let end_px = if dice.chance(0.5) { 0.0 } else { dice.range(5.0, 110.0) };
        Self { width_px, shade: dice.range(0.5, 1.0), end_px, pads, ragged: dice.range(0.0, 2.0) }
    }
}

impl Bar {
    fn new(dice: &mut Dice, centre: f32, tilt: f32, look: &Look) -> Self {
        let side = CELL_PX;
        let ragged = [curve(dice, side, 10.0, look.ragged), curve(dice, side, 10.0, look.ragged)];
        let mut borders: Vec<(f32, f32)> = (0..side)
            .map(|y| {
                let middle = centre + tilt * (y as f32 - side as f32 / 2.0);
                let mut half = look.width_px / 2.0;
                if let Some((pitch, share, thin)) = look.pads {
                    let pad = (y as f32 / pitch).fract() < share;
                    half *= if pad { 1.0 } else { thin };
                }
                let bare = (y as f32) < look.end_px || (side - y) as f32 <= look.end_px;
                half *= if bare { 0.25 } else { 1.0 };
                (middle - half + ragged[0][y], middle + half + ragged[1][y])
            })
            .collect();
        // Solder that ran out beside the bar.
        for _ in 0..if dice.chance(0.4) { dice.count(1, 10) } else { 0 } {
            let (from, length, reach) = (dice.below(side), dice.count(4, 30), dice.range(3.0, 14.0));
            let left = dice.chance(0.5);
            for border in borders.iter_mut().skip(from).take(length) {
                if left { border.0 -= reach } else { border.1 += reach }
            }
        }
        let unevenness = curve(dice, side, 40.0, 0.06);
        let shade = unevenness.iter().map(|u| (look.shade + u).clamp(0.0, 1.0)).collect();
        Self { borders, shade, contacts: vec![(1.0, 1.0); side] }
    }
}
