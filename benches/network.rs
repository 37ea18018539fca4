//! Times the engine on a row and on a cell of tiles at base width 16, and training steps of every network.

use candle_core::{Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use hairline::cell::{Mask, SEEN_PX, TILE_PX};
use hairline::config::{DeviceChoice, Precision};
use hairline::loss::{Hyperparameters, Loss, Objective};
use hairline::nn::{
    Architecture, Calibration, Checkpoint, CheckpointMeta, Network, NetworkShape, Normalisation, Quantisation, Upsampling, engine,
};
use hairline::train::{Picture, evaluate};
use std::hint::black_box;
use std::time::Duration;

fn network(upsampling: Upsampling) -> Network {
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 16, upsampling };
    Network::new(&shape, 1, &Device::Cpu).expect("a network of base width 16")
}

fn checkpoint(upsampling: Upsampling) -> Checkpoint {
    let network = network(upsampling);
    let meta = CheckpointMeta::of(*network.shape(), "bench");
    let mut checkpoint = Checkpoint { meta, tensors: network.tensors().expect("its tensors"), digest: String::new() };
    if upsampling == Upsampling::Bilinear {
        let mut calibration = Calibration::new(&checkpoint).expect("a bilinear U-Net");
        calibration.add(&picture(SEEN_PX * SEEN_PX)).expect("a tile");
        checkpoint.meta.quantisation = Some(Quantisation { ranges: calibration.finish(), report: serde_json::Value::Null });
    }
    checkpoint
}

/// Something that is not constant.
fn picture(values: usize) -> Vec<f32> {
    (0..values).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn inference(c: &mut Criterion) {
    for (name, upsampling) in [("bilinear", Upsampling::Bilinear), ("transposed", Upsampling::Transposed)] {
        for (precision_name, precision) in Precision::NAMES {
            if (upsampling, precision) == (Upsampling::Transposed, Precision::Int8) || precision == Precision::F16 {
                continue; // not to be had
            }
            let mut engine = engine(&checkpoint(upsampling), DeviceChoice::Cpu, precision, 0).expect("an engine");
            for tiles in [3, 9] {
                let input = picture(tiles * SEEN_PX * SEEN_PX);
                c.bench_function(&format!("engine/{name}/16/{precision_name}/{tiles} tiles"), |b| {
                    b.iter(|| engine.logits(black_box(&input), tiles).expect("logits"));
                });
            }
        }
    }
}

/// A hundred tiles as an evaluation sees them, one picture of 10 × 10, beside the engine's inference of as many.
fn validation(c: &mut Criterion) {
    let side = 10 * TILE_PX;
    let pixels: Vec<u16> = (0..side * side).map(|i| 20_000 + (i * 7919 % 1009) as u16).collect();
    let whole = Picture::new("bench".into(), side, pixels, Mask::new(side, side)).expect("a picture");
    let mut engine = engine(&checkpoint(Upsampling::Bilinear), DeviceChoice::Cpu, Precision::default(), 0).expect("an engine");
    let row = picture(10 * SEEN_PX * SEEN_PX);
    let batch = engine.batch() * SEEN_PX * SEEN_PX;
    c.bench_function("validation/engine alone/100 tiles", |b| {
        b.iter(|| {
            for tiles in (0..10).flat_map(|_| row.chunks(batch)) {
                engine.probabilities(tiles.len() / SEEN_PX / SEEN_PX, &mut |to| to.copy_from_slice(tiles)).expect("probabilities");
            }
        });
    });
    c.bench_function("validation/evaluate/100 tiles", |b| {
        b.iter(|| evaluate(engine.as_mut(), &Normalisation::Tile, 0.5, 1, |_| Ok(whole.clone()), |_| Ok(())).expect("an evaluation"));
    });
}

/// Forward, loss and backward of one step; the optimiser's share is small.
fn training(c: &mut Criterion) {
    let networks = [
        (Architecture::UNet, Upsampling::Bilinear, 16, 4, 224),
        (Architecture::UNet, Upsampling::Transposed, 16, 4, 224),
        (Architecture::UNet, Upsampling::Transposed, 32, 2, 448),
        (Architecture::SegNet, Upsampling::Bilinear, 16, 4, 224),
        (Architecture::PspNet, Upsampling::Bilinear, 16, 4, 224),
        (Architecture::DeepLabV3, Upsampling::Bilinear, 16, 4, 224),
    ];
    let objective = Objective::new(Loss::Dibe, Hyperparameters::default()).expect("DIBE");
    for (architecture, upsampling, base_width, pictures, side) in networks {
        let shape = NetworkShape { architecture, base_width, upsampling };
        let network = Network::new(&shape, 1, &Device::Cpu).expect("a network");
        let values = picture(pictures * side * side);
        let labels: Vec<f32> = values.iter().map(|v| f32::from(u8::from(*v > 0.49))).collect();
        let tensor = |values| Tensor::from_vec(values, (pictures, 1, side, side), &Device::Cpu).expect("a batch");
        let (x, y) = (tensor(values), tensor(labels));
        for precision in [Precision::F32, Precision::F32Grade, Precision::Bf16] {
            c.bench_function(&format!("training step/{shape}/{pictures} of {side}/{precision}"), |b| {
                b.iter(|| network.learn(black_box(&x), precision, |logits| objective.of(logits, &y)).expect("gradients"));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    targets = inference, validation, training
}
criterion_main!(benches);
