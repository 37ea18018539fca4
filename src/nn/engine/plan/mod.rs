//! A checkpoint compiled to operations on maps: a room for the networks of each kind.

mod compiler;
mod dilated;
mod segnet;
mod unet;

use super::BlockCost;
use super::fold::Scale;
use crate::nn::kernels::nhwc::{self, Block, Buffer, Layer, Logits, Map, Method, Multiply, Single, Sinks, Source, Work};
use crate::nn::kernels::{Isa, resize};
use crate::nn::{Architecture, Checkpoint, NnError};
use compiler::Compiler;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// A network ready to run on single tiles.
pub(super) trait Run: Send {
    /// The logits of one tile; runs on the current rayon pool, which so many tiles share that are run `at_once`.
    fn run(&mut self, tile: &[f32], logits: &mut [f32], at_once: usize);

    /// The same network with maps of its own, for a tile at the same time.
    fn twin(&self) -> Box<dyn Run>;

    /// What each block costs, and the tiles so far.
    fn costs(&self) -> (Vec<BlockCost>, u32);
}

/// How a plan is to compute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a> {
    pub isa: Isa,
    pub method: Method,
    /// What activations are counted in.
    pub scale: Scale<'a>,
    /// That share the tiles.
    pub threads: usize,
}

/// A network compiled for tiles of one size: batch norm folded into the weights, weights in the order in which they
/// are read, every map allocated beforehand.
#[derive(Clone)]
pub(super) struct Plan<F: Multiply> {
    isa: Isa,
    picture: Map<Single>,
    maps: Vec<RefCell<Map<F>>>,
    steps: Vec<Step<F>>,
    /// Of a layer that is done for the whole picture.
    room: Buffer<f32>,
    tiles: u32,
}

/// One of a plan's maps.
type MapId = usize;

/// An operation, and what it costs.
#[derive(Clone)]
struct Step<F: Multiply> {
    /// Where it stands and how large its maps are, such as `down 464²`.
    name: String,
    operation: Operation<F>,
    work: Work,
    /// That it takes from or leaves in maps, the picture and the logits.
    bytes: usize,
    /// Of all tiles together, each its share of the time that several take at once.
    spent: Duration,
}

/// What a block reads.
#[derive(Debug, Clone, Copy)]
enum Reads {
    Picture,
    Map(MapId),
    /// What the encoder left, and what comes from below.
    Joined(MapId, MapId),
}

/// The last layer: weights, with zeros up to a whole vector, and bias.
#[derive(Clone)]
struct Head {
    weights: Vec<f32>,
    bias: f32,
}

/// What is done with maps.
#[derive(Clone)]
enum Operation<F: Multiply> {
    /// Two convolutions with what lies around them, and the last layer where it has one.
    Block { block: Block<F>, from: Reads, map: Option<MapId>, pooled: Option<MapId>, head: Option<Head> },
    /// One convolution, to all or some channels of a map.
    Layer { layer: Layer<F>, from: MapId, to: MapId, first_channel: usize },
    /// Half the size, and where each value was the greatest of four.
    Pool { from: MapId, to: MapId, places: Vec<u8> },
    /// Twice the size, by the places that the step `pooling` found.
    Unpool { from: MapId, pooling: usize, to: MapId },
    /// Means over parts of a map.
    Average { from: MapId, to: MapId },
    /// To the size of a map, some of whose channels it becomes.
    Interpolate { from: MapId, to: MapId, first_channel: usize },
    /// The last layer, of a map that may be smaller than the tile: logits are interpolated to its size.
    Head { head: Head, from: MapId, logits: Vec<f32> },
}

