//! The kernels of `maps.cu` and `norm.cu`, and how large what they read and write must be.

use super::counted;
use crate::nn::kernels::Dims;

/// Sums are made by at most so many threads, of eight channels each, and slices.
const MOST_THREADS: usize = 1 << 17;
const MOST_SLICES: usize = 1 << 14;
/// In which slices are added up, before the parts are.
const PARTS: usize = 64;
/// Rows that `norm_of_batch` and `norm_sums` leave, each of a number for every channel.
pub(in crate::nn) const NORM_ROWS: usize = 6;
pub(in crate::nn) const GRADIENT_ROWS: usize = 4;
/// Channels that a thread takes; maps have a multiple of them.
pub(in crate::nn) const LANES: usize = 8;

/// Numbers in a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Held {
    /// Brain floats, 16 bits each.
    Brains(usize),
    /// `f32`.
    Floats(usize),
}

/// A gradient: channels from `first` on of maps with `pitch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct View {
    pub pitch: usize,
    pub first: usize,
}

/// Where weights lie that become a filter of `groups * rows` rows with room for `held` inputs: the `inputs` that there are,
/// `copies` times, then zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct FilterLayout {
    pub groups: usize,
    pub rows: usize,
    pub inputs: usize,
    pub held: usize,
    pub by_group: usize,
    pub by_row: usize,
    pub by_input: usize,
    pub copies: usize,
}

impl FilterLayout {
    /// Weights `[outputs, inputs, side, side]` as `[outputs, side, side, inputs]`.
    pub fn convolution(outputs: usize, inputs: usize, side: usize) -> Self {
        let taps = side * side;
        Self { groups: outputs, rows: taps, inputs, held: inputs, by_group: inputs * taps, by_row: 1, by_input: taps, copies: 1 }
    }

    /// Those of a convolution of pictures, as [`MapOperator::Pictures`] spreads them.
    pub fn of_pictures(outputs: usize, side: usize) -> Self {
        Self { held: LANES, copies: 2, ..Self::convolution(outputs, 1, side) }
    }

    /// Weights `[inputs, outputs, 2, 2]` of a transposed convolution as `[2, 2, outputs, inputs]`.
    pub fn transposed(outputs: usize, inputs: usize) -> Self {
        Self { groups: 4, rows: outputs, inputs, held: inputs, by_group: 1, by_row: 4, by_input: 4 * outputs, copies: 1 }
    }

    fn weights(self) -> usize {
        self.groups * self.rows * self.inputs
    }

    fn filter(self) -> usize {
        self.groups * self.rows * self.held
    }
}

/// What training does to maps between its convolutions; arguments in the order in which the kernels take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum MapOperator {
    /// Pictures of one channel as maps of eight.
    Pictures,
    /// Of weights.
    Filter(FilterLayout),
    /// Of a filter's gradient: that of its weights.
    FilterGradient(FilterLayout),
    /// Of maps: sums for `NormOfBatch`, by slices.
    MomentSlices,
    /// Of sums by slices: the same by parts.
    PartSums,
    /// Of sums by parts: two rows.
    ChannelSums,
    /// Of maps, their sums by parts, gains, offsets, running means and variances: [`NORM_ROWS`] rows, means, inverse deviations,
    /// factors, summands, and the running means and variances that follow.
    NormOfBatch,
    /// Of maps and the rows of `NormOfBatch`.
    NormRelu,
    /// Of maps before, the gradient of what became of them, and the rows of `NormOfBatch`: sums for `NormSums`, by slices.
    NormSlices(View),
    /// Of sums by parts and the rows of `NormOfBatch`: [`GRADIENT_ROWS`] rows, gradients of offsets and gains first.
    NormSums,
    /// Of maps before, the gradient of what became of them, and the rows of `NormOfBatch` and `NormSums`.
    NormGradient(View),
    MaxPool,
    /// Of what was pooled, the gradient of the maxima and one more, if there is one.
    MaxPoolGradient(Option<View>),
    /// Of maps and of others with so many channels.
    Join(usize),
    /// To twice the size.
    Interpolate,
    InterpolateGradient(View),
    /// Of squares with four times the channels and a bias: to twice the size.
    Interleave,
    /// Of a gradient at twice the size: to squares.
    GatherSquares(View),
    /// Of a gradient: its sums and nothing, by slices.
    GradientSlices(View),
    /// Of maps, weights and a bias: logits.
    Head,
    /// Of the logits' gradient and the weights.
    HeadGradient,
    /// Of maps and the logits' gradient: sums of the products, and of the gradient, by slices.
    HeadSlices,
}

/// An operator for maps of a size.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct MapCall {
    /// The kernel's name.
    pub kernel: &'static str,
    /// `Sizes` or `Layout` of `maps.cu`.
    pub counts: [u32; 8],
    /// What each argument holds; the others are not read.
    pub arguments: [Option<Held>; 6],
    pub result: Held,
    /// What the threads share out among them.
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code, reason = "threads are started on a device only"))]
    pub items: u32,
}

