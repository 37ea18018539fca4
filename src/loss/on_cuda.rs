//! Value and gradient of a batch on CUDA: the host has but few sums to add.

use super::Objective;
use super::terms::{PixelForm, SoftCounts, power_offset};
use crate::nn::learning::{LOSS_SUMS, LossForm, LossTerm};

impl Objective {
    /// The loss and its gradient on the device; `None` where its kernels do not take these tensors.
    #[cfg(feature = "cudnn")]
    pub(super) fn on_cuda(
        &self,
        logits: &candle_core::Tensor,
        labels: &candle_core::Tensor,
    ) -> candle_core::Result<Option<(f64, candle_core::Tensor)>> {
        use crate::nn::learning::{loss_gradient, loss_sums, takes};
        if !takes(&[logits, labels]) {
            return Ok(None);
        }
        let (logits, term) = (logits.detach(), self.kernel_term(logits.elem_count()));
        let (value, by) = self.of_sums(&loss_sums(&logits, labels, term)?);
        Ok(Some((value, loss_gradient(&logits, labels, term, by)?)))
    }

    /// The pixels' part as kernels take it.
    pub(super) fn kernel_term(&self, pixels: usize) -> LossTerm {
        let nothing =
            LossTerm { share: 0.0, crack: 0.0, background: 0.0, miss: 0.0, alarm: 0.0, gamma: 0.0, offset: 0.0, form: LossForm::None };
        let Some((weight, term)) = self.pixel else { return nothing };
        let (gamma, offset, form) = match term.form {
            PixelForm::Focal { gamma } => (gamma, 0.0, LossForm::Focal),
            PixelForm::LogPower { gamma } => (gamma, power_offset(gamma), LossForm::LogPower),
        };
        let share = weight / pixels as f64;
        LossTerm { share, crack: term.crack, background: term.background, miss: term.miss, alarm: term.alarm, gamma, offset, form }
    }

    /// The loss, and the derivatives of the region's part by the probabilities of crack and of background pixels, from the sums of
    /// all slices.
    pub(super) fn of_sums(&self, sums: &[f64]) -> (f64, [f64; 2]) {
        let sum = |which: usize| sums.iter().skip(which).step_by(LOSS_SUMS).sum::<f64>();
        let region = self.of_counts(&SoftCounts { tp: sum(1), fp: sum(2), fn_: sum(3) });
        let (value, by) = region.map_or((0.0, [0.0; 2]), |region| (region.value, region.by));
        (sum(0) + value, by)
    }
}
