use super::layout::{self, Start};
use super::seal::{self, METADATA_KEY};
use super::{NetworkShape, NnError, Normalisation};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Version of this description, [`CheckpointMeta::FORMAT`].
    pub format: u32,
    /// What to build.
    pub shape: NetworkShape,
    /// How its input is made of grey values.
    pub normalisation: Normalisation,
    /// Probability from which a pixel counts as crack.
    pub threshold: f32,
    /// The finest pixel pitch it was trained for, mm.
    pub mm_per_px_min: f64,
    /// The coarsest pixel pitch it was trained for, mm.
    pub mm_per_px_max: f64,
    /// Summary of the training, for people.
    pub training: serde_json::Value,
    /// SHA-256 of the training data's description, hex; empty where unknown.
    pub data_digest: String,
    /// Digests of the pictures that it, or a network it began with, has learnt from; absent where nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt: Option<BTreeSet<String>>,
    /// The model's name, as published with each verdict.
    pub name: String,
    /// What `int8` needs to know; absent until `train quantise` has found it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<Quantisation>,
}

/// How far activations reach, so that eight bits are enough for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantisation {
    /// For each convolution by name how far its results reach; those of transposed ones in both directions.
    pub ranges: BTreeMap<String, f32>,
    /// What the pictures were, and what `int8` cost on others, for people.
    pub report: serde_json::Value,
}

impl CheckpointMeta {
    /// The version written and read.
    pub const FORMAT: u32 = 1;

    /// Whether a model may be called so: its name becomes a file's in `models/`, and must not lead out of there.
    pub fn is_name(name: &str) -> bool {
        !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
    }

    /// The description of a network of which nothing but the shape is known.
    pub fn of(shape: NetworkShape, name: &str) -> Self {
        Self {
            format: Self::FORMAT,
            shape,
            normalisation: Normalisation::Tile,
            threshold: 0.5,
            mm_per_px_min: 0.1,
            mm_per_px_max: 0.2,
            training: serde_json::Value::Null,
            data_digest: String::new(),
            learnt: None,
            name: name.into(),
            quantisation: None,
        }
    }
}

/// A network's weights with their description: one safetensors file.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The description.
    pub meta: CheckpointMeta,
    /// Every tensor of the network by its name, `f32`.
    pub tensors: BTreeMap<String, Tensor>,
    /// SHA-256 of the file it was loaded from, hex; empty where it comes from no checkpoint file.
    pub digest: String,
}

