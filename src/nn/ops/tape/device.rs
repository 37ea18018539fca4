//! On a device: maps and filters of bf16 in NHWC order, as its convolutions take them; sums, what normalises and what is updated are `f32`.

use super::super::norm::BatchNorm;
use super::{Gradients, MapId, Tape};
use crate::nn::kernels::Dims;
use crate::nn::kernels::cuda::{ConvolutionSize, FilterLayout, GRADIENT_ROWS, LANES, Machine, MapOperator, NORM_ROWS, View};
use candle_core::{Result, Tensor, Var};
use std::rc::Rc;

/// See [`Tape`].
pub(super) struct DeviceTape<M: Machine> {
    machine: M,
    maps: Vec<Map<M::Memory>>,
    /// Each with the map that it made.
    steps: Vec<(Step<M::Memory>, MapId)>,
}

struct Map<T> {
    /// Of what lies in memory, pictures with the channels that they are spread to.
    size: Dims,
    values: Rc<T>,
    gradient: Option<Gradient<T>>,
    /// Whether anything that is trained led to it.
    trained: bool,
}

/// A gradient in some of the channels of a memory.
struct Gradient<T> {
    memory: Rc<T>,
    view: View,
}

/// A convolution, to be undone.
struct Convolved<T> {
    from: Vec<MapId>,
    /// What it read, of all these maps.
    read: Rc<T>,
    of: ConvolutionSize,
    weight: Var,
    layout: FilterLayout,
    filter: T,
}

/// What was done, to be undone.
enum Step<T> {
    ConvNormRelu {
        convolved: Convolved<T>,
        before: T,
        /// Rows of `NormOfBatch`.
        norm: T,
        gain: Var,
        offset: Var,
    },
    Transposed {
        convolved: Convolved<T>,
        bias: Var,
    },
    Head {
        from: MapId,
        weight: Var,
        bias: Var,
    },
    MaxPool {
        from: MapId,
    },
    Upsample {
        from: MapId,
    },
}

impl<M: Machine> DeviceTape<M> {
    /// An empty tape.
    pub fn new(machine: M) -> Self {
        Self { machine, maps: Vec::new(), steps: Vec::new() }
    }

    fn map(&mut self, values: M::Memory, size: Dims, trained: bool) -> MapId {
        self.maps.push(Map { size, values: Rc::new(values), gradient: None, trained });
        MapId(self.maps.len() - 1)
    }

    fn done(&mut self, step: Step<M::Memory>, values: M::Memory, size: Dims) -> MapId {
        let trained = match &step {
            Step::MaxPool { from } | Step::Upsample { from } => self.maps[from.0].trained,
            _ => true,
        };
        let map = self.map(values, size, trained);
        self.steps.push((step, map));
        map
    }

    /// One or two maps of one size as a convolution reads them.
    fn read(&self, maps: &[MapId]) -> Result<(Rc<M::Memory>, Dims)> {
        let found: Vec<&Map<M::Memory>> = maps.iter().map(|map| &self.maps[map.0]).collect();
        match found.as_slice() {
            [one] => Ok((one.values.clone(), one.size)),
            [a, b] if a.size.with_channels(0) == b.size.with_channels(0) => {
                let joined = self.machine.computed(MapOperator::Join(b.size.c), a.size, &[&a.values, &b.values])?;
                Ok((Rc::new(joined), a.size.with_channels(a.size.c + b.size.c)))
            }
            _ => candle_core::bail!("one or two maps of one size are read together, not {}", maps.len()),
        }
    }

    /// A convolution to `outputs` channels, and its result.
    fn convolve(
        &self,
        from: &[MapId],
        weight: &Var,
        layout: FilterLayout,
        outputs: usize,
        side: usize,
    ) -> Result<(Convolved<M::Memory>, M::Memory)> {
        let (read, size) = self.read(from)?;
        if layout.held != size.c {
            candle_core::bail!("convolution: {} channels for weights {:?}", size.c, weight.shape());
        }
        let of = ConvolutionSize { size, outputs, side };
        let filter = self.machine.computed(MapOperator::Filter(layout), size, &[&self.machine.memory(weight)?])?;
        let result = self.machine.convolved(&read, &filter, of)?;
        Ok((Convolved { from: from.to_vec(), read, of, weight: weight.clone(), layout, filter }, result))
    }

    /// Sums by channels, of what was summed by slices.
    fn sums(&self, slices: &M::Memory, size: Dims) -> Result<M::Memory> {
        self.machine.computed(MapOperator::PartSums, size, &[slices])
    }

