//! Gradient of a convolution's weights.

mod pixel_major;
#[cfg(test)]
mod tests;

use self::pixel_major::{Filter, Lines, PixelMajor};
use super::isa::Isa;
use super::picture::Pictures;
use super::scratch::with_scratch;
use super::simd::{Lanes, Task, dispatch_on, width_on};
use super::split::{Kernel, Part, Split, Tasks};
use super::tiled;
use super::weights::{LEAST_CHANNELS, parts};
use super::winograd::{POINTS, TAPS, plus};
use crate::config::Precision;
use rayon::prelude::*;

/// Gradient of weights `[outputs, inputs, side, side]` from the input `x` and the output's gradient
/// `[n, outputs, h, w]`, both of one size; side 1 or 3, taps `dilation` apart.
///
/// Blocks of lines, or several small pictures at once, are summed each for itself and then in their order. `f32-grade` and `bf16`
/// are for AMX; without it they take half of the products for 3×3 kernels that are not dilated, by the minimal filtering of
/// [`super::winograd`] downward: at each point it is the gradient of a kernel of one line.
pub(in crate::nn) fn weight_gradient(x: &Pictures, gradient: &Pictures, kernel: Kernel, precision: Precision) -> Vec<f32> {
    let dims = x.size();
    assert_eq!(gradient.size(), dims.with_channels(kernel.outputs), "output gradient of a weight gradient");
    match parts(precision, dims.c, kernel.outputs) {
        2 => tiled::weight_gradient::<2>(x, gradient, kernel),
        1 => tiled::weight_gradient::<1>(x, gradient, kernel),
        _ => {
            let worthwhile = kernel.side == 3 && kernel.dilation == 1 && dims.c.min(kernel.outputs) >= LEAST_CHANNELS;
            in_single_precision(Isa::best(), x, gradient, kernel, worthwhile && precision != Precision::F32)
        }
    }
}

/// The most vectors of inputs that are summed at a time: those of three taps of as many channels as a vector has values.
const VECTORS: usize = 3;
/// Pixels that are worked on at a time: their inputs stay in the first-level cache while all outputs are done.
const CHUNK: usize = 256;
/// Blocks are larger than those of a convolution: they are read from end to end, and lines at their edges are laid out twice.
const BUDGET: usize = 4;

/// How sums are made for layers of one size.
#[derive(Debug, Clone, Copy)]
struct Plan {
    isa: Isa,
    kernel: Kernel,
    split: Split,
    /// Zeros before each line, which are the right border of the line above, too.
    margin: usize,
    /// Lines laid out above and below those of the results.
    border: usize,
    /// Pixels of a line with its margin.
    line: usize,
    /// Pixels of a task's picture, with the lines above and below.
    stretch: usize,
    /// Pixels that are summed over.
    run: usize,
    /// A task's inputs, and the gradient of its outputs.
    layouts: [PixelMajor; 2],
    /// Taps that lie side by side, so that they are one stretch of memory: a line of the kernel, or one.
    together: usize,
    /// Such lines of a kernel, or one at each point.
    rows: usize,
    /// Vectors of inputs for each of them.
    vectors: usize,
    /// Outputs that are summed at a time.
    group: usize,
}

impl Plan {
    fn new(isa: Isa, x: &Pictures, kernel: Kernel, filtered: bool) -> Self {
        let size = x.size();
        let width = width_on(isa);
        let group = if width == 16 { 8 } else { 4 };
        let margin = kernel.side / 2 * kernel.dilation;
        let line = size.w + margin;
        let filters = if filtered { [Filter::Inputs, Filter::Results] } else { [Filter::None; 2] };
        let split = Split::new(size, kernel.outputs, Tasks { group, lines: filters[0].step(), budget: BUDGET });
        let (together, rows) = match kernel {
            Kernel { side: 1, .. } => (1, 1),
            Kernel { dilation: 1, .. } if filtered => (3, POINTS),
            Kernel { dilation: 1, .. } => (3, 3),
            _ => (1, 9),
        };
        // Lines above and below are read by strips themselves.
        let border = if filtered { 0 } else { margin };
        let stretch = (split.lines / filters[0].step() + 2 * border) * line;
        let run = split.pictures * stretch;
        let of_block = size.c.min(VECTORS / together * width);
        let outputs = split.groups * group;
        let layouts = [
            PixelMajor { filter: filters[0], channels: size.c, of_block, pixels: run + 2 * (border * line + margin) },
            PixelMajor { filter: filters[1], channels: outputs, of_block: outputs.min(width), pixels: run + margin },
        ];
        let vectors = (together * of_block).div_ceil(width);
        Self { isa, kernel, split, margin, border, line, stretch, run, layouts, together, rows, vectors, group }
    }

