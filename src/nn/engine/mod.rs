//! Inference behind a small interface.

mod calibration;
mod cpu;
#[cfg(feature = "cudnn")]
mod cuda;
mod device;
mod fold;
mod instructions;
mod plan;
mod pool;
mod roofline;
#[cfg(any(feature = "cudnn", test))]
mod steps;
mod tensors;
#[cfg(test)]
mod tests;

pub use calibration::{Calibration, ranges};
pub use cpu::{unable, unsuited};
pub use device::cuda_device;
pub use instructions::limit_instructions;
pub use pool::keep_off;
pub use roofline::{BlockCost, Roofline};

#[cfg(feature = "cudnn")]
use super::Architecture;
use super::{Checkpoint, NnError};
use crate::cell::{SEEN_PX, TILES_PER_SIDE};
use crate::config::{DeviceChoice, Precision, Threads};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Crack probabilities of tiles, tile by tile, line by line. They may be lent by the engine, until it is asked for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probabilities<'a> {
    /// `round(255 σ(logit))`.
    pub values: Cow<'a, [u8]>,
    /// For each tile, whether all its logits are finite numbers; the values of one that has others mean nothing.
    pub sound: Vec<bool>,
}

/// A network ready to inspect tiles.
pub trait Engine: Send {
    /// Logits of `count` normalised tiles of `SEEN_PX × SEEN_PX`, tile by tile, line by line; as many
    /// values come back. Whatever the batch, a tile has the same logits: on the CPU bit for bit, on CUDA but for rounding.
    ///
    /// # Errors
    /// A slice of another length than `count` tiles have, or a device that fails.
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError>;

    /// Probabilities of `count` tiles, at most [`batch`](Engine::batch), as [`logits`](Engine::logits) takes them. `fill` writes
    /// all of them where the engine reads them; before that the place holds whatever was there.
    ///
    /// # Errors
    /// More tiles, or a device that fails.
    fn probabilities(&mut self, count: usize, fill: &mut dyn FnMut(&mut [f32])) -> Result<Probabilities<'_>, NnError> {
        check_count(count, self.batch())?;
        let mut tiles = vec![0.0; count * SEEN_PX * SEEN_PX];
        fill(&mut tiles);
        let logits = self.logits(&tiles, count)?;
        let mut values = vec![0; logits.len()];
        let sound = quantise(&logits, &mut values, SEEN_PX * SEEN_PX, self.pool().as_deref());
        Ok(Probabilities { values: values.into(), sound })
    }

    /// The threads on which it likes its tiles to be made ready and its probabilities to be taken; `None`: on that of whoever
    /// asks.
    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        None
    }

    /// Tiles that go through at a time at most; as many are handed over best.
    fn batch(&self) -> usize {
        TILES_PER_SIDE
    }

    /// Tiles after whose inference, at a start, nothing is left that is done only once.
    fn first_tiles(&self) -> usize {
        TILES_PER_SIDE
    }

    /// How exactly it computes, which may be more exactly than was asked for.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// What each of its blocks costs; `None` where it has none, or does not know.
    fn roofline(&self) -> Option<Roofline> {
        None
    }

    /// One line for the log: what runs where.
    fn describe(&self) -> String;
}

/// Turns logits into probabilities, tiles of `pixels` on the threads of `pool`; for each whether all of its logits are finite: of a
/// sound network none is infinite.
fn quantise(logits: &[f32], values: &mut [u8], pixels: usize, pool: Option<&rayon::ThreadPool>) -> Vec<bool> {
    /// Pixels that a thread takes at a time: tiles are too few to be shared evenly.
    const PART: usize = 16 << 10;
    let turn = |(values, logits): (&mut [u8], &[f32])| {
        values.iter_mut().zip(logits).for_each(|(value, logit)| *value = quantised(*logit));
        logits.iter().all(|logit| logit.is_finite())
    };
    let tiles = values.chunks_mut(pixels).zip(logits.chunks(pixels));
    let shared = |(values, logits): (&mut [u8], &[f32])| {
        values.par_chunks_mut(PART).zip(logits.par_chunks(PART)).map(turn).reduce(|| true, |a, b| a & b)
    };
    match pool {
        Some(pool) => pool.install(|| tiles.map(shared).collect()),
        None => tiles.map(turn).collect(),
    }
}

/// `round(255 σ(logit))`.
fn quantised(logit: f32) -> u8 {
    // Nearly all pixels of a good cell: no need of their exponential to know that it comes to nothing.
    if logit < -6.24 {
        return 0;
    }
    (255.0 / (1.0 + (-logit).exp())).round() as u8
}