    /// From the gradient of a convolution's results to those of its weights and of the maps it read.
    fn undo_convolution(&mut self, convolved: Convolved<M::Memory>, gradient: &M::Memory, found: &mut Gradients) -> Result<()> {
        let Convolved { from, read, of, weight, layout, filter } = convolved;
        let by_filter = self.machine.filter_gradient(&read, gradient, of)?;
        let by_weight = self.machine.computed(MapOperator::FilterGradient(layout), of.size, &[&by_filter])?;
        found.push((weight.clone(), self.machine.tensor(&by_weight, weight.dims())?));
        if from.iter().any(|map| self.maps[map.0].trained) {
            let memory = Rc::new(self.machine.map_gradient(&filter, gradient, of)?);
            let mut first = 0;
            for map in from {
                let view = View { pitch: of.size.c, first };
                first += self.maps[map.0].size.c;
                self.give(map, Gradient { memory: memory.clone(), view })?;
            }
        }
        Ok(())
    }

    /// Makes this a map's gradient; one that nothing trained led to needs none.
    fn give(&mut self, map: MapId, gradient: Gradient<M::Memory>) -> Result<()> {
        let map = &mut self.maps[map.0];
        if map.gradient.is_some() {
            candle_core::bail!("a map of the tape is read by two operators that cannot share its gradient");
        }
        map.gradient = map.trained.then_some(gradient);
        Ok(())
    }

    fn undo(&mut self, step: Step<M::Memory>, size: Dims, gradient: Gradient<M::Memory>, found: &mut Gradients) -> Result<()> {
        let Gradient { memory: gradient, view } = gradient;
        let whole = |memory, channels| Gradient { memory: Rc::new(memory), view: View { pitch: channels, first: 0 } };
        match step {
            Step::ConvNormRelu { convolved, before, norm, gain, offset } => {
                let slices = self.machine.computed(MapOperator::NormSlices(view), size, &[&before, &gradient, &norm])?;
                let sums = self.machine.computed(MapOperator::NormSums, size, &[&self.sums(&slices, size)?, &norm])?;
                let by_before = self.machine.computed(MapOperator::NormGradient(view), size, &[&before, &gradient, &norm, &sums])?;
                let rows = self.machine.tensor(&sums, &[GRADIENT_ROWS, size.c])?;
                found.push((offset, rows.get(0)?));
                found.push((gain, rows.get(1)?));
                self.undo_convolution(convolved, &by_before, found)
            }
            Step::Transposed { convolved, bias } => {
                let slices = self.machine.computed(MapOperator::GradientSlices(view), size, &[&gradient])?;
                let sums = self.machine.computed(MapOperator::ChannelSums, size, &[&self.sums(&slices, size)?])?;
                found.push((bias, self.machine.tensor(&sums, &[2, size.c])?.get(0)?));
                let half = convolved.of.size.with_channels(size.c);
                let squares = self.machine.computed(MapOperator::GatherSquares(view), half, &[&gradient])?;
                self.undo_convolution(convolved, &squares, found)
            }
            Step::Head { from, weight, bias } => {
                let Map { size, values, .. } = &self.maps[from.0];
                let (size, values) = (*size, values.clone());
                let slices = self.machine.computed(MapOperator::HeadSlices, size, &[&values, &gradient])?;
                let sums = self.machine.computed(MapOperator::ChannelSums, size, &[&self.sums(&slices, size)?])?;
                let rows = self.machine.tensor(&sums, &[2, size.c])?;
                found.push((bias, rows.get(1)?.narrow(0, 0, 1)?));
                let by_map = self.machine.computed(MapOperator::HeadGradient, size, &[&gradient, &self.machine.memory(&weight)?])?;
                found.push((weight.clone(), rows.get(0)?.reshape(weight.shape())?));
                self.give(from, whole(by_map, size.c))
            }
            Step::MaxPool { from } => {
                let other = self.maps[from.0].gradient.take();
                let Map { size, values, .. } = &self.maps[from.0];
                let mut arguments: Vec<&M::Memory> = vec![values, &gradient];
                arguments.extend(other.iter().map(|other| &*other.memory));
                let operator = MapOperator::MaxPoolGradient(other.as_ref().map(|other| other.view));
                let sum = self.machine.computed(operator, *size, &arguments)?;
                let channels = size.c;
                self.give(from, whole(sum, channels))
            }
            Step::Upsample { from } => {
                let size = self.maps[from.0].size;
                let by_map = self.machine.computed(MapOperator::InterpolateGradient(view), size, &[&gradient])?;
                self.give(from, whole(by_map, size.c))
            }
        }
    }
}

impl<M: Machine> Tape for DeviceTape<M> {
    fn pictures(&mut self, x: &Tensor) -> Result<MapId> {
        let (n, c, h, w) = x.dims4()?;
        if c != 1 {
            candle_core::bail!("pictures of {c} channels for a tape, expected 1");
        }
        let size = Dims { n, c, h, w };
        let spread = self.machine.computed(MapOperator::Pictures, size, &[&self.machine.memory(x)?])?;
        Ok(self.map(spread, size.with_channels(LANES), false))
    }

