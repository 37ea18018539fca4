//! A checkpoint compiled to blocks of kernels.

use super::BlockCost;
use super::fold::{Scale, check_finite, read};
use crate::nn::kernels::Isa;
use crate::nn::kernels::nhwc::{Block, Convolution, Logits, Map, Method, Multiply, Single, Sinks, Source, Work};
use crate::nn::layout::{DoubleConv, LEVELS, UNet};
use crate::nn::{Checkpoint, NnError};
use std::time::{Duration, Instant};

/// A network ready to run on single tiles.
pub(super) trait Run: Send {
    /// The logits of one tile; runs on the current rayon pool.
    fn run(&mut self, tile: &[f32], logits: &mut [f32]);

    /// What each block costs, and the tiles so far.
    fn costs(&self) -> (Vec<BlockCost>, u32);
}

/// A U-Net compiled for tiles of one size: batch norm folded into the weights, weights in the order in which they
/// are read, every buffer allocated beforehand.
pub(super) struct Plan<F: Multiply> {
    /// From full size to the lowest level.
    down: Vec<Block<F>>,
    /// From the lowest level to full size.
    up: Vec<Block<F>>,
    /// The last layer: weights, with zeros up to a whole vector, and bias.
    head: (Vec<f32>, f32),
    picture: Map<Single>,
    /// What pooling leaves of the level above, from the second level on.
    pooled: Vec<Map<F>>,
    /// The encoder's results by level.
    encoded: Vec<Map<F>>,
    /// The decoder's results, from the second to lowest level to the second.
    decoded: Vec<Map<F>>,
    /// Of the blocks on the way down, then of those on the way up, all tiles together.
    spent: Vec<Duration>,
    tiles: u32,
}

impl<F: Multiply> Plan<F> {
    /// Compiles for tiles of `side × side`, `side` divisible by 16.
    pub fn new(
        checkpoint: &Checkpoint,
        layout: &UNet,
        scale: Scale,
        (isa, method): (Isa, Method),
        side: usize,
        threads: usize,
    ) -> Result<Self, NnError> {
        let size = |level: usize| [side >> level; 2];
        let map = |level: usize, channels: usize| Map::new(side >> level, side >> level, channels, side >> level);
        let pair = |block: &DoubleConv, inputs: &[(usize, f32)]| -> Result<[Convolution; 2], NnError> {
            let [first, second] = block.halves();
            let middle = [(first.output, scale.unit(&first)?)];
            Ok([scale.folded(checkpoint, &first, inputs)?, scale.folded(checkpoint, &second, &middle)?])
        };
        let unit = |block: &DoubleConv| scale.unit(&block.halves()[1]);
        let mut down = Vec::new();
        for (level, block) in layout.down.iter().enumerate() {
            let above = if level == 0 { 1.0 } else { unit(&layout.down[level - 1])? };
            let [first, second] = pair(block, &[(block.input, above)])?;
            down.push(Block::new(isa, method, size(level), [&first, &second], None, threads));
        }
        let mut up = Vec::new();
        let mut below = unit(&layout.down[LEVELS])?;
        for (step, level) in layout.up.iter().zip((0..LEVELS).rev()) {
            let (raising, raised) = scale.raising(checkpoint, step, below)?;
            let skip = layout.down[level].output;
            let inputs = [(skip, unit(&layout.down[level])?), (step.convolutions.input - skip, raised)];
            let [first, second] = pair(&step.convolutions, &inputs)?;
            below = unit(&step.convolutions)?;
            up.push(Block::new(isa, method, size(level), [&first, &second], Some((&raising, skip, step.below)), threads));
        }
        let mut weights = read(checkpoint, &format!("{}.weight", layout.head.name))?;
        weights.iter_mut().for_each(|weight| *weight *= below);
        check_finite(checkpoint, &layout.head.name, &[&weights])?;
        weights.resize(weights.len().next_multiple_of(16), 0.0);
        let bias = read(checkpoint, &format!("{}.bias", layout.head.name))?[0];
        Ok(Self {
            spent: vec![Duration::ZERO; down.len() + up.len()],
            tiles: 0,
            down,
            up,
            head: (weights, bias),
            picture: Map::new(side, side, 1, side),
            pooled: (1..=LEVELS).map(|level| map(level, layout.down[level].input)).collect(),
            encoded: (0..=LEVELS).map(|level| map(level, layout.down[level].output)).collect(),
            decoded: (1..LEVELS).rev().map(|level| map(level, layout.up[LEVELS - 1 - level].convolutions.output)).collect(),
        })
    }
}

impl<F: Multiply> Run for Plan<F> {
    fn run(&mut self, tile: &[f32], logits: &mut [f32]) {
        self.picture.set_picture(tile);
        self.tiles += 1;
        let (spent_down, spent_up) = self.spent.split_at_mut(self.down.len());
        let mut clock = Clock(Instant::now());
        for (level, block) in self.down.iter_mut().enumerate() {
            let (above, below) = self.pooled.split_at_mut(level);
            let source = above.last().map_or(Source::Picture(&self.picture), Source::Map);
            block.run(&source, &mut Sinks { map: Some(&mut self.encoded[level]), pooled: below.first_mut(), logits: None });
            spent_down[level] += clock.lap();
        }
        for (step, (block, level)) in self.up.iter_mut().zip((0..LEVELS).rev()).enumerate() {
            let (done, next) = self.decoded.split_at_mut(step);
            let source = Source::Joined(&self.encoded[level], done.last().unwrap_or(&self.encoded[LEVELS]));
            let (weights, bias) = &self.head;
            let head = if level == 0 { Some(Logits { weights, bias: *bias, to: &mut *logits }) } else { None };
            block.run(&source, &mut Sinks { map: next.first_mut(), pooled: None, logits: head });
            spent_up[step] += clock.lap();
        }
    }

    fn costs(&self) -> (Vec<BlockCost>, u32) {
        let cost = |way: &str, map: &Map<F>, block: &Block<F>, maps: &[usize], spent: Duration| {
            let Work { multiply_adds, done, bytes } = block.work();
            let bytes = bytes + maps.iter().sum::<usize>() as u64;
            BlockCost { name: format!("{way} {}²", map.side()), multiply_adds, done, bytes, spent }
        };
        let (spent_down, spent_up) = self.spent.split_at(self.down.len());
        let down = self.down.iter().zip(spent_down).enumerate().map(|(level, (block, spent))| {
            let from = if level == 0 { self.picture.bytes() } else { self.pooled[level - 1].bytes() };
            let pooled = self.pooled.get(level).map_or(0, Map::bytes);
            cost("down", &self.encoded[level], block, &[from, self.encoded[level].bytes(), pooled], *spent)
        });
        let levels = (0..LEVELS).rev();
        let up = self.up.iter().zip(spent_up).zip(levels).enumerate().map(|(step, ((block, spent), level))| {
            let below = if step == 0 { &self.encoded[LEVELS] } else { &self.decoded[step - 1] };
            let logits = self.picture.side().pow(2) * size_of::<f32>();
            let to = self.decoded.get(step).map_or(logits, Map::bytes);
            cost("up", &self.encoded[level], block, &[below.bytes(), self.encoded[level].bytes(), to], *spent)
        });
        (down.chain(up).collect(), self.tiles)
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
