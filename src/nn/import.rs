//! Weights of PyTorch's most used U-Net become a checkpoint.

mod pickle;

use super::checkpoint::read_tensor;
use super::{Architecture, Checkpoint, CheckpointMeta, NetworkShape, NnError, Upsampling};
use candle_core::{DType, Device, Tensor};
use pickle::Described;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;
use zip::result::{ZipError, ZipResult};

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
        let bytes = std::fs::read(path).map_err(|reason| NnError::Read { path: path.into(), reason })?;
        Self::import_bytes(&bytes, &path.display().to_string(), meta)
    }

    /// The same from memory; `origin` names the file in errors.
    ///
    /// # Errors
    /// As of [`Checkpoint::import`].
    pub fn import_bytes(bytes: &[u8], origin: &str, meta: CheckpointMeta) -> Result<Self, NnError> {
        // A .pth file is a zip archive; a safetensors file begins with the length of its header.
        let tensors = if bytes.starts_with(b"PK") { from_pth(bytes, origin)? } else { from_safetensors(bytes, origin)? };
        let tensors: BTreeMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("module.").map(str::to_owned).unwrap_or(name), tensor))
            .filter(|(name, _)| !name.ends_with(".num_batches_tracked") && name != "mask_values")
            .collect();
        let shape = recognise(&tensors, origin)?;
        let meta = CheckpointMeta { format: CheckpointMeta::FORMAT, shape, ..meta };
        let checkpoint = Self { meta, tensors, digest: String::new() };
        checkpoint.check_named(origin)?;
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

fn from_pth(bytes: &[u8], origin: &str) -> Result<Vec<(String, Tensor)>, NnError> {
    // First of all, so that nothing damaged is believed.
    let entries = entries(bytes).map_err(|error| NnError::Unfit {
        origin: origin.into(),
        found: format!("a PyTorch file that is damaged ({error})"),
        expected: "an archive whose checksums are right".into(),
        remedy: "copy it again".into(),
    })?;
    let refuse = |why: String| unfit(origin, format!("a PyTorch file that cannot be read ({why})"), "a state dict");
    let (folder, program) = entries
        .iter()
        .find_map(|(name, content)| Some((name.strip_suffix(".pkl").filter(|folder| folder.ends_with("data"))?, content)))
        .ok_or_else(|| refuse("it has no data.pkl".into()))?;
    let mut described = pickle::state_dict(program).map_err(refuse)?;
    described.retain(|tensor| !tensor.name.ends_with("num_batches_tracked"));
    described.sort_by(|a, b| a.name.cmp(&b.name));
    // Many tensors of the same values are no weights, and would fill the memory.
    let mut left = bytes.len();
    let tensor = |tensor: Described| {
        let Described { name, dtype, dims, storage, .. } = &tensor;
        let stored = entries.get(&format!("{folder}/{storage}")).map_or(&[][..], Vec::as_slice);
        let values = in_order(&tensor, stored)
            .ok_or_else(|| unfit(origin, format!("{name} of {dims:?} in {} bytes", stored.len()), "all of its values"))?;
        left = left.checked_sub(values.len()).ok_or_else(|| refuse("its tensors have more values than it holds".into()))?;
        let tensor = Tensor::from_raw_buffer(&values, *dtype, dims, &Device::Cpu)?.to_dtype(DType::F32)?;
        if tensor.flatten_all()?.to_vec1::<f32>()?.iter().any(|value| !value.is_finite()) {
            return Err(unfit(origin, format!("{name} with values that are not finite"), "weights that are numbers"));
        }
        Ok((name.clone(), tensor))
    };
    described.into_iter().map(tensor).collect()
}

/// What a zip archive holds, by name; a checksum that is wrong is an error, and so is more than lies in it: PyTorch packs nothing.
fn entries(archive: &[u8]) -> ZipResult<BTreeMap<String, Vec<u8>>> {
    let mut left = archive.len() as u64;
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index)?;
            let size = entry.size();
            left = left.checked_sub(size).ok_or(ZipError::InvalidArchive("it holds more than it has room for".into()))?;
            let mut content = Vec::new();
            // Past its end, where the checksum is looked at.
            entry.by_ref().take(size + 1).read_to_end(&mut content)?;
            if content.len() as u64 != size {
                return Err(ZipError::InvalidArchive("a file in it is of another size than it says".into()));
            }
            Ok((entry.name()?.into_owned(), content))
        })
        .collect()
}

/// The bytes of a tensor's values, line by line: PyTorch stores channels last as they lie, and tells their strides. `None` where
/// there are fewer.
fn in_order(tensor: &Described, stored: &[u8]) -> Option<Vec<u8>> {
    let Described { dims, strides, start, .. } = tensor;
    let bytes = tensor.dtype.size_in_bytes();
    let values = dims.iter().try_fold(1_usize, |values, dim| values.checked_mul(*dim))?;
    // Before anything is allocated; as many may be asked for from fewer, with strides of 0, which no weights have.
    let mut ordered = Vec::with_capacity(values.checked_mul(bytes).filter(|size| *size <= stored.len())?);
    for number in 0..values {
        let (mut at, mut left) = (*start, number);
        for (dim, stride) in dims.iter().zip(strides).rev() {
            at = (left % dim).checked_mul(*stride)?.checked_add(at)?;
            left /= dim;
        }
        let at = at.checked_mul(bytes)?;
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
