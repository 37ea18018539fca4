//! How good a mask is: confusion counts and the indices made of them ([`Counts`]), their means over
//! pictures ([`Means`]), and both at every threshold ([`Histogram`]).

mod means;
mod sweep;

pub use means::Means;
pub use sweep::{Histogram, OperatingPoint};

use crate::cell::Mask;

/// Pixels of a mask held against the truth. Counts of several pictures add up (micro averages).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Crack pixels found.
    pub tp: u64,
    /// Pixels called crack that are none.
    pub fp: u64,
    /// Crack pixels missed.
    pub fn_: u64,
}

impl Counts {
    /// Counts `found` against `truth`; `None` where their sizes differ.
    pub fn of_masks(found: &Mask, truth: &Mask) -> Option<Self> {
        if (found.width_px(), found.height_px()) != (truth.width_px(), truth.height_px()) {
            return None;
        }
        let mut counts = Self::default();
        for (f, t) in found.bits().iter().zip(truth.bits()) {
            counts.tp += u64::from((f & t).count_ones());
            counts.fp += u64::from((f & !t).count_ones());
            counts.fn_ += u64::from((!f & t).count_ones());
        }
        Some(counts)
    }

    /// Intersection over union, TP / (TP + FP + FN) (Eq. 22); 1 where there was nothing to find and
    /// nothing was found.
    pub fn iou(&self) -> f64 {
        iou(self.tp as f64, self.fp as f64, self.fn_ as f64)
    }

    /// Pixel accuracy, TP / (TP + FN), the recall of crack pixels (Eq. 23); 1 where there are none.
    pub fn pa(&self) -> f64 {
        let cracked = self.tp + self.fn_;
        if cracked == 0 { 1.0 } else { self.tp as f64 / cracked as f64 }
    }

    /// Share of the pixels called crack that are crack, TP / (TP + FP); 1 where none is called so.
    pub fn precision(&self) -> f64 {
        let called = self.tp + self.fp;
        if called == 0 { 1.0 } else { self.tp as f64 / called as f64 }
    }

    /// Harmonic mean of precision and recall (PA), 2 TP / (2 TP + FP + FN), which is the Dice coefficient of
    /// the masks; 1 where there was nothing to find and nothing was found.
    pub fn f1(&self) -> f64 {
        let all = 2 * self.tp + self.fp + self.fn_;
        if all == 0 { 1.0 } else { 2.0 * self.tp as f64 / all as f64 }
    }

    /// The output imbalance index (Eqs. 15–17): above 0 too many false alarms (overkill), below 0
    /// cracks escape; within [−1, 1].
    pub fn oii(&self) -> f64 {
        oii(self.tp as f64, self.fp as f64, self.fn_ as f64)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.tp += other.tp;
        self.fp += other.fp;
        self.fn_ += other.fn_;
    }
}

fn iou(tp: f64, fp: f64, fn_: f64) -> f64 {
    let union = tp + fp + fn_;
    if union == 0.0 { 1.0 } else { tp / union }
}

fn oii(tp: f64, fp: f64, fn_: f64) -> f64 {
    if fp == fn_ {
        return 0.0;
    }
    let tanimoto = fp * fn_ / (fp * fp + fn_ * fn_ - fp * fn_);
    (fp - fn_).signum() * (1.0 - tanimoto) * (1.0 - iou(tp, fp, fn_) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's Table 1 as (TP, FN, FP, IoU, PA, OII).
    const TABLE_1: [[f64; 6]; 10] = [
        [2.0, 0.5, 0.5, 0.667, 0.800, 0.000],
        [2.0, 1.0, 1.0, 0.500, 0.667, 0.000],
        [2.0, 3.0, 3.0, 0.250, 0.400, 0.000],
        [2.0, 5.0, 1.0, 0.250, 0.286, -0.667],
        [2.0, 4.0, 2.0, 0.250, 0.333, -0.292],
        [2.0, 2.0, 4.0, 0.250, 0.500, 0.292],
        [2.0, 1.0, 5.0, 0.250, 0.667, 0.667],
        [2.0, 1.0, 2.0, 0.400, 0.667, 0.267],
        [2.0, 1.0, 0.5, 0.571, 0.667, -0.238],
        [2.0, 1.0, 0.2, 0.625, 0.667, -0.524],
    ];

    #[test]
    fn table_1_comes_out_to_three_decimals() {
        for [tp, fn_, fp, iou, pa, oii] in TABLE_1 {
            let counts = Counts { tp: (tp * 10.0) as u64, fp: (fp * 10.0) as u64, fn_: (fn_ * 10.0) as u64 };
            for (got, want) in [(counts.iou(), iou), (counts.pa(), pa), (counts.oii(), oii)] {
                assert!((got - want).abs() < 5.1e-4, "{counts:?}: {got} is not {want}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn oii_is_bounded_and_changes_sign_when_the_errors_are_swapped(tp in 0u64..1 << 40, fp in 0u64..1 << 40, fn_ in 0u64..1 << 40) {
            let there = Counts { tp, fp, fn_ }.oii();
            let back = Counts { tp, fp: fn_, fn_: fp }.oii();
            proptest::prop_assert!((-1.0..=1.0).contains(&there));
            proptest::prop_assert!((there + back).abs() < 1e-12);
        }

        #[test]
        fn indices_are_shares_and_agree_with_each_other(tp in 0u64..1 << 40, fp in 0u64..1 << 40, fn_ in 0u64..1 << 40) {
            let (here, there) = (Counts { tp, fp, fn_ }, Counts { tp, fp: fn_, fn_: fp });
            for index in [here.iou(), here.pa(), here.precision(), here.f1()] {
                proptest::prop_assert!((0.0..=1.0).contains(&index));
            }
            // Swapping the errors swaps precision and recall, and leaves what counts both alike.
            proptest::prop_assert_eq!(here.precision(), there.pa());
            proptest::prop_assert_eq!((here.iou(), here.f1()), (there.iou(), there.f1()));
            // F1 = 2 IoU / (1 + IoU), and the harmonic mean.
            proptest::prop_assert!((here.f1() - 2.0 * here.iou() / (1.0 + here.iou())).abs() < 1e-12);
            if tp > 0 {
                let (p, r) = (here.precision(), here.pa());
                proptest::prop_assert!((here.f1() - 2.0 * p * r / (p + r)).abs() < 1e-12);
            }
        }

        #[test]
        fn more_of_one_error_moves_oii_towards_it(tp in 0u64..1000, fn_ in 0u64..1000, fp in 0u64..1000, more in 1u64..1000) {
            let (few, many) = (Counts { tp, fp, fn_ }, Counts { tp, fp: fp.max(fn_) + more, fn_ });
            proptest::prop_assert!(many.oii() > 0.0 && (few.oii() <= 0.0 || fp > fn_));
        }
    }

    #[test]
    fn masks_of_different_sizes_are_not_compared() {
        assert_eq!(Counts::of_masks(&Mask::new(8, 8), &Mask::new(8, 9)), None);
    }
}
