use super::Arguments;
use image::GrayImage;
use image::imageops::FilterType;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Noise values that are drawn once and then used from changing places.
const NOISE_VALUES: usize = 1 << 16;

/// Cells on a belt, one after the other, as the lines that a camera sees.
pub(super) struct Belt {
    cells: Vec<(PathBuf, GrayImage)>,
    width: usize,
    gap_lines: u32,
    gap_level: u8,
    skew_deg: f64,
    cells_max: u64,
    stop: Option<(u64, Duration)>,
    log: Option<File>,
    dice: ChaCha8Rng,
    noise: Vec<i16>,
    /// Lines passed, cells begun, and what lies under the camera.
    at: u64,
    shown: u64,
    gap_left: u32,
    cell: Option<(GrayImage, u32)>,
}

impl Belt {
    /// Reads and scales all pictures.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Box<dyn std::error::Error>> {
        let mut cells = Vec::new();
        for path in &arguments.images {
            let picture = image::open(path).map_err(|e| format!("{}: {e}", path.display()))?.into_luma8();
            let side = arguments.cell_px;
            cells.push((path.clone(), image::imageops::resize(&picture, side, side, FilterType::CatmullRom)));
        }
        let mut dice = ChaCha8Rng::seed_from_u64(arguments.seed);
        // The sum of twelve even draws is near enough to a normal one.
        let draw = |dice: &mut ChaCha8Rng| (0..12).map(|_| dice.random::<f64>()).sum::<f64>() - 6.0;
        let noise = if arguments.noise > 0.0 {
            (0..NOISE_VALUES).map(|_| (draw(&mut dice) * arguments.noise).round() as i16).collect()
        } else {
            Vec::new()
        };
        let stop = (arguments.stop_at_line > 0).then(|| (arguments.stop_at_line, Duration::from_secs_f64(arguments.stop_s)));
        Ok(Self {
            cells,
            width: arguments.width,
            gap_lines: arguments.gap_lines,
            gap_level: arguments.gap_level,
            skew_deg: arguments.skew_deg,
            cells_max: arguments.cells,
            stop,
            log: arguments.log.as_ref().map(File::create).transpose()?,
            dice,
            noise,
            at: 0,
            shown: 0,
            gap_left: arguments.gap_lines,
            cell: None,
        })
    }

    /// Writes the next line that passes; beyond the sensor's width it is black.
    pub(super) fn next_line(&mut self, line: &mut [u8]) {
        if let Some((_, pause)) = self.stop.take_if(|(at, _)| *at == self.at) {
            std::thread::sleep(pause);
        }
        if self.gap_left == 0 && self.cell.is_none() && (self.cells_max == 0 || self.shown < self.cells_max) {
            self.begin_cell();
        }
        line.fill(0);
        let sensor = self.width.min(line.len());
        let line = &mut line[..sensor];
        line.fill(self.gap_level);
        match self.cell.take() {
            Some((cell, row)) => {
                let shown = (cell.width() as usize).min(sensor);
                let left = (sensor - shown) / 2;
                for (x, pixel) in line[left..left + shown].iter_mut().enumerate() {
                    *pixel = cell.get_pixel(x as u32, row).0[0];
                }
                if row + 1 < cell.height() {
                    self.cell = Some((cell, row + 1));
                } else {
                    self.gap_left = self.gap_lines.max(1);
                }
            }
            None => self.gap_left = self.gap_left.saturating_sub(1),
        }
        if !self.noise.is_empty() {
            let from = self.dice.random_range(0..NOISE_VALUES);
            for (pixel, noise) in line.iter_mut().zip(self.noise.iter().cycle().skip(from)) {
                *pixel = (i16::from(*pixel) + noise).clamp(0, 255) as u8;
            }
        }
        self.at += 1;
    }

    fn begin_cell(&mut self) {
        let (path, picture) = &self.cells[(self.shown % self.cells.len() as u64) as usize];
        let turn_deg = if self.skew_deg > 0.0 { self.dice.random_range(-self.skew_deg..=self.skew_deg) } else { 0.0 };
        let cell = if turn_deg == 0.0 { picture.clone() } else { turned(picture, turn_deg, self.gap_level) };
        if let Some(log) = &mut self.log {
            let truth = serde_json::json!({
                "cell": self.shown, "file": path, "first_line": self.at, "lines": cell.height(), "turn_deg": turn_deg,
            });
            // One write a line, so that a reader never sees half of one for long.
            if let Err(error) = log.write_all(format!("{truth}\n").as_bytes()) {
                eprintln!("line_camera: the log cannot be written: {error}");
            }
        }
        self.shown += 1;
        self.cell = Some((cell, 0));
    }
}

/// The picture turned counter-clockwise about its centre, in the smallest frame that holds it.
fn turned(picture: &GrayImage, turn_deg: f64, around: u8) -> GrayImage {
    let (sin, cos) = turn_deg.to_radians().sin_cos();
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let (wide, high) = (width * cos + height * sin.abs(), width * sin.abs() + height * cos);
    let (wide, high) = (wide.ceil() as u32, high.ceil() as u32);
    let at = |x: i64, y: i64| {
        let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok()).and_then(|(x, y)| picture.get_pixel_checked(x, y));
        f64::from(inside.map_or(around, |p| p.0[0]))
    };
    GrayImage::from_fn(wide, high, |x, y| {
        let (u, v) = (f64::from(x) + 0.5 - f64::from(wide) / 2.0, f64::from(y) + 0.5 - f64::from(high) / 2.0);
        let (x, y) = (u * cos - v * sin + width / 2.0 - 0.5, u * sin + v * cos + height / 2.0 - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let upper = at(left, top) * (1.0 - u) + at(left + 1, top) * u;
        let lower = at(left, top + 1) * (1.0 - u) + at(left + 1, top + 1) * u;
        image::Luma([(upper * (1.0 - v) + lower * v).round() as u8])
    })
}
