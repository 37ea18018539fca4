//! The matrix product that every convolution is.
//!
//! A line of the result is a matrix with a row for each unit of `unit` neighbouring pixels and a column for each
//! of their outputs. Its factor is the input itself: what a unit reads of one line of the input, `unit + 2`
//! pixels with all their channels, lies side by side in the map, and the next unit's begins `unit` pixels on.
//! Nothing is copied together ("im2col") beforehand.
//!
//! Units of several pixels pay where a pixel has few channels: rows and columns then fill the vectors, although
//! some of the weights are zero.

use super::buffer::{Buffer, Number};
use crate::nn::kernels::isa::Isa;
use rayon::prelude::*;

/// Inputs multiplied at once where they are bf16.
pub(super) const BRAIN_INPUTS: usize = 32;
/// Inputs multiplied at once by tiles where they are bytes.
pub(super) const TILE_BYTE_INPUTS: usize = 64;
/// Inputs multiplied at once by vectors where they are bytes; they are taken in their order.
pub(super) const VECTOR_BYTE_INPUTS: usize = 4;
/// Outputs in an accumulator of AMX or AVX-512.
pub(super) const COLUMNS: usize = 16;

/// What multiplies and how: decides the order of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Order {
    /// `[block][source][line][input][column]`, blocks of that many columns.
    Single { block: usize },
    /// `[block][source][line][32 inputs][upper, lower][16 columns][input pair][column][2]`, blocks of 32 columns.
    Brain { parts: usize },
    /// `[block][source][line][inputs][16 columns][four inputs][column][4]`, blocks of 32 columns.
    Byte { inputs: usize },
}

impl Order {
    pub fn single(isa: Isa) -> Self {
        Self::Single {
            block: if isa >= Isa::Avx512 {
                32
            } else if isa == Isa::Avx2 {
                16
            } else {
                8
            },
        }
    }

    fn block(self) -> usize {
        match self {
            Self::Single { block } => block,
            Self::Brain { .. } | Self::Byte { .. } => 2 * COLUMNS,
        }
    }

    /// Inputs are padded to a multiple of this, columns to a multiple of that.
    pub fn quanta(self) -> (usize, usize) {
        match self {
            Self::Single { block } => (1, block / 2),
            Self::Brain { .. } => (BRAIN_INPUTS, COLUMNS),
            Self::Byte { inputs } => (inputs, COLUMNS),
        }
    }

    /// Where the weight of input `k` of a step and of column `n` of a block stands in that block of `width` columns.
    fn place(self, step: usize, k: usize, n: usize, width: usize) -> usize {
        match self {
            Self::Single { .. } => step * width + n,
            Self::Brain { parts } => {
                let pair = n / COLUMNS * BRAIN_INPUTS / 2 + k / 2;
                step * BRAIN_INPUTS * width * parts + pair * COLUMNS * 2 + n % COLUMNS * 2 + k % 2
            }
            Self::Byte { inputs } => {
                let four = n / COLUMNS * inputs / 4 + k / 4;
                step * inputs * width + four * COLUMNS * 4 + n % COLUMNS * 4 + k % 4
            }
        }
    }
}

/// The weights of a product in the order in which they are read.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Product<T: Number> {
    /// Channels of each source; with more than one the sources are concatenated.
    pub sources: Vec<usize>,
    /// Lines of the input that a line of the result reads: 3, or 1.
    pub lines: usize,
    /// Pixels of a unit.
    pub unit: usize,
    /// Results of a unit.
    pub columns: usize,
    /// For each source where the inputs that are multiplied at once begin, in the order in which that is done.
    pub steps: Vec<Vec<usize>>,
    /// Columns computed together.
    pub block: usize,
    /// Values of the weights of a whole block.
    pub block_values: usize,
    /// Whether negative results become zero.
    pub relu: bool,
    pub weights: Buffer<T>,
    /// What a sum of products is worth, by column, padded as the bias; empty where they are not whole numbers.
    pub worth: Buffer<f32>,
    /// By column, padded to whole blocks.
    pub bias: Buffer<f32>,
}