/// Compiles a checkpoint for a device.
///
/// `threads` is about the CPU, which on CUDA makes tiles ready; 0 stands for as many as there are. On CUDA only `bf16` and,
/// of U-Nets, `f16` are less than `f32`. With [`DeviceChoice::Auto`] the first CUDA device is used if this build and machine have
/// one, and it has room for the network; else the CPU. The log says which and why.
///
/// # Errors
/// A checkpoint whose tensors do not fit, or a device that is not there.
pub fn engine(
    checkpoint: &Checkpoint,
    device: DeviceChoice,
    precision: Precision,
    threads: impl Into<Threads>,
) -> Result<Box<dyn Engine>, NnError> {
    let threads = threads.into();
    match device {
        DeviceChoice::Cpu => Ok(Box::new(cpu::CpuEngine::new(checkpoint, crate::cell::SEEN_PX, precision, &threads)?)),
        DeviceChoice::Cuda(ordinal) => cuda_engine(checkpoint, ordinal, precision, &threads),
        DeviceChoice::Auto => match cuda_engine(checkpoint, 0, precision, &threads).and_then(tried) {
            Ok(engine) => {
                tracing::info!(device = "cuda:0", "network: CUDA device found");
                Ok(engine)
            }
            Err(NnError::Device { reason, .. }) => {
                // Whoever builds with CUDA counts on it, and a driver that fails looks like no device at all.
                if cfg!(feature = "cuda") {
                    tracing::warn!(device = "cpu", reason, "network: the CUDA device cannot be used, the CPU does it");
                } else {
                    tracing::info!(device = "cpu", reason, "network: the CPU does it");
                }
                engine(checkpoint, DeviceChoice::Cpu, precision, threads)
            }
            Err(error @ NnError::Tensor(_)) => {
                tracing::warn!(device = "cpu", %error, "network: the CUDA device fails with it, the CPU does it");
                engine(checkpoint, DeviceChoice::Cpu, precision, threads)
            }
            Err(other) => Err(other),
        },
    }
}

/// An engine that has done as many tiles as it ever will at a time: before that nobody knows whether its device has room.
fn tried(mut engine: Box<dyn Engine>) -> Result<Box<dyn Engine>, NnError> {
    engine.probabilities(engine.batch(), &mut |tiles| tiles.fill(0.0))?;
    Ok(engine)
}

/// What is told of a precision that CUDA has not.
const OPERATOR_BY_OPERATOR: &str =
    "on CUDA it runs operator by operator, slower; its compiled way takes bf16 or f16, a U-Net and a build with cuDNN";

/// The fastest engine for a CUDA device that computes this network as it should.
fn cuda_engine(checkpoint: &Checkpoint, ordinal: usize, precision: Precision, threads: &Threads) -> Result<Box<dyn Engine>, NnError> {
    // First of all it tells whether there is a device.
    let on_tensors = device::DeviceEngine::cuda(checkpoint, ordinal, precision)?;
    #[cfg(feature = "cudnn")]
    if checkpoint.meta.shape.architecture == Architecture::UNet {
        match precision {
            Precision::Bf16 => return compiled_for_cuda::<half::bf16>(checkpoint, ordinal, on_tensors, threads),
            Precision::F16 => return compiled_for_cuda::<half::f16>(checkpoint, ordinal, on_tensors, threads),
            Precision::F32 | Precision::F32Grade | Precision::Int8 => {}
        }
    }
    let used = on_tensors.precision();
    match precision {
        // The default, and nobody's numbers become coarser.
        Precision::F32Grade => tracing::info!(asked = %precision, %used, "network: {}", OPERATOR_BY_OPERATOR),
        Precision::F16 | Precision::Int8 => tracing::warn!(asked = %precision, %used, "network: {}", OPERATOR_BY_OPERATOR),
        Precision::F32 | Precision::Bf16 => {}
    }
    Ok(Box::new(on_tensors.with_threads(threads)?))
}

