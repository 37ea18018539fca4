//! Electroluminescence-like cells: they shine where current flows, and cracks hold it back.

use super::blemish;
use super::canvas::Canvas;
use super::current::{self, Shine, Station};
use super::fracture::{self, Sight};
use super::grid::Grid;
use super::outline::Outline;
use super::random::Dice;
use super::{Crack, Picture};
use crate::cell::{CELL_PX, Mask};

/// Paints one electroluminescence-like cell.
pub(super) fn picture(dice: &mut Dice, cracked: bool, corner_px: Option<u32>) -> Picture {
    let frame = Frame::new(dice, corner_px);
    const TRIES: usize = 8; // now and then all cracks lie where they cannot be seen
    let mut painted = paint(dice, cracked, &frame);
    for _ in 1..TRIES {
        if !cracked || !painted.2.is_empty() {
            break;
        }
        painted = paint(dice, cracked, &frame);
    }
    let (canvas, mask, cracks) = painted;
    Picture { canvas, mask, cracks, outline: frame.outline, levels: (35.0, 225.0), border_level: 42.0 }
}

/// The wafer's outline and how the cell ends before it.
struct Frame {
    outline: Outline,
    /// Where the shine ends, how far inside the outline and how softly: cell pictures cut out of a
    /// module show dark rims and corners, and a station's outline never meets a corner exactly.
    shining: Option<(Outline, f32, f32)>,
}

impl Frame {
    fn new(dice: &mut Dice, corner_px: Option<u32>) -> Self {
        let cut = dice.range(50.0, 200.0);
        match corner_px {
            Some(corner) => Self { outline: Outline { corner_px: (corner as f32).min(CELL_PX as f32 / 2.0) }, shining: None },
            // Taken by itself: the shine fades towards the sides as well, and misses the corners a little.
            None if dice.chance(0.35) => {
                let outline = Outline { corner_px: cut };
                let beside = Outline { corner_px: cut + dice.range(-12.0, 16.0) };
                Self { outline, shining: dice.chance(0.7).then(|| (beside, 0.0, dice.range(4.0, 24.0))) }
            }
            None if dice.chance(0.15) => Self { outline: Outline { corner_px: 0.0 }, shining: None },
            None => {
                let rim = if dice.chance(0.6) { dice.range(0.0, 8.0) } else { dice.range(8.0, 36.0) };
                let soft = dice.range(2.0, 14.0);
                Self { outline: Outline { corner_px: 0.0 }, shining: Some((Outline { corner_px: cut + rim }, rim, soft)) }
            }
        }
    }

    /// Darkens rim and corners, and the cell towards its edge.
    fn shade(&self, dice: &mut Dice, sheen: &mut Canvas) {
        let (edge, edge_px) = (dice.range(0.0, 0.35), dice.range(6.0, 50.0));
        let (shining, rim, soft) = self.shining.unwrap_or((self.outline, 0.0, 0.0));
        let far = rim + 4.0 * edge_px;
        let far_corner = shining.corner_px + far * std::f32::consts::SQRT_2;
        for y in 0..CELL_PX {
            let from_side = y.min(CELL_PX - 1 - y) as f32;
            let near = if from_side < far { CELL_PX / 2 } else { ((far_corner - from_side).max(far) as usize + 1).min(CELL_PX / 2) };
            for x in (0..near).chain(CELL_PX - near..CELL_PX) {
                let depth = shining.depth_px(x, y) - rim;
                let inside = if soft > 0.0 { (depth / soft + 0.5).clamp(0.0, 1.0) } else { 1.0 };
                let factor = inside * (1.0 - edge * (-depth.max(0.0) / edge_px).exp());
                sheen.values[y * CELL_PX + x] *= factor;
            }
        }
    }
}