/// What a product reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Sources<'a> {
    /// Channels of each.
    pub channels: &'a [usize],
    /// What stands for 0 in each; for bytes alone.
    pub zeros: &'a [u8],
}

/// A product before it is packed.
pub(in crate::nn) struct Recipe<'a> {
    pub sources: Sources<'a>,
    pub lines: usize,
    pub unit: usize,
    pub columns: usize,
    pub relu: bool,
    pub bias: &'a (dyn Fn(usize) -> f32 + Sync),
    /// Weight by column, source, line, and place among the values that a unit reads of a line.
    pub weight: &'a (dyn Fn(usize, usize, usize, usize) -> f32 + Sync),
}

/// Pixels of a unit that make the least work of a 3×3 convolution for lines of `w` pixels.
pub(super) fn best_unit(order: Order, sources: &[usize], outputs: usize, w: usize) -> usize {
    let (inputs, columns) = order.quanta();
    let work = |unit: usize| {
        let reads: usize = sources.iter().map(|c| ((unit + 2) * c).next_multiple_of(inputs)).sum();
        (reads * (unit * outputs).next_multiple_of(columns) * 64).div_ceil(unit)
    };
    // Of equal ones the greatest, which reads its inputs fewest times.
    [8, 4, 2, 1].into_iter().filter(|unit| w.is_multiple_of(*unit)).min_by_key(|unit| work(*unit)).unwrap_or(1)
}

/// Where each step of `inputs` inputs begins, of `read` that a unit reads of a line of `channels` channels.
///
/// What is at the same place of neighbouring pixels comes one after the other: the next unit's first pixel is this
/// one's second, so that it is still in the first-level cache.
fn steps(channels: usize, read: usize, inputs: usize) -> Vec<usize> {
    if inputs > VECTOR_BYTE_INPUTS && channels.is_multiple_of(inputs) {
        let pixels = read / channels;
        return (0..channels / inputs * pixels).map(|step| step % pixels * channels + step / pixels * inputs).collect();
    }
    (0..read.div_ceil(inputs)).map(|step| step * inputs).collect()
}

impl<T: Number> Product<T> {
    fn packed(order: Order, recipe: &Recipe, put: impl Fn(&mut [T], usize, f32) + Sync) -> Self {
        let window = if recipe.lines == 3 { recipe.unit + 2 } else { recipe.unit };
        let (inputs, column_quantum) = order.quanta();
        let reads: Vec<usize> = recipe.sources.channels.iter().map(|c| window * c).collect();
        let steps: Vec<Vec<usize>> = recipe.sources.channels.iter().zip(&reads).map(|(c, read)| steps(*c, *read, inputs)).collect();
        let block = order.block();
        let columns = recipe.columns.next_multiple_of(column_quantum);
        let parts = if let Order::Brain { parts } = order { parts } else { 1 };
        // Source and line of each step, and which inputs it takes of that line.
        let taken: Vec<_> = (reads.iter().zip(&steps).enumerate())
            .flat_map(|(source, of_source)| (0..recipe.lines).map(move |line| (source, line, of_source)))
            .flat_map(|(source, line, (read, steps))| steps.iter().map(move |first| (source, line, *first..*read.min(&(first + inputs)))))
            .collect();
        let depth = taken.len() * inputs * parts;
        let mut weights = Buffer::zeroed(depth * columns);
        let mut bias = Buffer::zeroed(recipe.columns.next_multiple_of(block));
        for (column, bias) in bias.values_mut().iter_mut().enumerate().take(recipe.columns) {
            *bias = (recipe.bias)(column);
        }
        weights.values_mut().par_chunks_mut(depth * block).enumerate().for_each(|(number, of_block)| {
            let first = number * block;
            let width = block.min(columns - first);
            for column in first..recipe.columns.min(first + width) {
                for (step, (source, line, inputs)) in taken.iter().enumerate() {
                    for (k, input) in inputs.clone().enumerate() {
                        let weight = (recipe.weight)(column, *source, *line, input);
                        put(&mut of_block[order.place(step, k, column - first, width)..], BRAIN_INPUTS * width, weight);
                    }
                }
            }
        });
        let (sources, lines, unit, relu) = (recipe.sources.channels.to_vec(), recipe.lines, recipe.unit, recipe.relu);
        Self {
            sources,
            lines,
            unit,
            columns: recipe.columns,
            steps,
            block,
            block_values: depth * block,
            relu,
            weights,
            worth: Buffer::zeroed(0),
            bias,
        }
    }

