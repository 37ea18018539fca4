use super::layer::{ConvNormRelu, Head, Variables, in_turn};
use super::{Body, Mode};
use crate::config::Precision;
use crate::nn::layout::{self, DoubleConv};
use crate::nn::{NnError, ops};
use candle_core::{Result, Tensor, Var};

/// See [`layout::UNet`].
pub(super) struct UNet {
    down: Vec<Vec<ConvNormRelu>>,
    up: Vec<UpStep>,
    head: Head,
}

struct UpStep {
    /// Weight and bias; absent where the size is doubled by interpolation.
    transposed: Option<(Var, Var)>,
    convolutions: Vec<ConvNormRelu>,
}

impl UNet {
    pub fn new(layout: &layout::UNet, variables: &Variables) -> std::result::Result<Self, NnError> {
        let double = |block: &DoubleConv| ConvNormRelu::stage(&block.halves(), variables);
        let up = layout.up.iter().map(|up| {
            let transposed = up.transposed.as_ref().map(|name| variables.affine(name)).transpose()?;
            Ok(UpStep { transposed, convolutions: double(&up.convolutions)? })
        });
        Ok(Self {
            down: layout.down.iter().map(double).collect::<std::result::Result<_, _>>()?,
            up: up.collect::<std::result::Result<_, NnError>>()?,
            head: Head::new(&layout.head, variables)?,
        })
    }
}

impl Body for UNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut skips: Vec<Tensor> = Vec::new();
        for convolutions in &self.down {
            let input = match skips.last() {
                None => x.clone(),
                Some(above) => ops::max_pool(above)?,
            };
            skips.push(in_turn(convolutions, &input, mode)?);
        }
        let mut deepest = skips.pop().unwrap_or_else(|| x.clone());
        for (step, skip) in self.up.iter().zip(skips.iter().rev()) {
            let raised = match &step.transposed {
                Some((weight, bias)) => ops::conv_transposed(&deepest, weight, bias, mode.training().unwrap_or(Precision::F32))?,
                None => ops::upsample_bilinear(&deepest)?,
            };
            deepest = in_turn(&step.convolutions, &Tensor::cat(&[skip, &raised], 1)?, mode)?;
        }
        self.head.forward(&deepest)
    }
}