impl<F: Multiply> Plan<F> {
    /// Compiles for tiles of `side × side`, `side` divisible by 16.
    pub fn new(checkpoint: &Checkpoint, settings: Settings, side: usize) -> Result<Self, NnError> {
        let mut compiler = Compiler::new(checkpoint, settings, side);
        match checkpoint.meta.shape.architecture {
            Architecture::UNet => unet::compile(&mut compiler)?,
            Architecture::SegNet => segnet::compile(&mut compiler)?,
            Architecture::PspNet => dilated::compile_pspnet(&mut compiler)?,
            Architecture::DeepLabV3 => dilated::compile_deeplab(&mut compiler)?,
        }
        Ok(compiler.finish())
    }
}

impl<F: Multiply> Run for Plan<F> {
    fn run(&mut self, tile: &[f32], logits: &mut [f32], at_once: usize) {
        self.picture.set_picture(tile);
        self.tiles += 1;
        let mut clock = Clock(Instant::now());
        let (isa, side, threads) = (self.isa, self.picture.side(), rayon::current_num_threads().div_ceil(at_once));
        let map = |id: MapId| self.maps[id].borrow();
        let sink = |id: MapId| self.maps[id].borrow_mut();
        for at in 0..self.steps.len() {
            let (earlier, rest) = self.steps.split_at_mut(at);
            let step = &mut rest[0];
            match &mut step.operation {
                Operation::Block { block, from, map: to, pooled, head } => {
                    let (first, second) = match *from {
                        Reads::Picture => (None, None),
                        Reads::Map(from) => (Some(map(from)), None),
                        Reads::Joined(skip, below) => (Some(map(skip)), Some(map(below))),
                    };
                    let source = match (&first, &second) {
                        (None, _) => Source::Picture(&self.picture),
                        (Some(from), None) => Source::Map(from),
                        (Some(skip), Some(below)) => Source::Joined(skip, below),
                    };
                    let (mut to, mut pooled) = (to.map(sink), pooled.map(sink));
                    let logits = head.as_ref().map(|head| Logits { weights: &head.weights, bias: head.bias, to: &mut *logits });
                    block.run(&source, &mut Sinks { map: to.as_deref_mut(), pooled: pooled.as_deref_mut(), logits }, threads);
                }
                Operation::Layer { layer, from, to, first_channel } => {
                    layer.run(&map(*from), &mut sink(*to), *first_channel, &mut self.room)
                }
                Operation::Pool { from, to, places } => nhwc::pool_with_places(isa, &map(*from), &mut sink(*to), places),
                Operation::Unpool { from, pooling, to } => {
                    let Operation::Pool { places, .. } = &earlier[*pooling].operation else { unreachable!("a step that does not pool") };
                    nhwc::unpool(isa, &map(*from), places, &mut sink(*to));
                }
                Operation::Average { from, to } => nhwc::average(isa, &map(*from), &mut sink(*to)),
                Operation::Interpolate { from, to, first_channel } => {
                    nhwc::interpolate(isa, &map(*from), &mut sink(*to), *first_channel);
                }
                Operation::Head { head: Head { weights, bias }, from, logits: small } => {
                    let from = map(*from);
                    if from.side() == side {
                        nhwc::head(isa, &from, weights, *bias, logits);
                    } else {
                        nhwc::head(isa, &from, weights, *bias, small);
                        resize(small, from.side(), from.size(), logits, side, [side; 2]);
                    }
                }
            }
            step.spent += clock.lap() / at_once as u32;
        }
    }

    fn twin(&self) -> Box<dyn Run> {
        let mut twin = self.clone();
        twin.tiles = 0;
        twin.steps.iter_mut().for_each(|step| step.spent = Duration::ZERO);
        Box::new(twin)
    }

    fn costs(&self) -> (Vec<BlockCost>, u32) {
        let cost = |Step { name, work, bytes, spent, .. }: &Step<F>| BlockCost {
            name: name.clone(),
            multiply_adds: work.multiply_adds,
            done: work.done,
            bytes: work.bytes + *bytes as u64,
            spent: *spent,
        };
        (self.steps.iter().map(cost).collect(), self.tiles)
    }
}

/// Tells how long ago it was last asked.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.0, Instant::now());
        self.0 - before
    }
}
