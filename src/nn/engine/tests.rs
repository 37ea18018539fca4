//! The engine against the network that is trained, on every instruction set and with every precision.

mod not_finite;

use super::cpu::CpuEngine;
use super::*;
use crate::nn::kernels::Isa;
use crate::nn::{Architecture, CheckpointMeta, Mode, Network, NetworkShape, Upsampling};
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A U-Net's checkpoint with random statistics of batch norm.
pub(super) fn checkpoint(base_width: usize, upsampling: Upsampling) -> Checkpoint {
    checkpoint_of(NetworkShape { architecture: Architecture::UNet, base_width, upsampling })
}

/// The paper's other networks.
const OTHERS: [Architecture; 3] = [Architecture::SegNet, Architecture::PspNet, Architecture::DeepLabV3];

/// One of them.
fn other(architecture: Architecture, base_width: usize) -> Checkpoint {
    checkpoint_of(NetworkShape { architecture, base_width, upsampling: Upsampling::Bilinear })
}

fn checkpoint_of(shape: NetworkShape) -> Checkpoint {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut tensors = Network::new(&shape, 1, &Device::Cpu).unwrap().tensors().unwrap();
    for (name, tensor) in &mut tensors {
        let range = match name.rsplit('.').next() {
            Some("running_mean") => -0.1..0.1,
            Some("bias") => -0.1..0.1,
            Some("running_var") => 0.5..1.5,
            Some("weight") if tensor.rank() == 1 => 0.8..1.2,
            _ => continue,
        };
        let values: Vec<f32> = (0..tensor.elem_count()).map(|_| random.random_range(range.clone())).collect();
        *tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
    }
    let meta = CheckpointMeta::of(shape, "test");
    Checkpoint { meta, tensors, digest: String::new() }
}

pub(super) fn pictures(count: usize, side: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    (0..count * side * side).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Every instruction set with every precision that it has something of its own for; what is not here is named.
fn ways() -> Vec<(Isa, Precision)> {
    let all = [
        (Isa::Portable, Precision::F32),
        (Isa::Avx2, Precision::F32),
        (Isa::Avx512, Precision::F32),
        (Isa::Portable, Precision::F32Grade),
        (Isa::Avx2, Precision::F32Grade),
        (Isa::Avx512, Precision::F32Grade),
        (Isa::Avx512Bf16, Precision::Bf16),
        (Isa::Amx, Precision::Bf16),
        (Isa::Amx, Precision::F32Grade),
    ];
    let (here, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|(isa, _)| isa.is_here());
    for (isa, precision) in missing {
        crate::skipped!("{precision} with {isa}, which this processor has not");
    }
    here
}

/// The greatest difference that the precision allows, in deviations of the logits.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 3e-5, // rounding of both sides
        Precision::F32Grade => 3e-4,
        Precision::Bf16 => 0.15,
        Precision::F16 | Precision::Int8 => f32::NAN, // for CUDA alone; has a test of its own
    }
}

#[test]
fn logits_are_the_trained_networks() {
    for (base_width, side) in [(2, 16), (2, 48), (8, 64), (16, 96), (24, 32)] {
        for upsampling in [Upsampling::Bilinear, Upsampling::Transposed] {
            let checkpoint = checkpoint(base_width, upsampling);
            let tiles = pictures(2, side);
            let x = Tensor::from_slice(&tiles, (2, 1, side, side), &Device::Cpu).unwrap();
            let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
            let want: Vec<f32> = network.forward(&x, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let mean = want.iter().sum::<f32>() / want.len() as f32;
            let deviation = (want.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / want.len() as f32).sqrt();
            for (isa, precision) in ways() {
                let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &2.into(), isa).unwrap();
                let got = engine.logits(&tiles, 2).unwrap();
                let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max) / deviation;
                assert!(worst <= tolerance(precision), "{isa} {precision}, base {base_width}, {side} px, {upsampling:?}: {worst}");
            }
        }
    }
}

