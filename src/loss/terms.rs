//! The two kinds of terms that losses are made of, with their derivatives.

/// Added to a base before it is raised to a power below 1, whose slope at 0 would be infinite.
const POWER_OFFSET: f64 = 1e-6;

/// base^γ and its derivative, the base moved off 0 where the slope there would be infinite.
fn power(base: f64, gamma: f64) -> (f64, f64) {
    if gamma == 1.0 {
        return (base, 1.0);
    }
    let base = base + power_offset(gamma);
    (base.powf(gamma), gamma * base.powf(gamma - 1.0))
}

/// What a base is moved by before it is raised to the power of `gamma`.
pub(super) fn power_offset(gamma: f64) -> f64 {
    if gamma < 1.0 { POWER_OFFSET } else { 0.0 }
}

/// A pixel's probability from its logit, in the forms that keep their digits at both ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probability {
    /// p.
    pub p: f64,
    /// 1 − p.
    pub q: f64,
    /// ln p.
    pub ln_p: f64,
    /// ln (1 − p).
    pub ln_q: f64,
}

impl Probability {
    pub(super) fn of_logit(x: f64) -> Self {
        // exp(−|x|) never overflows; the smaller of p and q is told by it, the larger by 1 / (1 + it).
        let small = (-x.abs()).exp();
        let (ln_larger, larger) = (-small.ln_1p(), 1.0 / (1.0 + small));
        let (ln_smaller, smaller) = (ln_larger - x.abs(), small * larger);
        if x >= 0.0 {
            Self { p: larger, q: smaller, ln_p: ln_larger, ln_q: ln_smaller }
        } else {
            Self { p: smaller, q: larger, ln_p: ln_smaller, ln_q: ln_larger }
        }
    }
}

/// A function of the probability p_y that a pixel's true class was given, weighted by class and by the kind
/// of error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PixelTerm {
    /// Weight of crack pixels.
    pub crack: f64,
    /// Weight of background pixels.
    pub background: f64,
    /// Further weight of crack pixels that are missed (p < ½).
    pub miss: f64,
    /// Further weight of background pixels that raise an alarm (p ≥ ½).
    pub alarm: f64,
    /// Which function.
    pub form: PixelForm,
}

/// See [`PixelTerm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PixelForm {
    /// −(1 − p_y)^γ ln p_y; γ = 0 leaves cross entropy (Eqs. 1–3, 18, 19).
    Focal {
        /// The focusing exponent.
        gamma: f64,
    },
    /// (−ln p_y)^γ (Eq. 11).
    LogPower {
        /// The exponent.
        gamma: f64,
    },
}

impl PixelTerm {
    /// Value and derivative with respect to the logit.
    pub(super) fn at(&self, at: &Probability, crack: bool) -> (f64, f64) {
        let found = at.p >= 0.5;
        let (weight, error, truth, ln_error, ln_truth, sign) = if crack {
            (self.crack * if found { 1.0 } else { self.miss }, at.q, at.p, at.ln_q, at.ln_p, -1.0)
        } else {
            (self.background * if found { self.alarm } else { 1.0 }, at.p, at.q, at.ln_p, at.ln_q, 1.0)
        };
        match self.form {
            PixelForm::Focal { gamma } => {
                let focus = if gamma == 0.0 { weight } else { weight * (gamma * ln_error).exp() };
                (-focus * ln_truth, sign * focus * (error - gamma * truth * ln_truth))
            }
            PixelForm::LogPower { gamma } => {
                let (value, slope) = power(-ln_truth, gamma);
                (weight * value, sign * weight * slope * error)
            }
        }
    }
}

/// Soft confusion counts of a batch: TP = Σ p·y, FP = Σ p·(1 − y), FN = Σ (1 − p)·y.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SoftCounts {
    pub tp: f64,
    pub fp: f64,
    pub fn_: f64,
}

/// A function of the Tversky index T = (TP + ε) / (TP + αFP + βFN + ε), β = 1 − α (Eq. 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RegionTerm {
    /// Weight of false alarms.
    pub alpha: f64,
    /// ε: keeps the index defined, and 1, for a batch without crack and without alarm. With α = ½ the index
    /// is the Dice coefficient of twice this ε.
    pub smoothing: f64,
    /// Which function.
    pub form: RegionForm,
}

/// See [`RegionTerm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RegionForm {
    /// (1 − T)^γ (Eqs. 5, 7, 8).
    Complement {
        /// The exponent.
        gamma: f64,
    },
    /// (−ln T)^γ (Eqs. 11, 20).
    LogPower {
        /// The exponent.
        gamma: f64,
    },
}

impl RegionTerm {
    /// Value and derivatives with respect to TP, FP and FN.
    pub(super) fn at(&self, counts: &SoftCounts) -> (f64, SoftCounts) {
        let beta = 1.0 - self.alpha;
        let hits = counts.tp + self.smoothing;
        let errors = self.alpha * counts.fp + beta * counts.fn_;
        let all = hits + errors;
        // The value, and its derivatives with respect to hits and errors.
        let (value, by_hits, by_errors) = match self.form {
            RegionForm::Complement { gamma } => {
                let (value, slope) = power(errors / all, gamma);
                (value, -slope * errors / (all * all), slope * hits / (all * all))
            }
            RegionForm::LogPower { gamma } => {
                let (value, slope) = power((errors / hits).ln_1p(), gamma);
                (value, -slope * errors / (hits * all), slope / all)
            }
        };
        (value, SoftCounts { tp: by_hits, fp: self.alpha * by_errors, fn_: beta * by_errors })
    }
}
