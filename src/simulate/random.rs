//! Seeded randomness.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seeded randomness with the few distributions the painters need.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of one wafer: streams of different (`seed`, `index`) are independent.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Even in `low..high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// Even in the logarithm, for quantities that span decades; both bounds positive.
    pub(super) fn log_range(&mut self, low: f32, high: f32) -> f32 {
        self.range(low.ln(), high.ln()).exp()
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// A whole number below `end`; 0 where `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// A whole number from `low` to `high`, both included.
    pub(super) fn count(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high + 1 - low)
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Normally distributed, mean 0, standard deviation 1 (Box–Muller).
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.0.random::<f32>()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }

    /// Adds nearly normal noise of standard deviation `sd` to every value: the sum of four even
    /// bytes, at a fraction of Box–Muller's cost.
    pub(super) fn add_grain(&mut self, values: &mut [f32], sd: f32) {
        const MEAN: f32 = 4.0 * 127.5;
        const SD: f32 = 147.8; // of four even bytes: sqrt(4 · (256² − 1) / 12)
        let mut bytes = [0; 4096];
        for chunk in values.chunks_mut(bytes.len() / 4) {
            self.0.fill_bytes(&mut bytes);
            for (value, four) in chunk.iter_mut().zip(bytes.chunks_exact(4)) {
                let sum = u32::from(four[0]) + u32::from(four[1]) + u32::from(four[2]) + u32::from(four[3]);
                *value += (sum as f32 - MEAN) * (sd / SD);
            }
        }
    }
}
