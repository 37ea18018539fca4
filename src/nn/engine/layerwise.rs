use super::pool::pool;
use super::{Engine, check_tiles};
use crate::cell::SEEN_PX;
use crate::config::{Precision, Threads};
use crate::nn::kernels::Isa;
use crate::nn::{Architecture, Checkpoint, Mode, Network, NnError};
use candle_core::{Device, Tensor};
use std::sync::Arc;

/// A network on the CPU layer by layer, as in training: for those that the compiled engine does not know.
///
/// Tiles go through one after the other, each layer shared out among the threads.
pub(super) struct LayerwiseEngine {
    network: Network,
    pool: Arc<rayon::ThreadPool>,
    precision: Precision,
    name: String,
}

impl LayerwiseEngine {
    /// Says in the log what keeps the network from the compiled engine.
    pub(super) fn new(checkpoint: &Checkpoint, asked: Precision, threads: &Threads) -> Result<Self, NnError> {
        let precision = computed_in(asked, checkpoint.meta.shape.architecture);
        if precision != asked && asked != Precision::F32Grade {
            tracing::warn!(%asked, used = %precision, "network: this network is not computed so here");
        }
        let network = Network::from_checkpoint(checkpoint, &Device::Cpu)?;
        let pool = Arc::new(pool(threads)?);
        let shape = checkpoint.meta.shape;
        let lacking = missing(shape.architecture);
        tracing::warn!(network = %shape, lacking, "network: the compiled engine lacks operators of this network, it runs layer by layer and slower");
        let name = format!("{shape} on the CPU layer by layer, {precision}, {} threads", pool.current_num_threads());
        Ok(Self { network, pool, precision, name })
    }
}

/// What `asked` comes to.
fn computed_in(asked: Precision, architecture: Architecture) -> Precision {
    match asked {
        Precision::F32Grade | Precision::Bf16 | Precision::F16 if !Isa::Amx.is_here() => Precision::F32,
        // In bf16 many of the places that it unpools to are other ones: two fifths of the logits' size on a random network.
        Precision::Bf16 if architecture == Architecture::SegNet => Precision::F32Grade,
        Precision::F16 => Precision::F32Grade,
        Precision::F32Grade | Precision::Bf16 => asked,
        Precision::F32 | Precision::Int8 => Precision::F32,
    }
}

/// What the compiled engine lacks.
pub(super) fn missing(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::UNet => "nothing",
        Architecture::SegNet => "pooling with places, unpooling",
        Architecture::PspNet => "dilated convolution, average pooling, interpolation to any size",
        Architecture::DeepLabV3 => "dilated convolution, image pooling, interpolation to any size",
    }
}

impl Engine for LayerwiseEngine {
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError> {
        check_tiles(tiles, count, SEEN_PX)?;
        let mut logits = Vec::with_capacity(tiles.len());
        for tile in tiles.chunks_exact(SEEN_PX * SEEN_PX) {
            let x = Tensor::from_slice(tile, (1, 1, SEEN_PX, SEEN_PX), &Device::Cpu)?;
            logits.extend(self.pool.install(|| self.network.forward(&x, Mode::Inspect(self.precision)))?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(logits)
    }

    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        Some(self.pool.clone())
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
