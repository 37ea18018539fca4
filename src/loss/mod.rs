//! The losses of the DIBE paper (arXiv 2211.05295) that training uses, from logits.
//!
//! Every loss is a weighted sum of at most two terms: a mean over pixels of a distribution-based
//! term, and a function of the soft confusion counts TP, FP, FN of the whole batch. Both have
//! short analytic gradients, so [`Objective::of`] computes value and gradient together in double
//! precision and hands the gradient to backpropagation ready-made.

mod fused;
mod terms;
#[cfg(test)]
mod tests;

use candle_core::{Tensor, bail};
use terms::{PixelTerm, RegionForm, RegionTerm};

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross entropy (Eq. 1).
    Bce,
    /// Focal loss (Eq. 3): cross entropy weighted by class and by difficulty.
    Focal,
    /// Tversky loss (Eqs. 6, 7): 1 − T, false alarms weighted by α and misses by 1 − α.
    Tversky,
    /// Focal loss with every term weighted by the kind of error it commits (Eqs. 18, 19).
    DibeDis,
    /// (−ln T)^γ with γ < 1 (Eq. 20).
    DibeReg,
    /// λ · DIBEDis + (1 − λ) · DIBEReg (Eq. 21).
    Dibe,
}

/// The numbers of the losses; each loss uses those it knows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hyperparameters {
    /// Weight of false alarms against misses, within (0, 1); misses have β = 1 − α. Above ½ punishes
    /// false alarms more, below ½ missed cracks.
    pub alpha: f64,
    /// Weight of crack pixels, within (0, 1); background has 1 − ω.
    pub omega: f64,
    /// Focusing exponent of Focal and DIBEDis, at least 0.
    pub gamma: f64,
    /// Exponent of DIBEReg, above 0. The same as `gamma` ties both parts of DIBE together.
    pub gamma_reg: f64,
    /// Share of the pixel term in DIBE, 0 to 1.
    pub lambda: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self { alpha: 0.5, omega: 0.75, gamma: 2.0, gamma_reg: 0.3, lambda: 0.5 }
    }
}

/// What is wrong with a loss's numbers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LossError {
    /// A hyperparameter lies outside its range.
    #[error("loss parameter {name} is {value}, but must lie within {range}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
}

/// A loss with its numbers, ready to be minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    loss: Loss,
    parameters: Hyperparameters,
    pixel: Option<(f64, PixelTerm)>,
    region: Option<(f64, RegionTerm)>,
}

impl Objective {
    /// Puts a loss and its numbers together.
    ///
    /// # Errors
    /// [`LossError::OutOfRange`] names the first number that makes no sense.
    pub fn new(loss: Loss, parameters: Hyperparameters) -> Result<Self, LossError> {
        let Hyperparameters { alpha, omega, gamma, gamma_reg, lambda } = parameters;
        let check = |name, value: f64, ok: bool, range| if ok { Ok(()) } else { Err(LossError::OutOfRange { name, value, range }) };
        check("alpha", alpha, alpha > 0.0 && alpha < 1.0, "(0, 1)")?;
        check("omega", omega, omega > 0.0 && omega < 1.0, "(0, 1)")?;
        check("gamma", gamma, gamma >= 0.0 && gamma.is_finite(), "[0, ∞)")?;
        check("gamma-reg", gamma_reg, gamma_reg > 0.0 && gamma_reg.is_finite(), "(0, ∞)")?;
        check("lambda", lambda, (0.0..=1.0).contains(&lambda), "[0, 1]")?;

        let cross_entropy = PixelTerm { crack: 1.0, background: 1.0, gamma: 0.0, miss: 1.0, alarm: 1.0 };
        let focal = PixelTerm { crack: omega, background: 1.0 - omega, gamma, ..cross_entropy };
        let dibe_dis = PixelTerm { miss: 2.0 * (1.0 - alpha), alarm: 2.0 * alpha, ..focal };
        let tversky = RegionTerm { alpha, form: RegionForm::Complement };
        let dibe_reg = RegionTerm { alpha, form: RegionForm::LogPower { gamma: gamma_reg } };
        let (pixel, region) = match loss {
            Loss::Bce => (Some((1.0, cross_entropy)), None),
            Loss::Focal => (Some((1.0, focal)), None),
            Loss::Tversky => (None, Some((1.0, tversky))),
            Loss::DibeDis => (Some((1.0, dibe_dis)), None),
            Loss::DibeReg => (None, Some((1.0, dibe_reg))),
            Loss::Dibe => (Some((lambda, dibe_dis)), Some((1.0 - lambda, dibe_reg))),
        };
        Ok(Self { loss, parameters, pixel, region })
    }

    /// Which loss this is.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Its numbers.
    pub fn parameters(&self) -> &Hyperparameters {
        &self.parameters
    }

    /// The loss of a batch, a scalar that can be differentiated with respect to `logits`.
    ///
    /// `logits` and `labels` have the same shape (N × 1 × H × W or any other); labels of at least ½
    /// are crack. Means and soft counts run over the whole batch. The reckoning is done on the host
    /// in double precision whatever the device; only the gradient goes back to it.
    ///
    /// # Errors
    /// Shapes that differ, an empty batch, and what the device says.
    pub fn of(&self, logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
        if logits.dims() != labels.dims() || logits.elem_count() == 0 {
            bail!("loss of logits {:?} against labels {:?}: both must have the same shape and hold pixels", logits.dims(), labels.dims());
        }
        let host = |tensor: &Tensor| tensor.detach().flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>();
        let (value, gradient) = self.value_and_gradient(&host(logits)?, &host(labels)?);
        let at_logits = |tensor: Tensor| tensor.to_device(logits.device())?.to_dtype(logits.dtype());
        let value = at_logits(Tensor::new(value, &candle_core::Device::Cpu)?)?;
        let gradient = at_logits(Tensor::from_vec(gradient, logits.dims(), &candle_core::Device::Cpu)?)?;
        // The difference is exactly 0, so the value stands; its derivative is the gradient.
        let tangent = ((logits - logits.detach())? * gradient)?.sum_all()?;
        value + tangent
    }
}
