use super::{InspectError, Inspector, InspectorInfo};
use crate::cell::{ProbabilityRow, TileRow};
use crate::config::{DeviceChoice, Network, Precision};
use crate::nn::Checkpoint;

/// One model, made ready in each precision that the recipes of a station ask for: its networks, counted from 0, the station's own.
///
/// Precisions that come to the same on this machine (on CUDA `f32`, `f32-grade` and `int8`) share a network.
pub struct Inspectors(Vec<Made>);

/// A network, and the precisions that it is for.
struct Made {
    precisions: Vec<Precision>,
    inspector: Inspector,
}

impl Inspectors {
    /// Makes the checkpoint's network ready as `network` says, and in those of `precisions` that are others. All of them have run once
    /// then, on this thread: what CUDA's libraries make ready they keep for each.
    ///
    /// # Errors
    /// See [`Inspector::new`].
    pub fn new(checkpoint: &Checkpoint, network: &Network, precisions: impl IntoIterator<Item = Precision>) -> Result<Self, InspectError> {
        let make = |device, precision| Inspector::new(checkpoint, device, precision, network.threads.clone());
        Self::with(network.device, std::iter::once(network.precision).chain(precisions), make)
    }

    /// As [`new`](Self::new), of what `make` makes; the first of `precisions` is the station's own.
    pub(crate) fn with(
        device: DeviceChoice,
        precisions: impl IntoIterator<Item = Precision>,
        make: impl Fn(DeviceChoice, Precision) -> Result<Inspector, InspectError>,
    ) -> Result<Self, InspectError> {
        let mut all = Self(Vec::new());
        for precision in precisions {
            if all.0.iter().any(|made| made.precisions.contains(&precision)) {
                continue;
            }
            all.add(precision, make(device, precision)?);
            match all.warm_up_all() {
                // On a device that is full the newest may have taken what an earlier one needs.
                Err(error) if device == DeviceChoice::Auto => {
                    tracing::warn!(device = "cpu", %precision, %error, "network: the device cannot run it beside the others, the CPU does it");
                    all.remove(precision);
                    all.add(precision, make(DeviceChoice::Cpu, precision)?);
                    all.warm_up_all()?;
                }
                warmed => warmed?,
            }
        }
        Ok(all)
    }

    fn add(&mut self, precision: Precision, inspector: Inspector) {
        // What is described the same computes the same, in the same place.
        match self.0.iter_mut().find(|made| made.inspector.info().engine == inspector.info().engine) {
            Some(made) => made.precisions.push(precision),
            None => self.0.push(Made { precisions: vec![precision], inspector }),
        }
    }

    fn remove(&mut self, precision: Precision) {
        self.0.iter_mut().for_each(|made| made.precisions.retain(|other| *other != precision));
        self.0.retain(|made| !made.precisions.is_empty());
    }

    fn warm_up_all(&mut self) -> Result<(), InspectError> {
        (0..self.networks()).try_for_each(|network| self.warm_up(network))
    }

    /// See [`Inspector::warm_up`].
    ///
    /// # Errors
    /// The network fails.
    pub fn warm_up(&mut self, network: usize) -> Result<(), InspectError> {
        self.0[network].inspector.warm_up()
    }

    /// Which model this is, and all that runs it.
    pub fn info(&self) -> InspectorInfo {
        let mut info = self.0[0].inspector.info().clone();
        for made in &self.0[1..] {
            info.engine = format!("{}; {}", info.engine, made.inspector.info().engine);
        }
        info
    }

    /// How many networks there are.
    pub fn networks(&self) -> usize {
        self.0.len()
    }

    /// The network for rows of `precision`: the station's own where it names none, or one that nothing was made ready for.
    pub fn network(&self, precision: Option<Precision>) -> usize {
        precision.and_then(|precision| self.0.iter().position(|made| made.precisions.contains(&precision))).unwrap_or(0)
    }

    /// What runs a network, in words.
    pub fn engine(&self, network: usize) -> &str {
        &self.0[network].inspector.info().engine
    }

    /// See [`Inspector::batch`].
    pub fn batch(&self, network: usize) -> usize {
        self.0[network].inspector.batch()
    }

    /// See [`Inspector::inspect_all`].
    pub fn inspect_all<'a>(
        &mut self,
        network: usize,
        rows: impl IntoIterator<Item = &'a TileRow>,
    ) -> Vec<Result<ProbabilityRow, InspectError>> {
        self.0[network].inspector.inspect_all(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::{Always, inspector, row};
    use crate::nn::{Architecture, CheckpointMeta, Engine, Network as NeuralNetwork, NetworkShape, NnError, Upsampling};
    use candle_core::Device;
    use std::sync::Arc;

    #[test]
    fn each_row_is_inspected_in_the_precision_it_asks_for() {
        let logit = |precision| match precision {
            Precision::Bf16 => 9.0,
            Precision::Int8 => -9.0,
            _ => 0.0,
        };
        let asked = [Precision::F32Grade, Precision::Bf16, Precision::Int8];
        let mut inspectors = Inspectors::with(DeviceChoice::Cpu, asked, |_, precision| Ok(inspector(Always(logit(precision))))).unwrap();
        for (precision, value) in [
            (Some(Precision::Int8), 0),
            (None, 128),
            (Some(Precision::Bf16), 255),
            (Some(Precision::F32), 128),
            (Some(Precision::F32Grade), 128),
        ] {
            let network = inspectors.network(precision);
            let found = inspectors.inspect_all(network, [&row(1, 5, 9)]).pop().unwrap().unwrap();
            assert_eq!(found.values[50_000], value, "{precision:?}");
        }
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
            let inspectors = Inspectors::new(&checkpoint, &network, others).unwrap();
            assert_eq!(inspectors.networks(), networks, "{}", inspectors.info().engine);
            assert_eq!(inspectors.info().engine.split("; ").count(), networks, "{}", inspectors.info().engine);
            assert_eq!(inspectors.network(Some(half)), inspectors.network(Some(grade)));
        }
    }

    /// A network on a device that has room for so many.
    struct OnDevice {
        precision: Precision,
        there: Arc<()>,
        room_for: usize,
    }

    impl Engine for OnDevice {
        fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
            // One of them is the test's.
            let full = Arc::strong_count(&self.there) > self.room_for + 1;
            if full { Err(NnError::Threads("out of memory".into())) } else { Ok(vec![0.0; tiles.len()]) }
        }

        fn describe(&self) -> String {
            format!("{} on the device", self.precision)
        }
    }

    #[test]
    fn a_network_that_leaves_an_earlier_one_no_room_goes_to_the_cpu_where_the_device_may_be_chosen() {
        let asked = [Precision::Bf16, Precision::F16, Precision::F32, Precision::Int8];
        let made = |device, room_for| {
            let there = Arc::new(());
            Inspectors::with(device, asked, |device, precision| {
                let there = there.clone();
                Ok(match device {
                    DeviceChoice::Cpu => inspector(Always(0.0)),
                    _ => inspector(OnDevice { precision, there, room_for }),
                })
            })
            .map(|inspectors| inspectors.info().engine)
        };
        assert_eq!(made(DeviceChoice::Auto, 4).unwrap().matches("on the device").count(), 4);
        assert_eq!(made(DeviceChoice::Auto, 2).unwrap(), "bf16 on the device; f16 on the device; always 0");
        assert_eq!(made(DeviceChoice::Auto, 0).unwrap(), "always 0");
        assert!(made(DeviceChoice::Cuda(0), 2).unwrap_err().to_string().contains("out of memory"));
    }
}
