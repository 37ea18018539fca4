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

/// Whether half of the products are to do for it, by [`super::winograd`] downward: where tiles do not (see [`parts`]), nothing
/// has to be exact, and the kernel is one that allows it and is worth it.
pub(super) fn halved(precision: Precision, [side, dilation]: [usize; 2], [inputs, outputs]: [usize; 2]) -> bool {
    precision != Precision::F32 && [side, dilation] == [3, 1] && inputs.min(outputs) >= LEAST_CHANNELS
}

/// Whether tiles do it: how many bf16 stand for a number, 0 where nothing but `f32` will do.
pub(super) fn parts(precision: Precision, inputs: usize, outputs: usize) -> usize {
    let worthwhile = inputs.min(outputs) >= LEAST_CHANNELS && Isa::best() == Isa::Amx;
    match precision {
        Precision::F32Grade if worthwhile => 2,
        Precision::Bf16 if worthwhile => 1,
        _ => 0,
    }
}