#[test]
fn logits_of_the_papers_other_networks_are_the_trained_ones() {
    for architecture in OTHERS {
        for (base_width, side) in [(2, 16), (6, 48), (8, 96), (16, 64)] {
            let checkpoint = other(architecture, base_width);
            let tiles = pictures(2, side);
            let x = Tensor::from_slice(&tiles, (2, 1, side, side), &Device::Cpu).unwrap();
            let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
            let want: Vec<f32> = network.forward(&x, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (isa, precision) in ways() {
                let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &2.into(), isa).unwrap();
                let got = engine.logits(&tiles, 2).unwrap();
                // A place that SegNet pools from is another one where two values are as good as equal.
                let most = match precision {
                    Precision::F32 => 1e-5,
                    Precision::F32Grade | Precision::Bf16 if architecture == Architecture::SegNet => 5e-2,
                    Precision::F32Grade => 1e-4,
                    _ => 5e-2,
                };
                let error = relative_error(&got, &want);
                assert!(error <= most, "{isa} {precision}, {architecture}, base {base_width}, {side} px: {error}");
                // Alone, after another tile, on another number of threads.
                let mut alone = CpuEngine::with_isa(&checkpoint, side, precision, &3.into(), isa).unwrap();
                assert!(alone.logits(&tiles[side * side..], 1).unwrap() == got[side * side..], "{isa} {precision}, {architecture}");
            }
        }
    }
}

#[test]
fn folded_tensors_compute_the_trained_network() {
    let side = crate::cell::SEEN_PX;
    for upsampling in [Upsampling::Bilinear, Upsampling::Transposed] {
        let checkpoint = checkpoint(2, upsampling);
        let tiles = pictures(1, side);
        let x = Tensor::from_slice(&tiles, (1, 1, side, side), &Device::Cpu).unwrap();
        let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
        let want: Vec<f32> = network.forward(&x, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let mut engine = device::DeviceEngine::on(&checkpoint, Device::Cpu, candle_core::DType::F32, "cpu").unwrap();
        let got = engine.logits(&tiles, 1).unwrap();
        let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{upsampling:?}: {worst}");
        let found = engine.probabilities(1, &mut |to| to.copy_from_slice(&tiles)).unwrap();
        let off = found.values.iter().zip(&got).map(|(v, logit)| v.abs_diff(quantised(*logit))).max();
        assert!(off <= Some(1) && found.sound == [true]);
    }
}

#[test]
fn eight_bits_compute_about_the_same_once_the_ranges_are_known() {
    let side = crate::cell::SEEN_PX;
    for (upsampling, convolutions) in [(Upsampling::Bilinear, 18), (Upsampling::Transposed, 22)] {
        let mut checkpoint = checkpoint(4, upsampling);
        let tile = pictures(1, side);
        let refused = CpuEngine::with_isa(&checkpoint, side, Precision::Int8, &1.into(), Isa::best());
        if Isa::Avx512Vnni.is_here() {
            assert!(refused.err().unwrap().to_string().contains("train quantise"));
        }
        let mut calibration = Calibration::new(&checkpoint).unwrap();
        calibration.add(&tile).unwrap();
        let ranges = calibration.finish();
        assert_eq!(ranges.len(), convolutions, "two in each of nine blocks, and those that raise");
        checkpoint.meta.quantisation = Some(crate::nn::Quantisation { ranges, report: serde_json::Value::Null });
        let want = CpuEngine::new(&checkpoint, side, Precision::F32, &2.into()).unwrap().logits(&tile, 1).unwrap();
        let mean = want.iter().sum::<f32>() / want.len() as f32;
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
        for isa in [Isa::Avx512Vnni, Isa::Amx] {
            if !isa.is_here() {
                crate::skipped!("int8 with {isa}, which this processor has not");
                continue;
            }
            let mut engine = CpuEngine::with_isa(&checkpoint, side, Precision::Int8, &2.into(), isa).unwrap();
            assert!(engine.describe().contains(&format!("int8 ({isa})")));
            let got = engine.logits(&tile, 1).unwrap();
            let error = square(&mut got.iter().zip(&want).map(|(g, w)| g - w)) / square(&mut want.iter().map(|w| w - mean));
            assert!(error.sqrt() < 0.15, "{isa}, {upsampling:?}: {}", error.sqrt());
            let mut alone = CpuEngine::with_isa(&checkpoint, side, Precision::Int8, &1.into(), isa).unwrap();
            alone.logits(&pictures(2, side), 2).unwrap();
            assert!(alone.logits(&tile, 1).unwrap() == got, "{isa}: with another number of threads, after another batch");
        }
    }
}

#[test]
fn neither_batch_nor_threads_change_a_bit() {
    for (base_width, side, upsampling) in
        [(8, 80, Upsampling::Bilinear), (8, 80, Upsampling::Transposed), (16, 96, Upsampling::Bilinear), (16, 96, Upsampling::Transposed)]
    {
        let checkpoint = checkpoint(base_width, upsampling);
        let tiles = pictures(3, side);
        for (isa, precision) in ways() {
            let run = |threads: usize, batch: usize| -> Vec<f32> {
                let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &threads.into(), isa).unwrap();
                let bits = tiles.chunks(batch * side * side).flat_map(|tiles| engine.logits(tiles, tiles.len() / side / side).unwrap());
                bits.collect()
            };
            let alone = run(1, 1);
            assert!(alone == run(3, 3), "{isa} {precision}");
            // A second run finds the first one's values in its buffers.
            let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &2.into(), isa).unwrap();
            engine.logits(&tiles[side * side..], 2).unwrap();
            assert!(engine.logits(&tiles, 3).unwrap() == alone, "{isa} {precision} after another batch");
        }
    }
}

