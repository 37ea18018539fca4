//! A U-Net on CUDA in bf16 or f16: cuDNN's fused convolutions on NHWC maps, everything allocated and recorded beforehand.

use super::pool::pool;
use super::steps::{Map, Step, Steps};
use super::{Engine, Probabilities, check_count, check_tiles, without_unsound};
use crate::cell::{SEEN_PX, TILES_PER_SIDE};
use crate::config::{Precision, Threads};
use crate::nn::kernels::cuda::{CudaFault, Filter, Gpu, Graph, Maps, Memory, Number, Pinned};
use crate::nn::{Checkpoint, NnError};
use std::borrow::Cow;
use std::sync::Arc;

/// Tiles that go through at a time at most: two cells; more would fill the device no better and take more of its memory.
const MOST: usize = 2 * TILES_PER_SIDE * TILES_PER_SIDE;
/// cuDNN tells the workspace of the plain convolution; the fused one may want a little more.
const LEAST_WORKSPACE_BYTES: usize = 32 << 20;
const PIXELS: usize = SEEN_PX * SEEN_PX;

/// A network whose work is recorded once for each size of batch, so that a batch costs one call.
pub(super) struct CudaEngine<N: Number> {
    /// By number of rows of tiles, from one on; where a graph could not be had, its steps are launched one by one.
    graphs: Vec<Option<Graph>>,
    network: OnDevice<N>,
    ordinal: usize,
    pool: Arc<rayon::ThreadPool>,
    name: String,
}

/// What a batch needs on the device.
struct OnDevice<N: Number> {
    steps: Vec<Prepared<N>>,
    maps: Memory<N>,
    pictures: Memory<f32>,
    logits: Memory<f32>,
    probabilities: Memory<u8>,
    /// For each tile, whether a logit is no finite number, or made of such.
    unsound: Memory<u32>,
    workspace: Memory<u8>,
    sent: Pinned<f32>,
    fetched_logits: Pinned<f32>,
    fetched_probabilities: Pinned<u8>,
    fetched_unsound: Pinned<u32>,
    gpu: Gpu<N>,
}

/// A step whose weights are on the device.
type Prepared<N> = Step<Memory<f32>, Filter<N>>;

impl<N: Number> CudaEngine<N> {
    /// Compiles, allocates, warms up and records for CUDA device `ordinal`.
    ///
    /// # Errors
    /// A checkpoint that does not fit or has a width that steps cannot have, or a device that refuses something.
    pub fn new(checkpoint: &Checkpoint, ordinal: usize, threads: &Threads) -> Result<Self, NnError> {
        let steps = Steps::new(checkpoint, SEEN_PX, MOST)?;
        let network = OnDevice::new(steps, ordinal).map_err(|fault| failed(ordinal, &fault))?;
        let graphs = network.recorded().map_err(|fault| failed(ordinal, &fault))?;
        let how = if graphs.iter().all(Option::is_some) { "recorded" } else { "step by step" };
        let name = format!("{} on cuda:{ordinal}, {} ({how})", checkpoint.meta.shape, N::PRECISION);
        Ok(Self { graphs, network, ordinal, pool: Arc::new(pool(threads)?), name })
    }
}

fn failed(ordinal: usize, fault: &CudaFault) -> NnError {
    let remedy = "check `nvidia-smi` and the versions of driver, cuDNN and NVRTC, or set the device to `cpu`";
    NnError::Device { wanted: format!("cuda:{ordinal}"), reason: fault.to_string(), remedy: remedy.into() }
}

