//! What the kernels of `learning.cu` take beside values, and into how many sums they add.

use super::counted;

/// Values are summed in so many slices, by as many threads; those of a loss are all read back.
pub(super) const SLICES: usize = 1 << 14;
/// Numbers of each slice of a loss.
pub(crate) const LOSS_SUMS: usize = 4;
/// Each gradient's slices come back as so many sums.
pub(super) const NORM_PARTS: usize = 64;

/// A mean over pixels of a function of the logit; the numbers are those of `loss::terms::PixelTerm`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct LossTerm {
    /// Share of the loss, by the number of pixels.
    pub share: f64,
    pub crack: f64,
    pub background: f64,
    pub miss: f64,
    pub alarm: f64,
    pub gamma: f64,
    /// Added to the base of a power.
    pub offset: f64,
    pub form: LossForm,
}

/// Which function, as `learning.cu` numbers them.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum LossForm {
    /// No such mean.
    None,
    Focal,
    LogPower,
}

/// How a gradient moves weights: stochastic gradient descent with momentum.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Descent {
    rate: f32,
    momentum: f32,
    decay: f32,
    scale: f32,
    nesterov: u32,
}

impl Descent {
    /// A step of `rate` along gradients times `scale`, weights pulled towards 0 by `decay`.
    pub fn new(rate: f64, (momentum, nesterov): (f64, bool), decay: f64, scale: f64) -> Self {
        let [rate, momentum, decay, scale] = [rate, momentum, decay, scale].map(|value| value as f32);
        Self { rate, momentum, decay, scale, nesterov: u32::from(nesterov) }
    }
}

/// So many values, as a kernel counts. `None` for more, and for nothing.
pub(super) fn number(values: usize) -> Option<u32> {
    counted(values).filter(|values| *values > 0)
}