#[test]
fn a_batch_of_another_size_is_refused() {
    let mut engine = CpuEngine::new(&checkpoint(2, Upsampling::Bilinear), 16, Precision::F32, &1.into()).unwrap();
    assert!(matches!(engine.logits(&[0.0; 16 * 16 + 1], 1), Err(NnError::Shape { .. })));
    assert!(matches!(engine.logits(&[0.0; 16 * 16], 2), Err(NnError::Shape { .. })));
    assert!(engine.logits(&[], 0).unwrap().is_empty());
    assert!(matches!(engine.probabilities(engine.batch() + 1, &mut |_| ()), Err(NnError::Shape { .. })));
}

#[test]
fn probabilities_are_those_of_the_tiles_that_were_written_last() {
    let side = 16;
    let mut engine = CpuEngine::new(&checkpoint(2, Upsampling::Bilinear), side, Precision::F32, &2.into()).unwrap();
    let mut tiles = pictures(3, side);
    tiles[side * side] = f32::NAN;
    let want: Vec<u8> = engine.logits(&tiles, 3).unwrap().into_iter().map(quantised).collect();
    for (some, sound) in [(0..3, vec![true, false, true]), (2..3, vec![true]), (1..3, vec![false, true])] {
        let values = some.start * side * side..some.end * side * side;
        let found = engine.probabilities(some.len(), &mut |to| to.copy_from_slice(&tiles[values.clone()])).unwrap();
        assert!(*found.values == want[values] && found.sound == sound, "{some:?}");
    }
}

#[test]
fn the_description_says_what_is_done_really() {
    let checkpoint = checkpoint(2, Upsampling::Bilinear);
    let name = |precision, isa| CpuEngine::with_isa(&checkpoint, 16, precision, &1.into(), isa).unwrap().describe();
    assert!(name(Precision::Bf16, Isa::Portable).contains("f32-grade (portable), 1 threads"));
    assert!(name(Precision::F32Grade, Isa::Portable).contains("f32-grade (portable)"));
    assert!(name(Precision::F16, Isa::Portable).contains("f32-grade (portable)"));
    assert_eq!(cpu::unable_on(Isa::Avx512, Precision::Int8).unwrap(), "this processor (AVX-512) cannot multiply in int8");
    let all_but_f16 = [Precision::F32, Precision::F32Grade, Precision::Bf16, Precision::Int8];
    assert!(all_but_f16.into_iter().all(|precision| cpu::unable_on(Isa::Amx, precision).is_none()));
    let not_in = |precision| {
        let all = OTHERS.into_iter().chain([Architecture::UNet]);
        all.filter(|architecture| unsuited(precision, *architecture).is_some()).collect::<Vec<_>>()
    };
    assert_eq!([Precision::F32, Precision::F32Grade].map(not_in), [vec![], vec![]]);
    assert_eq!([Precision::Bf16, Precision::Int8].map(not_in), [vec![Architecture::SegNet], OTHERS.to_vec()]);
    for (architecture, precision) in [(Architecture::SegNet, Precision::Bf16), (Architecture::PspNet, Precision::Int8)] {
        let engine = CpuEngine::new(&other(architecture, 2), 16, precision, &1.into()).unwrap();
        assert!(engine.precision() == Precision::F32Grade && engine.describe().contains("f32-grade"), "{}", engine.describe());
    }
    if Isa::Amx.is_here() {
        assert!(name(Precision::F16, Isa::Amx).contains("f32-grade (AMX)"));
        assert!(name(Precision::F32Grade, Isa::Amx).contains("f32-grade (AMX)"));
    }
}