impl MapOperator {
    /// For maps of `size`: those that are read or, for gradients, were read. `None` if the kernels cannot count so far, or there is
    /// nothing to compute.
    pub fn of(self, size: Dims) -> Option<MapCall> {
        use Held::{Brains, Floats};
        let Dims { n, c, h, w } = size;
        let pixels = n * h * w;
        let (values, groups) = (pixels * c, c / LANES);
        let slices = (MOST_THREADS / groups.max(1)).clamp(1, MOST_SLICES).min(pixels);
        let (sliced, parts, sums, norm) = (slices * 2 * c, PARTS * 2 * c, slices * groups, NORM_ROWS * c);
        let view = match self {
            Self::NormSlices(view) | Self::NormGradient(view) | Self::InterpolateGradient(view) | Self::GatherSquares(view) => view,
            Self::GradientSlices(view) | Self::MaxPoolGradient(Some(view)) => view,
            Self::Join(others) => View { pitch: c + others, first: 0 },
            _ => View { pitch: c, first: 0 },
        };
        let gradient = Brains(pixels * view.pitch);
        let large_gradient = Brains(4 * pixels * view.pitch);
        let none = [None; 6];
        let of = |found: &[Held]| {
            let mut arguments = none;
            arguments.iter_mut().zip(found).for_each(|(slot, held)| *slot = Some(*held));
            arguments
        };
        let (kernel, arguments, result, items) = match self {
            Self::Pictures => ("spread_pictures", of(&[Floats(pixels)]), Brains(pixels * LANES), pixels),
            Self::Filter(layout) => ("filter", of(&[Floats(layout.weights())]), Brains(layout.filter()), layout.filter()),
            Self::FilterGradient(layout) => ("filter_gradient", of(&[Brains(layout.filter())]), Floats(layout.weights()), layout.weights()),
            Self::MomentSlices => ("moment_slices", of(&[Brains(values)]), Floats(sliced), sums),
            Self::PartSums => ("part_sums", of(&[Floats(sliced)]), Floats(parts), parts),
            Self::ChannelSums => ("channel_sums", of(&[Floats(parts)]), Floats(2 * c), c),
            Self::NormOfBatch => {
                let channels = Floats(c);
                ("norm_of_batch", of(&[Brains(values), Floats(parts), channels, channels, channels, channels]), Floats(norm), c)
            }
            Self::NormRelu => ("norm_relu", of(&[Brains(values), Floats(norm)]), Brains(values), pixels * groups),
            Self::NormSlices(_) => ("norm_slices", of(&[Brains(values), gradient, Floats(norm)]), Floats(sliced), sums),
            Self::NormSums => ("norm_sums", of(&[Floats(parts), Floats(norm)]), Floats(GRADIENT_ROWS * c), c),
            Self::NormGradient(_) => {
                let sums = Floats(GRADIENT_ROWS * c);
                ("norm_gradient", of(&[Brains(values), gradient, Floats(norm), sums]), Brains(values), pixels * groups)
            }
            Self::MaxPool => ("max_pool", of(&[Brains(values)]), Brains(values / 4), pixels / 4 * groups),
            Self::MaxPoolGradient(other) => {
                let arguments = [Brains(values), Brains(values / 4), gradient];
                ("max_pool_gradient", of(&arguments[..if other.is_some() { 3 } else { 2 }]), Brains(values), pixels / 4 * groups)
            }
            Self::Join(others) => {
                let joined = pixels * view.pitch;
                ("join", of(&[Brains(values), Brains(pixels * others)]), Brains(joined), joined / LANES)
            }
            Self::Interpolate => ("interpolate", of(&[Brains(values)]), Brains(4 * values), 4 * pixels * groups),
            Self::InterpolateGradient(_) => ("interpolate_gradient", of(&[large_gradient]), Brains(values), pixels * groups),
            Self::Interleave => ("interleave", of(&[Brains(4 * values), Floats(c)]), Brains(4 * values), 4 * pixels * groups),
            Self::GatherSquares(_) => ("gather_squares", of(&[large_gradient]), Brains(4 * values), 4 * pixels * groups),
            Self::GradientSlices(_) => ("gradient_slices", of(&[gradient]), Floats(sliced), sums),
            Self::Head => ("head", of(&[Brains(values), Floats(c), Floats(1)]), Floats(pixels), pixels),
            Self::HeadGradient => ("head_gradient", of(&[Floats(pixels), Floats(c)]), Brains(values), pixels * groups),
            Self::HeadSlices => ("head_slices", of(&[Brains(values), Floats(pixels)]), Floats(sliced), sums),
        };
        let counts = match self {
            Self::Filter(layout) | Self::FilterGradient(layout) => {
                let FilterLayout { groups, rows, inputs, held, by_group, by_row, by_input, copies } = layout;
                [groups, rows, inputs, held, by_group, by_row, by_input, copies]
            }
            _ => [n, h, w, c, view.pitch, view.first, slices, PARTS],
        };
        let [a, b, c, d, e, f, g, h] = counts.map(counted);
        let counts = [a?, b?, c?, d?, e?, f?, g?, h?];
        let whole = matches!(self, Self::Filter(_) | Self::FilterGradient(_) | Self::Pictures) || size.c.is_multiple_of(LANES);
        let even = !matches!(self, Self::MaxPool | Self::MaxPoolGradient(_)) || size.h.is_multiple_of(2) && size.w.is_multiple_of(2);
        counted(4 * pixels)?;
        (whole && even && items > 0).then_some(())?;
        Some(MapCall { kernel, counts, arguments, result, items: counted(items)? })
    }
}
