//! On the CPU, in `f32`.
//!
//! The tape keeps for each map what the convolution left; batch norm and ReLU are applied wherever it is read, joined maps are read
//! where they lie, and a gradient is put in the place of the one that it came from.

use super::super::conv::{Convolution, kernel_for};
use super::super::norm::{BatchNorm, Statistics};
use super::super::{by_plane, channel_sums, with_values};
use super::{Gradients, MapId, Tape};
use crate::config::Precision;
use crate::nn::kernels::{
    Affine, Channels, Dims, Pictures, Weights, convolved, interleave, interleave_gradient, max_pool, max_pool_gradient, moments, resize,
    resize_gradient,
};
use candle_core::{Device, Result, Tensor, Var};
use rayon::prelude::*;

struct Map {
    size: Dims,
    /// As the last operator left them.
    values: Vec<f32>,
    /// Normalisation and ReLU still to be applied.
    affine: Option<Affine>,
    /// Of what the values are worth; `None` before there is any.
    gradient: Option<Vec<f32>>,
    /// Whether anything that is trained led to it.
    trained: bool,
}

/// What was done, to be undone.
enum Step {
    ConvNormRelu { from: Vec<MapId>, convolution: Convolution, weight: Var, gain: Var, offset: Var, statistics: Statistics },
    ConvBias { from: MapId, convolution: Convolution, weight: Var, bias: Var },
    Transposed { from: MapId, weight: Var, bias: Var },
    MaxPool { from: MapId },
    Upsample { from: MapId },
}

/// See [`Tape`].
pub(super) struct HostTape {
    precision: Precision,
    maps: Vec<Map>,
    /// Each with the map that it made.
    steps: Vec<(Step, MapId)>,
}

impl HostTape {
    /// An empty tape whose products have that precision.
    pub fn new(precision: Precision) -> Self {
        Self { precision, maps: Vec::new(), steps: Vec::new() }
    }

    fn map(&mut self, values: Vec<f32>, size: Dims, affine: Option<Affine>, trained: bool) -> MapId {
        self.maps.push(Map { size, values, affine, gradient: None, trained });
        MapId(self.maps.len() - 1)
    }

    fn done(&mut self, step: Step, values: Vec<f32>, size: Dims, affine: Option<Affine>) -> MapId {
        let trained = match &step {
            Step::MaxPool { from } | Step::Upsample { from } => self.maps[from.0].trained,
            _ => true,
        };
        let map = self.map(values, size, affine, trained);
        self.steps.push((step, map));
        map
    }

