use super::Counts;
use crate::cell::{Mask, ProbabilityMap};
use rayon::prelude::*;

/// Crack and background pixels by probability, from which the counts at every threshold follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    crack: [u64; 256],
    background: [u64; 256],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { crack: [0; 256], background: [0; 256] }
    }
}

/// What comes out at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// The threshold, a probability above 0.
    pub threshold: f32,
    /// What is found with it, all pixels together.
    pub counts: Counts,
}

impl Histogram {
    /// Counts the pixels of one picture; `values` are its probabilities as `round(255 p)`, line by line.
    pub fn add(&mut self, truth: &Mask, values: &[u8]) {
        const LINES: usize = 64;
        let width = truth.width_px().max(1);
        let stripes = values[..values.len().min(width * truth.height_px())].par_chunks(LINES * width).enumerate();
        let found = stripes.map(|(i, stripe)| Self::of_lines(truth, i * LINES, stripe)).reduce(Self::default, |mut all, one| {
            all += &one;
            all
        });
        *self += &found;
    }

    /// Counts the pixels of a picture's lines from `first` on.
    fn of_lines(truth: &Mask, first: usize, values: &[u8]) -> Self {
        // Neighbours are often alike: counted in one table, each would wait for the one before.
        let mut tables = [[0u64; 256]; 4];
        let mut crack = [0u64; 256];
        for (y, line) in (first..).zip(values.chunks_exact(truth.width_px().max(1))) {
            for four in line.chunks(tables.len()) {
                tables.iter_mut().zip(four).for_each(|(table, value)| table[usize::from(*value)] += 1);
            }
            // Cracks are few: their pixels are looked up, and the others are what is left.
            for (byte, bits) in truth.line_bits(y).iter().enumerate().filter(|(_, bits)| **bits != 0) {
                (0..8).filter(|bit| bits & (0x80 >> bit) != 0).for_each(|bit| crack[usize::from(line[byte * 8 + bit])] += 1);
            }
        }
        let background = std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum::<u64>() - crack[value]);
        Self { crack, background }
    }

    /// The confusion counts at a threshold (a probability), by the same rule as [`ProbabilityMap::mask`].
    pub fn counts(&self, threshold: f32) -> Counts {
        self.counts_from(usize::from(ProbabilityMap::level(threshold)))
    }

    fn counts_from(&self, level: usize) -> Counts {
        let tp = self.crack[level..].iter().sum();
        let fp = self.background[level..].iter().sum();
        Counts { tp, fp, fn_: self.crack[..level].iter().sum() }
    }

    /// Every threshold that makes a difference, from the lowest (1/255) to 1. Their precision over their recall
    /// ([`Counts::pa`]) is the precision-recall curve.
    pub fn sweep(&self) -> Vec<OperatingPoint> {
        (1..256).map(|level| OperatingPoint { threshold: level as f32 / 255.0, counts: self.counts_from(level) }).collect()
    }

    /// Area under the precision-recall curve as a sum of steps (average precision): each step of recall times the
    /// precision that it was reached with. Joining the points by lines would flatter the network (Davis and
    /// Goadrich 2006). 1 for a perfect order; about the share of crack pixels for chance; 1 without crack pixels.
    pub fn average_precision(&self) -> f64 {
        let crack: u64 = self.crack.iter().sum();
        if crack == 0 {
            return 1.0;
        }
        // The last step calls everything crack, which no threshold does.
        (0..256).rev().map(|level| self.crack[level] as f64 / crack as f64 * self.counts_from(level).precision()).sum()
    }
}

impl std::ops::AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        for (all, one) in [(&mut self.crack, &other.crack), (&mut self.background, &other.background)] {
            all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one line: crack pixels first.
    fn histogram(crack: &[u8], background: &[u8]) -> Histogram {
        let mut truth = Mask::new(crack.len() + background.len(), 1);
        (0..crack.len()).for_each(|x| truth.set(x, 0, true));
        let mut histogram = Histogram::default();
        histogram.add(&truth, &[crack, background].concat());
        histogram
    }

    #[test]
    fn counts_are_those_of_masks_at_every_threshold() {
        let values: Vec<u8> = (0..64 * 64).map(|i| (i * 37 % 256) as u8).collect();
        let mut truth = Mask::new(64, 64);
        (0..64).for_each(|i| truth.set(i, i, true));
        let mut pixels = Histogram::default();
        pixels.add(&truth, &values);
        for point in pixels.sweep() {
            let mut found = Mask::new(64, 64);
            let level = ProbabilityMap::level(point.threshold);
            values.iter().enumerate().filter(|(_, v)| **v >= level).for_each(|(i, _)| found.set(i % 64, i / 64, true));
            assert_eq!(Some(point.counts), Counts::of_masks(&found, &truth));
            assert_eq!(point.counts, pixels.counts(point.threshold));
        }
        assert_eq!(pixels.counts(0.0), pixels.sweep()[0].counts);
    }

    #[test]
    fn every_pixel_is_counted_once_on_its_side_whatever_the_size() {
        for (width, height) in [(1, 1), (7, 3), (13, 200), (448, 130)] {
            let mut truth = Mask::new(width, height);
            let values: Vec<u8> = (0..width * height).map(|i| (i * 131 % 251) as u8).collect();
            let mut want = Histogram::default();
            for (i, value) in values.iter().enumerate() {
                let crack = i * 7 % 11 == 0;
                truth.set(i % width, i / width, crack);
                let side = if crack { &mut want.crack } else { &mut want.background };
                side[usize::from(*value)] += 1;
            }
            let mut found = Histogram::default();
            found.add(&truth, &values);
            assert!(found == want, "{width}x{height}");
        }
    }

    #[test]
    fn average_precision_of_orders_known_by_hand() {
        assert!((histogram(&[200, 210], &[0, 10]).average_precision() - 1.0).abs() < 1e-12);
        // Found in the order crack, background, crack, background: (1 + 2/3) / 2.
        assert!((histogram(&[250, 100], &[200, 50]).average_precision() - 5.0 / 6.0).abs() < 1e-12);
        // All alike: the share of crack pixels, also where no threshold calls them crack.
        for value in [0, 77] {
            assert!((histogram(&[value], &[value; 3]).average_precision() - 0.25).abs() < 1e-12);
        }
        assert_eq!(histogram(&[], &[3]).average_precision(), 1.0);
    }

    #[test]
    fn histograms_add_up() {
        let mut all = histogram(&[9], &[1, 200]);
        all += &histogram(&[250, 9], &[1]);
        assert_eq!(all, histogram(&[9, 250, 9], &[1, 1, 200]));
    }
}
