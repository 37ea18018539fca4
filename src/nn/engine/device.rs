use super::pool::pool;
use super::tensors::FoldedUNet;
use super::{Engine, Probabilities, check_count, check_tiles, finite, without_unsound};
use crate::cell::SEEN_PX;
use crate::config::{Precision, Threads};
#[cfg(feature = "cuda")]
use crate::nn::kernels::cuda::{hand_back, opened};
use crate::nn::{Architecture, Checkpoint, Mode, Network, NnError};
use candle_core::{DType, Device, Result, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tiles that go through at a time: two cells; more would fill the device no better and take more of its memory. Without cuDNN
/// every convolution spreads its input out ninefold, and one row is enough of that.
const BATCH: usize = if cfg!(feature = "cudnn") { 18 } else { 3 };

/// CUDA device `ordinal`, the same one each time: what libraries keep for a device they keep until the process ends.
///
/// # Errors
/// Where there is none, or this build has no CUDA.
pub fn cuda_device(ordinal: usize) -> Result<Device> {
    static DEVICES: Mutex<Option<HashMap<usize, Device>>> = Mutex::new(None);
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = devices.get_or_insert_default();
    if let Some(device) = known.get(&ordinal) {
        return Ok(device.clone());
    }
    #[cfg(feature = "cuda")]
    let device = Device::Cuda(opened(ordinal)?);
    #[cfg(not(feature = "cuda"))]
    let device = Device::new_cuda(ordinal)?;
    known.insert(ordinal, device.clone());
    Ok(device)
}

/// A network on a device of candle's.
pub(super) struct DeviceEngine {
    body: Body,
    device: Device,
    precision: Precision,
    pool: Option<Arc<rayon::ThreadPool>>,
    /// The batch before, so that its memory need not be taken anew for the next one.
    tiles: Vec<f32>,
    name: String,
    /// After all that holds tensors: fields are dropped in their order.
    #[cfg(feature = "cuda")]
    _taken: Taken,
}

/// The memory that a device keeps for an engine's next batch, handed back when the engine is gone.
#[cfg(feature = "cuda")]
struct Taken(Device);

#[cfg(feature = "cuda")]
impl Drop for Taken {
    fn drop(&mut self) {
        if let Device::Cuda(device) = &self.0
            && let Err(problem) = hand_back(device)
        {
            tracing::warn!(%problem, "network: the device keeps memory that nothing uses");
        }
    }
}

enum Body {
    /// A U-Net with its batch norms folded.
    Folded(FoldedUNet),
    /// Any other network as it is trained.
    Layered(Network),
}

/// What the compiled engine of a device lacks of a network.
fn lacking(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::UNet => "nothing",
        Architecture::SegNet => "pooling with places, unpooling",
        Architecture::PspNet => "dilated convolution, average pooling, interpolation to any size",
        Architecture::DeepLabV3 => "dilated convolution, image pooling, interpolation to any size",
    }
}

impl DeviceEngine {
    /// The network on CUDA device `ordinal`, in `bf16` if that is asked for, else in `f32`: candle adds products of f16 up in f16.
    pub(super) fn cuda(checkpoint: &Checkpoint, ordinal: usize, precision: Precision) -> std::result::Result<Self, NnError> {
        let missing = |reason: String, remedy: &str| NnError::Device { wanted: format!("cuda:{ordinal}"), reason, remedy: remedy.into() };
        if !cfg!(feature = "cuda") {
            let remedy = "build with `--features cudnn`, or set the device to `cpu` or `auto`";
            return Err(missing("this build has no CUDA".into(), remedy));
        }
        let device =
            cuda_device(ordinal).map_err(|error| missing(error.to_string(), "check `nvidia-smi`, or set the device to `cpu` or `auto`"))?;
        let dtype = if precision == Precision::Bf16 { DType::BF16 } else { DType::F32 };
        Self::on(checkpoint, device, dtype, &format!("cuda:{ordinal}"))
    }