    /// One or two maps of one size as kernels read them.
    fn read(&self, maps: &[MapId]) -> Result<Pictures<'_>> {
        let channels = |map: &MapId| {
            let Map { size, values, affine, .. } = &self.maps[map.0];
            Channels { values, count: size.c, pending: affine.as_ref() }
        };
        let sizes: Vec<Dims> = maps.iter().map(|map| self.maps[map.0].size.with_channels(0)).collect();
        if !matches!(sizes.as_slice(), [_]) && !matches!(sizes.as_slice(), [a, b] if a == b) {
            candle_core::bail!("one or two maps of one size are read together, not {sizes:?}");
        }
        Ok(Pictures::new(&maps.iter().map(channels).collect::<Vec<_>>(), sizes[0]))
    }

    fn undo(
        &mut self,
        step: Step,
        size: Dims,
        values: Vec<f32>,
        affine: Option<Affine>,
        mut gradient: Vec<f32>,
        found: &mut Gradients,
    ) -> Result<()> {
        match step {
            Step::ConvNormRelu { from, convolution, weight, gain, offset, statistics } => {
                let affine = affine.ok_or_else(|| candle_core::Error::Msg("a map without its normalisation".into()))?;
                let norm = statistics.gradients(&values, &mut gradient, size, &affine);
                drop(values);
                found.push((gain, Tensor::new(norm.gain, &Device::Cpu)?));
                found.push((offset, Tensor::new(norm.offset, &Device::Cpu)?));
                self.undo_convolution(&from, convolution, weight, &gradient, found)
            }
            Step::ConvBias { from, convolution, weight, bias } => {
                found.push((bias, channel_sums(&gradient, size)?));
                self.undo_convolution(&[from], convolution, weight, &gradient, found)
            }
            Step::Transposed { from, weight, bias } => {
                found.push((bias, channel_sums(&gradient, size)?));
                let (inputs, outputs, _, _) = weight.dims4()?;
                let (h, w) = (size.h / 2, size.w / 2);
                let four = by_plane(size.n * outputs, size.plane(), |plane, to| {
                    interleave_gradient(&gradient[plane * size.plane()..][..size.plane()], h, w, to);
                });
                let four = Pictures::plain(&four, Dims { h, w, ..size.with_channels(4 * outputs) });
                // Inputs and outputs exchanged, the gradient of the weights is that of a convolution from the results to the pictures.
                let exchanged = Convolution { dilation: 1, precision: self.precision };
                let kernel = Dims { n: inputs, c: 4 * outputs, h: 1, w: 1 };
                let dw = exchanged.weight_gradient(&four, kernel, &self.read(&[from])?);
                let dx = with_values([&weight], "transposed convolution", |[weight]| exchanged.of(&four, weight, kernel))?;
                found.push((weight.clone(), Tensor::from_vec(dw, weight.shape(), &Device::Cpu)?));
                self.give(from, dx);
                Ok(())
            }
            Step::MaxPool { from } => {
                let Dims { n, c, h, w } = self.maps[from.0].size;
                let mut sum = self.maps[from.0].gradient.take().unwrap_or_else(|| vec![0.0; n * c * h * w]);
                let x = self.read(&[from])?;
                sum.par_chunks_exact_mut(h * w).enumerate().for_each(|(plane, sum)| {
                    let mut scratch = Vec::new();
                    let x = x.plane(plane / c, plane % c);
                    max_pool_gradient(x.worth(&mut scratch), h, w, &gradient[plane * h * w / 4..][..h * w / 4], sum);
                });
                self.maps[from.0].gradient = Some(sum);
                Ok(())
            }
            Step::Upsample { from } => {
                let Dims { n, c, h, w } = self.maps[from.0].size;
                let dx = by_plane(n * c, h * w, |plane, to| {
                    resize_gradient(&gradient[4 * plane * h * w..][..4 * h * w], [2 * h, 2 * w], [h, w], to);
                });
                self.give(from, dx);
                Ok(())
            }
        }
    }

    /// From the gradient of a convolution's results to those of its weights and of the maps it read.
    fn undo_convolution(
        &mut self,
        from: &[MapId],
        convolution: Convolution,
        weight: Var,
        gradient: &[f32],
        found: &mut Gradients,
    ) -> Result<()> {
        let x = self.read(from)?;
        let (size, kernel) = (x.size(), kernel_for(x.size(), weight.layout())?);
        let dw = convolution.weight_gradient(&x, kernel, &Pictures::plain(gradient, size.with_channels(kernel.n)));
        found.push((weight.clone(), Tensor::from_vec(dw, weight.shape(), &Device::Cpu)?));
        if from.iter().any(|map| self.maps[map.0].trained) {
            let first = self.maps[from[0].0].size.c;
            let parts =
                with_values([&weight], "convolution", |[weight]| convolution.picture_gradient(weight, kernel, gradient, size, first))?;
            for (map, part) in from.iter().zip(parts) {
                self.give(*map, part);
            }
        }
        Ok(())
    }

    /// Adds to a map's gradient; one that nothing trained led to needs none.
    fn give(&mut self, map: MapId, gradient: Vec<f32>) {
        if !self.maps[map.0].trained {
            return;
        }
        const CHUNK: usize = 1 << 14;
        match &mut self.maps[map.0].gradient {
            None => self.maps[map.0].gradient = Some(gradient),
            Some(sum) => sum
                .par_chunks_mut(CHUNK)
                .zip(gradient.par_chunks(CHUNK))
                .for_each(|(sum, gradient)| sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g)),
        }
    }
}

impl Tape for HostTape {
    fn pictures(&mut self, x: &Tensor) -> Result<MapId> {
        let (n, c, h, w) = x.dims4()?;
        Ok(self.map(x.flatten_all()?.to_vec1()?, Dims { n, c, h, w }, None, false))
    }

    fn tensor(&self, map: MapId) -> Result<Tensor> {
        let Map { size: Dims { n, c, h, w }, values, affine, .. } = &self.maps[map.0];
        if affine.is_some() {
            candle_core::bail!("a map of the tape is still to be normalised");
        }
        Tensor::from_vec(values.clone(), (*n, *c, *h, *w), &Device::Cpu)
    }

