use super::Counts;
use crate::cell::{Mask, ProbabilityMap};

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
        for (y, line) in values.chunks_exact(truth.width_px().max(1)).enumerate().take(truth.height_px()) {
            for (x, value) in line.iter().enumerate() {
                let side = if truth.get(x, y) { &mut self.crack } else { &mut self.background };
                side[usize::from(*value)] += 1;
            }
        }
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

    /// The threshold with the greatest IoU; of equal ones the lowest, which misses least.
    pub fn best_by_iou(&self) -> OperatingPoint {
        let mut best = OperatingPoint { threshold: 1.0 / 255.0, counts: self.counts_from(1) };
        for point in self.sweep() {
            if point.counts.iou() > best.counts.iou() {
                best = point;
            }
        }
        best
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
    fn the_best_threshold_is_the_lowest_of_equals() {
        let best = histogram(&[100, 200], &[0, 50]).best_by_iou();
        assert_eq!(best, OperatingPoint { threshold: 51.0 / 255.0, counts: Counts { tp: 2, fp: 0, fn_: 0 } });
    }

    #[test]
    fn histograms_add_up() {
        let mut all = histogram(&[9], &[1, 200]);
        all += &histogram(&[250, 9], &[1]);
        assert_eq!(all, histogram(&[9, 250, 9], &[1, 1, 200]));
    }
}