impl<N: Number> OnDevice<N> {
    fn new(steps: Steps, ordinal: usize) -> Result<Self, CudaFault> {
        let gpu = Gpu::new(ordinal)?;
        let Steps { list, memory } = steps;
        let steps = list.into_iter().map(|step| prepared(&gpu, step)).collect::<Result<Vec<_>, _>>()?;
        let mut workspace = LEAST_WORKSPACE_BYTES;
        for step in &steps {
            if let Step::Convolve { from, kernel, .. } = step {
                for tiles in sizes() {
                    workspace = workspace.max(gpu.workspace(kernel, tiles, from.side_px)?);
                }
            }
        }
        Ok(Self {
            steps,
            maps: gpu.memory(memory)?,
            pictures: gpu.memory(MOST * PIXELS)?,
            logits: gpu.memory(MOST * PIXELS)?,
            probabilities: gpu.memory(MOST * PIXELS)?,
            unsound: gpu.memory(MOST)?,
            workspace: gpu.memory(workspace)?,
            sent: gpu.pinned(MOST * PIXELS)?,
            fetched_logits: gpu.pinned(MOST * PIXELS)?,
            fetched_probabilities: gpu.pinned(MOST * PIXELS)?,
            fetched_unsound: gpu.pinned(MOST)?,
            gpu,
        })
    }

    /// A graph for each size of batch, after one run of it.
    fn recorded(&self) -> Result<Vec<Option<Graph>>, CudaFault> {
        let record = |tiles| {
            self.launch(tiles)?;
            match self.gpu.record(|| self.launch(tiles)) {
                Ok(graph) => Ok(graph),
                Err(fault) => {
                    tracing::warn!(tiles, %fault, "network: the device's work cannot be recorded, it is launched step by step");
                    Ok(None)
                }
            }
        };
        sizes().map(record).collect()
    }

    /// Logits and probabilities of the tiles that `fill` writes, left on the device.
    fn run(&mut self, graphs: &[Option<Graph>], tiles: usize, fill: &mut dyn FnMut(&mut [f32])) -> Result<(), CudaFault> {
        let mut pictures = self.pictures.stretch(0, tiles * PIXELS)?;
        self.gpu.send(&mut self.sent, &mut pictures, fill)?;
        // A batch that is no whole number of rows is filled up with what was there before.
        let rows = tiles.div_ceil(TILES_PER_SIDE);
        let asked = match rows.checked_sub(1).and_then(|before| graphs.get(before)?.as_ref()) {
            Some(graph) => self.gpu.replay(graph),
            None => self.launch(rows * TILES_PER_SIDE),
        };
        if asked.is_err() {
            // The tiles may still be on their way out of the buffer that the next batch will be put into.
            self.gpu.finish()?;
        }
        asked
    }

    fn fetch_logits(&mut self, tiles: usize) -> Result<&[f32], CudaFault> {
        self.gpu.fetch(&self.logits.stretch(0, tiles * PIXELS)?, &mut self.fetched_logits)
    }

    fn fetch_unsound(&mut self, tiles: usize) -> Result<&[u32], CudaFault> {
        self.gpu.fetch(&self.unsound.stretch(0, tiles)?, &mut self.fetched_unsound)
    }

    fn fetch_probabilities(&mut self, tiles: usize) -> Result<(&[u8], &[u32]), CudaFault> {
        let values = self.gpu.fetch(&self.probabilities.stretch(0, tiles * PIXELS)?, &mut self.fetched_probabilities)?;
        Ok((values, self.gpu.fetch(&self.unsound.stretch(0, tiles)?, &mut self.fetched_unsound)?))
    }

