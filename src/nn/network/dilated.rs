use super::Mode;
use super::layer::{ConvNormRelu, Variables, in_turn};
use crate::nn::{NnError, layout, ops};
use candle_core::{Result, Tensor};

/// See [`layout::DilatedEncoder`].
pub(super) struct DilatedEncoder {
    stages: Vec<Vec<ConvNormRelu>>,
}

impl DilatedEncoder {
    pub fn new(layout: &layout::DilatedEncoder, variables: &Variables) -> std::result::Result<Self, NnError> {
        Ok(Self { stages: layout.stages.iter().map(|stage| ConvNormRelu::stage(stage, variables)).collect::<std::result::Result<_, _>>()? })
    }

    /// An eighth of the size.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, stage) in self.stages.iter().enumerate() {
            if (1..=layout::DilatedEncoder::POOLINGS).contains(&index) {
                x = ops::max_pool(&x)?;
            }
            x = in_turn(stage, &x, mode)?;
        }
        Ok(x)
    }
}
