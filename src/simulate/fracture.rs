//! Cracks in a metallised cell: where they run, what current they hold back, what of them is seen.

use super::canvas::Canvas;
use super::crack::{self, Run};
use super::current::Station;
use super::grid::Grid;
use super::outline::Outline;
use super::random::Dice;
use super::stroke::{self, Point};
use super::{Crack, CrackShape};
use crate::cell::{CELL_PX, Mask};
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// One crack with all its lines.
pub(super) struct Fracture {
    shape: CrackShape,
    lines: Vec<Line>,
}

/// One line of a crack. A point's depth is the share of light it takes.
struct Line {
    points: Vec<Point>,
    /// Share of the current it holds back, point by point.
    held: Vec<f32>,
}

/// How badly a crack separates what it cuts.
#[derive(Clone, Copy)]
struct Severity {
    width_px: (f32, f32),
    depth: (f32, f32),
    /// Share of its stretches that hold current back.
    separating: f64,
}

const HAIR: Severity = Severity { width_px: (1.5, 7.0), depth: (0.12, 0.8), separating: 0.12 };
const OPEN: Severity = Severity { width_px: (1.5, 11.0), depth: (0.08, 0.8), separating: 0.65 };

/// The cracks of one damaged cell; breaks contacts of the grid where they cross bus bars.
pub(super) fn damage(dice: &mut Dice, outline: &Outline, grid: &mut Grid) -> Vec<Fracture> {
    let mut all = vec![];
    match dice.below(20) {
        0..=7 => {
            for _ in 0..dice.count(1, 4) {
                all.push(hair(dice, outline));
            }
        }
        8..=14 => {
            for _ in 0..dice.count(1, 3) {
                all.extend(burst(dice, outline, grid));
            }
            for _ in 0..dice.count(0, 3) {
                all.push(hair(dice, outline));
            }
        }
        15..=17 => {
            all.extend(shatter(dice, outline));
            for _ in 0..dice.count(0, 2) {
                all.push(hair(dice, outline));
            }
        }
        _ => {
            all.extend(bends(dice, outline));
            all.push(hair(dice, outline));
        }
    }
    for line in all.iter().flat_map(|fracture| &fracture.lines) {
        break_contacts(dice, grid, line);
    }
    all
}

fn line(dice: &mut Dice, places: &[(f32, f32)], how: Severity) -> Option<Line> {
    if places.len() < 3 {
        return None;
    }
    let width_px = dice.log_range(how.width_px.0, how.width_px.1);
    let depth = dice.log_range(how.depth.0, how.depth.1);
    let points = crack::weighted(dice, places, width_px, depth);
    let mut held = Vec::with_capacity(points.len());
    let uniform = dice.chance(0.3);
    while held.len() < points.len() {
        let stretch = if uniform { points.len() } else { dice.log_range(20.0, 350.0) as usize };
        let loss = match dice.chance(how.separating) {
            true if dice.chance(0.5) => dice.range(0.75, 1.0),
            true => dice.range(0.08, 0.6),
            false => 0.0,
        };
        held.extend(std::iter::repeat_n(loss, stretch));
    }
    held.truncate(points.len());
    Some(Line { points, held })
}

/// One crack of its own, fine and mostly conducting.
fn hair(dice: &mut Dice, outline: &Outline) -> Fracture {
    let shape = crack::any_shape(dice);
    let main = Run {
        start: crack::any_place(dice, outline, 25.0),
        heading: crack::any_heading(dice, 0.7),
        length_px: dice.log_range(50.0, 1100.0),
        jitter: dice.range(0.01, 0.12),
        bend: 0.0,
        kinks: if dice.chance(0.4) { 0.03 } else { 0.0 },
    };
    let places = crack::lines(dice, shape, &main, outline);
    Fracture { shape, lines: places.iter().filter_map(|places| line(dice, places, HAIR)).collect() }
}

