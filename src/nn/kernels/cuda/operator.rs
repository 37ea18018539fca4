//! The kernels of `operators.cu`, and how large what they read and write must be.

use super::counted;
use crate::nn::kernels::Dims;

/// Each plane is summed in at most so many slices, by as many threads, of no fewer pixels.
const MOST_SLICES: usize = 256;
const LEAST_PIXELS: usize = 32;
/// As `operators.cu` has it.
const PARTS: usize = 64;
/// Rows of `norm`, each of a value for every channel.
const NORM_ROWS: usize = 4;
const GRADIENT_ROWS: usize = 6;

/// As `operators.cu` declares it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(in crate::nn) struct Sizes {
    planes: u32,
    channels: u32,
    height: u32,
    width: u32,
    to_height: u32,
    to_width: u32,
    slices: u32,
}

/// What training does between its convolutions; arguments in the order in which the kernels take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Operator {
    /// Of `x` by `norm`: means, variances, gains, offsets, each `[channels]`.
    NormRelu,
    /// Of `x`: sums for `ChannelMoments`, by slices.
    PlaneMoments,
    /// Of sums by slices: the same by parts of channels.
    PartSums,
    /// Of `x` and its sums by parts: means, then variances.
    ChannelMoments,
    /// Of `x`, the gradient of what became of it, and `norm`: sums for `NormSums`, by slices.
    NormSlices,
    /// Of the sums by parts: gradients of the offsets, then of the gains.
    NormSums,
    /// Of `x`, the gradient of what became of it, and `norm` with the gradients of offsets and gains behind: the gradient of `x`.
    NormGradient,
    /// Of `x`.
    MaxPool,
    /// Of `x` and the gradient of what became of it.
    MaxPoolGradient,
    /// Of `x`, to lines and pixels in a line.
    Resize(usize, usize),
    /// Of the gradient of what `Resize` made.
    ResizeGradient(usize, usize),
}

/// An operator for maps of a size.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Call {
    /// The kernel's name.
    pub kernel: &'static str,
    pub sizes: Sizes,
    /// Values of each argument; absent ones are not read.
    pub arguments: [Option<usize>; 3],
    /// Values of the result.
    pub result: usize,
    /// What the threads share out among them.
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code, reason = "threads are started on a device only"))]
    pub items: u32,
}

impl Operator {
    /// For maps of `size`: those of `x`, or for gradients of what is differentiated. `None` if the kernels cannot count so far, or
    /// there is nothing to compute.
    pub fn of(self, size: Dims) -> Option<Call> {
        let Dims { n, c, h, w } = size;
        let (planes, values) = (n * c, n * c * h * w);
        let slices = (h * w).div_ceil(LEAST_PIXELS).min(MOST_SLICES);
        let (sliced, parts, quarter) = (2 * planes * slices, 2 * c * PARTS, planes * (h / 2) * (w / 2));
        let (to_height, to_width) = if let Self::Resize(h, w) | Self::ResizeGradient(h, w) = self { (h, w) } else { (h, w) };
        let resized = planes * to_height * to_width;
        let (norm, gradients) = (NORM_ROWS * c, GRADIENT_ROWS * c);
        let (kernel, arguments, result, items) = match self {
            Self::NormRelu => ("norm_relu", [Some(values), None, Some(norm)], values, values),
            Self::PlaneMoments => ("plane_moments", [Some(values), None, None], sliced, planes * slices),
            Self::PartSums => ("part_sums", [Some(sliced), None, None], parts, c * PARTS),
            Self::ChannelMoments => ("channel_moments", [Some(values), Some(parts), None], 2 * c, c),
            Self::NormSlices => ("norm_slices", [Some(values), Some(values), Some(norm)], sliced, planes * slices),
            Self::NormSums => ("norm_sums", [Some(parts), None, None], 2 * c, c),
            Self::NormGradient => ("norm_gradient", [Some(values), Some(values), Some(gradients)], values, values),
            Self::MaxPool => ("max_pool", [Some(values), None, None], quarter, quarter),
            Self::MaxPoolGradient => ("max_pool_gradient", [Some(values), Some(quarter), None], values, quarter),
            Self::Resize(..) => ("resize", [Some(values), None, None], resized, resized),
            Self::ResizeGradient(..) => ("resize_gradient", [Some(resized), None, None], values, values),
        };
        let sizes = Sizes {
            planes: counted(planes)?,
            channels: counted(c)?,
            height: counted(h)?,
            width: counted(w)?,
            to_height: counted(to_height)?,
            to_width: counted(to_width)?,
            slices: counted(slices)?,
        };
        counted(values.max(result))?;
        (items > 0 && values > 0).then_some(())?;
        Some(Call { kernel, sizes, arguments, result, items: counted(items)? })
    }
}