fn paint(dice: &mut Dice, cracked: bool, frame: &Frame) -> (Canvas, Mask, Vec<Crack>) {
    let mut grid = Grid::new(dice);
    let fractures = if cracked { fracture::damage(dice, &frame.outline, &mut grid) } else { vec![] };

    let dark = dice.range(36.0, 55.0);
    let level = if dice.chance(0.3) { dice.range(66.0, 110.0) } else { dice.range(95.0, 205.0) }.max(dark + 28.0);
    let main = level - dark;
    let glow = if dice.chance(0.5) { dice.range(0.3, 1.1) } else { dice.range(0.0, 0.3) } * main.min(215.0 - level).max(0.0);
    let shine = Shine {
        main,
        glow,
        glow_px: dice.range(20.0, 110.0),
        reach_px: dice.log_range(700.0, 3000.0),
        recovery_px: dice.log_range(60.0, 600.0),
    };
    // The cell shines by its current; the sheen is the share of that light that gets out.
    let mut sheen = Canvas::flat(CELL_PX, 1.0);
    unevenness(dice, &mut sheen);
    blemish::on_cell(dice, &mut sheen, &grid, &frame.outline);
    grid.shade(dice, &mut sheen);
    frame.shade(dice, &mut sheen);
    let camera = Camera::new(dice);

    let sound = light(&grid, vec![vec![]; CELL_PX], &shine);
    let mut mask = Mask::new(CELL_PX, CELL_PX);
    if fractures.is_empty() {
        return (camera.picture(dice, &seen_through(&sound, &sheen), dark), mask, vec![]);
    }
    let mut cracked = light(&grid, fracture::stations(&fractures), &shine);
    fracture::draw(&fractures, &mut cracked);
    let mut difference = cracked.clone();
    difference.values.iter_mut().zip(&sound.values).for_each(|(cracked, sound)| *cracked -= sound);
    let difference = camera.image(&seen_through(&difference, &sheen));
    let sight = Sight { difference: &difference, blur_px: camera.blur_px(), least: 1.5 + 1.2 * camera.noise, grid: &grid };
    let cracks = fractures.iter().filter_map(|fracture| sight.mark(fracture, &mut mask)).collect();
    (camera.picture(dice, &seen_through(&cracked, &sheen), dark), mask, cracks)
}

fn light(grid: &Grid, stations: Vec<Vec<Station>>, shine: &Shine) -> Canvas {
    let mut light = Canvas::flat(CELL_PX, 0.0);
    for (y, (line, mut stations)) in light.values.chunks_exact_mut(CELL_PX).zip(stations).enumerate() {
        stations.extend(grid.stations(y));
        current::shine(line, &mut stations, shine);
    }
    light
}

fn seen_through(light: &Canvas, sheen: &Canvas) -> Canvas {
    let values = light.values.iter().zip(&sheen.values).map(|(light, sheen)| light * sheen).collect();
    Canvas { side: light.side, values }
}

/// A camera of few pixels with soft optics, whose picture is enlarged to the cell's size.
struct Camera {
    side: usize,
    /// Standard deviation of the optics' blur, in its own pixels.
    optics: f32,
    /// Standard deviation of its noise, grey levels.
    noise: f32,
}

impl Camera {
    fn new(dice: &mut Dice) -> Self {
        let side = if dice.chance(0.75) { dice.log_range(240.0, 700.0) } else { dice.log_range(700.0, 1344.0) } as usize;
        Self { side, optics: dice.range(0.3, 1.6), noise: dice.range(0.4, 1.8) }
    }

    /// What its sensor receives.
    fn image(&self, scene: &Canvas) -> Canvas {
        let mut small = scene.reduced(self.side);
        small.blur(self.optics);
        small
    }

    /// Its noisy picture over the level of no light, 1344 × 1344.
    fn picture(&self, dice: &mut Dice, scene: &Canvas, dark: f32) -> Canvas {
        let mut small = self.image(scene);
        small.values.iter_mut().for_each(|value| *value += dark);
        dice.add_grain(&mut small.values, self.noise);
        small.enlarged(CELL_PX)
    }

    /// Width at half depth of what it makes of a fine line, wafer pixels: a Gaussian with the
    /// variances of the optics, of the pixel and of the enlargement.
    fn blur_px(&self) -> f32 {
        let pixel_px = CELL_PX as f32 / self.side as f32;
        2.355 * pixel_px * (self.optics * self.optics + if pixel_px > 1.0 { 0.25 } else { 0.0 }).sqrt()
    }
}

/// Uneven light: slow shading, clouds, mottles, streaks along the fingers, grain of the wafer.
fn unevenness(dice: &mut Dice, sheen: &mut Canvas) {
    let layers = [
        ((900.0, 900.0), 0.01, 0.07),
        ((130.0, 130.0), 0.0, 0.015),
        ((60.0, 35.0), 0.0, 0.015),
        ((300.0, 16.0), 0.0, 0.012),
        ((5.0, 5.0), 0.0, 0.012),
    ];
    for (size_px, least, most) in layers {
        let sd = dice.range(least, most);
        sheen.add_noise(dice, size_px, sd);
    }
}
