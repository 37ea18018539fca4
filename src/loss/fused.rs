//! Value and gradient of a whole batch in two passes over its pixels.

use super::Objective;
use super::terms::{Probability, SoftCounts};
use rayon::prelude::*;

/// The region's part of a loss.
pub(super) struct RegionPart {
    pub value: f64,
    /// Derivatives by the probability of any crack pixel, and of any background pixel.
    pub by: [f64; 2],
}

/// Pixels summed by one thread at a time. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

impl Objective {
    /// The loss of a batch and its gradient with respect to the logits, both in double precision.
    ///
    /// `logits` and `labels` hold the same pixels in the same order; labels of at least ½ are crack.
    pub(super) fn value_and_gradient(&self, logits: &[f64], labels: &[f64]) -> (f64, Vec<f64>) {
        let per_pixel = self.pixel.map(|(weight, term)| (weight / logits.len() as f64, term));
        let mut gradient = vec![0.0; logits.len()];
        // dp/dx of every pixel: what the soft counts' derivatives are scaled by.
        let mut spread = vec![0.0; logits.len()];
        let sums: Vec<(f64, SoftCounts)> = (gradient.par_chunks_mut(CHUNK), spread.par_chunks_mut(CHUNK))
            .into_par_iter()
            .zip(logits.par_chunks(CHUNK).zip(labels.par_chunks(CHUNK)))
            .map(|((gradient, spread), (logits, labels))| {
                let (mut sum, mut counts) = (0.0, SoftCounts::default());
                for (((g, s), x), y) in gradient.iter_mut().zip(spread).zip(logits).zip(labels) {
                    let (at, crack) = (Probability::of_logit(*x), *y >= 0.5);
                    *s = at.p * at.q;
                    if crack {
                        counts.tp += at.p;
                        counts.fn_ += at.q;
                    } else {
                        counts.fp += at.p;
                    }
                    if let Some((weight, term)) = &per_pixel {
                        let (value, slope) = term.at(&at, crack);
                        sum += weight * value;
                        *g = weight * slope;
                    }
                }
                (sum, counts)
            })
            .collect();

        let mut value: f64 = sums.iter().map(|(sum, _)| sum).sum();
        let counts = sums.iter().fold(SoftCounts::default(), |all, (_, some)| SoftCounts {
            tp: all.tp + some.tp,
            fp: all.fp + some.fp,
            fn_: all.fn_ + some.fn_,
        });
        if let Some(region) = self.of_counts(&counts) {
            value += region.value;
            let [by_crack, by_background] = region.by;
            gradient.par_chunks_mut(CHUNK).zip(spread.par_chunks(CHUNK).zip(labels.par_chunks(CHUNK))).for_each(
                |(gradient, (spread, labels))| {
                    for ((g, s), y) in gradient.iter_mut().zip(spread).zip(labels) {
                        *g += s * if *y >= 0.5 { by_crack } else { by_background };
                    }
                },
            );
        }
        (value, gradient)
    }

    /// The region's part, of the counts of the whole batch.
    pub(super) fn of_counts(&self, counts: &SoftCounts) -> Option<RegionPart> {
        let (weight, term) = self.region?;
        let (value, slopes) = term.at(counts);
        Some(RegionPart { value: weight * value, by: [weight * (slopes.tp - slopes.fn_), weight * slopes.fp] })
    }
}