    /// Asks for all steps on `tiles` tiles.
    fn launch(&self, tiles: usize) -> Result<(), CudaFault> {
        let Self { gpu, unsound, workspace, .. } = self;
        let maps = |map: &Map| -> Result<Maps<N>, CudaFault> { self.maps.maps(map.start, tiles, map.side_px, map.channels) };
        gpu.clear(unsound)?;
        for step in &self.steps {
            match step {
                Step::First { to, weights, bias } => {
                    gpu.first(&self.pictures.stretch(0, tiles * PIXELS)?, weights, bias, &maps(to)?, unsound)
                }
                Step::Convolve { from, to, kernel } => gpu.convolve(kernel, &maps(from)?, &maps(to)?, workspace),
                Step::Pool { from, to, copy } => gpu.pool(&maps(from)?, &maps(to)?, &maps(copy)?, unsound),
                Step::Interpolate { from, to } => gpu.interpolate(&maps(from)?, &maps(&to.of)?, to.first_channel, unsound),
                Step::Interleave { from, to } => gpu.interleave(&maps(from)?, &maps(&to.of)?, to.first_channel, unsound),
                Step::Look { at } if N::OVERFLOWS => gpu.look(&maps(at)?, unsound),
                Step::Look { .. } => Ok(()),
                Step::Head { from, weights, bias } => {
                    let logits = self.logits.stretch(0, tiles * PIXELS)?;
                    let probabilities = self.probabilities.stretch(0, tiles * PIXELS)?;
                    gpu.head(&maps(from)?, weights, *bias, &logits, &probabilities, unsound)
                }
            }?;
        }
        Ok(())
    }
}

/// Sizes of batches: whole rows of tiles.
fn sizes() -> impl Iterator<Item = usize> {
    (TILES_PER_SIDE..=MOST).step_by(TILES_PER_SIDE)
}

/// Brings a step's weights to the device.
fn prepared<N: Number>(gpu: &Gpu<N>, step: Step) -> Result<Prepared<N>, CudaFault> {
    Ok(match step {
        Step::First { to, weights, bias } => Step::First { to, weights: gpu.values(&weights)?, bias: gpu.values(&bias)? },
        Step::Convolve { from, to, kernel } => {
            let kernel = gpu.filter(&kernel.weights, &kernel.bias, from.channels, kernel.side, kernel.relu)?;
            Step::Convolve { from, to, kernel }
        }
        Step::Pool { from, to, copy } => Step::Pool { from, to, copy },
        Step::Interpolate { from, to } => Step::Interpolate { from, to },
        Step::Interleave { from, to } => Step::Interleave { from, to },
        Step::Look { at } => Step::Look { at },
        Step::Head { from, weights, bias } => Step::Head { from, weights: gpu.values(&weights)?, bias },
    })
}

impl<N: Number> Engine for CudaEngine<N> {
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError> {
        check_tiles(tiles, count, SEEN_PX)?;
        let Self { graphs, network, ordinal, .. } = self;
        let mut all = Vec::with_capacity(tiles.len());
        let mut batch = |tiles: &[f32]| -> Result<(), CudaFault> {
            let (first, count) = (all.len(), tiles.len() / PIXELS);
            network.run(graphs, count, &mut |to| to.copy_from_slice(tiles))?;
            all.extend_from_slice(network.fetch_logits(count)?);
            without_unsound(&mut all[first..], network.fetch_unsound(count)?.iter().map(|mark| *mark == 0));
            Ok(())
        };
        tiles.chunks(MOST * PIXELS).try_for_each(&mut batch).map_err(|fault| failed(*ordinal, &fault))?;
        Ok(all)
    }

    fn probabilities(&mut self, count: usize, fill: &mut dyn FnMut(&mut [f32])) -> Result<Probabilities<'_>, NnError> {
        check_count(count, MOST)?;
        if count == 0 {
            return Ok(Probabilities::default());
        }
        let Self { graphs, network, ordinal, .. } = self;
        network.run(graphs, count, fill).map_err(|fault| failed(*ordinal, &fault))?;
        let (values, unsound) = network.fetch_probabilities(count).map_err(|fault| failed(*ordinal, &fault))?;
        Ok(Probabilities { values: Cow::Borrowed(values), sound: unsound.iter().map(|mark| *mark == 0).collect() })
    }

    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        Some(self.pool.clone())
    }

    fn batch(&self) -> usize {
        MOST
    }

    fn precision(&self) -> Precision {
        N::PRECISION
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
