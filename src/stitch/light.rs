use super::correction::FULL_WHITE;
use super::levels::Levels;
use super::measure::broken;
use crate::cell::{CELL_PX, HoldReason, TILE_PX, TILES_PER_SIDE, TileRow};

/// Share of a cell that may be at full white: no crack shows there.
const WHITE_SHARE_MAX: f64 = 0.01;
/// Stitched lines on which a bright gap may show within the outline.
const GAP_LINES_MAX: usize = 8;
/// One line in so many tells a cell's noise.
const NOISE_LINES: usize = 16;
/// Fewer steps than these tell no noise: so small a part of a tile lies on the wafer.
const STEPS_MIN: usize = 500;

/// What the light of a cell's pixels says of it.
#[derive(Debug, Default)]
pub(super) struct Light {
    pixels: usize,
    white_pixels: usize,
    /// Lines with a run of bright gap.
    gap_lines: usize,
    lines: usize,
    /// Each tile by itself, row by row: a lamp may fail over a part of the wafer.
    tiles: [[Tile; TILES_PER_SIDE]; TILES_PER_SIDE],
}

/// A tile's pixels on the lines that tell the noise.
#[derive(Debug, Default)]
struct Tile {
    /// Sum of the pixels.
    grey: u64,
    /// Differences between neighbouring ones.
    steps: Vec<u16>,
}

impl Light {
    /// Takes a row in, less its rim, where wafer and gap mix.
    pub fn add(&mut self, row: &TileRow, levels: &Levels) {
        for (span, whole) in row.inside().iter().zip(row.pixels.chunks_exact(CELL_PX)) {
            let (start, end) = (usize::from(span.start), usize::from(span.end));
            let line = &whole[start..end];
            self.pixels += line.len();
            self.white_pixels += line.iter().filter(|pixel| **pixel >= FULL_WHITE).count();
            // Wafers have places as dark as a dark gap, but none as bright as a bright one.
            self.gap_lines += usize::from(levels.bright_gap() && levels.has_gap(line));
            if self.lines.is_multiple_of(NOISE_LINES)
                && let Some(tiles) = self.tiles.get_mut(usize::from(row.row))
            {
                for (column, tile) in tiles.iter_mut().enumerate() {
                    let (from, to) = (start.max(column * TILE_PX), end.min((column + 1) * TILE_PX));
                    tile.add(whole.get(from..to).unwrap_or_default());
                }
            }
            self.lines += 1;
        }
    }

    /// `grey_step`: from one grey level of the camera to the next, in the row's grey values, columns' gains left out.
    /// `noise_share_max`: noise that each of its tiles may have, share of the tile's mean grey.
    ///
    /// # Errors
    /// [`HoldReason::Broken`] where a bright gap shows within the outline, [`HoldReason::Overexposed`],
    /// [`HoldReason::Underexposed`].
    pub fn check(&mut self, grey_step: f64, noise_share_max: f64) -> Result<(), HoldReason> {
        let white_share = self.white_pixels as f64 / self.pixels.max(1) as f64;
        if self.gap_lines > GAP_LINES_MAX {
            return Err(broken(&format!(
                "{} of {CELL_PX} lines are as bright as the gap within the outline: it is in pieces or has a hole; \
                 if it is whole, shorten the exposure or dim the lamp",
                self.gap_lines
            )));
        }
        if white_share > WHITE_SHARE_MAX {
            let detail = format!(
                "{:.0} % of the cell is at full white, up to {:.0} % may be; shorten the exposure or dim the lamp",
                100.0 * white_share,
                100.0 * WHITE_SHARE_MAX
            );
            return Err(HoldReason::Overexposed { detail });
        }
        self.check_noise(grey_step, noise_share_max)
    }

