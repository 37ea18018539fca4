//! Weights of PyTorch's most used U-Net become a checkpoint.

use super::checkpoint::read_tensor;
use super::{Architecture, Checkpoint, CheckpointMeta, NetworkShape, NnError, Upsampling};
use candle_core::pickle::{TensorInfo, read_pth_tensor_info};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipResult;

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
        let tensors = if bytes.starts_with(b"PK") { from_pth(path, &bytes, &origin)? } else { from_safetensors(&bytes, &origin)? };
        let tensors: BTreeMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("module.").map(str::to_owned).unwrap_or(name), tensor))
            .filter(|(name, _)| !name.ends_with(".num_batches_tracked") && name != "mask_values")
            .collect();
        let shape = recognise(&tensors, &origin)?;
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

fn from_pth(path: &Path, bytes: &[u8], origin: &str) -> Result<Vec<(String, Tensor)>, NnError> {
    // First of all, so that nothing damaged is believed.
    let entries = entries(bytes).map_err(|error| NnError::Unfit {
        origin: origin.into(),
        found: format!("a PyTorch file that is damaged ({error})"),
        expected: "an archive whose checksums are right".into(),
        remedy: "copy it again".into(),
    })?;
    let refuse = |error: candle_core::Error| unfit(origin, format!("a PyTorch file that cannot be read ({error})"), "a state dict");
    let mut infos = read_pth_tensor_info(path, false, None).map_err(refuse)?;
    infos.retain(|info| !info.name.ends_with("num_batches_tracked"));
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    let tensor = |info: TensorInfo| {
        let TensorInfo { name, dtype, layout, .. } = &info;
        let stored = entries.get(&info.path).map_or(&[][..], Vec::as_slice);
        let values = in_order(&info, stored)
            .ok_or_else(|| unfit(origin, format!("{name} of {:?} in {} bytes", layout.dims(), stored.len()), "all of its values"))?;
        let tensor = Tensor::from_raw_buffer(&values, *dtype, layout.dims(), &Device::Cpu)?.to_dtype(DType::F32)?;
        if tensor.flatten_all()?.to_vec1::<f32>()?.iter().any(|value| !value.is_finite()) {
            return Err(unfit(origin, format!("{name} with values that are not finite"), "weights that are numbers"));
        }
        Ok((info.name, tensor))
    };
    infos.into_iter().map(tensor).collect()
}

/// What a zip archive holds, by name; a checksum that is wrong is an error.
fn entries(archive: &[u8]) -> ZipResult<HashMap<String, Vec<u8>>> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index)?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            Ok((entry.name()?.into_owned(), content))
        })
        .collect()
}

/// The bytes of a tensor's values, line by line: PyTorch stores channels last as they lie, and tells their strides. `None` where
/// there are fewer.
fn in_order(info: &TensorInfo, stored: &[u8]) -> Option<Vec<u8>> {
    let (dims, strides, bytes) = (info.layout.dims(), info.layout.stride(), info.dtype.size_in_bytes());
    let values = dims.iter().try_fold(1_usize, |values, dim| values.checked_mul(*dim))?;
    // Before anything is allocated; as many may be asked for from fewer, with strides of 0, which no weights have.
    let mut ordered = Vec::with_capacity(values.checked_mul(bytes).filter(|size| *size <= stored.len())?);
    for number in 0..values {
        // candle counts the start in bytes, strides in values.
        let (mut at, mut left) = (info.layout.start_offset(), number);
        for (dim, stride) in dims.iter().zip(strides).rev() {
            at = (left % dim).checked_mul(*stride)?.checked_mul(bytes)?.checked_add(at)?;
            left /= dim;
        }
        ordered.extend_from_slice(stored.get(at..at.checked_add(bytes)?)?);
    }
    Some(ordered)
}

fn from_safetensors(bytes: &[u8], origin: &str) -> Result<Vec<(String, Tensor)>, NnError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| unfit(origin, format!("neither a safetensors file ({error}) nor a PyTorch archive"), "one of them"))?;
    file.iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, view)| Ok((name.to_owned(), read_tensor(name, &view, origin)?)))
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
