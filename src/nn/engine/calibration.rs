use super::check_tiles;
use super::tensors::FoldedUNet;
use crate::cell::SEEN_PX;
use crate::nn::{Architecture, Checkpoint, CheckpointMeta, NnError};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// Finds out how far a U-Net's activations reach, so that `int8` can count them in 255ths of it.
pub struct Calibration {
    network: FoldedUNet,
    ranges: BTreeMap<String, f32>,
}

impl Calibration {
    /// Share of a tile's activations that lie below its range: what is beyond it is cut off, and a few values that
    /// reach far would make all others coarse.
    const WITHIN: f64 = 0.9999;
    /// The least range: a convolution that never puts anything out needs one too.
    const LEAST: f32 = 1e-6;

    /// Begins.
    ///
    /// # Errors
    /// A network that `int8` cannot run, or tensors that do not fit.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, NnError> {
        check_kind(&checkpoint.meta)?;
        Ok(Self { network: FoldedUNet::new(checkpoint, &Device::Cpu, DType::F32)?, ranges: BTreeMap::new() })
    }

    /// Looks at one normalised tile. The range is the widest of all tiles'.
    ///
    /// # Errors
    /// A slice of another length.
    pub fn add(&mut self, tile: &[f32]) -> Result<(), NnError> {
        check_tiles(tile, 1, SEEN_PX)?;
        let ranges = &mut self.ranges;
        let x = Tensor::from_slice(tile, (1, 1, SEEN_PX, SEEN_PX), &Device::Cpu)?;
        self.network.forward_seen(&x, &mut |name, activations| {
            let mut values: Vec<f32> = activations.abs()?.flatten_all()?.to_vec1()?;
            let place = ((values.len() - 1) as f64 * Self::WITHIN) as usize;
            let (_, reach, _) = values.select_nth_unstable_by(place, f32::total_cmp);
            let range = ranges.entry(name.to_owned()).or_insert(Self::LEAST);
            *range = range.max(*reach);
            Ok(())
        })?;
        Ok(())
    }

    /// For each convolution by name how far its activations reach.
    pub fn finish(self) -> BTreeMap<String, f32> {
        self.ranges
    }
}

/// The ranges of a model that is to run in `int8`.
///
/// # Errors
/// [`NnError::Unfit`] where it cannot, with the remedy.
pub fn ranges(meta: &CheckpointMeta) -> Result<&BTreeMap<String, f32>, NnError> {
    check_kind(meta)?;
    let unprepared = || unfit(meta, "no ranges of its activations", "prepare it with `train quantise`, or take another precision");
    meta.quantisation.as_ref().map(|quantisation| &quantisation.ranges).ok_or_else(unprepared)
}

fn check_kind(meta: &CheckpointMeta) -> Result<(), NnError> {
    match meta.shape.architecture {
        Architecture::UNet => Ok(()),
        _ => Err(unfit(meta, &meta.shape.to_string(), "take another precision, or a U-Net")),
    }
}

fn unfit(meta: &CheckpointMeta, found: &str, remedy: &str) -> NnError {
    NnError::Unfit { origin: meta.name.clone(), found: found.into(), expected: "a U-Net prepared for int8".into(), remedy: remedy.into() }
}