    /// Holds the cell for the worst of its tiles: what noise hides there nobody has looked for.
    fn check_noise(&mut self, grey_step: f64, noise_share_max: f64) -> Result<(), HoldReason> {
        let tiles = self.tiles.iter_mut().flatten().enumerate().filter(|(_, tile)| tile.steps.len() >= STEPS_MIN);
        let noisy = tiles.map(|(n, tile)| (n, tile.grey_and_noise(grey_step))).filter(|(_, (grey, noise))| *noise > noise_share_max * grey);
        let noisy: Vec<_> = noisy.map(|(n, (grey, noise))| (n, grey, noise / grey.max(1.0))).collect();
        let Some((n, grey, share)) = noisy.iter().max_by(|a, b| a.2.total_cmp(&b.2)) else { return Ok(()) };
        let detail = format!(
            "noise hides cracks in {} of its tiles, most in row {}, column {}: the grey there is {:.1} % of white, and noise from pixel to \
             pixel is {:.1} % of that, up to {:.1} % may be; lengthen the exposure or brighten the lamp (there) or, if it is steep \
             texture, raise `belt.noise_share_max`",
            noisy.len(),
            n / TILES_PER_SIDE + 1,
            n % TILES_PER_SIDE + 1,
            100.0 * grey / 65535.0,
            100.0 * share,
            100.0 * noise_share_max
        );
        Err(HoldReason::Underexposed { detail })
    }

    /// Mean grey value of the cell.
    pub fn mean_grey(&self) -> u16 {
        let (grey, count) = self.tiles.iter().flatten().fold((0, 0), |(grey, count), tile| (grey + tile.grey, count + tile.steps.len()));
        (grey / count.max(1) as u64).min(u16::MAX.into()) as u16
    }
}

impl Tile {
    /// Takes in what of a line lies in it.
    fn add(&mut self, line: &[u16]) {
        self.grey += line.iter().skip(1).map(|pixel| u64::from(*pixel)).sum::<u64>();
        self.steps.extend(line.windows(2).map(|pair| pair[0].abs_diff(pair[1])));
    }

    /// Mean grey value and the standard deviation of its noise. The median keeps cracks and fingers out of it.
    fn grey_and_noise(&mut self, grey_step: f64) -> (f64, f64) {
        let (count, middle) = (self.steps.len(), self.steps.len() / 2);
        if count == 0 {
            return (0.0, 0.0);
        }
        let median = f64::from(*self.steps.select_nth_unstable(middle).1);
        // Steps between a camera's pixels are whole grey levels, and each of them stands for all that are rounded to it.
        let (low, high) = ((median - grey_step / 2.0).max(0.0), median + grey_step / 2.0);
        let share_below = |limit: f64| self.steps.iter().filter(|step| f64::from(**step) < limit).count() as f64 / count as f64;
        let below = share_below(low);
        let within = share_below(high) - below;
        let median = low + (high - low) * ((0.5 - below) / within).clamp(0.0, 1.0);
        // Of a normal distribution 1.05 times the median is the deviation; that of rounding alone, which may not show, is 0.29 of a level.
        (self.grey as f64 / count as f64, (1.05 * median).max(0.29 * grey_step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of the noise of a tile with this mean grey and noise, all in a camera's grey levels; its pixels are whole ones
    /// of levels so many times finer.
    fn noise(grey: f64, deviation: f64, grey_step: f64, finer: f64) -> f64 {
        let mut seed = 1_u64;
        let mut dice = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (seed >> 40) as f64 / f64::from(1 << 24)
        };
        // A sum of twelve dice is as good as normal.
        let mut pixel = || grey + deviation * ((0..12).map(|_| dice()).sum::<f64>() - 6.0);
        let line: Vec<u16> = (0..20_000).map(|_| ((pixel() * finer).round() * grey_step / finer).round() as u16).collect();
        let mut tile = Tile::default();
        tile.add(&line);
        let (mean, noise) = tile.grey_and_noise(grey_step);
        assert!((mean / grey_step - grey).abs() < 0.1, "{mean}");
        noise / grey_step
    }

    /// With the rounding's own.
    #[test]
    fn noise_is_told_in_parts_of_a_grey_level() {
        for deviation in [0.5, 0.8, 1.2, 3.0] {
            for grey in [26.0, 26.3, 26.5] {
                // Also between whole levels, as where the picture is sampled anew.
                for finer in [1.0, 200.0] {
                    let (told, expected) = (noise(grey, deviation, 257.0, finer), f64::hypot(deviation, 0.29));
                    assert!((told / expected - 1.0).abs() < 0.12, "{deviation} at {grey}, {finer}: {told}");
                }
            }
        }
        assert_eq!(noise(5.0, 0.0, 257.0, 1.0), 0.29);
        // Of which up to 0.04 may be: at 0.5 it does, though steps of a level are as many as of none.
        assert!(noise(26.0, 0.5, 257.0, 1.0) < 0.04 * 26.0 && noise(26.0, 1.2, 257.0, 1.0) > 0.04 * 26.0);
    }
}
