use super::{From, Head, MapId, Means, Operation, Plan, Step};
use crate::nn::engine::fold::{check_finite, read};
use crate::nn::kernels::nhwc::{Block, Layer, Map, Multiply, Raising, Shape, Work};
use crate::nn::layout::{self, ConvNorm};
use crate::nn::{Checkpoint, NnError};
use std::cell::RefCell;
use std::time::Duration;

/// Writes down what a network does, map by map.
pub(super) struct Compiler<'a, F: Multiply> {
    pub checkpoint: &'a Checkpoint,
    pub means: Means<'a>,
    /// Pixels of a tile's side.
    pub side: usize,
    maps: Vec<RefCell<Map<F>>>,
    steps: Vec<Step<F>>,
}

/// Channels and the unit in which they are counted, for each source of a convolution.
pub(super) type Inputs<'a> = &'a [(usize, f32)];

impl<'a, F: Multiply> Compiler<'a, F> {
    pub fn new(checkpoint: &'a Checkpoint, means: Means<'a>, side: usize) -> Self {
        Self { checkpoint, means, side, maps: Vec::new(), steps: Vec::new() }
    }

    pub fn finish(self) -> Plan<F> {
        let picture = Map::new(self.side, self.side, 1, self.side);
        Plan { isa: self.means.isa, picture, maps: self.maps, steps: self.steps, tiles: 0 }
    }

    /// A map of `side × side`.
    pub fn map(&mut self, side: usize, channels: usize) -> MapId {
        self.maps.push(RefCell::new(Map::new(side, side, channels, side)));
        self.maps.len() - 1
    }

    /// Pixels of a map's side.
    pub fn side_of(&self, map: MapId) -> usize {
        self.maps[map].borrow().side()
    }

    /// A map's channels.
    pub fn channels_of(&self, map: MapId) -> usize {
        self.maps[map].borrow().channels()
    }

    /// Takes down an operation on maps of `side`; its number.
    pub fn push(&mut self, name: &str, side: usize, work: Work, operation: Operation<F>) -> usize {
        self.steps.push(Step { name: format!("{name} {side}²"), operation, work, spent: Duration::ZERO });
        self.steps.len() - 1
    }

    /// Two convolutions on maps of `side`; `joined` as [`Block::new`] takes it.
    pub fn block(
        &self,
        side: usize,
        [first, second]: [&ConvNorm; 2],
        inputs: Inputs,
        joined: Option<(&Raising, usize, usize)>,
    ) -> Result<Block<F>, NnError> {
        let Means { isa, method, scale, threads } = self.means;
        let middle = [(first.output, scale.unit(first)?)];
        let [first, second] = [scale.folded(self.checkpoint, first, inputs)?, scale.folded(self.checkpoint, second, &middle)?];
        Ok(Block::new(isa, method, [side; 2], [&first, &second], joined, threads))
    }

    /// One convolution of the map `from`, to a map of its own or to the channels from `first_channel` on of the one that is told.
    pub fn layer(&mut self, name: &str, from: MapId, convolution: &ConvNorm, to: Option<(MapId, usize)>) -> Result<MapId, NnError> {
        let Means { isa, method, scale, threads } = self.means;
        let side = self.side_of(from);
        let folded = scale.folded(self.checkpoint, convolution, &[(convolution.input, 1.0)])?;
        let shape = Shape { size: [side; 2], dilation: convolution.dilation, part: to.is_some() };
        let layer = Layer::new(isa, method, &folded, shape, threads);
        let (to, first_channel) = to.unwrap_or_else(|| (self.map(side, convolution.output), 0));
        self.push(name, side, layer.work(), Operation::Layer { layer, from, to, first_channel });
        Ok(to)
    }

    /// The convolutions of a stage, two at a time where their taps are side by side; what comes out, and that pooled where it
    /// is asked for.
    pub fn stage(&mut self, name: &str, from: From, stage: &[ConvNorm], pool: bool) -> Result<(MapId, Option<MapId>), NnError> {
        let (side, mut from) = match from {
            From::Picture => (self.side, from),
            From::Map(map) | From::Joined(map, _) => (self.side_of(map), from),
        };
        let mut left = stage;
        let mut pooled = None;
        while let [first, second, rest @ ..] = left {
            if first.dilation > 1 || second.dilation > 1 {
                break;
            }
            let block = self.block(side, [first, second], &[(first.input, 1.0)], None)?;
            let map = self.map(side, second.output);
            pooled = (pool && rest.is_empty()).then(|| self.map(side / 2, second.output));
            let work = block.work();
            self.push(name, side, work, Operation::Block { block, from, map: Some(map), pooled, head: None });
            (from, left) = (From::Map(map), rest);
        }
        let From::Map(mut map) = from else { unreachable!("a stage that begins with two convolutions, taps side by side") };
        for convolution in left {
            map = self.layer(name, map, convolution, None)?;
        }
        Ok((map, pooled))
    }

    /// The last layer, of a map whose values are counted in `unit`.
    pub fn head(&self, layout: &layout::Head, unit: f32) -> Result<Head, NnError> {
        let mut weights = read(self.checkpoint, &format!("{}.weight", layout.name))?;
        weights.iter_mut().for_each(|weight| *weight *= unit);
        check_finite(self.checkpoint, &layout.name, &[&weights])?;
        weights.resize(weights.len().next_multiple_of(16), 0.0);
        Ok(Head { weights, bias: read(self.checkpoint, &layout.bias())?[0] })
    }

    /// Ends with the last layer.
    pub fn end(&mut self, from: MapId, layout: &layout::Head) -> Result<(), NnError> {
        let (side, channels) = (self.side_of(from), self.channels_of(from));
        let multiply_adds = (side * side * channels) as u64;
        let work = Work { multiply_adds, done: multiply_adds, bytes: (size_of::<f32>() * channels) as u64 };
        let logits = vec![0.0; if side == self.side { 0 } else { side * side }];
        let head = self.head(layout, 1.0)?;
        self.push("head", side, work, Operation::Head { head, from, logits });
        Ok(())
    }
}
