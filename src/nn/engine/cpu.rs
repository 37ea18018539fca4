use super::{Engine, check_tiles};
use crate::nn::kernels::{Packed, Planes, bilinear, conv_into_planes, interleave, max_pool};
use crate::nn::layout::{ConvNorm, LEVELS, UNet};
use crate::nn::ops::EPSILON;
use crate::nn::{Checkpoint, NnError};
use rayon::prelude::*;

/// A U-Net compiled for tiles of one size: batch norm folded into the weights, weights in the order in which
/// they are read, every buffer allocated beforehand.
///
/// Tiles go through one after the other, each shared out among the threads layer by layer.
pub(super) struct CpuEngine {
    plan: Plan,
    buffers: Vec<Level>,
    side: usize,
    pool: rayon::ThreadPool,
    name: String,
}

/// The weights.
struct Plan {
    down: Vec<[Packed; 2]>,
    up: Vec<UpStep>,
    head: Packed,
}

struct UpStep {
    raise: Raise,
    convolutions: [Packed; 2],
}

/// How a step up doubles the size.
enum Raise {
    Bilinear,
    /// Weights to the four pixels of each square, and the bias.
    Transposed(Packed, Vec<f32>),
}

/// The activations of one level, as bordered planes.
struct Level {
    planes: Planes,
    /// The picture, or what pooling leaves of the level above.
    input: Vec<f32>,
    /// Between two convolutions.
    middle: Vec<f32>,
    /// The encoder's result, followed by what comes from below.
    joined: Vec<f32>,
    /// Where in `joined` the second part begins, in channels.
    skip: usize,
    /// The decoder's result; at the lowest level the encoder's.
    output: Vec<f32>,
    /// A transposed convolution's result before its pixels are put in their places.
    squares: Vec<f32>,
}

impl CpuEngine {
    /// Compiles for tiles of `side × side`, `side` divisible by 16.
    pub(super) fn new(checkpoint: &Checkpoint, side: usize, threads: usize) -> Result<Self, NnError> {
        checkpoint.check()?;
        let layout = UNet::new(&checkpoint.meta.shape);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("network-{i}"))
            .build()
            .map_err(|error| NnError::Threads(error.to_string()))?;
        let name = format!("{} on the CPU, {} threads", checkpoint.meta.shape, pool.current_num_threads());
        Ok(Self { plan: Plan::new(checkpoint, &layout)?, buffers: buffers(&layout, side), side, pool, name })
    }
}

