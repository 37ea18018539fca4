use super::{Head, MapId, Operation, Plan, Reads, Settings, Step};
use crate::nn::engine::fold::{check_finite, read};
use crate::nn::kernels::nhwc::{Block, Buffer, Layer, Map, Multiply, Raising, Shape, Work};
use crate::nn::layout::{self, ConvNorm};
use crate::nn::{Checkpoint, NnError};
use std::cell::RefCell;
use std::time::Duration;

/// Writes down what a network does, map by map.
pub(super) struct Compiler<'a, F: Multiply> {
    pub checkpoint: &'a Checkpoint,
    pub settings: Settings<'a>,
    /// Pixels of a tile's side.
    pub side: usize,
    maps: Vec<RefCell<Map<F>>>,
    steps: Vec<Step<F>>,
}

/// Channels and the unit in which they are counted, for each source of a convolution.
pub(super) type Inputs<'a> = &'a [(usize, f32)];

impl<'a, F: Multiply> Compiler<'a, F> {
    pub fn new(checkpoint: &'a Checkpoint, settings: Settings<'a>, side: usize) -> Self {
        Self { checkpoint, settings, side, maps: Vec::new(), steps: Vec::new() }
    }

    pub fn finish(self) -> Plan<F> {
        let picture = Map::new(self.side, self.side, 1, self.side);
        let room = |step: &Step<F>| if let Operation::Layer { layer, .. } = &step.operation { layer.room() } else { 0 };
        let room = Buffer::zeroed(self.steps.iter().map(room).max().unwrap_or(0));
        Plan { isa: self.settings.isa, picture, maps: self.maps, steps: self.steps, room, tiles: 0 }
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
        let bytes = self.bytes(&operation);
        self.steps.push(Step { name: format!("{name} {side}²"), operation, work, bytes, spent: Duration::ZERO });
        self.steps.len() - 1
    }

    /// That an operation takes from or leaves in maps, the picture and the logits.
    fn bytes(&self, operation: &Operation<F>) -> usize {
        let of = |map: MapId| self.maps[map].borrow().bytes();
        let some = |map: MapId, channels: usize| of(map) / self.channels_of(map) * channels;
        let of_tile = self.side * self.side * size_of::<f32>();
        match operation {
            Operation::Block { from, map, pooled, head, .. } => {
                let read = match *from {
                    Reads::Picture => of_tile,
                    Reads::Map(map) => of(map),
                    Reads::Joined(skip, below) => of(skip) + of(below),
                };
                read + map.map_or(0, of) + pooled.map_or(0, of) + head.as_ref().map_or(0, |_| of_tile)
            }
            Operation::Layer { layer, from, to, .. } => of(*from) + layer.bytes() + some(*to, layer.outputs()),
            Operation::Pool { from, to, places } => of(*from) + places.len() + of(*to),
            Operation::Unpool { from, to, .. } => of(*from) + self.side_of(*from).pow(2) * self.channels_of(*from) + of(*to),
            Operation::Average { from, to } => of(*from) + of(*to),
            Operation::Interpolate { from, to, .. } => of(*from) + some(*to, self.channels_of(*from)),
            Operation::Head { from, logits, .. } => of(*from) + size_of_val(&logits[..]) + of_tile,
        }
    }

    /// Two convolutions on maps of `side`; `joined` as [`Block::new`] takes it.
    pub fn block(
        &self,
        side: usize,
        [first, second]: [&ConvNorm; 2],
        inputs: Inputs,
        joined: Option<(&Raising, usize, usize)>,
    ) -> Result<Block<F>, NnError> {
        let Settings { isa, method, scale, threads } = self.settings;
        let middle = [(first.output, scale.unit(first)?)];
        let [first, second] = [scale.folded(self.checkpoint, first, inputs)?, scale.folded(self.checkpoint, second, &middle)?];
        Ok(Block::new(isa, method, [side; 2], [&first, &second], joined, threads))
    }

    /// One convolution of the map `from`, to a map of its own or to the channels from `first_channel` on of the one that is told.
    pub fn layer(&mut self, from: MapId, convolution: &ConvNorm, to: Option<(MapId, usize)>) -> Result<MapId, NnError> {
        let Settings { isa, method, scale, threads } = self.settings;
        let side = self.side_of(from);
        let folded = scale.folded(self.checkpoint, convolution, &[(convolution.input, 1.0)])?;
        let shape = Shape { size: [side; 2], dilation: convolution.dilation, part: to.is_some() };
        let layer = Layer::new(isa, method, &folded, shape, threads);
        let (to, first_channel) = to.unwrap_or_else(|| (self.map(side, convolution.output), 0));
        self.push(label(convolution), side, layer.work(), Operation::Layer { layer, from, to, first_channel });
        Ok(to)
    }

    /// The convolutions of a stage, two at a time where their taps are side by side. Where the result is to be `pooled`, that alone is
    /// kept, and the last two must be such.
    pub fn stage(&mut self, from: Reads, stage: &[ConvNorm], pooled: bool) -> Result<MapId, NnError> {
        let side = match from {
            Reads::Picture => self.side,
            Reads::Map(map) | Reads::Joined(map, _) => self.side_of(map),
        };
        let (mut from, mut left) = (from, stage);
        while let [first, second, rest @ ..] = left
            && first.dilation.max(second.dilation) == 1
        {
            let block = self.block(side, [first, second], &[(first.input, 1.0)], None)?;
            let last = pooled && rest.is_empty();
            let result = self.map(if last { side / 2 } else { side }, second.output);
            let (map, pooled) = if last { (None, Some(result)) } else { (Some(result), None) };
            let work = block.work();
            self.push(label(first), side, work, Operation::Block { block, from, map, pooled, head: None });
            (from, left) = (Reads::Map(result), rest);
        }
        let Reads::Map(mut map) = from else { unreachable!("a network that does not begin with two convolutions, taps side by side") };
        assert!(!pooled || left.is_empty(), "a stage that is pooled ends with two convolutions, taps side by side");
        for convolution in left {
            map = self.layer(map, convolution, None)?;
        }
        Ok(map)
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

/// What a convolution is called in a table.
fn label(convolution: &ConvNorm) -> &str {
    convolution.convolution.trim_end_matches(".conv")
}
