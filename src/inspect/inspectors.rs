use super::{InspectError, Inspector, InspectorInfo};
use crate::cell::{ProbabilityRow, TileRow};
use crate::config::{Network, Precision};
use crate::nn::Checkpoint;

/// One model, made ready in each precision that the recipes of a station ask for.
///
/// Precisions that come to the same on this machine (on CUDA `f32`, `f32-grade` and `int8`) share a network.
pub struct Inspectors {
    /// The station's own precision, and what else comes to it.
    usual: Inspector,
    others: Vec<Other>,
}

/// Another network, and the precisions that it is for.
struct Other {
    precisions: Vec<Precision>,
    inspector: Inspector,
}

impl Inspectors {
    /// Makes the checkpoint's network ready as `network` says, and in those of `precisions` that are others.
    ///
    /// # Errors
    /// See [`Inspector::new`].
    pub fn new(checkpoint: &Checkpoint, network: &Network, precisions: impl IntoIterator<Item = Precision>) -> Result<Self, InspectError> {
        let ready = |precision| Inspector::new(checkpoint, network.device, precision, network.threads.clone());
        let usual = ready(network.precision)?;
        let mut others: Vec<Other> = Vec::new();
        let mut asked = vec![network.precision];
        for precision in precisions {
            if asked.contains(&precision) {
                continue;
            }
            asked.push(precision);
            let inspector = ready(precision)?;
            // What is described the same computes the same, in the same place.
            let same = |other: &Inspector| other.info().engine == inspector.info().engine;
            if same(&usual) {
                continue;
            }
            match others.iter_mut().find(|other| same(&other.inspector)) {
                Some(other) => other.precisions.push(precision),
                None => others.push(Other { precisions: vec![precision], inspector }),
            }
        }
        Ok(Self { usual, others })
    }

    /// Which model this is, and all that runs it.
    pub fn info(&self) -> InspectorInfo {
        let mut info = self.usual.info().clone();
        for Other { inspector, .. } in &self.others {
            info.engine = format!("{}; {}", info.engine, inspector.info().engine);
        }
        info
    }

    /// See [`Inspector::batch`].
    pub fn batch(&self) -> usize {
        self.usual.batch()
    }

    /// See [`Inspector::warm_up`].
    pub fn warm_up(&mut self) -> Result<(), InspectError> {
        self.usual.warm_up()?;
        self.others.iter_mut().try_for_each(|other| other.inspector.warm_up())
    }

    /// As [`Inspector::inspect_all`], each row in its precision: the station's own where it names none.
    pub fn inspect_all(&mut self, rows: &[(Option<Precision>, &TileRow)]) -> Vec<Result<ProbabilityRow, InspectError>> {
        // Which of the others each row goes to.
        let place = |precision: Precision| self.others.iter().position(|other| other.precisions.contains(&precision));
        let asked: Vec<Option<usize>> = rows.iter().map(|(precision, _)| precision.and_then(place)).collect();
        let others = self.others.iter_mut().enumerate().map(|(place, other)| (Some(place), &mut other.inspector));
        let mut results = Vec::with_capacity(rows.len());
        for (place, inspector) in std::iter::once((None, &mut self.usual)).chain(others) {
            let own: Vec<usize> = (0..rows.len()).filter(|i| asked[*i] == place).collect();
            let found = inspector.inspect_all(own.iter().map(|i| rows[*i].1));
            results.extend(own.into_iter().zip(found));
        }
        results.sort_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Without other precisions.
impl From<Inspector> for Inspectors {
    fn from(usual: Inspector) -> Self {
        Self { usual, others: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeviceChoice;
    use crate::inspect::tests::{Always, inspector, row};
    use crate::nn::{Architecture, CheckpointMeta, Network as NeuralNetwork, NetworkShape, Upsampling};
    use candle_core::Device;

    #[test]
    fn each_row_is_inspected_in_the_precision_it_asks_for() {
        let other = |precision, logit| Other { precisions: vec![precision], inspector: inspector(Always(logit)) };
        let others = vec![other(Precision::Bf16, 9.0), other(Precision::Int8, -9.0)];
        let mut inspectors = Inspectors { others, ..inspector(Always(0.0)).into() };
        let asked = [Some(Precision::Int8), None, Some(Precision::Bf16), Some(Precision::F32), Some(Precision::Int8)];
        let rows: Vec<TileRow> = (1..).zip(asked).map(|(number, _)| row(number, 5, 9)).collect();
        let results = inspectors.inspect_all(&asked.into_iter().zip(&rows).collect::<Vec<_>>());
        let found: Vec<_> = results.into_iter().map(|r| r.map(|r| (r.cell.number, r.values[50_000])).unwrap()).collect();
        assert_eq!(found, [(1, 0), (2, 128), (3, 255), (4, 128), (5, 0)]);
    }

    /// `f16` is for CUDA alone: on the CPU it comes to `f32-grade`.
    #[test]
    fn precisions_that_come_to_the_same_share_a_network() {
        let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
        let tensors = NeuralNetwork::new(&shape, 1, &Device::Cpu).unwrap().tensors().unwrap();
        let checkpoint = Checkpoint { meta: CheckpointMeta::of(shape, "tiny"), tensors, digest: String::new() };
        let (single, grade, half) = (Precision::F32, Precision::F32Grade, Precision::F16);
        for (usual, others, networks) in [(grade, vec![half, grade], 1), (single, vec![half, grade, half], 2), (single, vec![single], 1)] {
            let network = Network { model: "tiny".into(), device: DeviceChoice::Cpu, threads: 1.into(), precision: usual };
            let mut inspectors = Inspectors::new(&checkpoint, &network, others).unwrap();
            assert_eq!(inspectors.info().engine.split("; ").count(), networks, "{}", inspectors.info().engine);
            let row = row(1, 5, 60_000);
            let [halves, grades] = [half, grade].map(|precision| inspectors.inspect_all(&[(Some(precision), &row)]).pop().unwrap());
            assert!(halves.unwrap().values == grades.unwrap().values);
        }
    }
}
