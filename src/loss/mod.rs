//! The losses of the DIBE paper (arXiv 2211.05295), from logits.
//!
//! Every loss is a weighted sum of at most two terms: a mean over pixels of a distribution-based
//! term, and a function of the soft confusion counts TP, FP, FN of the whole batch. Both have
//! short analytic gradients, so [`Objective::of`] computes value and gradient together in double
//! precision and hands the gradient to backpropagation ready-made.

mod fused;
#[cfg(any(feature = "cudnn", test))]
mod on_cuda;
mod terms;
#[cfg(test)]
mod tests;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use terms::{PixelForm, PixelTerm, RegionForm, RegionTerm};

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross entropy: every pixel counts the same (Eq. 1)
    Bce,
    /// Cross entropy that weighs crack pixels by omega, the others by 1 - omega (Eq. 2)
    Wbce,
    /// WBCE that looks at difficult pixels more the larger gamma is (Eq. 3)
    Focal,
    /// Overlap of what is marked with the crack, all pixels together (Eq. 5)
    Dice,
    /// Overlap in which alpha sets false alarms against misses (Eq. 7)
    Tversky,
    /// Tversky to the power gamma-reg: with more than 1, batches that are nearly right count less (Eq. 8)
    FocalTversky,
    /// lambda x WBCE + (1 - lambda) x Dice (Eq. 9)
    Combo,
    /// Logarithms of cross entropy and of Dice, each to a power, mixed by lambda (Eq. 10)
    ExponentialLogarithmic,
    /// lambda x Focal + (1 - lambda) x Focal Tversky (Eq. 12)
    HybridFocal,
    /// Focal in which alpha sets false alarms against misses (Eqs. 18, 19)
    DibeDis,
    /// Logarithm of the Tversky overlap to the power gamma-reg, below 1 (Eq. 20)
    DibeReg,
    /// lambda x DIBEDis + (1 - lambda) x DIBEReg, made for cracks that are a small part of the picture (Eq. 21)
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
    /// Exponent of the pixel-wise part (Focal, Exponential Logarithmic, Hybrid Focal, DIBEDis, DIBE), at least 0.
    pub gamma: f64,
    /// Exponent of the region's part (Focal Tversky, Exponential Logarithmic, Hybrid Focal, DIBEReg, DIBE), above 0.
    pub gamma_reg: f64,
    /// Share of the pixel-wise part in a loss of two parts, 0 to 1.
    pub lambda: f64,
}

impl Hyperparameters {
    /// The values that the paper, or whom it cites, gives for `loss`.
    pub fn of(loss: Loss) -> Self {
        let dibe = Self { alpha: 0.5, omega: 0.75, gamma: 2.0, gamma_reg: 0.3, lambda: 0.5 };
        match loss {
            Loss::FocalTversky | Loss::HybridFocal => Self { gamma_reg: 4.0 / 3.0, ..dibe },
            // Wong et al. 2018.
            Loss::ExponentialLogarithmic => Self { gamma: 0.3, lambda: 0.2, ..dibe },
            _ => dibe,
        }
    }

    /// Both parts with the exponent of the pixel-wise one: the paper's equations leave open whether DIBE's parts share it.
    pub fn tied(self) -> Self {
        Self { gamma_reg: self.gamma, ..self }
    }
}

