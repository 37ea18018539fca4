use super::{Engine, check_tiles};
use crate::cell::TILE_PX;
use crate::nn::{Checkpoint, Mode, Network, NnError};
use candle_core::{Device, Tensor};

/// The network on a device of candle's.
pub(super) struct DeviceEngine {
    network: Network,
    device: Device,
    name: String,
}

impl DeviceEngine {
    /// The network on CUDA device `ordinal`.
    pub(super) fn cuda(checkpoint: &Checkpoint, ordinal: usize) -> Result<Self, NnError> {
        let missing = |reason: String, remedy: &str| NnError::Device { wanted: format!("cuda:{ordinal}"), reason, remedy: remedy.into() };
        if !cfg!(feature = "cuda") {
            let remedy = "build with `--features cuda`, or set the device to `cpu` or `auto`";
            return Err(missing("this build has no CUDA".into(), remedy));
        }
        let device = Device::new_cuda(ordinal)
            .map_err(|error| missing(error.to_string(), "check `nvidia-smi`, or set the device to `cpu` or `auto`"))?;
        let network = Network::from_checkpoint(checkpoint, &device)?;
        Ok(Self { name: format!("{} on cuda:{ordinal}", checkpoint.meta.shape), network, device })
    }
}

impl Engine for DeviceEngine {
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError> {
        check_tiles(tiles, count, TILE_PX)?;
        let x = Tensor::from_slice(tiles, (count, 1, TILE_PX, TILE_PX), &self.device)?;
        Ok(self.network.forward(&x, Mode::Eval)?.flatten_all()?.to_vec1()?)
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