/// The engine compiled for numbers of `N` or, where it is refused, `on_tensors`, or that in `f32`: what lies behind them differs
/// from machine to machine, and a mask that is wrong tells nobody.
#[cfg(feature = "cudnn")]
fn compiled_for_cuda<N: super::kernels::cuda::Number>(
    checkpoint: &Checkpoint,
    ordinal: usize,
    mut on_tensors: device::DeviceEngine,
    threads: &Threads,
) -> Result<Box<dyn Engine>, NnError> {
    let compiled = || {
        let mut engine = cuda::CudaEngine::<N>::new(checkpoint, ordinal, threads)?;
        checked(checkpoint, ordinal, &mut engine).map(|()| engine)
    };
    match compiled() {
        Ok(engine) => return Ok(Box::new(engine)),
        Err(error) => {
            let used = on_tensors.precision();
            tracing::warn!(%error, %used, "network: its compiled way on CUDA cannot be taken, it runs operator by operator, slower");
        }
    }
    if on_tensors.precision() == Precision::F32 {
        return Ok(Box::new(on_tensors.with_threads(threads)?));
    }
    match checked(checkpoint, ordinal, &mut on_tensors) {
        Ok(()) => return Ok(Box::new(on_tensors.with_threads(threads)?)),
        Err(error) => tracing::warn!(%error, "network: nor can bf16, it runs in f32"),
    }
    Ok(Box::new(device::DeviceEngine::cuda(checkpoint, ordinal, Precision::F32)?.with_threads(threads)?))
}

/// Refuses an engine that computes something else than the network does in `f32`, in batches of any number of rows: cuDNN may
/// take another kernel for each.
#[cfg(feature = "cudnn")]
fn checked(checkpoint: &Checkpoint, ordinal: usize, engine: &mut dyn Engine) -> Result<(), NnError> {
    const ALLOWED: f64 = 0.05;
    let row: Vec<f32> = (0..TILES_PER_SIDE * SEEN_PX * SEEN_PX).map(|i| ((i * 7919) % 4099) as f32 / 1024.0 - 2.0).collect();
    let want = device::DeviceEngine::cuda(checkpoint, ordinal, Precision::F32)?.logits(&row, TILES_PER_SIDE)?;
    for rows in 1..=engine.batch() / TILES_PER_SIDE {
        // No row like the one before it, so that none can be taken for another.
        let turned = |values: &[f32], row: usize| {
            let mut turned = values.to_vec();
            turned.rotate_left(row % TILES_PER_SIDE * SEEN_PX * SEEN_PX);
            turned
        };
        let batch: Vec<f32> = (0..rows).flat_map(|number| turned(&row, number)).collect();
        for (number, got) in engine.logits(&batch, rows * TILES_PER_SIDE)?.chunks(row.len()).enumerate() {
            let error = relative_error(got, &turned(&want, number));
            if error.is_nan() || error > ALLOWED {
                return Err(NnError::Device {
                    wanted: format!("cuda:{ordinal}"),
                    reason: format!("in batches of {rows} rows logits are off by {error:.3} of their size, at most {ALLOWED} is rounding"),
                    remedy: "report the versions of driver and cuDNN".into(),
                });
            }
        }
    }
    Ok(())
}

/// Which tiles hold finite numbers alone. The ReLU of devices makes 0 of what is no number.
fn finite(tiles: &[f32]) -> impl Iterator<Item = bool> {
    tiles.chunks(SEEN_PX * SEEN_PX).map(|tile| !tile.iter().fold(false, |found, value| found | !value.is_finite()))
}

/// Takes the logits of tiles that are not sound for no numbers.
fn without_unsound(logits: &mut [f32], sound: impl Iterator<Item = bool>) {
    for (tile, _) in logits.chunks_mut(SEEN_PX * SEEN_PX).zip(sound).filter(|(_, sound)| !sound) {
        tile.fill(f32::NAN);
    }
}

/// How far `got` is from what was wanted, of that one's size (roots of the sums of squares).
#[cfg(any(feature = "cudnn", test))]
pub(super) fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    (square(&mut got.iter().zip(want).map(|(g, w)| g - w)) / square(&mut want.iter().copied())).sqrt()
}

/// Refuses a slice that does not hold `count` tiles of `side`.
fn check_tiles(tiles: &[f32], count: usize, side: usize) -> Result<(), NnError> {
    if Some(tiles.len()) == count.checked_mul(side * side) {
        return Ok(());
    }
    Err(NnError::Shape { found: format!("{} values", tiles.len()), expected: format!("{count} tiles of {side} × {side}") })
}

/// Refuses more tiles than `most`.
fn check_count(count: usize, most: usize) -> Result<(), NnError> {
    if count <= most {
        return Ok(());
    }
    Err(NnError::Shape { found: format!("{count} tiles at a time"), expected: format!("at most {most}") })
}