/// Those of DIBE.
impl Default for Hyperparameters {
    fn default() -> Self {
        Self::of(Loss::Dibe)
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

impl Loss {
    /// Whether α weighs false alarms against misses in it.
    pub fn has_alpha(self) -> bool {
        match self {
            Self::Tversky | Self::FocalTversky | Self::HybridFocal | Self::DibeDis | Self::DibeReg | Self::Dibe => true,
            Self::Bce | Self::Wbce | Self::Focal | Self::Dice | Self::Combo | Self::ExponentialLogarithmic => false,
        }
    }
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
    pub fn new(loss: Loss, parameters: Hyperparameters) -> std::result::Result<Self, LossError> {
        let Hyperparameters { alpha, omega, gamma, gamma_reg, lambda } = parameters;
        let check = |name, value: f64, ok: bool, range| if ok { Ok(()) } else { Err(LossError::OutOfRange { name, value, range }) };
        check("alpha", alpha, alpha > 0.0 && alpha < 1.0, "(0, 1)")?;
        check("omega", omega, omega > 0.0 && omega < 1.0, "(0, 1)")?;
        check("gamma", gamma, gamma >= 0.0 && gamma.is_finite(), "[0, ∞)")?;
        check("gamma-reg", gamma_reg, gamma_reg > 0.0 && gamma_reg.is_finite(), "(0, ∞)")?;
        check("lambda", lambda, (0.0..=1.0).contains(&lambda), "[0, 1]")?;

        let focal = PixelForm::Focal { gamma };
        let even = PixelTerm { crack: 1.0, background: 1.0, miss: 1.0, alarm: 1.0, form: PixelForm::Focal { gamma: 0.0 } };
        let by_class = PixelTerm { crack: omega, background: 1.0 - omega, ..even };
        let by_error = PixelTerm { miss: 2.0 * (1.0 - alpha), alarm: 2.0 * alpha, ..by_class };
        let dice = |form| RegionTerm { alpha: 0.5, smoothing: 0.5, form };
        let tversky = |form| RegionTerm { alpha, smoothing: 1.0, form };
        let plain = RegionForm::Complement { gamma: 1.0 };
        let complement = RegionForm::Complement { gamma: gamma_reg };
        let logarithm = RegionForm::LogPower { gamma: gamma_reg };
        let (pixel, region) = match loss {
            Loss::Bce => (Some(even), None),
            Loss::Wbce => (Some(by_class), None),
            Loss::Focal => (Some(PixelTerm { form: focal, ..by_class }), None),
            Loss::Dice => (None, Some(dice(plain))),
            Loss::Tversky => (None, Some(tversky(plain))),
            Loss::FocalTversky => (None, Some(tversky(complement))),
            Loss::Combo => (Some(by_class), Some(dice(plain))),
            Loss::ExponentialLogarithmic => (Some(PixelTerm { form: PixelForm::LogPower { gamma }, ..by_class }), Some(dice(logarithm))),
            Loss::HybridFocal => (Some(PixelTerm { form: focal, ..by_class }), Some(tversky(complement))),
            Loss::DibeDis => (Some(PixelTerm { form: focal, ..by_error }), None),
            Loss::DibeReg => (None, Some(tversky(logarithm))),
            Loss::Dibe => (Some(PixelTerm { form: focal, ..by_error }), Some(tversky(logarithm))),
        };
        let (pixel_share, region_share) = if pixel.is_some() && region.is_some() { (lambda, 1.0 - lambda) } else { (1.0, 1.0) };
        let (pixel, region) = (pixel.map(|term| (pixel_share, term)), region.map(|term| (region_share, term)));
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
    /// are crack. Means and soft counts run over the whole batch. All is reckoned in double precision: by kernels where logits and
    /// labels are `f32` on CUDA, else on the host.
    ///
    /// # Errors
    /// Shapes that differ, an empty batch, and what the device says.
    pub fn of(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        if logits.dims() != labels.dims() || logits.elem_count() == 0 {
            bail!("loss of logits {:?} against labels {:?}: both must have the same shape and hold pixels", logits.dims(), labels.dims());
        }
        let (value, gradient) = self.reckoned(logits, labels)?;
        let value = Tensor::new(value, &candle_core::Device::Cpu)?.to_dtype(logits.dtype())?.to_device(logits.device())?;
        logits.apply_op2(&value, Reckoned { gradient })
    }

    /// Value and gradient, the latter as the logits are.
    fn reckoned(&self, logits: &Tensor, labels: &Tensor) -> Result<(f64, Tensor)> {
        #[cfg(feature = "cudnn")]
        if let Some(reckoned) = self.on_cuda(logits, labels)? {
            return Ok(reckoned);
        }
        let host = |tensor: &Tensor| tensor.detach().flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>();
        let (value, gradient) = self.value_and_gradient(&host(logits)?, &host(labels)?);
        let gradient = Tensor::from_vec(gradient, logits.dims(), &candle_core::Device::Cpu)?;
        Ok((value, gradient.to_device(logits.device())?.to_dtype(logits.dtype())?))
    }
}

/// A loss that is known beforehand, its gradient too; arguments: logits, value.
struct Reckoned {
    gradient: Tensor,
}

impl CustomOp2 for Reckoned {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, value: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, value: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, incoming: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(self.gradient.broadcast_mul(incoming)?), None))
    }
}
