//! Every network learns, is saved and loaded, and inspects.

use super::*;
use crate::config::DeviceChoice;
use crate::loss::{Hyperparameters, Loss, Objective};
use crate::nn::engine::relative_error;
use crate::nn::{CheckpointMeta, Upsampling, engine};

const ALL: [Architecture; 4] = [Architecture::UNet, Architecture::SegNet, Architecture::PspNet, Architecture::DeepLabV3];

fn shape(architecture: Architecture) -> NetworkShape {
    NetworkShape { architecture, base_width: 4, upsampling: Upsampling::Bilinear }
}

fn checkpoint(network: &Network) -> Checkpoint {
    let meta = CheckpointMeta::of(*network.shape(), "test");
    Checkpoint { meta, tensors: network.tensors().unwrap(), digest: String::new() }
}

/// Two pictures with a dark bar each, and where the bars are.
fn bars(side: usize) -> (Tensor, Tensor) {
    let (mut pictures, mut labels) = (vec![0.0_f32; 2 * side * side], vec![0.0_f32; 2 * side * side]);
    for n in 0..2 {
        for y in 0..side {
            for x in 0..side {
                let (at, across) = ((n * side + y) * side + x, if n == 0 { x } else { y });
                let bar = (side / 4..side / 2).contains(&across);
                pictures[at] = if bar { -1.0 } else { 0.5 } + ((at * 7919) % 101) as f32 / 200.0;
                labels[at] = f32::from(u8::from(bar));
            }
        }
    }
    let tensor = |values| Tensor::from_vec(values, (2, 1, side, side), &Device::Cpu).unwrap();
    (tensor(pictures), tensor(labels))
}

