//! A U-Net as a list of steps on whole batches, for devices whose memory is one stretch: batch norm folded into the
//! weights, maps in NHWC order, every place known beforehand.

#[cfg(test)]
mod tests;

use super::fold::{folded, read};
use crate::nn::kernels::nhwc::Convolution as Folded;
use crate::nn::layout::{self, ConvNorm, DoubleConv, LEVELS, Pass};
use crate::nn::{Checkpoint, NnError};

/// Channels are read and written so many at a time; every map has a multiple of them.
pub(super) const LANES: usize = 8;
/// Maps start at multiples of so many values, as a device's widest loads want it.
const ALIGNMENT: usize = 128;

/// The maps of a batch, `[tiles, side_px, side_px, channels]`, in the device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    /// Its first value.
    pub start: usize,
    pub side_px: usize,
    pub channels: usize,
}

impl Map {
    /// Values of so many tiles.
    pub fn values(&self, tiles: usize) -> usize {
        tiles * self.side_px * self.side_px * self.channels
    }
}

/// The channels of a map from one of them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub of: Map,
    pub first_channel: usize,
}

/// The weights of a convolution that keeps the size.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its side, 1 or 3.
    pub side: usize,
    /// `[outputs, side, side, inputs]`.
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub relu: bool,
}

/// One step, with its numbers as `N` and its convolution's weights as `K`; each reads what earlier ones wrote.
#[derive(Debug)]
pub(super) enum Step<N = Vec<f32>, K = Kernel> {
    /// 3×3 convolution of the pictures, which have one channel, and ReLU; weights `[3, 3, outputs]`.
    First {
        to: Map,
        weights: N,
        bias: N,
    },
    Convolve {
        from: Map,
        to: Map,
        kernel: K,
    },
    /// Maximum of 2×2 squares, and a copy of what is pooled in the first channels of what the way up reads.
    Pool {
        from: Map,
        to: Map,
        copy: Map,
    },
    /// Twice the size by bilinear interpolation, corners aligned.
    Interpolate {
        from: Map,
        to: Share,
    },
    /// Twice the size: each pixel's channels are the four pixels of a square, line by line.
    Interleave {
        from: Map,
        to: Share,
    },
    /// Whether numbers have left their range, in a map that only convolutions read; every other map's reader looks for itself.
    Look {
        at: Map,
    },
    /// Logits, and their probabilities.
    Head {
        from: Map,
        weights: N,
        bias: f32,
    },
}

/// What a device has to do, in turn.
#[derive(Debug)]
pub(super) struct Steps {
    pub list: Vec<Step>,
    /// Values of memory that they need.
    pub memory: usize,
}

impl Steps {
    /// Of a U-Net on batches of up to `tiles` tiles of `side_px × side_px`, `side_px` divisible by 16.
    ///
    /// # Errors
    /// A checkpoint whose tensors do not fit, or a width that is no multiple of [`LANES`].
    pub fn new(checkpoint: &Checkpoint, side_px: usize, tiles: usize) -> Result<Self, NnError> {
        checkpoint.check()?;
        let base_width = checkpoint.meta.shape.base_width;
        if !base_width.is_multiple_of(LANES) {
            return Err(NnError::Shape {
                found: format!("a base width of {base_width}"),
                expected: format!("a multiple of {LANES} for steps on whole batches"),
            });
        }
        let layout = layout::UNet::new(&checkpoint.meta.shape);
        let mut compiler = Compiler { checkpoint, layout: &layout, tiles, memory: 0, joined: Vec::new(), list: Vec::new() };
        compiler.run(Map { start: 0, side_px, channels: 1 })?;
        Ok(Self { list: compiler.list, memory: compiler.memory })
    }
}

/// Follows the network's wiring and writes down what it meets.
struct Compiler<'a> {
    checkpoint: &'a Checkpoint,
    layout: &'a layout::UNet,
    tiles: usize,
    memory: usize,
    /// What the steps up read, from full size down: the copy of what was pooled, then what comes from below.
    joined: Vec<Map>,
    list: Vec<Step>,
}