/// Long cracks at 45° out of one point, mostly on a bus bar, that separate whole areas.
fn burst(dice: &mut Dice, outline: &Outline, grid: &Grid) -> Vec<Fracture> {
    let y = dice.range(60.0, CELL_PX as f32 - 60.0);
    let start = match grid.bars.get(dice.below(grid.bars.len())) {
        Some(bar) if dice.chance(0.75) => ((bar.borders[y as usize].0 + bar.borders[y as usize].1) / 2.0, y),
        _ => crack::any_place(dice, outline, 60.0),
    };
    let (mut through, mut off) = (vec![], vec![]);
    for quarter in 0..4 {
        if !dice.chance(0.7) {
            continue;
        }
        let run = Run {
            start,
            heading: FRAC_PI_4 + FRAC_PI_2 * quarter as f32 + 0.04 * dice.normal(),
            length_px: dice.range(150.0, 1900.0),
            jitter: dice.range(0.005, 0.05),
            bend: if dice.chance(0.25) { dice.sign() * dice.range(0.0003, 0.0025) } else { 0.0 },
            kinks: 0.01,
        };
        let places = crack::run(dice, &run, outline);
        through.extend(line(dice, &places, OPEN));
        if dice.chance(0.6)
            && let Some(start) = places.get(places.len() / 4 + dice.below(places.len() / 2 + 1))
        {
            let heading = run.heading + dice.sign() * (FRAC_PI_2 + 0.1 * dice.normal());
            let length_px = dice.log_range(80.0, 900.0);
            let places = crack::run(dice, &Run { start: *start, heading, length_px, ..run }, outline);
            off.extend(line(dice, &places, OPEN).map(|line| Fracture { shape: CrackShape::Line, lines: vec![line] }));
        }
    }
    for _ in 0..dice.count(0, 3) {
        let run = Run { start, heading: dice.range(-PI, PI), length_px: dice.range(30.0, 140.0), jitter: 0.3, bend: 0.0, kinks: 0.1 };
        let places = crack::run(dice, &run, outline);
        through.extend(line(dice, &places, OPEN));
    }
    let shape = if through.len() > 2 { CrackShape::Cross } else { CrackShape::Line };
    off.push(Fracture { shape, lines: through });
    off
}

/// Many short cracks side by side in one area.
fn shatter(dice: &mut Dice, outline: &Outline) -> Vec<Fracture> {
    let (cx, cy) = crack::any_place(dice, outline, 120.0);
    let extent = dice.range(80.0, 330.0);
    let severity = Severity { separating: dice.range(0.1, 0.6).into(), depth: (0.15, 0.6), ..HAIR };
    (0..dice.count(6, 34))
        .filter_map(|_| {
            let start = (cx + dice.range(-extent, extent), cy + dice.range(-extent, extent) * 0.6);
            let run = Run {
                start,
                heading: FRAC_PI_4 + FRAC_PI_2 * dice.below(4) as f32 + 0.12 * dice.normal(),
                length_px: dice.log_range(40.0, 2.0 * extent),
                jitter: 0.06,
                bend: 0.0,
                kinks: 0.03,
            };
            let places = if outline.depth_at(start.0, start.1) > 5.0 { crack::run(dice, &run, outline) } else { vec![] };
            line(dice, &places, severity).map(|line| Fracture { shape: CrackShape::Line, lines: vec![line] })
        })
        .collect()
}

/// Long bent cracks that wander across the cell and close around grey areas.
fn bends(dice: &mut Dice, outline: &Outline) -> Vec<Fracture> {
    (0..dice.count(1, 3))
        .map(|_| {
            let length_px = dice.range(250.0, 1300.0);
            let run = Run {
                start: crack::any_place(dice, outline, 10.0),
                heading: crack::any_heading(dice, 0.3),
                length_px,
                jitter: dice.range(0.02, 0.08),
                bend: dice.sign() * dice.range(0.4, 2.4) / length_px,
                kinks: 0.02,
            };
            let places = crack::run(dice, &run, outline);
            Fracture { shape: CrackShape::Arc, lines: line(dice, &places, OPEN).into_iter().collect() }
        })
        .collect()
}

/// Where a separating crack passes a bus bar, fingers lose their contact.
fn break_contacts(dice: &mut Dice, grid: &mut Grid, line: &Line) {
    let mut last = None;
    for (point, held) in line.points.iter().zip(&line.held) {
        let bar = grid.bar_at(point.x, point.y, 0.0);
        if let Some(bar) = bar
            && last != Some(bar)
            && *held > 0.0
            && dice.chance(0.6)
        {
            let fingers = dice.count(1, 9);
            let left = dice.chance(0.5);
            let above = dice.range(0.0, fingers as f32) * grid.finger_px;
            let loss = dice.range(0.3, 1.0);
            grid.break_contact(bar, left, point.y - above, fingers, loss);
        }
        last = bar;
    }
}