    /// Whether a kernel's lines are points.
    fn filtered(&self) -> bool {
        self.layouts[0].filter != Filter::None
    }

    /// Pixels from a result to the first tap of a row.
    fn offset(&self, row: usize) -> usize {
        match self.together {
            _ if self.filtered() => 0,
            3 => row * self.line,
            _ => (row / 3 * self.line + row % 3) * self.kernel.dilation,
        }
    }

    /// Values of a task's inputs, of its gradient, both with what vectors read after them, and of a few lines.
    fn room(&self) -> [usize; 3] {
        let width = width_on(self.isa);
        let [inputs, gradient] = self.layouts.map(|layout| (layout.values() + VECTORS * width).next_multiple_of(width));
        [inputs, gradient, PixelMajor::scratch(self.line - self.margin, width)]
    }

    /// The parts of such a room.
    fn apart<'a>(&self, scratch: &'a mut [f32]) -> [&'a mut [f32]; 3] {
        let [inputs, gradient, _] = self.room();
        let (inputs, scratch) = scratch.split_at_mut(inputs);
        let (gradient, scratch) = scratch.split_at_mut(gradient);
        [inputs, gradient, scratch]
    }

    /// Values of the sums of a row and a group's outputs.
    fn sums(&self) -> usize {
        self.group * self.vectors * width_on(self.isa)
    }

    /// Values of a task's sums.
    fn partial(&self) -> usize {
        self.split.groups * self.layouts[0].blocks() * self.rows * self.sums()
    }
}

/// A task: the sums over some lines of some pictures for some outputs, `[group][block][row][output][vectors]`.
struct Share<'a> {
    plan: &'a Plan,
    x: &'a Pictures<'a>,
    gradient: &'a Pictures<'a>,
    part: Part,
    /// As large as [`Plan::room`] says.
    scratch: &'a mut [f32],
    partial: &'a mut [f32],
}