    /// The network on any device, a U-Net in `dtype`, others in `f32`.
    pub(super) fn on(checkpoint: &Checkpoint, device: Device, dtype: DType, place: &str) -> std::result::Result<Self, NnError> {
        let shape = checkpoint.meta.shape;
        let (body, used) = if shape.architecture == Architecture::UNet {
            (Body::Folded(FoldedUNet::new(checkpoint, &device, dtype)?), dtype)
        } else {
            let lacking = lacking(shape.architecture);
            tracing::warn!(network = %shape, lacking, "network: the compiled engine of this device lacks operators of this network, it runs layer by layer in f32");
            (Body::Layered(Network::from_checkpoint(checkpoint, &device)?), DType::F32)
        };
        let precision = if used == DType::BF16 { Precision::Bf16 } else { Precision::F32 };
        Ok(Self {
            body,
            #[cfg(feature = "cuda")]
            _taken: Taken(device.clone()),
            device,
            precision,
            pool: None,
            tiles: Vec::new(),
            name: format!("{shape} on {place}, {}", used.as_str()),
        })
    }

    /// With threads of its own to make tiles ready.
    pub(super) fn with_threads(self, threads: &Threads) -> std::result::Result<Self, NnError> {
        Ok(Self { pool: Some(Arc::new(pool(threads)?)), ..self })
    }

    /// Calls `each` with the logits, `[n, 1, h, w]` in `f32`, of one batch after the other.
    fn batches(&self, tiles: &[f32], count: usize, mut each: impl FnMut(&Tensor) -> Result<()>) -> std::result::Result<(), NnError> {
        check_tiles(tiles, count, SEEN_PX)?;
        for tiles in tiles.chunks(BATCH * SEEN_PX * SEEN_PX) {
            let x = Tensor::from_slice(tiles, (tiles.len() / SEEN_PX / SEEN_PX, 1, SEEN_PX, SEEN_PX), &self.device)?;
            let logits = match &self.body {
                Body::Folded(network) => network.forward(&x)?,
                Body::Layered(network) => network.forward(&x, Mode::Eval)?,
            };
            each(&logits)?;
        }
        Ok(())
    }
}

impl Engine for DeviceEngine {
    fn logits(&mut self, tiles: &[f32], count: usize) -> std::result::Result<Vec<f32>, NnError> {
        let mut all = Vec::with_capacity(tiles.len());
        self.batches(tiles, count, |logits| {
            all.extend(logits.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        })?;
        without_unsound(&mut all, finite(tiles));
        Ok(all)
    }

    /// Turned into probabilities on the device, so that a quarter of the bytes comes back.
    fn probabilities(&mut self, count: usize, fill: &mut dyn FnMut(&mut [f32])) -> std::result::Result<Probabilities<'_>, NnError> {
        check_count(count, BATCH)?;
        self.tiles.resize(count * SEEN_PX * SEEN_PX, 0.0);
        fill(&mut self.tiles);
        let (mut values, mut sound) = (Vec::with_capacity(self.tiles.len()), Vec::with_capacity(count));
        self.batches(&self.tiles, count, |logits| {
            // Nothing times what is no finite number is none.
            let nothing = logits.affine(0.0, 0.0)?.flatten_from(1)?.sum(1)?;
            sound.extend(nothing.to_vec1::<f32>()?.iter().map(|nothing| *nothing == 0.0));
            let quantised = candle_nn::ops::sigmoid(logits)?.affine(255.0, 0.0)?.round()?.to_dtype(DType::U8)?;
            values.extend(quantised.flatten_all()?.to_vec1::<u8>()?);
            Ok(())
        })?;
        sound.iter_mut().zip(finite(&self.tiles)).for_each(|(sound, finite)| *sound &= finite);
        Ok(Probabilities { values: values.into(), sound })
    }

    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        self.pool.clone()
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
