//! Inference behind a small interface.

mod cpu;
mod device;
mod fold;
mod layerwise;
mod plan;
#[cfg(test)]
mod tests;

use super::{Architecture, Checkpoint, NnError};
use crate::config::{DeviceChoice, Precision};

/// A network ready to inspect tiles.
pub trait Engine: Send {
    /// Logits of `count` normalised tiles of `TILE_PX × TILE_PX`, tile by tile, line by line; as many
    /// values come back. Whatever the batch, a tile has the same logits.
    ///
    /// # Errors
    /// A slice of another length than `count` tiles have, or a device that fails.
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError>;

    /// One line for the log: what runs where.
    fn describe(&self) -> String;
}

/// Compiles a checkpoint for a device.
///
/// `precision` and `threads` are about the CPU; 0 threads stand for as many as there are. With [`DeviceChoice::Auto`] the first CUDA device
/// is used if this build and machine have one, else the CPU; the log says which and why.
///
/// # Errors
/// A checkpoint whose tensors do not fit, or a device that is not there.
pub fn engine(checkpoint: &Checkpoint, device: DeviceChoice, precision: Precision, threads: usize) -> Result<Box<dyn Engine>, NnError> {
    match device {
        DeviceChoice::Cpu if checkpoint.meta.shape.architecture != Architecture::UNet => {
            Ok(Box::new(layerwise::LayerwiseEngine::new(checkpoint, threads)?))
        }
        DeviceChoice::Cpu => Ok(Box::new(cpu::CpuEngine::new(checkpoint, crate::cell::TILE_PX, precision, threads)?)),
        DeviceChoice::Cuda(ordinal) => Ok(Box::new(device::DeviceEngine::cuda(checkpoint, ordinal)?)),
        DeviceChoice::Auto => match device::DeviceEngine::cuda(checkpoint, 0) {
            Ok(engine) => {
                tracing::info!(device = "cuda:0", "network: CUDA device found");
                Ok(Box::new(engine))
            }
            Err(NnError::Device { reason, .. }) => {
                tracing::info!(device = "cpu", reason, "network: no CUDA device, the CPU does it");
                engine(checkpoint, DeviceChoice::Cpu, precision, threads)
            }
            Err(other) => Err(other),
        },
    }
}

/// Refuses a slice that does not hold `count` tiles of `side`.
fn check_tiles(tiles: &[f32], count: usize, side: usize) -> Result<(), NnError> {
    if Some(tiles.len()) == count.checked_mul(side * side) {
        return Ok(());
    }
    Err(NnError::Shape { found: format!("{} values", tiles.len()), expected: format!("{count} tiles of {side} × {side}") })
}