impl Checkpoint {
    /// Reads a checkpoint; its tensors lie on the CPU, from where networks and engines take them to their device.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit (see [`Checkpoint::load_bytes`]).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NnError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|reason| NnError::Read { path: path.into(), reason })?;
        Self::load_bytes(&bytes, &path.display().to_string())
    }

    /// Reads a checkpoint from memory; `origin` names it in errors.
    ///
    /// # Errors
    /// Bytes that are no safetensors file, were damaged since they were written, carry no or an unknown description, or hold other
    /// tensors than the described network has: [`NnError::Unfit`] with what was found and what was expected.
    pub fn load_bytes(bytes: &[u8], origin: &str) -> Result<Self, NnError> {
        // Hashing takes as long as all else: it is done beside it.
        let hash = || hex::encode(Sha256::digest(bytes));
        let (read, digest) = std::thread::scope(|scope| {
            let hashing = std::thread::Builder::new().name("digest".into()).spawn_scoped(scope, hash);
            let read = Self::read(bytes, origin);
            (read, hashing.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(hash))
        });
        Ok(Self { digest, ..read? })
    }

    /// What [`Checkpoint::load_bytes`] gives, but for the digest.
    fn read(bytes: &[u8], origin: &str) -> Result<Self, NnError> {
        let unfit = |found: String, expected: &str, remedy: &str| NnError::Unfit {
            origin: origin.into(),
            found,
            expected: expected.into(),
            remedy: remedy.into(),
        };
        if seal::is_damaged(bytes) {
            return Err(unfit(
                "a damaged file: its SHA-256 is not the one that was written into it".into(),
                "it as it was written",
                "copy it again from where it was made",
            ));
        }
        let not_safetensors = |error: safetensors::SafeTensorError| {
            unfit(
                format!("no safetensors file ({error})"),
                "a checkpoint written by `train fit` or `train import`",
                "check the path; copy a checkpoint again, turn PyTorch weights (.pth) into one with `train import`",
            )
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let Some(description) = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)) else {
            return Err(unfit(
                "safetensors without the description of a Hairline network".into(),
                &format!("metadata under the key `{METADATA_KEY}`"),
                "if these are weights of a PyTorch U-Net, turn them into a checkpoint with `train import`",
            ));
        };
        let newer = "train or import it again with this version, or use the version that wrote it";
        // The version is looked at first: another one may have other fields.
        let format = serde_json::from_str::<serde_json::Value>(description).ok().and_then(|v| v.get("format")?.as_u64());
        if format != Some(u64::from(CheckpointMeta::FORMAT)) {
            let found = format.map_or_else(|| "a description without a format number".into(), |f| format!("format {f}"));
            return Err(unfit(found, &format!("format {}", CheckpointMeta::FORMAT), newer));
        }
        let meta: CheckpointMeta = serde_json::from_str(description)
            .map_err(|error| unfit(format!("a description that cannot be read ({error})"), "the fields of format 1", newer))?;
        check_meta(&meta, origin)?;
        let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let tensor = read_tensor(name, &view, origin)?;
            tensors.insert(name.to_owned(), tensor);
        }
        let checkpoint = Self { meta, tensors, digest: String::new() };
        checkpoint.check_named(origin)?;
        Ok(checkpoint)
    }

    /// Writes the checkpoint with its SHA-256: beside its place first, then renamed, so that a reader never sees half of it.
    ///
    /// # Errors
    /// Tensors that do not fit the description or are not finite, or a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), NnError> {
        let path = path.as_ref();
        check_meta(&self.meta, &path.display().to_string())?;
        self.check_named(&path.display().to_string())?;
        let description = seal::description(&self.meta).map_err(|error| NnError::Unfit {
            origin: path.display().to_string(),
            found: format!("a description that cannot be written ({error})"),
            expected: "plain JSON".into(),
            remedy: "check the training summary".into(),
        })?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), description)]);
        if let Some(name) = first_not_finite(&self.tensors)? {
            return Err(NnError::Unfit {
                origin: path.display().to_string(),
                found: format!("{name} with values that are not finite"),
                expected: "numbers".into(),
                remedy: "nothing was written; go back to an earlier checkpoint, or train again with a lower learning rate".into(),
            });
        }
        let cpu: Vec<(&String, Tensor)> =
            self.tensors.iter().map(|(name, t)| Ok((name, t.to_device(&Device::Cpu)?.contiguous()?))).collect::<Result<_, NnError>>()?;
        let mut bytes =
            safetensors::serialize(cpu.iter().map(|(name, t)| (name.as_str(), t)), Some(metadata)).map_err(candle_core::Error::wrap)?;
        seal::seal(&mut bytes);
        let write = |reason| NnError::Write { path: path.into(), reason };
        crate::disk::write_whole(path, &bytes).map_err(write)
    }

    /// The tensor of that name.
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor, NnError> {
        self.tensors.get(name).ok_or_else(|| NnError::Unfit {
            origin: self.meta.name.clone(),
            found: format!("no tensor {name}"),
            expected: format!("the tensors of a {}", self.meta.shape),
            remedy: "train or import it again".into(),
        })
    }

    /// Refuses tensors that are not exactly those of the described network.
    pub(super) fn check(&self) -> Result<(), NnError> {
        self.check_named(&self.meta.name)
    }

    pub(super) fn check_named(&self, origin: &str) -> Result<(), NnError> {
        let shape = &self.meta.shape;
        shape.check()?;
        let parameters = layout::parameters(shape);
        let refuse = |found: String, expected: String| NnError::Unfit {
            origin: origin.into(),
            found,
            expected,
            remedy: format!("the description says {shape}; train or import it again if its tensors are of another network"),
        };
        for parameter in &parameters {
            match self.tensors.get(&parameter.name) {
                None => {
                    return Err(refuse(format!("no tensor {}", parameter.name), format!("{} of {:?}", parameter.name, parameter.shape)));
                }
                Some(tensor) if tensor.dims() != parameter.shape.as_slice() || tensor.dtype() != DType::F32 => {
                    let found = format!("{} of {:?} {}", parameter.name, tensor.dims(), tensor.dtype().as_str());
                    return Err(refuse(found, format!("{:?} f32", parameter.shape)));
                }
                Some(tensor) if parameter.start == Start::Variance && tensor.min_all()?.to_scalar::<f32>()? < 0.0 => {
                    return Err(refuse(format!("{} with values below 0", parameter.name), "variances".into()));
                }
                Some(_) => {}
            }
        }
        if self.tensors.len() != parameters.len() {
            let known: std::collections::BTreeSet<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let extra: Vec<&str> = self.tensors.keys().map(String::as_str).filter(|name| !known.contains(name)).take(3).collect();
            return Err(refuse(
                format!("tensors that do not belong to it ({})", extra.join(", ")),
                format!("{} tensors", parameters.len()),
            ));
        }
        Ok(())
    }
}

