//! Gradient of a convolution's weights.

mod pixel_major;
#[cfg(test)]
mod tests;

use self::pixel_major::{Lines, PixelMajor};
use super::isa::Isa;
use super::picture::Pictures;
use super::scratch::{BLOCK_VALUES, with_scratch};
use super::simd::{Lanes, Task, dispatch_on, width_on};
use super::split::{Kernel, Part, Split, Tasks};
use super::tiled;
use super::weights::Products;
use super::winograd::{POINTS, SIDE, Strip, TAPS, plus};
use crate::config::Precision;
use rayon::prelude::*;

/// Gradient of weights `[outputs, inputs, side, side]` from the input `x` and the output's gradient
/// `[n, outputs, h, w]`, both of one size; side 1 or 3, taps `dilation` apart.
///
/// Blocks of lines, or several small pictures at once, are summed each for itself and then in their order. `f32-grade` and `bf16`
/// are for AMX; without it they take half of the products where [`Products`] say so: at each of the points of [`super::winograd`]
/// it is the gradient of a kernel of one line.
pub(in crate::nn) fn weight_gradient(x: &Pictures, gradient: &Pictures, kernel: Kernel, precision: Precision) -> Vec<f32> {
    let dims = x.size();
    assert_eq!(gradient.size(), dims.with_channels(kernel.outputs), "output gradient of a weight gradient");
    let products = Products::new(precision, [kernel.side, kernel.dilation], [dims.c, kernel.outputs]);
    match products {
        Products::Tiles { parts: 2 } => tiled::weight_gradient::<2>(x, gradient, kernel),
        Products::Tiles { .. } => tiled::weight_gradient::<1>(x, gradient, kernel),
        _ => pixel_by_pixel(x, gradient, kernel, Means { isa: Isa::best(), products, values: 4 * BLOCK_VALUES }),
    }
}

/// How it is made.
#[derive(Debug, Clone, Copy)]
struct Means {
    isa: Isa,
    /// All but tiles.
    products: Products,
    /// Values of a block, at most. More than for a convolution: they are read from end to end, and lines at their edges are laid
    /// out twice.
    values: usize,
}

/// The most vectors of inputs that are summed at a time: those of three taps of as many channels as a vector has values.
const MOST_VECTORS: usize = 3;
/// Pixels that are worked on at a time: their inputs stay in the first-level cache while all outputs are done.
const CHUNK: usize = 256;

/// How sums are made for layers of one size.
#[derive(Debug, Clone, Copy)]
struct Plan {
    isa: Isa,
    /// Whether pixels are made pairs of bf16 with the next ones.
    pairs: bool,
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
    fn new(x: &Pictures, kernel: Kernel, Means { isa, products, values }: Means) -> Self {
        assert!(isa.is_here(), "weight gradient with {isa}, which is not here");
        let (filtered, pairs) = (products != Products::Single, products == Products::HalvedPairs);
        let size = x.size();
        let width = width_on(isa);
        let group = if width == 16 { 8 } else { 4 };
        let margin = kernel.side / 2 * kernel.dilation;
        let line = size.w + margin;
        let (filters, step) = if filtered { ([Some(Strip::Inputs), Some(Strip::Results)], SIDE) } else { ([None; 2], 1) };
        let split = Split::new(size, kernel.outputs, Tasks { group, lines: step, values });
        let (together, rows) = match kernel {
            Kernel { side: 1, .. } => (1, 1),
            Kernel { dilation: 1, .. } if filtered => (3, POINTS),
            Kernel { dilation: 1, .. } => (3, 3),
            _ => (1, 9),
        };
        // Lines above and below are read by strips themselves.
        let border = if filtered { 0 } else { margin };
        let stretch = (split.lines / step + 2 * border) * line;
        // Nothing is summed over lines above the first picture and below the last.
        let run = split.pictures * stretch - 2 * border * line;
        // As many channels in each block, as far as whole vectors allow.
        let blocks = size.c.div_ceil(MOST_VECTORS / together * width);
        let of_block = size.c.div_ceil(blocks).next_multiple_of(width).min(size.c);
        let outputs = split.groups * group;
        // The last pixel's neighbour.
        let after = usize::from(pairs);
        let layouts = [
            PixelMajor { filter: filters[0], channels: size.c, of_block, pixels: run + 2 * (border * line + margin) + after },
            PixelMajor { filter: filters[1], channels: outputs, of_block: outputs.min(width), pixels: run + margin + after },
        ];
        let vectors = (together * of_block).div_ceil(width);
        Self { isa, pairs, kernel, split, margin, border, line, stretch, layouts, together, rows, vectors, group }
    }