/// Its figures are held against sums made by hand for maps of 32² and below.
#[test]
fn blocks_tell_what_they_multiply_and_move() {
    let checkpoint = checkpoint(16, Upsampling::Transposed);
    let roofline = |precision| {
        let mut engine = CpuEngine::with_isa(&checkpoint, 32, precision, &1.into(), Isa::Portable).unwrap();
        engine.logits(&pictures(2, 32), 2).unwrap();
        engine.roofline().unwrap()
    };
    let exact = roofline(Precision::F32);
    assert_eq!((exact.tiles, exact.threads, exact.blocks.len()), (2, 1, 9));
    assert!(exact.peak_a_second.is_some_and(|peak| peak > 1e7) && exact.blocks.iter().all(|block| !block.spent.is_zero()));
    let names: Vec<&str> = exact.blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(names, ["down 32²", "down 16²", "down 8²", "down 4²", "down 2²", "up 4²", "up 8²", "up 16²", "up 32²"]);
    let (down, up) = (&exact.blocks[1], &exact.blocks[8]);
    assert_eq!(down.multiply_adds, 9 * 16 * 16 * (16 * 32 + 32 * 32));
    assert_eq!(up.multiply_adds, 9 * 32 * 32 * (32 * 16 + 16 * 16) + 32 * 32 * 32 * 16);
    // Weights and what fills their vectors, then the maps: what was pooled above, its own and what it pools; what comes from below,
    // the encoder's and the logits.
    let within = |found: u64, bytes: u64| (bytes..bytes + bytes / 50).contains(&found);
    assert!(within(down.bytes, 4 * (9 * (16 * 32 + 32 * 32) + 16 * 16 * 16 + 16 * 16 * 32 + 8 * 8 * 32)), "{}", down.bytes);
    let maps_of_up = 16 * 16 * 32 + 32 * 32 * 16 + 32 * 32;
    assert!(within(up.bytes, 4 * (9 * (32 * 16 + 16 * 16) + 4 * 32 * 16 + maps_of_up)), "{}", up.bytes);
    assert!(exact.blocks.iter().all(|block| block.done == block.multiply_adds));
    // Where squares come out even a quarter is multiplied; strips of the first convolution begin above the picture.
    let graded = &roofline(Precision::F32Grade).blocks[1];
    assert_eq!(graded.multiply_adds, down.multiply_adds);
    assert_eq!(graded.done, 36 * (5 * 4 * 16 * 32 + 4 * 4 * 32 * 32));
}

#[test]
fn the_papers_other_networks_tell_their_steps_too() {
    for (architecture, steps) in OTHERS.into_iter().zip([21, 23, 17]) {
        let mut engine = CpuEngine::with_isa(&other(architecture, 8), 48, Precision::F32, &1.into(), Isa::Portable).unwrap();
        engine.logits(&pictures(1, 48), 1).unwrap();
        let Roofline { blocks, .. } = engine.roofline().unwrap();
        let names: std::collections::BTreeSet<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!((blocks.len(), names.len()), (steps, steps), "{architecture}: {names:?}");
        // Weights of what is multiplied, and the channels that are written of what is joined.
        let all: u64 = blocks.iter().map(|block| block.multiply_adds).sum();
        let in_layers = |parameter: &crate::nn::layout::Parameter| {
            let [outputs, inputs, side, _] = parameter.shape[..] else { return 0 };
            outputs * inputs * side * side
        };
        let layout = crate::nn::layout::parameters(&other(architecture, 8).meta.shape);
        let weights: usize = layout.iter().map(in_layers).sum();
        assert!(all > weights as u64 && all < (weights * 48 * 48) as u64, "{architecture}: {all}");
        let raised = blocks.iter().find(|block| block.name.starts_with("raise 1²"));
        let share = |raised: &BlockCost| raised.bytes == 4 * (16 + 16 * 6 * 6);
        assert!(raised.is_none_or(share), "{architecture}: {raised:?}");
    }
}

#[test]
fn probabilities_are_rounded_to_255ths() {
    assert_eq!([-40.0, -6.3, -6.2, 0.0, 40.0].map(quantised), [0, 0, 1, 128, 255]);
    let mut logit = -7.0_f32;
    while logit < -5.5 {
        assert_eq!(quantised(logit), (255.0 / (1.0 + (-logit).exp())).round() as u8, "{logit}");
        logit += 1e-4;
    }
}
