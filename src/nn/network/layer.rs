use super::Mode;
use crate::nn::NnError;
use crate::nn::layout::{self, ConvNorm};
use crate::nn::ops::{self, BatchNorm, Convolution, MapId, Tape};
use candle_core::{Result, Tensor, Var};
use std::collections::BTreeMap;

/// A network's variables by name.
pub(super) struct Variables<'a>(pub BTreeMap<&'a str, &'a Var>);

impl Variables<'_> {
    pub fn get(&self, name: &str) -> std::result::Result<Var, NnError> {
        let missing = || NnError::Shape { found: format!("no tensor {name}"), expected: "one".into() };
        self.0.get(name).map(|var| (*var).clone()).ok_or_else(missing)
    }

    /// The weight and bias of that name.
    pub fn affine(&self, name: &str) -> std::result::Result<(Var, Var), NnError> {
        Ok((self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?))
    }
}

/// A convolution with batch norm and ReLU.
pub(super) struct ConvNormRelu {
    weight: Var,
    dilation: usize,
    norm: BatchNorm,
}

impl ConvNormRelu {
    pub fn new(layout: &ConvNorm, variables: &Variables) -> std::result::Result<Self, NnError> {
        let (gain, offset) = variables.affine(&layout.norm)?;
        Ok(Self {
            weight: variables.get(&format!("{}.weight", layout.convolution))?,
            dilation: layout.dilation,
            norm: BatchNorm {
                gain,
                offset,
                running_mean: variables.get(&format!("{}.running_mean", layout.norm))?,
                running_var: variables.get(&format!("{}.running_var", layout.norm))?,
            },
        })
    }

    /// One for each of `layouts`.
    pub fn stage<'a>(layouts: impl IntoIterator<Item = &'a ConvNorm>, variables: &Variables) -> std::result::Result<Vec<Self>, NnError> {
        layouts.into_iter().map(|layout| Self::new(layout, variables)).collect()
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let convolution = Convolution { dilation: self.dilation, precision: mode.precision() };
        let y = ops::conv_norm_relu(x, &self.weight, convolution, &self.norm, mode.trains())?;
        // What only leads to a gradient is let go at once.
        Ok(if mode.trains() { y } else { y.detach() })
    }

    /// The same on a tape, of the channels of one or two maps.
    pub fn record(&self, tape: &mut dyn Tape, from: &[MapId]) -> Result<MapId> {
        tape.conv_norm_relu(from, &self.weight, self.dilation, &self.norm)
    }
}

/// One convolution after the other.
pub(super) fn in_turn(stage: &[ConvNormRelu], x: &Tensor, mode: Mode) -> Result<Tensor> {
    stage.iter().try_fold(x.clone(), |x, convolution| convolution.forward(&x, mode))
}

/// The last convolution.
pub(super) struct Head {
    weight: Var,
    bias: Var,
}

impl Head {
    pub fn new(layout: &layout::Head, variables: &Variables) -> std::result::Result<Self, NnError> {
        let (weight, bias) = variables.affine(&layout.name)?;
        Ok(Self { weight, bias })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::add_bias(&ops::conv(x, &self.weight, 1)?, &self.bias)
    }

    /// The same on a tape.
    pub fn record(&self, tape: &mut dyn Tape, from: MapId) -> Result<MapId> {
        tape.conv_bias(from, &self.weight, &self.bias)
    }
}
