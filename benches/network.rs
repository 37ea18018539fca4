//! Times the engine on a row and on a cell of tiles, and one training step, at base width 16.

use candle_core::{Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use hairline::cell::TILE_PX;
use hairline::config::{DeviceChoice, Precision};
use hairline::nn::{Architecture, Checkpoint, CheckpointMeta, Mode, Network, NetworkShape, Normalisation, Upsampling, engine};
use std::hint::black_box;
use std::time::Duration;

fn network(upsampling: Upsampling) -> Network {
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 16, upsampling };
    Network::new(&shape, 1, &Device::Cpu).expect("a network of base width 16")
}

fn checkpoint(upsampling: Upsampling) -> Checkpoint {
    let network = network(upsampling);
    let meta = CheckpointMeta {
        format: CheckpointMeta::FORMAT,
        shape: *network.shape(),
        normalisation: Normalisation::Tile,
        threshold: 0.5,
        mm_per_px_min: 0.1,
        mm_per_px_max: 0.2,
        training: serde_json::Value::Null,
        data_digest: String::new(),
        name: "bench".into(),
    };
    Checkpoint { meta, tensors: network.tensors().expect("its tensors"), digest: String::new() }
}

/// Something that is not constant.
fn picture(values: usize) -> Vec<f32> {
    (0..values).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn inference(c: &mut Criterion) {
    for (name, upsampling) in [("bilinear", Upsampling::Bilinear), ("transposed", Upsampling::Transposed)] {
        for (precision_name, precision) in Precision::NAMES {
            let mut engine = engine(&checkpoint(upsampling), DeviceChoice::Cpu, precision, 0).expect("an engine");
            for tiles in [3, 9] {
                let input = picture(tiles * TILE_PX * TILE_PX);
                c.bench_function(&format!("engine/{name}/16/{precision_name}/{tiles} tiles"), |b| {
                    b.iter(|| engine.logits(black_box(&input), tiles).expect("logits"));
                });
            }
        }
    }
}

fn training(c: &mut Criterion) {
    for (name, upsampling) in [("bilinear", Upsampling::Bilinear), ("transposed", Upsampling::Transposed)] {
        let network = network(upsampling);
        let x = Tensor::from_vec(picture(4 * 224 * 224), (4, 1, 224, 224), &Device::Cpu).expect("a batch");
        c.bench_function(&format!("training step/{name}/16/4 of 224"), |b| {
            b.iter(|| {
                let logits = network.forward(black_box(&x), Mode::Train).expect("logits");
                logits.sqr().and_then(|l| l.mean_all()).and_then(|l| l.backward()).expect("gradients")
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    targets = inference, training
}
criterion_main!(benches);
