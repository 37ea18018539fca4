//! Layers as the products that they are.

use super::buffer::Number;
use super::format::Format;
use super::multiply::Multiply;
use super::product::{Order, Product, Recipe, Sources, best_unit};
use crate::nn::kernels::upsample::taps;

/// A convolution with what batch norm makes of it: weights `[output][input][side][side]`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nn) struct Convolution {
    pub inputs: usize,
    pub outputs: usize,
    /// Side of its kernel, 1 or 3.
    pub side: usize,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// How what comes from below is brought to twice the size.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nn) enum Raising {
    /// Bilinear interpolation, corners aligned.
    Bilinear,
    /// 2×2 transposed convolution: weights `[input][output][2][2]`. Its results have signs: where activations have none, `zero`
    /// is added to them, so that it stands for 0.
    Transposed { outputs: usize, weights: Vec<f32>, bias: Vec<f32>, zero: u8 },
}

impl Raising {
    /// What stands for 0 in the result.
    pub(super) fn zero(&self) -> u8 {
        match self {
            Self::Bilinear => 0,
            Self::Transposed { zero, .. } => *zero,
        }
    }
}

/// How what comes from below is raised, ready to run.
pub(super) enum Raised<F: Format> {
    Bilinear(Vec<(usize, f32)>, Vec<(usize, f32)>),
    /// One product for each line of a square.
    Transposed(Box<[Product<F::Value>; 2]>),
}

/// Packs a convolution.
pub(super) fn convolution<T: Number>(
    order: Order,
    convolution: &Convolution,
    sources: Sources,
    w: usize,
    pack: impl Fn(Order, &Recipe) -> Product<T>,
) -> Product<T> {
    let (inputs, outputs, side) = (convolution.inputs, convolution.outputs, convolution.side);
    assert!(
        sources.channels.iter().sum::<usize>() == inputs
            && matches!(side, 1 | 3)
            && convolution.weights.len() == inputs * outputs * side * side
            && convolution.bias.len() == outputs,
        "size of a convolution's weights"
    );
    let unit = if side == 1 { 1 } else { best_unit(order, sources.channels, outputs, w) };
    let recipe = Recipe {
        sources,
        lines: side,
        unit,
        columns: unit * outputs,
        relu: true,
        bias: &|column| convolution.bias[column % outputs],
        weight: &|column, source, line, k| {
            let (pixel, output) = (column / outputs, column % outputs);
            let channels = sources.channels[source];
            let input = sources.channels[..source].iter().sum::<usize>() + k % channels;
            match (k / channels).wrapping_sub(pixel) {
                tap if tap < side => convolution.weights[((output * inputs + input) * side + line) * side + tap],
                _ => 0.0,
            }
        },
    };
    pack(order, &recipe)
}

/// Makes a raising ready for pictures of `h × w` and `inputs` channels.
pub(super) fn raise<F: Multiply>(order: Order, raising: &Raising, [h, w]: [usize; 2], inputs: usize) -> Raised<F> {
    match raising {
        Raising::Bilinear => Raised::Bilinear(taps(h, 2 * h), taps(w, 2 * w)),
        Raising::Transposed { outputs, weights, bias, zero } => {
            assert!(weights.len() == inputs * outputs * 4, "size of a transposed convolution's weights");
            Raised::Transposed(Box::new([0, 1].map(|line| {
                let recipe = Recipe {
                    sources: Sources { channels: &[inputs], zeros: &[0] },
                    lines: 1,
                    unit: 1,
                    columns: 2 * outputs,
                    relu: false,
                    bias: &|column| bias[column % outputs] + f32::from(*zero),
                    weight: &|column, _, _, input| weights[(input * outputs + column % outputs) * 4 + line * 2 + column / outputs],
                };
                F::pack(order, &recipe)
            })))
        }
    }
}