/// Refuses values that nobody can work with.
fn check_meta(meta: &CheckpointMeta, origin: &str) -> Result<(), NnError> {
    let refuse = |found: String, expected: &str| {
        Err(NnError::Unfit { origin: origin.into(), found, expected: expected.into(), remedy: "train or import it again".into() })
    };
    if !(meta.threshold > 0.0 && meta.threshold < 1.0) {
        return refuse(format!("a threshold of {}", meta.threshold), "a probability between 0 and 1");
    }
    if !(meta.mm_per_px_min > 0.0 && meta.mm_per_px_min <= meta.mm_per_px_max && meta.mm_per_px_max.is_finite()) {
        return refuse(format!("pixel pitches from {} to {} mm", meta.mm_per_px_min, meta.mm_per_px_max), "a positive range");
    }
    if let Normalisation::Fixed { mean, std } = meta.normalisation
        && !meta.normalisation.is_usable()
    {
        return refuse(format!("a normalisation with mean {mean} and std {std}"), "numbers that make finite ones of every grey value");
    }
    Ok(())
}

/// A tensor of a safetensors file as `f32`, on the CPU.
pub(super) fn read_tensor(name: &str, view: &safetensors::tensor::TensorView<'_>, origin: &str) -> Result<Tensor, NnError> {
    let refuse = |found: String, expected: &str, remedy: &str| NnError::Unfit {
        origin: origin.into(),
        found,
        expected: expected.into(),
        remedy: remedy.into(),
    };
    let bytes = view.data();
    let values: Vec<f32> = match view.dtype() {
        safetensors::Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        safetensors::Dtype::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        safetensors::Dtype::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => return Err(refuse(format!("{name} of {other:?}"), "tensors of f32", "convert the weights to f32 and import them again")),
    };
    if values.iter().any(|v| !v.is_finite()) {
        let remedy = "the training that wrote it diverged; take an earlier checkpoint, or train again with a lower learning rate";
        return Err(refuse(format!("{name} with values that are not finite"), "numbers", remedy));
    }
    Ok(Tensor::from_vec(values, view.shape(), &Device::Cpu)?)
}

/// The name of the first tensor that holds an infinity or what is no number.
///
/// # Errors
/// A device that fails.
pub fn first_not_finite<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Result<Option<&'a str>, NnError> {
    for (name, tensor) in tensors {
        let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        if values.iter().any(|value| !value.is_finite()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
