use super::layer::{ConvNormRelu, Head, Variables, in_turn};
use super::{Body, Mode};
use crate::nn::{NnError, layout, ops};
use candle_core::{Result, Tensor};

/// See [`layout::SegNet`].
pub(super) struct SegNet {
    down: Vec<Vec<ConvNormRelu>>,
    up: Vec<Vec<ConvNormRelu>>,
    head: Head,
}

impl SegNet {
    pub fn new(layout: &layout::SegNet, variables: &Variables) -> std::result::Result<Self, NnError> {
        let stages = |stages: &[Vec<layout::ConvNorm>]| -> std::result::Result<Vec<_>, NnError> {
            stages.iter().map(|stage| ConvNormRelu::stage(stage, variables)).collect()
        };
        Ok(Self { down: stages(&layout.down)?, up: stages(&layout.up)?, head: Head::new(&layout.head, variables)? })
    }
}

impl Body for SegNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        let mut places = Vec::new();
        for stage in &self.down {
            let y = in_turn(stage, &x, mode)?;
            places.push(ops::max_pool_indices(&y)?);
            x = ops::max_pool(&y)?;
        }
        for (stage, places) in self.up.iter().zip(places.iter().rev()) {
            x = in_turn(stage, &ops::unpool(&x, places)?, mode)?;
        }
        self.head.forward(&x)
    }
}