impl Task for Share<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { plan, x, gradient, part: Part { pictures, lines, outputs }, scratch, partial } = self;
        let (margin, [of_inputs, of_gradient]) = (plan.margin, plan.layouts);
        let [inputs, gradients, scratch] = plan.apart(scratch);
        let last = pictures.len() - 1;
        for (at, n) in pictures.enumerate() {
            let first = at * plan.stretch;
            let place = |whole: usize| first..if at == last { whole } else { first + plan.stretch };
            let count = lines.len().div_ceil(of_inputs.filter.step());
            let within = Lines { first: lines.start, count, margin, place: place(of_gradient.pixels) };
            let (above, count) = (lines.start.wrapping_sub(margin), count + 2 * plan.border);
            let bordered = Lines { first: above, count, margin, place: place(of_inputs.pixels) };
            // SAFETY: the instruction set is the caller's promise.
            unsafe {
                of_inputs.lay::<L>(x, n, 0, bordered, inputs, scratch);
                of_gradient.lay::<L>(gradient, n, outputs.start, within, gradients, scratch);
            }
        }
        for start in (0..plan.run).step_by(CHUNK) {
            let pixels = CHUNK.min(plan.run - start);
            for block in 0..of_inputs.blocks() {
                for row in 0..plan.rows {
                    let point = if plan.filtered() { row } else { 0 };
                    for group in 0..outputs.len().div_ceil(plan.group) {
                        let (gradient_block, first) =
                            (group * plan.group / of_gradient.of_block, group * plan.group % of_gradient.of_block);
                        let sums = ((group * of_inputs.blocks() + block) * plan.rows + row) * plan.sums();
                        let correlation = Correlation {
                            inputs: inputs[of_inputs.at(point, block, start + plan.offset(row))..].as_ptr(),
                            inputs_pitch: of_inputs.of_block,
                            gradient: gradients[of_gradient.at(point, gradient_block, start + margin) + first..].as_ptr(),
                            gradient_pitch: of_gradient.of_block,
                            pixels,
                            sums: partial[sums..][..plan.sums()].as_mut_ptr(),
                        };
                        // SAFETY: a block of inputs has the run's pixels and the greatest offset of a row, 2 margin (line + 1),
                        // after them; one of gradients has the margin before them; whole vectors may be read after the last.
                        unsafe {
                            match (L::MANY, plan.vectors) {
                                (true, 1) => correlation.sum::<L, 8, 1>(),
                                (true, 2) => correlation.sum::<L, 8, 2>(),
                                (true, _) => correlation.sum::<L, 8, 3>(),
                                (false, 1) => correlation.sum::<L, 4, 1>(),
                                (false, 2) => correlation.sum::<L, 4, 2>(),
                                (false, _) => correlation.sum::<L, 4, 3>(),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Products of a few outputs' gradients with vectors of inputs, summed over the pixels.
struct Correlation {
    inputs: *const f32,
    inputs_pitch: usize,
    gradient: *const f32,
    gradient_pitch: usize,
    pixels: usize,
    /// `[outputs][vectors]`, to be added to.
    sums: *mut f32,
}

impl Correlation {
    #[inline(always)]
    unsafe fn sum<L: Lanes, const OUTPUTS: usize, const VECTORS: usize>(&self) {
        // SAFETY: the task's promise: so many pixels behind both pointers.
        unsafe {
            let mut sums = [[L::splat(0.0); VECTORS]; OUTPUTS];
            let (mut inputs, mut gradient) = (self.inputs, self.gradient);
            for _ in 0..self.pixels {
                let mut values = [L::splat(0.0); VECTORS];
                for (v, value) in values.iter_mut().enumerate() {
                    *value = L::load(inputs.add(v * L::WIDTH));
                }
                let mut factors = gradient;
                for sums in &mut sums {
                    let factor = L::splat(*factors);
                    for (sum, value) in sums.iter_mut().zip(values) {
                        (*sum, factors) = sum.plus_product(value, factor).then(factors);
                    }
                    factors = factors.add(1);
                }
                inputs = inputs.add(self.inputs_pitch);
                gradient = gradient.add(self.gradient_pitch);
            }
            for (i, sum) in sums.as_flattened().iter().enumerate() {
                let to = self.sums.add(i * L::WIDTH);
                plus(L::load(to), *sum).store(to);
            }
        }
    }
}

fn in_single_precision(isa: Isa, x: &Pictures, gradient: &Pictures, kernel: Kernel, filtered: bool) -> Vec<f32> {
    let plan = Plan::new(isa, x, kernel, filtered);
    let Plan { split, layouts: [of_inputs, _], rows, together, .. } = plan;
    let (runs, shares, length) = (split.runs(), split.shares(), plan.partial());
    let mut partial = vec![0.0_f32; runs * shares * length];
    partial.par_chunks_exact_mut(length.max(1)).enumerate().for_each(|(task, partial)| {
        with_scratch(plan.room().iter().sum(), |scratch| {
            // SAFETY: a plan's instruction set is here.
            unsafe { dispatch_on(isa, Share { plan: &plan, x, gradient, part: split.part(task), scratch, partial }) };
        });
    });
    let (inputs, taps) = (x.size().c, kernel.side * kernel.side);
    let mut total = vec![0.0_f32; kernel.outputs * inputs * taps];
    let of_output = plan.sums() / plan.group;
    total.par_chunks_exact_mut((inputs * taps).max(1)).enumerate().for_each(|(output, total)| {
        let (share, within) = split.place(output);
        let (group, lane) = (within / plan.group, within % plan.group);
        let mut sums = vec![0.0_f32; of_output];
        for block in 0..of_inputs.blocks() {
            let first = block * of_inputs.of_block;
            let channels = of_inputs.of_block.min(inputs - first);
            for row in 0..rows {
                sums.fill(0.0);
                for run in 0..runs {
                    let at = ((group * of_inputs.blocks() + block) * rows + row) * plan.sums() + lane * of_output;
                    let part = &partial[(run * shares + share) * length + at..][..of_output];
                    sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                }
                for tap in 0..together {
                    for (channel, sum) in sums[tap * of_inputs.of_block..][..channels].iter().enumerate() {
                        let total = &mut total[(first + channel) * taps..][..taps];
                        if filtered {
                            TAPS[row]
                                .iter()
                                .enumerate()
                                .for_each(|(down, share)| total[3 * down + tap] += (*share * f64::from(*sum)) as f32);
                        } else {
                            total[row * together + tap] = *sum;
                        }
                    }
                }
            }
        }
    });
    total
}
