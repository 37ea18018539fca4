//! A convolution's weights, and what its products are made with.

use super::isa::Isa;
use crate::config::Precision;

/// Channels, of input and output alike, from which on other ways than `f32`'s are worth their trouble.
const LEAST_CHANNELS: usize = 8;

/// A convolution's weights as they are to be laid over a picture.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Weights<'a> {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Side of the kernel: 1 or 3.
    pub side: usize,
    values: &'a [f32],
    /// Whether channels are exchanged and the kernel turned.
    backward: bool,
}

impl<'a> Weights<'a> {
    /// `[output, input, side, side]` as they are.
    pub fn forward(values: &'a [f32], outputs: usize, inputs: usize, side: usize) -> Self {
        assert_eq!(values.len(), outputs * inputs * side * side, "weights of a convolution");
        Self { outputs, inputs, side, values, backward: false }
    }

    /// The same for the gradient of the input: channels exchanged, kernel turned.
    pub fn backward(self) -> Self {
        Self { outputs: self.inputs, inputs: self.outputs, backward: !self.backward, ..self }
    }

    /// The weight of a tap, taps counted line by line.
    #[inline(always)]
    pub(super) fn at(&self, output: usize, input: usize, tap: usize) -> f32 {
        let taps = self.side * self.side;
        if self.backward {
            self.values[(input * self.outputs + output) * taps + taps - 1 - tap]
        } else {
            self.values[(output * self.inputs + input) * taps + tap]
        }
    }
}

/// How a training's 3×3 kernels are multiplied where they have channels enough, for the log.
pub(in crate::nn) fn products_in_words(precision: Precision) -> String {
    match Products::new(precision, [3, 1], [LEAST_CHANNELS; 2]) {
        Products::Single => "f32".into(),
        Products::Halved => format!("f32 with half of the products (this processor has no AMX for {precision})"),
        Products::HalvedPairs => format!("{precision} with half of the products (AVX-512)"),
        Products::Tiles { .. } => format!("{precision} (AMX)"),
    }
}

/// What the sums of a convolution, and of the gradient of its weights, are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Products {
    /// Products of `f32`.
    Single,
    /// Half of them, by [`super::winograd`] downward.
    Halved,
    /// Half of them, and those of bf16, two at a time.
    HalvedPairs,
    /// Products on tiles, where so many bf16 stand for a number.
    Tiles {
        /// One or two.
        parts: usize,
    },
}

impl Products {
    /// For kernels of that side and dilation. What has to be exact, or has too few channels to be worth other ways, is `f32`.
    pub fn new(precision: Precision, [side, dilation]: [usize; 2], [inputs, outputs]: [usize; 2]) -> Self {
        let isa = Isa::best();
        if precision == Precision::F32 || inputs.min(outputs) < LEAST_CHANNELS {
            return Self::Single;
        }
        match (precision, isa) {
            (Precision::F32Grade, Isa::Amx) => Self::Tiles { parts: 2 },
            (Precision::Bf16, Isa::Amx) => Self::Tiles { parts: 1 },
            _ if [side, dilation] != [3, 1] => Self::Single,
            (Precision::Bf16, Isa::Avx512Bf16) if !isa.is_slow_at_bf16() => Self::HalvedPairs,
            _ => Self::Halved,
        }
    }
}
