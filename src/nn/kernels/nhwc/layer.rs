//! One convolution from map to map, its taps side by side or apart.
//!
//! Taps that are `dilation` pixels apart see every so manieth line alone. Lines arranged anew, all of one kind first, then a line of
//! zeros and those of the next kind, and pixels the same way, are what taps side by side want ("space to batch", with the batch side by
//! side in one map): every way to do those does for these, too. What is multiplied in vain grows with the dilation: 75² instead of 58²
//! at 18.

use super::arrangement::Arrangement;
use super::buffer::Buffer;
use super::filter::{Filter, Input, LARGE, Method, Place, Work};
use super::layers::Convolution;
use super::map::Map;
use super::multiply::Multiply;
use super::product::Sources;
use crate::nn::kernels::isa::Isa;
use rayon::prelude::*;
use std::sync::Arc;

/// A convolution with ReLU ready to run on maps of one size. A clone has the same weights, and maps of its own.
#[derive(Clone)]
pub(in crate::nn) struct Layer<F: Multiply> {
    isa: Isa,
    filter: Arc<Filter<F>>,
    inputs: usize,
    /// Where lines and pixels go that its taps are to find side by side.
    arrangement: [Arrangement; 2],
    /// The input so arranged; none where it is as it comes.
    arranged: Option<Map<F>>,
    /// The result so arranged, or where it is to be part of a map.
    result: Option<Map<F>>,
    /// Lines that a band takes in one step; none where the whole picture is one.
    step: Option<usize>,
    threads: usize,
}

/// What a layer's convolution is like, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Shape {
    /// Lines and pixels of its maps.
    pub size: [usize; 2],
    /// Distance of its taps, from 1.
    pub dilation: usize,
    /// Whether its result is to be some of a map's channels.
    pub part: bool,
}

impl<F: Multiply> Layer<F> {
    /// Packs the weights, on the current rayon pool.
    pub fn new(isa: Isa, method: Method, convolution: &Convolution, Shape { size, dilation, part }: Shape, threads: usize) -> Self {
        assert!(isa.is_here() && isa >= F::NEEDS, "{isa} is not here or cannot multiply this format");
        // Taps of a 1×1 kernel cannot be apart.
        let dilation = if convolution.side == 1 { 1 } else { dilation };
        let arrangement = size.map(|count| Arrangement::of(count, dilation));
        let [h, w] = [arrangement[0].length, arrangement[1].length];
        let sources = Sources { channels: &[convolution.inputs], zeros: &[0] };
        let filter = Filter::<F>::new(method, convolution, Place { isa, w, sources, first: false });
        let step = filter.step(w, filter.bytes() >= LARGE);
        let map = |channels| Map::new(h, w, channels, h);
        Self {
            isa,
            inputs: convolution.inputs,
            arranged: (dilation > 1).then(|| map(convolution.inputs)),
            result: (dilation > 1 || part).then(|| map(convolution.outputs)),
            step,
            threads: threads.max(1),
            filter: filter.into(),
            arrangement,
        }
    }

    /// What there is to multiply: lines of zeros among it, which are done in vain.
    pub fn work(&self) -> Work {
        let [h, w] = self.arrangement.each_ref().map(|of| of.places.len());
        let [all_h, all_w] = self.arrangement.each_ref().map(|of| of.length);
        Work { multiply_adds: self.filter.work(h, w).multiply_adds, ..self.filter.work(all_h, all_w) }
    }

    /// Channels of the result.
    pub fn outputs(&self) -> usize {
        self.filter.outputs()
    }

    /// Bytes of the maps that it has of its own.
    pub fn bytes(&self) -> usize {
        [&self.arranged, &self.result].into_iter().flatten().map(Map::bytes).sum()
    }

    /// Values of room that [`Layer::run`] needs.
    pub fn room(&self) -> usize {
        let [h, w] = self.arrangement.each_ref().map(|of| of.length);
        if self.step.is_none() { self.filter.room(h, w) } else { 0 }
    }

    /// Runs on the current rayon pool. The result is all of `to`, or its channels from `first_channel` on.
    pub fn run(&mut self, from: &Map<F>, to: &mut Map<F>, first_channel: usize, room: &mut Buffer<f32>) {
        let [lines, pixels] = &self.arrangement;
        assert!(from.size() == [lines.places.len(), pixels.places.len()] && to.size() == from.size(), "size of a layer's maps");
        assert!(from.channels() == self.inputs && to.channels() >= first_channel + self.filter.outputs(), "channels of a layer's maps");
        assert!(from.is_whole() && to.is_whole(), "a layer's maps have all their lines");
        let input = match &mut self.arranged {
            None => from,
            Some(arranged) => {
                arranged.arrange(from, lines, pixels);
                &*arranged
            }
        };
        let output = self.result.as_mut().unwrap_or(to);
        assert!(output.size() == input.size() && output.channels() == self.filter.outputs(), "a layer's own maps");
        let (input, output) = (Input::Maps([input.view(); 2]), output.view_mut());
        let (isa, filter) = (self.isa, &*self.filter);
        match self.step {
            // SAFETY: the layer was made for an instruction set that is here; the maps have the filter's channels and one size.
            None => unsafe { filter.whole(isa, input, output, room.values_mut()) },
            Some(step) => {
                let band = output.h.div_ceil(2 * self.threads).next_multiple_of(step);
                (0..output.h).into_par_iter().step_by(band).for_each(|first| {
                    let end = (first + band).min(output.h);
                    for first in (first..end).step_by(step) {
                        // SAFETY: as above; nobody else writes these lines, and nobody the input.
                        unsafe { filter.lines(isa, input, output, first..(first + step).min(end)) }
                    }
                });
            }
        }
        if let Some(result) = &self.result {
            to.restore(result, lines, pixels, first_channel);
        }
    }
}