    /// Blocks of columns.
    pub fn blocks(&self) -> usize {
        self.columns.div_ceil(self.block)
    }

    /// Columns that are stored in the weights of `block`.
    pub fn stored(&self, block: usize, quantum: usize) -> usize {
        (self.columns - block * self.block).next_multiple_of(quantum).min(self.block)
    }

    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }
}

impl Product<f32> {
    pub fn single(order: Order, recipe: &Recipe) -> Self {
        Self::packed(order, recipe, |to, _, weight| to[0] = weight)
    }
}

impl Product<u16> {
    pub fn brain(order: Order, recipe: &Recipe) -> Self {
        let split = order == Order::Brain { parts: 2 };
        Self::packed(order, recipe, |to, part, weight| {
            let upper = half::bf16::from_f32(weight);
            to[0] = upper.to_bits();
            if split {
                to[part] = half::bf16::from_f32(weight - upper.to_f32()).to_bits();
            }
        })
    }
}

impl Product<u8> {
    /// Weights as whole numbers of ±127, each column's greatest being 127. Negative results become zero, ReLU or not; what
    /// stands for 0 in a source is taken off by the bias, with the rounded weights, so that nothing is left of it.
    pub fn byte(order: Order, recipe: &Recipe) -> Self {
        let window = if recipe.lines == 3 { recipe.unit + 2 } else { recipe.unit };
        let of_source = |source: usize| {
            let inputs = 0..window * recipe.sources.channels[source];
            inputs.flat_map(move |k| (0..recipe.lines).map(move |line| (source, line, k)))
        };
        let greatest = |column: usize| {
            let all = (0..recipe.sources.channels.len()).flat_map(of_source);
            all.map(|(source, line, k)| (recipe.weight)(column, source, line, k).abs()).fold(f32::MIN_POSITIVE, f32::max)
        };
        let worth: Vec<f32> = (0..recipe.columns).map(|column| greatest(column) / 127.0).collect();
        let weight = |column: usize, source, line, k| (recipe.weight)(column, source, line, k) / worth[column];
        let bias = |column: usize| {
            let of_zero = recipe.sources.zeros.iter().enumerate().filter(|(_, zero)| **zero > 0).map(|(source, zero)| {
                let sum: f32 = of_source(source).map(|(source, line, k)| weight(column, source, line, k).round()).sum();
                f64::from(*zero) * f64::from(sum) * f64::from(worth[column])
            });
            (f64::from((recipe.bias)(column)) - of_zero.sum::<f64>()) as f32
        };
        let recipe = Recipe { weight: &weight, bias: &bias, ..*recipe };
        let mut product = Self::packed(order, &recipe, |to, _, weight| to[0] = (weight.round() as i8) as u8);
        product.worth = Buffer::zeroed(recipe.columns.next_multiple_of(product.block));
        product.worth.values_mut()[..recipe.columns].copy_from_slice(&worth);
        product
    }
}

/// One line of a block of a product.
#[derive(Debug)]
pub(in crate::nn) struct LineTask<'a, S: Number, T: Number> {
    pub product: &'a Product<S>,
    /// Which block of columns.
    pub block: usize,
    /// For each source the lines of the input, at the first value that the first unit reads.
    pub from: [[*const S; 3]; 2],
    /// Distance of the parts of each source.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "numbers of two parts are x86's"))]
    pub from_part: [usize; 2],
    /// The first result of the line's first unit.
    pub to: *mut T,
    /// Distance of the result's parts.
    pub to_part: usize,
    /// Units in the line.
    pub units: usize,
}

impl<S: Number, T: Number> Clone for LineTask<'_, S, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Number, T: Number> Copy for LineTask<'_, S, T> {}