impl Compiler<'_> {
    fn map(&mut self, side_px: usize, channels: usize) -> Map {
        let map = Map { start: self.memory, side_px, channels };
        self.memory = (self.memory + map.values(self.tiles)).next_multiple_of(ALIGNMENT);
        map
    }

    fn half(&mut self, from: Map, half: &ConvNorm) -> Result<Map, NnError> {
        let Folded { inputs, weights, bias, .. } = folded(self.checkpoint, half)?;
        let to = self.map(from.side_px, half.output);
        let weights = taps_first(&weights, inputs);
        self.list.push(Step::Convolve { from, to, kernel: Kernel { side: half.side, weights, bias, relu: true } });
        Ok(to)
    }

    fn both(&mut self, from: Map, block: &DoubleConv) -> Result<Map, NnError> {
        let [first, second] = block.halves();
        let middle = self.half(from, &first)?;
        self.list.push(Step::Look { at: middle });
        self.half(middle, &second)
    }
}

impl Pass for Compiler<'_> {
    type Map = Map;
    type Error = NnError;

    fn down(&mut self, level: usize, map: Map) -> Result<Map, NnError> {
        let layout = self.layout;
        if level > 0 {
            return self.both(map, &layout.down[level]);
        }
        let [first, second] = layout.down[level].halves();
        let Folded { weights, bias, .. } = folded(self.checkpoint, &first)?;
        let to = self.map(map.side_px, first.output);
        self.list.push(Step::First { to, weights: transposed(&weights, 9), bias });
        self.half(to, &second)
    }

    fn pool(&mut self, map: &Map) -> Result<Map, NnError> {
        let step = &self.layout.up[LEVELS - 1 - self.joined.len()];
        let joined = self.map(map.side_px, step.convolutions.input);
        self.joined.push(joined);
        let to = self.map(map.side_px / 2, map.channels);
        self.list.push(Step::Pool { from: *map, to, copy: joined });
        Ok(to)
    }

    fn raise(&mut self, step: usize, map: Map) -> Result<Map, NnError> {
        let level = LEVELS - 1 - step;
        let (joined, step) = (self.joined[level], &self.layout.up[step]);
        let to = Share { of: joined, first_channel: self.layout.down[level].output };
        match &step.transposed {
            None => self.list.push(Step::Interpolate { from: map, to }),
            // No pixel of the result gets more than one pixel of the source: a 1×1 convolution to squares of four.
            Some(name) => {
                let weights = read(self.checkpoint, &format!("{name}.weight"))?;
                let bias = read(self.checkpoint, &format!("{name}.bias"))?;
                let squares = self.map(map.side_px, 4 * step.upsampled);
                let weights = square_by_square(&weights, step.below, step.upsampled);
                let kernel = Kernel { side: 1, weights, bias: bias.repeat(4), relu: false };
                self.list.push(Step::Convolve { from: map, to: squares, kernel });
                self.list.push(Step::Interleave { from: squares, to });
            }
        }
        Ok(joined)
    }

    fn up(&mut self, step: usize, _: Map, raised: Map) -> Result<Map, NnError> {
        let layout = self.layout;
        self.both(raised, &layout.up[step].convolutions)
    }

    fn head(&mut self, map: Map) -> Result<Map, NnError> {
        let name = &self.layout.head.name;
        let weights = read(self.checkpoint, &format!("{name}.weight"))?;
        let bias = read(self.checkpoint, &format!("{name}.bias"))?[0];
        self.list.push(Step::Head { from: map, weights, bias });
        Ok(map)
    }
}

/// Weights `[outputs, inputs, 9]` as `[outputs, 9, inputs]`.
fn taps_first(weights: &[f32], inputs: usize) -> Vec<f32> {
    weights.chunks_exact(inputs * 9).flat_map(|output| transposed(output, 9)).collect()
}

/// A matrix with `columns` columns, the other way round.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

/// Weights `[inputs, outputs, 2, 2]` of a transposed convolution as `[2, 2, outputs, inputs]`.
fn square_by_square(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let at = |pixel: usize, output: usize, input: usize| weights[(input * outputs + output) * 4 + pixel];
    let rows = (0..4).flat_map(|pixel| (0..outputs).map(move |output| (pixel, output)));
    rows.flat_map(|(pixel, output)| (0..inputs).map(move |input| at(pixel, output, input))).collect()
}
