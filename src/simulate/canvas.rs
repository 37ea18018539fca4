//! A square picture of `f32` grey levels and what is done to it as a whole.

use super::random::Dice;

/// A square picture of grey levels (or of any other quantity per pixel), line by line.
#[derive(Clone)]
pub(super) struct Canvas {
    pub(super) side: usize,
    pub(super) values: Vec<f32>,
}

impl Canvas {
    pub(super) fn flat(side: usize, level: f32) -> Self {
        Self { side, values: vec![level; side * side] }
    }

    /// Adds band-limited noise of standard deviation `sd` whose structures are about `size_px` =
    /// (across, along) large: white noise on a lattice of half that, smoothed and interpolated.
    pub(super) fn add_noise(&mut self, dice: &mut Dice, size_px: (f32, f32), sd: f32) {
        let across = Steps::new(self.side, (size_px.0 / 2.0).max(1.0), dice.range(0.0, 1.0));
        let along = Steps::new(self.side, (size_px.1 / 2.0).max(1.0), dice.range(0.0, 1.0));
        let lattice = smooth_lattice(dice, across.nodes, along.nodes, sd);
        let mut row = vec![0.0; across.nodes];
        for (line, (node, weight)) in self.values.chunks_exact_mut(self.side).zip(&along.at) {
            let upper = &lattice[node * across.nodes..(node + 1) * across.nodes];
            let lower = &lattice[(node + 1) * across.nodes..(node + 2) * across.nodes];
            for ((value, a), b) in row.iter_mut().zip(upper).zip(lower) {
                *value = a + (b - a) * weight;
            }
            for (value, (node, weight)) in line.iter_mut().zip(&across.at) {
                let a = row[*node];
                *value += a + (row[node + 1] - a) * weight;
            }
        }
    }

    /// Gaussian blur of standard deviation `sigma_px`, edges repeated.
    pub(super) fn blur(&mut self, sigma_px: f32) {
        if sigma_px < 0.2 {
            return;
        }
        let radius = (2.5 * sigma_px).ceil() as usize;
        let mut kernel: Vec<f32> = (0..=2 * radius).map(|i| (-0.5 * ((i as f32 - radius as f32) / sigma_px).powi(2)).exp()).collect();
        let sum: f32 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= sum);
        let side = self.side;
        let mut padded = vec![0.0; side + 2 * radius];
        for line in self.values.chunks_exact_mut(side) {
            padded[radius..radius + side].copy_from_slice(line);
            padded[..radius].fill(line[0]);
            padded[radius + side..].fill(line[side - 1]);
            for (value, window) in line.iter_mut().zip(padded.windows(kernel.len())) {
                *value = window.iter().zip(&kernel).map(|(a, b)| a * b).sum();
            }
        }
        let source = self.values.clone();
        for (y, line) in self.values.chunks_exact_mut(side).enumerate() {
            line.fill(0.0);
            for (i, weight) in kernel.iter().enumerate() {
                let from = (y + i).saturating_sub(radius).min(side - 1);
                for (value, other) in line.iter_mut().zip(&source[from * side..(from + 1) * side]) {
                    *value += other * weight;
                }
            }
        }
    }

    /// The same picture on fewer pixels, each the mean of the area it covers.
    pub(super) fn reduced(&self, side: usize) -> Self {
        if side >= self.side {
            return self.clone();
        }
        let spans = area_spans(self.side, side);
        let mut narrow = vec![0.0; self.side * side];
        for (from, to) in self.values.chunks_exact(self.side).zip(narrow.chunks_exact_mut(side)) {
            for (value, span) in to.iter_mut().zip(&spans) {
                *value = span.weights.iter().zip(&from[span.first..]).map(|(w, v)| w * v).sum();
            }
        }
        let mut reduced = Self::flat(side, 0.0);
        for (to, span) in reduced.values.chunks_exact_mut(side).zip(&spans) {
            for (i, weight) in span.weights.iter().enumerate() {
                let from = (span.first + i) * side;
                for (value, other) in to.iter_mut().zip(&narrow[from..from + side]) {
                    *value += other * weight;
                }
            }
        }
        reduced
    }

    /// The same picture on more pixels, bilinear.
    pub(super) fn enlarged(&self, side: usize) -> Self {
        if side <= self.side {
            return self.clone();
        }
        let scale = self.side as f32 / side as f32;
        let at: Vec<(usize, f32)> = (0..side)
            .map(|i| {
                let place = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, self.side as f32 - 1.001);
                (place as usize, place.fract())
            })
            .collect();
        let mut large = Self::flat(side, 0.0);
        let mut row = vec![0.0; self.side];
        for (line, (node, weight)) in large.values.chunks_exact_mut(side).zip(&at) {
            let (upper, lower) = self.values[node * self.side..(node + 2) * self.side].split_at(self.side);
            for ((value, a), b) in row.iter_mut().zip(upper).zip(lower) {
                *value = a + (b - a) * weight;
            }
            for (value, (node, weight)) in line.iter_mut().zip(&at) {
                let a = row[*node];
                *value = a + (row[node + 1] - a) * weight;
            }
        }
        large
    }

    /// Bilinear sample at a place in pixels (pixel centres at .5), edges repeated.
    pub(super) fn sample(&self, x: f32, y: f32) -> f32 {
        let last = self.side as f32 - 1.001;
        let (x, y) = ((x - 0.5).clamp(0.0, last), (y - 0.5).clamp(0.0, last));
        let (column, line) = (x as usize, y as usize);
        let (u, v) = (x.fract(), y.fract());
        let at = |dx: usize, dy: usize| self.values[(line + dy) * self.side + column + dx];
        (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
    }

    /// Adds a round soft spot: `amplitude` in the middle, half of it at `radius_px`.
    pub(super) fn add_spot(&mut self, centre: (f32, f32), radius_px: (f32, f32), amplitude: f32, sharpness: i32) {
        let side = self.side as f32;
        let reach = (radius_px.0 * 2.6, radius_px.1 * 2.6);
        let columns = (centre.0 - reach.0).clamp(0.0, side) as usize..(centre.0 + reach.0 + 1.0).clamp(0.0, side) as usize;
        let lines = (centre.1 - reach.1).clamp(0.0, side) as usize..(centre.1 + reach.1 + 1.0).clamp(0.0, side) as usize;
        for y in lines {
            let v = (y as f32 + 0.5 - centre.1) / radius_px.1;
            for x in columns.clone() {
                let u = (x as f32 + 0.5 - centre.0) / radius_px.0;
                self.values[y * self.side + x] += amplitude / (1.0 + (u * u + v * v).powi(sharpness));
            }
        }
    }
}