impl Engine for CpuEngine {
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError> {
        check_tiles(tiles, count, self.side)?;
        let mut logits = vec![0.0; tiles.len()];
        let (plan, buffers, pixels) = (&self.plan, &mut self.buffers, self.side * self.side);
        self.pool.install(|| {
            for (tile, logits) in tiles.chunks_exact(pixels).zip(logits.chunks_exact_mut(pixels)) {
                plan.run(buffers, tile, logits);
            }
        });
        Ok(logits)
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl Plan {
    fn new(checkpoint: &Checkpoint, layout: &UNet) -> Result<Self, NnError> {
        let pair = |halves: [ConvNorm; 2]| -> Result<[Packed; 2], NnError> {
            Ok([folded(checkpoint, &halves[0])?, folded(checkpoint, &halves[1])?])
        };
        let down = layout.down.iter().map(|block| pair(block.halves())).collect::<Result<_, _>>()?;
        let up = layout
            .up
            .iter()
            .map(|up| {
                let raise = match &up.transposed {
                    None => Raise::Bilinear,
                    Some(name) => {
                        let weights = read(checkpoint, &format!("{name}.weight"))?;
                        let outputs = up.upsampled * 4;
                        let packed = Packed::new(outputs, up.below, 1, None, |o, i, _| weights[i * outputs + o]);
                        Raise::Transposed(packed, read(checkpoint, &format!("{name}.bias"))?)
                    }
                };
                Ok(UpStep { raise, convolutions: pair(up.convolutions.halves())? })
            })
            .collect::<Result<_, NnError>>()?;
        let (weights, bias) =
            (read(checkpoint, &format!("{}.weight", layout.head.name))?, read(checkpoint, &format!("{}.bias", layout.head.name))?);
        Ok(Self { down, up, head: Packed::forward(&weights, 1, layout.head.input, 1, Some(&bias)) })
    }

    /// One tile through the network.
    fn run(&self, levels: &mut [Level], tile: &[f32], logits: &mut [f32]) {
        let full = levels[0].planes;
        for (y, line) in tile.chunks_exact(full.w).enumerate() {
            levels[0].input[full.at(y)..][..full.w].copy_from_slice(line);
        }
        for (depth, [first, second]) in self.down.iter().enumerate() {
            let (above, here) = levels.split_at_mut(depth);
            let Level { planes, input, middle, joined, output, .. } = &mut here[0];
            if let Some(above) = above.last() {
                pool(&above.joined, above.planes, input, *planes, first.inputs);
            }
            conv_into_planes(input, *planes, first, true, middle);
            conv_into_planes(middle, *planes, second, true, if depth == LEVELS { output } else { joined });
        }
        for (step, depth) in self.up.iter().zip((0..LEVELS).rev()) {
            let (here, below) = levels.split_at_mut(depth + 1);
            let Level { planes, middle, joined, skip, output, .. } = &mut here[depth];
            let [first, second] = &step.convolutions;
            let raised = &mut joined[*skip * planes.plane()..first.inputs * planes.plane()];
            step.raise.run(&mut below[0], raised, *planes);
            conv_into_planes(joined, *planes, first, true, middle);
            conv_into_planes(middle, *planes, second, true, output);
        }
        let Level { output, input, .. } = &mut levels[0];
        conv_into_planes(output, full, &self.head, false, input);
        for (y, line) in logits.chunks_exact_mut(full.w).enumerate() {
            line.copy_from_slice(&input[full.at(y)..][..full.w]);
        }
    }
}

impl Raise {
    /// Doubles the size of `below.output` into the planes `raised`.
    fn run(&self, below: &mut Level, raised: &mut [f32], planes: Planes) {
        let small = below.planes;
        let (line, plane) = (small.line(), small.plane());
        if let Self::Transposed(packed, _) = self {
            conv_into_planes(&below.output, small, packed, false, &mut below.squares);
        }
        let below = &*below;
        raised.par_chunks_exact_mut(planes.plane()).enumerate().for_each(|(c, to)| {
            let to = &mut to[planes.at(0)..];
            match self {
                Self::Bilinear => bilinear(&below.output[c * plane + small.at(0)..], line, small.h, small.w, to, planes.line()),
                Self::Transposed(_, bias) => {
                    interleave(&below.squares[4 * c * plane + small.at(0)..], plane, line, small.h, small.w, bias[c], to, planes.line());
                }
            }
        });
    }
}

fn pool(from: &[f32], large: Planes, to: &mut [f32], small: Planes, channels: usize) {
    to[..channels * small.plane()].par_chunks_exact_mut(small.plane()).enumerate().for_each(|(c, to)| {
        max_pool(&from[c * large.plane() + large.at(0)..], large.line(), large.h, large.w, &mut to[small.at(0)..], small.line());
    });
}

fn buffers(layout: &UNet, side: usize) -> Vec<Level> {
    (0..=LEVELS)
        .map(|depth| {
            let planes = Planes { h: side >> depth, w: side >> depth };
            let down = &layout.down[depth];
            let up = (depth < LEVELS).then(|| &layout.up[LEVELS - 1 - depth]);
            let feeds = (depth > 0).then(|| &layout.up[LEVELS - depth]);
            let zeros = |channels: usize| vec![0.0; planes.values(channels)];
            Level {
                planes,
                input: zeros(down.input),
                middle: zeros(down.middle.max(up.map_or(0, |up| up.convolutions.middle))),
                joined: zeros(up.map_or(0, |up| up.convolutions.input)),
                skip: down.output,
                output: zeros(up.map_or(down.output, |up| up.convolutions.output)),
                squares: zeros(feeds.filter(|up| up.transposed.is_some()).map_or(0, |up| 4 * up.upsampled)),
            }
        })
        .collect()
}

fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, NnError> {
    Ok(checkpoint.tensor(name)?.flatten_all()?.to_vec1()?)
}

/// A convolution with its batch norm folded into weights and bias.
fn folded(checkpoint: &Checkpoint, half: &ConvNorm) -> Result<Packed, NnError> {
    let weights = read(checkpoint, &format!("{}.weight", half.convolution))?;
    let part = |part: &str| read(checkpoint, &format!("{}.{part}", half.norm));
    let (gain, offset, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let scale: Vec<f64> = gain.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + EPSILON).sqrt()).collect();
    let bias: Vec<f32> = offset.iter().zip(&mean).zip(&scale).map(|((o, m), s)| (f64::from(*o) - f64::from(*m) * s) as f32).collect();
    let inputs = half.input;
    Ok(Packed::new(half.output, inputs, 3, Some(&bias), |o, i, t| (f64::from(weights[(o * inputs + i) * 9 + t]) * scale[o]) as f32))
}