    fn conv_norm_relu(&mut self, from: &[MapId], weight: &Var, dilation: usize, norm: &BatchNorm) -> Result<MapId> {
        let convolution = Convolution { dilation, precision: self.precision };
        let x = self.read(from)?;
        let kernel = kernel_for(x.size(), weight.layout())?;
        let size = x.size().with_channels(kernel.n);
        let values = with_values([weight], "convolution", |[weight]| convolution.of(&x, weight, kernel))?;
        let moments = moments(&values, size);
        let statistics = Statistics::of_batch(&moments);
        let affine = with_values([&norm.gain, &norm.offset], "batch norm", |[gain, offset]| statistics.affine(gain, offset))??;
        norm.update(&moments, size.n * size.plane())?;
        let step = Step::ConvNormRelu {
            from: from.to_vec(),
            convolution,
            weight: weight.clone(),
            gain: norm.gain.clone(),
            offset: norm.offset.clone(),
            statistics,
        };
        Ok(self.done(step, values, size, Some(affine)))
    }

    fn conv_bias(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId> {
        let convolution = Convolution { dilation: 1, precision: Precision::F32 };
        let x = self.read(&[from])?;
        let kernel = kernel_for(x.size(), weight.layout())?;
        let size = x.size().with_channels(kernel.n);
        let values = with_values([weight, bias], "convolution", |[weight, bias]| {
            let mut values = convolution.of(&x, weight, kernel);
            values.par_chunks_exact_mut(size.plane()).enumerate().for_each(|(plane, values)| {
                let bias = bias[plane % size.c];
                values.iter_mut().for_each(|v| *v += bias);
            });
            values
        })?;
        let step = Step::ConvBias { from, convolution, weight: weight.clone(), bias: bias.clone() };
        Ok(self.done(step, values, size, None))
    }

    fn conv_transposed(&mut self, from: MapId, weight: &Var, bias: &Var) -> Result<MapId> {
        let x = self.read(&[from])?;
        let (inputs, outputs, _, _) = weight.dims4()?;
        let Dims { h, w, c, .. } = x.size();
        if c != inputs {
            candle_core::bail!("transposed convolution: {c} channels for weights {:?}", weight.shape());
        }
        let size = Dims { h: 2 * h, w: 2 * w, ..x.size().with_channels(outputs) };
        let values = with_values([weight, bias], "transposed convolution", |[weight, bias]| {
            let four = convolved(&x, &Weights::forward(weight, inputs, 4 * outputs, 1).backward(), 1, self.precision);
            by_plane(size.n * outputs, size.plane(), |plane, to| {
                interleave(&four[4 * plane * h * w..][..4 * h * w], h * w, w, h, w, bias[plane % outputs], to, 2 * w);
            })
        })?;
        let step = Step::Transposed { from, weight: weight.clone(), bias: bias.clone() };
        Ok(self.done(step, values, size, None))
    }

    fn max_pool(&mut self, from: MapId) -> Result<MapId> {
        let x = self.read(&[from])?;
        let Dims { n, c, h, w } = x.size();
        if !h.is_multiple_of(2) || !w.is_multiple_of(2) {
            candle_core::bail!("max pool: sides must be even, found {h} × {w}");
        }
        let values = by_plane(n * c, h * w / 4, |plane, to| {
            let mut scratch = Vec::new();
            max_pool(x.plane(plane / c, plane % c).worth(&mut scratch), w, h, w, to, w / 2);
        });
        Ok(self.done(Step::MaxPool { from }, values, Dims { n, c, h: h / 2, w: w / 2 }, None))
    }

    fn upsample_bilinear(&mut self, from: MapId) -> Result<MapId> {
        let x = self.read(&[from])?;
        let Dims { n, c, h, w } = x.size();
        let values = by_plane(n * c, 4 * h * w, |plane, to| {
            let mut scratch = Vec::new();
            resize(x.plane(plane / c, plane % c).worth(&mut scratch), w, [h, w], to, 2 * w, [2 * h, 2 * w]);
        });
        Ok(self.done(Step::Upsample { from }, values, Dims { n, c, h: 2 * h, w: 2 * w }, None))
    }

    fn backward(mut self: Box<Self>, map: MapId, gradient: &Tensor) -> Result<Gradients> {
        let mut found = Gradients::new();
        let Dims { n, c, h, w } = self.maps[map.0].size;
        if gradient.dims() != [n, c, h, w] {
            candle_core::bail!("a gradient of {:?} for a map of {:?}", gradient.dims(), [n, c, h, w]);
        }
        self.maps[map.0].gradient = Some(gradient.flatten_all()?.to_vec1()?);
        while let Some((step, map)) = self.steps.pop() {
            let size = self.maps[map.0].size;
            // Nothing that is still to be undone reads this map.
            let (values, affine) = (std::mem::take(&mut self.maps[map.0].values), self.maps[map.0].affine.take());
            if let Some(gradient) = self.maps[map.0].gradient.take() {
                self.undo(step, size, values, affine, gradient, &mut found)?;
            }
        }
        Ok(found)
    }
}
