//! Names and sizes of everything a U-Net learns, as PyTorch's most used U-Net names them.

use super::{NetworkShape, Upsampling};

/// Levels below full size; input sides must be divisible by two to this power.
pub(super) const LEVELS: usize = 4;

/// Two convolutions 3×3, each with batch norm and ReLU.
#[derive(Debug, Clone)]
pub(super) struct DoubleConv {
    /// Name of the module that holds `double_conv`.
    pub name: String,
    pub input: usize,
    pub middle: usize,
    pub output: usize,
}

impl DoubleConv {
    /// The two convolutions: index of the convolution and of its batch norm, input and output channels.
    pub fn halves(&self) -> [Half; 2] {
        let half = |index: usize, input, output| Half {
            convolution: format!("{}.double_conv.{index}", self.name),
            norm: format!("{}.double_conv.{}", self.name, index + 1),
            input,
            output,
        };
        [half(0, self.input, self.middle), half(3, self.middle, self.output)]
    }
}

/// One convolution of a [`DoubleConv`] with its batch norm.
#[derive(Debug, Clone)]
pub(super) struct Half {
    pub convolution: String,
    pub norm: String,
    pub input: usize,
    pub output: usize,
}

/// One step up: twice the size, the skip connection, two convolutions.
#[derive(Debug, Clone)]
pub(super) struct Up {
    /// Name of the transposed convolution, if this network has them.
    pub transposed: Option<String>,
    /// Channels that come from below.
    pub below: usize,
    /// Channels that the upsampling puts out.
    pub upsampled: usize,
    pub convolutions: DoubleConv,
}

/// The whole network.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Full size first, then each level down.
    pub down: Vec<DoubleConv>,
    /// From the lowest level to full size.
    pub up: Vec<Up>,
    /// Name of the last convolution.
    pub head: &'static str,
    /// Channels that it reads.
    pub head_input: usize,
}

/// What a parameter is at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    /// Uniform in ± this (He et al. 2015).
    Uniform(f32),
    Constant(f32),
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

impl Layout {
    pub fn new(shape: &NetworkShape) -> Self {
        let w = shape.base_width;
        let bilinear = shape.upsampling == Upsampling::Bilinear;
        // Interpolation keeps the channels, so that the layers around it have half as many.
        let half = if bilinear { 2 } else { 1 };
        let block = |name: String, input, middle, output| DoubleConv { name, input, middle, output };
        let mut down = vec![block("inc".into(), 1, w, w)];
        for level in 1..=LEVELS {
            let output = (w << level) / if level == LEVELS { half } else { 1 };
            down.push(block(format!("down{level}.maxpool_conv.1"), w << (level - 1), output, output));
        }
        let mut up = Vec::new();
        for step in 1..=LEVELS {
            let input = w << (LEVELS + 1 - step);
            let output = if step == LEVELS { w } else { input / 2 / half };
            up.push(Up {
                transposed: (!bilinear).then(|| format!("up{step}.up")),
                below: input / half,
                upsampled: input / 2,
                convolutions: block(format!("up{step}.conv"), input, if bilinear { input / 2 } else { output }, output),
            });
        }
        Self { down, up, head: "outc.conv", head_input: w }
    }

    /// All tensors in the order of the network, which is the order of [`super::Network::variables`].
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = Vec::new();
        let mut add =
            |name: String, shape: &[usize], start, trainable| list.push(Parameter { name, shape: shape.to_vec(), start, trainable });
        #[allow(clippy::type_complexity)] // the visitor, written once
        let blocks = |block: &DoubleConv, add: &mut dyn FnMut(String, &[usize], Start, bool)| {
            for half in block.halves() {
                let bound = (6.0 / (half.input * 9) as f32).sqrt();
                add(format!("{}.weight", half.convolution), &[half.output, half.input, 3, 3], Start::Uniform(bound), true);
                for (part, start, trainable) in
                    [("weight", 1.0, true), ("bias", 0.0, true), ("running_mean", 0.0, false), ("running_var", 1.0, false)]
                {
                    add(format!("{}.{part}", half.norm), &[half.output], Start::Constant(start), trainable);
                }
            }
        };
        for block in &self.down {
            blocks(block, &mut add);
        }
        for up in &self.up {
            if let Some(name) = &up.transposed {
                let bound = (3.0 / up.below as f32).sqrt();
                add(format!("{name}.weight"), &[up.below, up.upsampled, 2, 2], Start::Uniform(bound), true);
                add(format!("{name}.bias"), &[up.upsampled], Start::Constant(0.0), true);
            }
            blocks(&up.convolutions, &mut add);
        }
        let bound = (3.0 / self.head_input as f32).sqrt();
        add(format!("{}.weight", self.head), &[1, self.head_input, 1, 1], Start::Uniform(bound), true);
        add(format!("{}.bias", self.head), &[1], Start::Constant(0.0), true);
        list
    }
}