    fn conv_norm_relu(&mut self, from: &[MapId], weight: &Var, dilation: usize, norm: &BatchNorm) -> Result<MapId> {
        let (outputs, inputs, side, _) = weight.dims4()?;
        if dilation != 1 || !matches!(side, 1 | 3) {
            candle_core::bail!("convolution: side {side} and dilation {dilation} on a tape of a device, expected 1 or 3 and 1");
        }
        let layout = if inputs == 1 { FilterLayout::of_pictures(outputs, side) } else { FilterLayout::convolution(outputs, inputs, side) };
        let (convolved, before) = self.convolve(from, weight, layout, outputs, side)?;
        let size = convolved.of.size.with_channels(outputs);
        let parts = self.sums(&self.machine.computed(MapOperator::MomentSlices, size, &[&before])?, size)?;
        let BatchNorm { gain, offset, running_mean, running_var } = norm;
        let [by_gain, by_offset, mean, variance] = [gain, offset, running_mean, running_var].map(|var| self.machine.memory(var));
        let rows = self.machine.computed(MapOperator::NormOfBatch, size, &[&before, &parts, &by_gain?, &by_offset?, &mean?, &variance?])?;
        let rows = self.machine.tensor(&rows, &[NORM_ROWS, outputs])?;
        running_mean.set(&rows.get(NORM_ROWS - 2)?)?;
        running_var.set(&rows.get(NORM_ROWS - 1)?)?;
        let rows = self.machine.memory(&rows)?;
        let values = self.machine.computed(MapOperator::NormRelu, size, &[&before, &rows])?;
        let step = Step::ConvNormRelu { convolved, before, norm: rows, gain: gain.clone(), offset: offset.clone() };
        Ok(self.done(step, values, size))
    }

    fn conv_bias(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId> {
        let (outputs, inputs, side, _) = weight.dims4()?;
        let Map { size, values, .. } = &self.maps[from.0];
        if (outputs, inputs, side) != (1, size.c, 1) {
            candle_core::bail!("convolution with bias: {} channels for weights {:?}, expected one output", size.c, weight.shape());
        }
        let arguments = [&**values, &self.machine.memory(weight)?, &self.machine.memory(bias)?];
        let logits = self.machine.computed(MapOperator::Head, *size, &arguments)?;
        let size = size.with_channels(1);
        Ok(self.done(Step::Head { from, weight: weight.clone(), bias: bias.clone() }, logits, size))
    }

    fn conv_transposed(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId> {
        let (inputs, outputs, _, _) = weight.dims4()?;
        let layout = FilterLayout::transposed(outputs, inputs);
        let (convolved, squares) = self.convolve(&[from], weight, layout, 4 * outputs, 1)?;
        let half = convolved.of.size.with_channels(outputs);
        let values = self.machine.computed(MapOperator::Interleave, half, &[&squares, &self.machine.memory(bias)?])?;
        Ok(self.done(Step::Transposed { convolved, bias: bias.clone() }, values, Dims { h: 2 * half.h, w: 2 * half.w, ..half }))
    }

    fn max_pool(&mut self, from: MapId) -> Result<MapId> {
        let Map { size, values, .. } = &self.maps[from.0];
        let pooled = self.machine.computed(MapOperator::MaxPool, *size, &[values])?;
        let size = Dims { h: size.h / 2, w: size.w / 2, ..*size };
        Ok(self.done(Step::MaxPool { from }, pooled, size))
    }

    fn upsample_bilinear(&mut self, from: MapId) -> Result<MapId> {
        let Map { size, values, .. } = &self.maps[from.0];
        let larger = self.machine.computed(MapOperator::Interpolate, *size, &[values])?;
        let size = Dims { h: 2 * size.h, w: 2 * size.w, ..*size };
        Ok(self.done(Step::Upsample { from }, larger, size))
    }

    fn tensor(&self, map: MapId) -> Result<Tensor> {
        let Map { size: Dims { n, c, h, w }, values, .. } = &self.maps[map.0];
        self.machine.tensor(values, &[*n, *c, *h, *w])
    }

    fn backward(mut self: Box<Self>, map: MapId, gradient: &Tensor) -> Result<Gradients> {
        let Dims { n, c, h, w } = self.maps[map.0].size;
        if gradient.dims() != [n, c, h, w] {
            candle_core::bail!("a gradient of {:?} for a map of {:?}", gradient.dims(), [n, c, h, w]);
        }
        let memory = Rc::new(self.machine.memory(&gradient.contiguous()?)?);
        self.maps[map.0].gradient = Some(Gradient { memory, view: View { pitch: c, first: 0 } });
        let mut found = Gradients::new();
        while let Some((step, map)) = self.steps.pop() {
            // Nothing that is still to be undone reads this map.
            let Map { size, gradient, .. } = &mut self.maps[map.0];
            let (size, gradient) = (*size, gradient.take());
            self.maps.truncate(map.0);
            if let Some(gradient) = gradient {
                self.undo(step, size, gradient, &mut found)?;
            }
        }
        Ok(found)
    }
}
