//! Names, sizes and starting values of everything that a network learns, in the order of the network.

mod deeplab;
mod dilated;
mod pspnet;
mod segnet;
mod unet;

pub(super) use deeplab::DeepLab;
pub(super) use dilated::DilatedEncoder;
pub(super) use pspnet::PspNet;
pub(super) use segnet::SegNet;
pub(super) use unet::{DoubleConv, Pass, UNet, Up};

use super::{Architecture, NetworkShape};

/// Levels below full size; input sides must be divisible by two to this power.
pub(super) const LEVELS: usize = 4;

/// All tensors of a network, in the order of [`super::Network::variables`].
pub(super) fn parameters(shape: &NetworkShape) -> Vec<Parameter> {
    match shape.architecture {
        Architecture::UNet => UNet::new(shape).parameters(),
        Architecture::SegNet => SegNet::new(shape.base_width).parameters(),
        Architecture::PspNet => PspNet::new(shape.base_width).parameters(),
        Architecture::DeepLabV3 => DeepLab::new(shape.base_width).parameters(),
    }
}

/// The last convolution of a network.
pub(super) fn head(shape: &NetworkShape) -> Head {
    match shape.architecture {
        Architecture::UNet => UNet::new(shape).head,
        Architecture::SegNet => SegNet::new(shape.base_width).head,
        Architecture::PspNet => PspNet::new(shape.base_width).head,
        Architecture::DeepLabV3 => DeepLab::new(shape.base_width).head,
    }
}

/// What a parameter is at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    /// Uniform in ± this (He et al. 2015).
    Uniform(f32),
    Constant(f32),
    /// One, and never below 0.
    Variance,
}

impl Start {
    /// The mean square of its values.
    pub fn mean_square(self) -> f64 {
        match self {
            Self::Uniform(bound) => f64::from(bound).powi(2) / 3.0,
            Self::Constant(value) => f64::from(value).powi(2),
            Self::Variance => 1.0,
        }
    }
}

/// One tensor of a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: Start,
    /// Whether training changes it by its gradient.
    pub trainable: bool,
}

/// A convolution without bias, its batch norm and ReLU.
#[derive(Debug, Clone)]
pub(super) struct ConvNorm {
    /// Name of the convolution.
    pub convolution: String,
    /// Name of the batch norm.
    pub norm: String,
    pub input: usize,
    pub output: usize,
    /// Side of the kernel, 1 or 3.
    pub side: usize,
    /// Distance of its taps.
    pub dilation: usize,
}

impl ConvNorm {
    /// One named `{name}.conv` and `{name}.norm`.
    fn named(name: String, input: usize, output: usize, side: usize, dilation: usize) -> Self {
        Self { convolution: format!("{name}.conv"), norm: format!("{name}.norm"), input, output, side, dilation }
    }

    fn parameters(&self) -> impl Iterator<Item = Parameter> {
        let taps = self.side * self.side;
        let weight = Parameter {
            name: format!("{}.weight", self.convolution),
            shape: vec![self.output, self.input, self.side, self.side],
            start: Start::Uniform((6.0 / (self.input * taps) as f32).sqrt()),
            trainable: true,
        };
        let norm = [
            ("weight", Start::Constant(1.0), true),
            ("bias", Start::Constant(0.0), true),
            ("running_mean", Start::Constant(0.0), false),
            ("running_var", Start::Variance, false),
        ];
        std::iter::once(weight).chain(norm.into_iter().map(|(part, start, trainable)| Parameter {
            name: format!("{}.{part}", self.norm),
            shape: vec![self.output],
            start,
            trainable,
        }))
    }
}

/// The last convolution: 1×1 with bias, to one logit.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub name: String,
    pub input: usize,
}

impl Head {
    /// Name of its bias.
    pub fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }

    fn parameters(&self) -> [Parameter; 2] {
        let start = Start::Uniform((3.0 / self.input as f32).sqrt());
        let weight = format!("{}.weight", self.name);
        [
            Parameter { name: weight, shape: vec![1, self.input, 1, 1], start, trainable: true },
            Parameter { name: self.bias(), shape: vec![1], start: Start::Constant(0.0), trainable: true },
        ]
    }
}

/// Tensors of convolutions and head, in this order.
fn listed<'a>(convolutions: impl IntoIterator<Item = &'a ConvNorm>, head: &Head) -> Vec<Parameter> {
    convolutions.into_iter().flat_map(ConvNorm::parameters).chain(head.parameters()).collect()
}