/// Trains a few steps by gradient descent with momentum; the loss before and after.
fn train(network: &Network, steps: usize) -> (f32, f32) {
    let objective = Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap();
    let (x, y) = bars(48);
    let mut losses = Vec::new();
    let mut velocities = BTreeMap::new();
    for _ in 0..steps {
        let (loss, gradients) = network.learn(&x, Precision::F32, |logits| objective.of(logits, &y)).unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
        for (name, variable) in network.variables() {
            let gradient = gradients.get(variable.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
            let step = gradient.affine(0.3, 0.0).unwrap();
            let velocity = velocities.remove(&name).map_or(step.clone(), |old: Tensor| (old * 0.9).unwrap().add(&step).unwrap()).detach();
            variable.set(&(variable.as_tensor() - &velocity).unwrap()).unwrap();
            velocities.insert(name, velocity);
        }
    }
    (losses[0], *losses.last().unwrap())
}

fn logits(network: &Network, side: usize) -> Vec<f32> {
    network.forward(&bars(side).0, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_network_learns_and_comes_back_from_its_file_the_same() {
    for architecture in ALL {
        let network = Network::new(&shape(architecture), 1, &Device::Cpu).unwrap();
        let (before, after) = train(&network, 30);
        assert!(after < 0.85 * before, "{architecture}: loss {before} became {after}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        checkpoint(&network).save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded.meta.shape, shape(architecture));
        let again = Network::from_checkpoint(&loaded, &Device::Cpu).unwrap();
        assert_eq!(logits(&network, 48), logits(&again, 48), "{architecture}");
    }
}

#[test]
fn the_tape_finds_the_loss_and_the_gradients_that_candle_finds() {
    let objective = Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap();
    let cases = [
        (Upsampling::Bilinear, 4, 48, 2, Precision::F32),
        (Upsampling::Transposed, 8, 32, 2, Precision::F32),
        (Upsampling::Bilinear, 16, 16, 1, Precision::F32),
        (Upsampling::Bilinear, 18, 32, 2, Precision::F32Grade),
        (Upsampling::Transposed, 10, 48, 1, Precision::F32Grade),
        (Upsampling::Bilinear, 16, 32, 2, Precision::Bf16),
    ];
    for (upsampling, base_width, side, pictures, precision) in cases {
        let shape = NetworkShape { architecture: Architecture::UNet, base_width, upsampling };
        let (ours, theirs) = (Network::new(&shape, 5, &Device::Cpu).unwrap(), Network::new(&shape, 5, &Device::Cpu).unwrap());
        let (x, y) = bars(side);
        let (x, y) = (x.narrow(0, 0, pictures).unwrap(), y.narrow(0, 0, pictures).unwrap());
        let (loss, gradients) = ours.learn(&x, precision, |logits| objective.of(logits, &y)).unwrap();
        let want_loss = objective.of(&theirs.forward(&x, Mode::Train(precision)).unwrap(), &y).unwrap();
        let want = want_loss.backward().unwrap();
        let number = |t: &Tensor| t.to_scalar::<f32>().unwrap();
        // What is rounded to bf16 may fall to either side.
        let [most_loss, most] = if precision == Precision::Bf16 { [1e-3, 1e-2] } else { [1e-5, 2e-3] };
        assert!((number(&loss) - number(&want_loss)).abs() < most_loss);
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let near = |name: &str, got: &Tensor, want: &Tensor| {
            assert_eq!(got.dims(), want.dims(), "{name}");
            let (got, want) = (flat(got), flat(want));
            let norm = |values: Vec<f32>| values.iter().map(|v| v * v).sum::<f32>().sqrt();
            let off = norm(got.iter().zip(&want).map(|(g, w)| g - w).collect());
            assert!(off <= most * norm(want) + 1e-6, "{name} of {shape} is off by {off}");
        };
        for ((name, variable), (_, other)) in ours.variables().into_iter().zip(theirs.variables()) {
            near(&name, gradients.get(&variable).unwrap_or_else(|| panic!("{name} has no gradient")), want.get(&other).unwrap());
        }
        for ((name, tensor), (_, other)) in ours.tensors().unwrap().iter().zip(&theirs.tensors().unwrap()) {
            near(name, tensor, other);
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 16, upsampling: Upsampling::Bilinear };
    let objective = Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap();
    let (x, y) = bars(64);
    for precision in [Precision::F32, Precision::F32Grade, Precision::Bf16] {
        let gradients = |threads| {
            let network = Network::new(&shape, 3, &Device::Cpu).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (_, found) = pool.install(|| network.learn(&x, precision, |logits| objective.of(logits, &y))).unwrap();
            let all = network.variables().into_iter().map(|(_, v)| found.get(&v).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
            all.collect::<Vec<_>>()
        };
        assert!(gradients(1) == gradients(3), "{precision}");
    }
}

#[test]
fn every_network_inspects_on_the_line_what_it_says_in_training() {
    let side = crate::cell::SEEN_PX;
    for architecture in ALL {
        let network = Network::new(&NetworkShape { base_width: 2, ..shape(architecture) }, 2, &Device::Cpu).unwrap();
        let mut engine = engine(&checkpoint(&network), DeviceChoice::Cpu, Precision::F32, 2).unwrap();
        let tiles: Vec<f32> = bars(side).0.flatten_all().unwrap().to_vec1().unwrap();
        let got = engine.logits(&tiles, 2).unwrap();
        for (got, want) in got.iter().zip(logits(&network, side)) {
            assert!((got - want).abs() < 1e-3 * (1.0 + want.abs()), "{architecture}: {got} instead of {want}");
        }
        assert_eq!(engine.logits(&tiles[side * side..], 1).unwrap(), got[side * side..], "{architecture}: a tile alone");
        assert!(engine.logits(&tiles, 1).is_err());
        assert!(engine.describe().contains(&architecture.to_string()), "{}", engine.describe());
    }
}

#[test]
fn every_network_inspects_in_the_precision_that_it_says() {
    let side = crate::cell::SEEN_PX;
    for architecture in ALL {
        let network = Network::new(&NetworkShape { base_width: 8, ..shape(architecture) }, 2, &Device::Cpu).unwrap();
        let tiles: Vec<f32> = bars(side).0.flatten_all().unwrap().to_vec1().unwrap();
        let want = logits(&network, side);
        // A place that SegNet pools from is another one where two values are as good as equal.
        let [grade, brain] = if architecture == Architecture::SegNet { [5e-2; 2] } else { [1e-3, 5e-2] };
        let mut precisions = vec![(Precision::F32, 1e-5), (Precision::F32Grade, grade), (Precision::Bf16, brain)];
        // Without ranges a U-Net is refused in int8; the others take what is finer.
        precisions.extend((architecture != Architecture::UNet).then_some((Precision::Int8, grade)));
        for (asked, most) in precisions {
            let mut engine = engine(&checkpoint(&network), DeviceChoice::Cpu, asked, 2).unwrap();
            let got = engine.logits(&tiles, 2).unwrap();
            let error = relative_error(&got, &want);
            assert!(error <= most, "{architecture}, {asked}: {error}");
            let finer: &[Precision] = if asked == Precision::F32 { &[] } else { &[Precision::F32, Precision::F32Grade] };
            assert!(engine.precision() == asked || finer.contains(&engine.precision()), "{}", engine.describe());
            assert!(engine.describe().contains(&engine.precision().to_string()), "{}", engine.describe());
        }
    }
}

#[test]
fn sides_must_be_divisible_by_sixteen_and_the_smallest_fits() {
    for architecture in ALL {
        let network = Network::new(&shape(architecture), 1, &Device::Cpu).unwrap();
        let of = |h: usize, w: usize| {
            network.forward(&Tensor::ones((1, 1, h, w), candle_core::DType::F32, &Device::Cpu).unwrap(), Mode::Train(Precision::F32))
        };
        assert_eq!(of(16, 48).unwrap().dims(), [1, 1, 16, 48], "{architecture}");
        assert!(of(24, 48).is_err() && of(0, 16).is_err());
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_name() {
    let mut of = checkpoint(&Network::new(&shape(Architecture::SegNet), 1, &Device::Cpu).unwrap());
    of.meta.shape.architecture = Architecture::DeepLabV3;
    let error = Network::from_checkpoint(&of, &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("DeepLabv3") && error.contains("encoder."), "{error}");
    let transposed = NetworkShape { upsampling: Upsampling::Transposed, ..shape(Architecture::SegNet) };
    let error = Network::new(&transposed, 1, &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("SegNet"), "{error}");
}

#[test]
fn names_in_files_are_those_of_the_papers() {
    for (architecture, name) in ALL.into_iter().zip(["unet", "segnet", "pspnet", "deeplabv3"]) {
        assert_eq!(serde_json::to_value(architecture).unwrap(), name);
        assert_eq!(clap::ValueEnum::to_possible_value(&architecture).unwrap().get_name(), name);
    }
}

#[test]
fn every_network_begins_with_the_probability_it_is_told() {
    for architecture in ALL {
        for share in [0.01, 0.5, 0.9] {
            let network = Network::new(&shape(architecture), 5, &Device::Cpu).unwrap().expecting(share).unwrap();
            let bias = network.tensors().unwrap().remove(&layout::head(network.shape()).bias()).unwrap().to_vec1::<f32>().unwrap();
            let begins = 1.0 / (1.0 + f64::exp(-f64::from(bias[0])));
            assert!((begins - share).abs() < 1e-6, "{architecture}: {begins} instead of {share}");
            // Random weights spread the logits around it.
            let without = logits(&Network::new(&shape(architecture), 5, &Device::Cpu).unwrap(), 48);
            let gap = logits(&network, 48)
                .iter()
                .zip(&without)
                .map(|(with, without)| with - without - bias[0])
                .fold(0.0_f32, |m, g| m.max(g.abs()));
            assert!(gap < 1e-4, "{architecture}: logits move by {gap} more than the bias");
        }
    }
    for share in [0.0, 1.0, -0.2, f64::NAN] {
        let told = Network::new(&shape(Architecture::UNet), 5, &Device::Cpu).unwrap().expecting(share).err().unwrap().to_string();
        assert!(told.contains("prior"), "{told}");
    }
}

#[test]
fn a_variance_below_0_is_refused_by_name() {
    let mut checkpoint = checkpoint(&Network::new(&shape(Architecture::UNet), 5, &Device::Cpu).unwrap());
    let name = "down1.maxpool_conv.1.double_conv.1.running_var";
    let below = checkpoint.tensors[name].affine(1.0, -1.5).unwrap();
    checkpoint.tensors.insert(name.into(), below);
    let told = engine(&checkpoint, DeviceChoice::Cpu, Precision::Int8, 1).err().unwrap().to_string();
    assert!(told.contains(name) && told.contains("below 0"), "{told}");
}