/// Lattice node before each pixel and the smooth weight of the one after it.
struct Steps {
    nodes: usize,
    at: Vec<(usize, f32)>,
}

impl Steps {
    fn new(side: usize, cell_px: f32, phase: f32) -> Self {
        let at: Vec<(usize, f32)> = (0..side)
            .map(|i| {
                let place = i as f32 / cell_px + phase;
                let t = place.fract();
                (place as usize, t * t * (3.0 - 2.0 * t))
            })
            .collect();
        Self { nodes: at.last().map_or(0, |(node, _)| node + 2), at }
    }
}

/// White noise smoothed by the binomial kernel of five, `width` × `height` nodes of this standard deviation.
fn smooth_lattice(dice: &mut Dice, width: usize, height: usize, sd: f32) -> Vec<f32> {
    const KERNEL: [f32; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];
    const LOSS: f32 = 70.0 / 256.0; // what smoothing in both directions leaves of the standard deviation
    let (wide, high) = (width + 4, height + 4);
    let mut white = vec![0.0; wide * high];
    dice.add_grain(&mut white, sd / LOSS);
    let narrow: Vec<f32> =
        white.chunks_exact(wide).flat_map(|line| line.windows(5).map(|five| five.iter().zip(&KERNEL).map(|(a, b)| a * b).sum())).collect();
    let mut lattice = vec![0.0; width * height];
    for (y, line) in lattice.chunks_exact_mut(width).enumerate() {
        for (i, weight) in KERNEL.iter().enumerate() {
            for (value, other) in line.iter_mut().zip(&narrow[(y + i) * width..]) {
                *value += other * weight;
            }
        }
    }
    lattice
}

/// A stretch of source pixels and their weights (sum 1).
struct AreaSpan {
    first: usize,
    weights: Vec<f32>,
}

fn area_spans(from: usize, to: usize) -> Vec<AreaSpan> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let (start, end) = (i as f32 * scale, ((i + 1) as f32 * scale).min(from as f32));
            let first = start as usize;
            let last = (end.ceil() as usize).min(from);
            let weights = (first..last).map(|p| ((p as f32 + 1.0).min(end) - (p as f32).max(start)) / (end - start)).collect();
            AreaSpan { first, weights }
        })
        .collect()
}

/// A smooth random curve of `count` values of ±`amplitude`, changing over about `cell` values.
pub(super) fn curve(dice: &mut Dice, count: usize, cell: f32, amplitude: f32) -> Vec<f32> {
    let steps = Steps::new(count, cell.max(1.0), dice.range(0.0, 1.0));
    let nodes: Vec<f32> = (0..steps.nodes).map(|_| dice.range(-amplitude, amplitude)).collect();
    steps.at.iter().map(|(node, weight)| nodes[*node] + (nodes[node + 1] - nodes[*node]) * weight).collect()
}