    /// Whether a kernel's lines are points.
    fn filtered(&self) -> bool {
        self.layouts[0].filter.is_some()
    }

    /// Pixels from a result to the first tap of a row.
    fn offset(&self, row: usize) -> usize {
        match self.together {
            _ if self.filtered() => 0,
            3 => row * self.line,
            _ => (row / 3 * self.line + row % 3) * self.kernel.dilation,
        }
    }

    /// Values of a task's inputs with what vectors read after them, of its gradient, and of a few lines.
    fn room(&self) -> [usize; 3] {
        let width = width_on(self.isa);
        let [inputs, gradient] = self.layouts.map(|layout| layout.values().next_multiple_of(width));
        let after_pairs = if self.pairs { 2 * width } else { 0 };
        [inputs + MOST_VECTORS * width, gradient + after_pairs, PixelMajor::scratch(self.line - self.margin, width)]
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
        assert!(plan.group == if L::MANY { 8 } else { 4 } && width_on(plan.isa) == L::WIDTH, "a plan for other vectors");
        let [inputs, gradients, scratch] = plan.apart(scratch);
        let (last, count) = (pictures.len() - 1, lines.len().div_ceil(of_inputs.step()));
        for (at, n) in pictures.enumerate() {
            let first = at * plan.stretch;
            let place = |whole: usize| first..if at == last { whole } else { first + plan.stretch };
            let within = Lines { first: lines.start, count, margin, place: place(of_gradient.pixels) };
            let (above, count) = (lines.start.wrapping_sub(margin), count + 2 * plan.border);
            let bordered = Lines { first: above, count, margin, place: place(of_inputs.pixels) };
            // SAFETY: the instruction set is the caller's promise.
            unsafe {
                of_inputs.lay::<L>(x, n, 0, bordered, inputs, scratch);
                of_gradient.lay::<L>(gradient, n, outputs.start, within, gradients, scratch);
            }
        }
        let run = last * plan.stretch + count * plan.line;
        if plan.pairs {
            // SAFETY: as above.
            unsafe {
                of_inputs.pair::<L>(inputs);
                of_gradient.pair::<L>(gradients);
            }
        }
        // Pixels that are taken together.
        let step = if plan.pairs { 2 } else { 1 };
        for start in (0..run).step_by(CHUNK) {
            let pixels = CHUNK.min(run - start);
            for block in 0..of_inputs.blocks() {
                for row in 0..plan.rows {
                    let point = if plan.filtered() { row } else { 0 };
                    for group in 0..outputs.len().div_ceil(plan.group) {
                        let (gradient_block, first) =
                            (group * plan.group / of_gradient.of_block, group * plan.group % of_gradient.of_block);
                        let sums = ((group * of_inputs.blocks() + block) * plan.rows + row) * plan.sums();
                        let correlation = Correlation {
                            inputs: inputs[of_inputs.at(point, block, start + plan.offset(row))..].as_ptr(),
                            inputs_pitch: step * of_inputs.of_block,
                            gradient: gradients[of_gradient.at(point, gradient_block, start + margin) + first..].as_ptr(),
                            gradient_pitch: step * of_gradient.of_block,
                            steps: pixels.div_ceil(step),
                            sums: partial[sums..][..plan.sums()].as_mut_ptr(),
                        };
                        // SAFETY: a block of inputs has the run's pixels and after them those up to the last tap; one of gradients
                        // has the margin before them; vectors may be read after the last block of inputs; the sums are the group's.
                        unsafe {
                            match (L::MANY, plan.pairs) {
                                (true, false) => correlation.sum_vectors::<L, 8, false>(plan.vectors),
                                (true, true) => correlation.sum_vectors::<L, 8, true>(plan.vectors),
                                (false, false) => correlation.sum_vectors::<L, 4, false>(plan.vectors),
                                (false, true) => correlation.sum_vectors::<L, 4, true>(plan.vectors),
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
    /// Pixels, or pairs of them.
    steps: usize,
    /// `[outputs][vectors]`, to be added to.
    sums: *mut f32,
}

impl Correlation {
    /// See [`Correlation::sum`].
    #[inline(always)]
    unsafe fn sum_vectors<L: Lanes, const OUTPUTS: usize, const PAIRS: bool>(&self, vectors: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match vectors {
                1 => self.sum::<L, OUTPUTS, 1, PAIRS>(),
                2 => self.sum::<L, OUTPUTS, 2, PAIRS>(),
                _ => self.sum::<L, OUTPUTS, 3, PAIRS>(),
            }
        }
    }

    /// Adds to the sums; products are of `f32`, or of pairs of bf16.
    ///
    /// # Safety
    /// So many steps must be behind both pointers, `OUTPUTS × VECTORS` vectors at the sums, and the instruction set of `L` here.
    #[inline(always)]
    unsafe fn sum<L: Lanes, const OUTPUTS: usize, const VECTORS: usize, const PAIRS: bool>(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[L::splat(0.0); VECTORS]; OUTPUTS];
            let (mut inputs, mut gradient) = (self.inputs, self.gradient);
            for _ in 0..self.steps {
                let mut values = [L::splat(0.0); VECTORS];
                for (v, value) in values.iter_mut().enumerate() {
                    *value = L::load(inputs.add(v * L::WIDTH));
                }
                let mut factors = gradient;
                for sums in &mut sums {
                    let factor = L::splat(*factors);
                    for (sum, value) in sums.iter_mut().zip(values) {
                        let more = if PAIRS { sum.plus_pairs(value, factor) } else { sum.plus_product(value, factor) };
                        (*sum, factors) = more.then(factors);
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

fn pixel_by_pixel(x: &Pictures, gradient: &Pictures, kernel: Kernel, means: Means) -> Vec<f32> {
    let (inputs, taps) = (x.size().c, kernel.side * kernel.side);
    let mut total = vec![0.0_f32; kernel.outputs * inputs * taps];
    if x.size().len() == 0 || kernel.outputs == 0 {
        return total;
    }
    let plan = Plan::new(x, kernel, means);
    let Plan { split, layouts: [of_inputs, _], rows, together, .. } = plan;
    let (runs, shares, length) = (split.runs(), split.shares(), plan.partial());
    let mut partial = vec![0.0_f32; runs * shares * length];
    partial.par_chunks_exact_mut(length).enumerate().for_each(|(task, partial)| {
        with_scratch(plan.room().iter().sum(), |scratch| {
            // SAFETY: a plan's instruction set is here.
            unsafe { dispatch_on(plan.isa, Share { plan: &plan, x, gradient, part: split.part(task), scratch, partial }) };
        });
    });
    let of_output = plan.sums() / plan.group;
    total.par_chunks_exact_mut(inputs * taps).enumerate().for_each(|(output, total)| {
        let (share, within) = split.place(output);
        let (group, lane) = (within / plan.group, within % plan.group);
        let mut sums = vec![0.0_f32; rows * of_output];
        for block in 0..of_inputs.blocks() {
            sums.fill(0.0);
            for (row, sums) in sums.chunks_exact_mut(of_output).enumerate() {
                let at = ((group * of_inputs.blocks() + block) * rows + row) * plan.sums() + lane * of_output;
                for run in 0..runs {
                    let part = &partial[(run * shares + share) * length + at..][..of_output];
                    sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                }
            }
            let first = block * of_inputs.of_block;
            for channel in 0..of_inputs.of_block.min(inputs - first) {
                let total = &mut total[(first + channel) * taps..][..taps];
                for across in 0..together {
                    let sum = |row: usize| sums[row * of_output + across * of_inputs.of_block + channel];
                    if plan.filtered() {
                        for down in 0..3 {
                            total[3 * down + across] =
                                (0..POINTS).map(|point| TAPS[point][down] * f64::from(sum(point))).sum::<f64>() as f32;
                        }
                    } else {
                        (0..rows).for_each(|row| total[row * together + across] = sum(row));
                    }
                }
            }
        }
    });
    total
}
