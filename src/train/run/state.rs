use crate::measure::Counts;
use crate::nn::{Checkpoint, CheckpointMeta, Network};
use crate::train::TrainError;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// After which step.
    pub step: u64,
    /// What was counted.
    pub counts: Counts,
}

/// Everything but its settings that a training needs to go on as if it had never been interrupted.
///
/// Weights and optimiser lie in one file, so that they are never of different steps. The position in
/// the stream of crops and the learning rate follow from the step.
#[derive(Debug, Clone)]
pub struct TrainingState {
    /// Steps done.
    pub step: u64,
    /// Time taken so far.
    pub elapsed: Duration,
    /// Thereof waiting for data.
    pub waited: Duration,
    /// Whether the weights have been evaluated.
    pub evaluated: bool,
    /// Whether they should have been, but the training ended before it.
    pub evaluation_due: bool,
    /// The best so far.
    pub best: Option<Best>,
    /// The weights with their description, which tells the data's digest too.
    pub weights: Checkpoint,
    /// The optimiser's tensors.
    pub optimiser: BTreeMap<String, Tensor>,
}

const METADATA_KEY: &str = "hairline-training-state";
const WEIGHTS: &str = "weights/";
const OPTIMISER: &str = "optimiser/";

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    step: u64,
    elapsed_s: f64,
    waited_s: f64,
    evaluated: bool,
    #[serde(default)]
    evaluation_due: bool,
    /// Step, TP, FP, FN.
    best: Option<(u64, u64, u64, u64)>,
    meta: CheckpointMeta,
}

const FORMAT: u32 = 1;

impl TrainingState {
    /// Writes the state, beside first, then renamed.
    ///
    /// # Errors
    /// A device that fails or a file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let description = Description {
            format: FORMAT,
            step: self.step,
            elapsed_s: self.elapsed.as_secs_f64(),
            waited_s: self.waited.as_secs_f64(),
            evaluated: self.evaluated,
            evaluation_due: self.evaluation_due,
            best: self.best.map(|Best { step, counts: Counts { tp, fp, fn_ } }| (step, tp, fp, fn_)),
            meta: self.weights.meta.clone(),
        };
        let text = serde_json::to_string(&description)
            .map_err(|error| TrainError::Data { path: path.to_owned(), problem: format!("cannot be described ({error})") })?;
        let weights = self.weights.tensors.iter().map(|(name, tensor)| (format!("{WEIGHTS}{name}"), tensor));
        let optimiser = self.optimiser.iter().map(|(name, tensor)| (format!("{OPTIMISER}{name}"), tensor));
        let tensors = weights
            .chain(optimiser)
            .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
            .collect::<Result<Vec<_>, TrainError>>()?;
        let bytes =
            safetensors::serialize(tensors, Some(HashMap::from([(METADATA_KEY.to_owned(), text)]))).map_err(candle_core::Error::wrap)?;
        crate::train::write_beside(path, &bytes)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`TrainError::Data`] where the file is none, or of another version.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let unfit = |problem: String| TrainError::Data { path: path.to_owned(), problem };
        let bytes = std::fs::read(path).map_err(TrainError::file(path, "cannot read the training's state"))?;
        let broken = |error| unfit(format!("is no state of a training ({error}); without it begin anew, or with --init from a checkpoint"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).ok_or_else(|| unfit("is no state of a training".into()))?;
        let Description { format, step, elapsed_s, waited_s, evaluated, evaluation_due, best, meta } =
            serde_json::from_str(text).map_err(|error| unfit(format!("was written by another version ({error})")))?;
        if format != FORMAT {
            return Err(unfit(format!(
                "has format {format}, this version reads {FORMAT}; finish the training with the version that began it"
            )));
        }
        let (mut weights, mut optimiser) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)? {
            if let Some(name) = name.strip_prefix(WEIGHTS) {
                weights.insert(name.to_owned(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMISER) {
                optimiser.insert(name.to_owned(), tensor);
            }
        }
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(Self {
            step,
            elapsed: time(elapsed_s),
            waited: time(waited_s),
            evaluated,
            evaluation_due,
            best: best.map(|(step, tp, fp, fn_)| Best { step, counts: Counts { tp, fp, fn_ } }),
            weights: Checkpoint { meta, tensors: weights, digest: String::new() },
            optimiser,
        })
    }

    /// The network as it was.
    ///
    /// # Errors
    /// Weights that are not those of the network they say they are.
    pub fn network(&self, device: &Device) -> Result<Network, TrainError> {
        Ok(Network::from_checkpoint(&self.weights, device)?)
    }
}