/// The places at which cracks cut each line's finger.
pub(super) fn stations(fractures: &[Fracture]) -> Vec<Vec<Station>> {
    let mut all = vec![vec![]; CELL_PX];
    for line in fractures.iter().flat_map(|fracture| &fracture.lines) {
        for (pair, held) in line.points.windows(2).zip(&line.held).filter(|(_, held)| **held > 0.0) {
            let (top, bottom) = if pair[0].y < pair[1].y { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
            let rows = (top.y - 0.5).ceil().max(0.0) as usize..((bottom.y - 0.5).ceil().max(0.0) as usize).min(CELL_PX);
            for row in rows {
                let t = (row as f32 + 0.5 - top.y) / (bottom.y - top.y).max(1e-6);
                all[row].push(Station::Crack { at_px: top.x + (bottom.x - top.x) * t, held: *held });
            }
        }
    }
    all
}

/// Takes off the light what the lines themselves swallow.
pub(super) fn draw(fractures: &[Fracture], light: &mut Canvas) {
    let mut layer = Canvas::flat(light.side, 0.0);
    for line in fractures.iter().flat_map(|fracture| &fracture.lines) {
        stroke::draw(&mut layer, &line.points, 1.0);
    }
    light.values.iter_mut().zip(&layer.values).for_each(|(value, share)| *value *= 1.0 - share);
}

/// How the finished picture was taken, as far as it matters for what is seen.
pub(super) struct Sight<'a> {
    /// The difference that the cracks make to the picture, at its own resolution, without noise.
    pub(super) difference: &'a Canvas,
    /// Width of the optics' blur at half depth, in wafer pixels.
    pub(super) blur_px: f32,
    /// Smallest difference that can be seen, grey levels.
    pub(super) least: f32,
    pub(super) grid: &'a Grid,
}

impl Sight<'_> {
    /// Marks what is seen of a crack; `None` where nothing is.
    pub(super) fn mark(&self, fracture: &Fracture, mask: &mut Mask) -> Option<Crack> {
        let (mut length, mut contrast, mut width, mut count) = (0.0, 0.0, 0.0, 0.0_f64);
        for line in &fracture.lines {
            let points: Vec<Point> = line.points.iter().map(|p| self.blurred(p)).collect();
            let contrasts = self.contrasts(&points);
            for seen in self.seen(&points, &contrasts) {
                let part = &points[seen.clone()];
                stroke::draw_mask(mask, part);
                length += f64::from(stroke::length_px(part));
                width += part.iter().map(|p| f64::from(2.0 * p.half_width)).sum::<f64>();
                contrast += contrasts[seen].iter().map(|c| f64::from(*c)).sum::<f64>();
                count += part.len() as f64;
            }
        }
        (count > 0.0).then(|| Crack { length_px: length, contrast: contrast / count, width_px: width / count, shape: fracture.shape })
    }

    fn blurred(&self, point: &Point) -> Point {
        Point { half_width: 0.5 * (2.0 * point.half_width).hypot(self.blur_px).max(1.4), ..*point }
    }

    /// The stretches of at least three points that can be seen.
    fn seen(&self, points: &[Point], contrasts: &[f32]) -> Vec<std::ops::Range<usize>> {
        const REACH: usize = 4;
        let mut stretches: Vec<std::ops::Range<usize>> = vec![];
        for (i, point) in points.iter().enumerate() {
            let around = &contrasts[i.saturating_sub(REACH)..(i + REACH + 1).min(points.len())];
            let mean = around.iter().map(|c| c.abs()).sum::<f32>() / around.len() as f32;
            if mean < self.least || self.grid.bar_at(point.x, point.y, 0.0).is_some() {
                continue;
            }
            match stretches.last_mut() {
                Some(stretch) if stretch.end == i => stretch.end += 1,
                _ => stretches.push(i..i + 1),
            }
        }
        stretches.retain(|stretch| stretch.len() >= 3);
        stretches
    }

    /// Difference of each point to its surroundings: of the line to both sides, or of one side to
    /// the other (the edge of a dark area).
    fn contrasts(&self, points: &[Point]) -> Vec<f32> {
        let scale = self.difference.side as f32 / CELL_PX as f32;
        (0..points.len())
            .map(|i| {
                let (before, after) = (points[i.saturating_sub(2)], points[(i + 2).min(points.len() - 1)]);
                let (dx, dy) = (after.x - before.x, after.y - before.y);
                let reach = (2.0 * points[i].half_width + 2.0) / dx.hypot(dy).max(1e-6);
                let at = |steps: f32| {
                    let (x, y) = (points[i].x - dy * reach * steps, points[i].y + dx * reach * steps);
                    self.difference.sample(x * scale, y * scale)
                };
                let (left, centre, right) = (at(-1.0), at(0.0), at(1.0));
                let (line, edge) = (centre - (left + right) / 2.0, (right - left).abs());
                if edge > 2.0 * line.abs() { -edge } else { line }
            })
            .collect()
    }
}
