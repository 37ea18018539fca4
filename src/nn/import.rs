//! Weights of PyTorch's most used U-Net become a checkpoint.

use super::checkpoint::read_tensor;
use super::{Architecture, Checkpoint, CheckpointMeta, NetworkShape, NnError, Upsampling};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;

impl Checkpoint {
    /// Reads the weights of a PyTorch U-Net (names `inc`, `down1` … `up4`, `outc`; `.safetensors`, or a state
    /// dict saved as `.pth`/`.pt`), recognises its width and upsampling, and describes them with `meta`, whose
    /// shape and format are replaced.
    ///
    /// # Errors
    /// A file that cannot be read, is of neither kind, or holds another network: [`NnError::Unfit`] with what
    /// was found and what was expected.
    pub fn import(path: impl AsRef<Path>, meta: CheckpointMeta) -> Result<Self, NnError> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|reason| NnError::Read { path: path.into(), reason })?;
        // A .pth file is a zip archive; a safetensors file begins with the length of its header.
        let tensors = if bytes.starts_with(b"PK") { from_pth(path, &origin)? } else { from_safetensors(&bytes, &origin)? };
        let mut tensors: BTreeMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("module.").map(str::to_owned).unwrap_or(name), tensor))
            .filter(|(name, _)| !name.ends_with(".num_batches_tracked") && name != "mask_values")
            .collect();
        let shape = recognise(&tensors, &origin)?;
        for tensor in tensors.values_mut() {
            *tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
        }
        let meta = CheckpointMeta { format: CheckpointMeta::FORMAT, shape, ..meta };
        let checkpoint = Self { meta, tensors, digest: String::new() };
        checkpoint.check_named(&origin)?;
        Ok(checkpoint)
    }
}

fn unfit(origin: &str, found: String, expected: &str) -> NnError {
    NnError::Unfit {
        origin: origin.into(),
        found,
        expected: expected.into(),
        remedy: "save the model's state dict (`torch.save(model.state_dict(), ...)`) of a U-Net with one input channel and one output"
            .into(),
    }
}

fn from_pth(path: &Path, origin: &str) -> Result<Vec<(String, Tensor)>, NnError> {
    let refuse = |error: candle_core::Error| unfit(origin, format!("a PyTorch file that cannot be read ({error})"), "a state dict");
    let archive = candle_core::pickle::PthTensors::new(path, None).map_err(refuse)?;
    let mut names: Vec<&String> = archive.tensor_infos().keys().collect();
    names.sort();
    let mut tensors = Vec::new();
    for name in names {
        if !name.ends_with("num_batches_tracked")
            && let Some(tensor) = archive.get(name).map_err(refuse)?
        {
            let values: Vec<f32> = tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(unfit(origin, format!("{name} with values that are not finite"), "weights that are numbers"));
            }
            tensors.push((name.clone(), tensor));
        }
    }
    Ok(tensors)
}

fn from_safetensors(bytes: &[u8], origin: &str) -> Result<Vec<(String, Tensor)>, NnError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| unfit(origin, format!("neither a safetensors file ({error}) nor a PyTorch archive"), "one of them"))?;
    file.iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, view)| Ok((name.to_owned(), read_tensor(name, &view, &Device::Cpu, origin)?)))
        .collect()
}

/// Width and upsampling, from the names and sizes of the weights.
fn recognise(tensors: &BTreeMap<String, Tensor>, origin: &str) -> Result<NetworkShape, NnError> {
    let first = "inc.double_conv.0.weight";
    let expected = "the weights of a U-Net named as PyTorch's most used one (inc, down1 … down4, up1 … up4, outc)";
    let Some(weight) = tensors.get(first) else {
        let some: Vec<&str> = tensors.keys().map(String::as_str).take(4).collect();
        return Err(unfit(origin, format!("no tensor {first} among {} ({} …)", tensors.len(), some.join(", ")), expected));
    };
    let (base_width, channels) = match weight.dims() {
        [width, channels, 3, 3] => (*width, *channels),
        other => return Err(unfit(origin, format!("{first} of {other:?}"), "[base width, 1, 3, 3]")),
    };
    if channels != 1 {
        return Err(unfit(origin, format!("a network for {channels} input channels"), "one grey channel"));
    }
    let classes = tensors.get("outc.conv.weight").and_then(|t| t.dims().first().copied());
    if let Some(classes) = classes.filter(|c| *c != 1) {
        return Err(unfit(origin, format!("a network with {classes} classes"), "one logit a pixel"));
    }
    let upsampling = if tensors.contains_key("up1.up.weight") { Upsampling::Transposed } else { Upsampling::Bilinear };
    Ok(NetworkShape { architecture: Architecture::UNet, base_width, upsampling })
}
