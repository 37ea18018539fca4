//! The steps on this processor, with the kernels that CUDA gets, against the engine of the CPU.

use super::*;
use crate::config::Precision;
use crate::nn::Upsampling;
use crate::nn::engine::cpu::CpuEngine;
use crate::nn::engine::tests::{checkpoint, pictures};
use crate::nn::engine::{Engine, quantised};
use crate::nn::kernels::cuda::on_host::{Kernels, Sizes};
use half::bf16;

const SIDE_PX: usize = 32;
/// Fewer than the memory is made for.
const TILES: usize = 2;
const MOST: usize = 3;

struct Found {
    logits: Vec<f32>,
    probabilities: Vec<u8>,
    unsound: Vec<u32>,
}

/// Runs all steps on [`TILES`] tiles, in a memory of what is no number.
fn run(kernels: &Kernels, steps: &Steps, tiles: &[f32]) -> Found {
    let mut memory = vec![bf16::NAN.to_bits(); steps.memory];
    let pixels = TILES * SIDE_PX * SIDE_PX;
    let mut found = Found { logits: vec![f32::NAN; pixels], probabilities: vec![0; pixels], unsound: vec![0; TILES] };
    let sizes = |map: &Map, channels: usize| Sizes { tiles: TILES, side: map.side_px, channels };
    for step in &steps.list {
        match step {
            Step::First { to, weights, bias } => {
                kernels.first(tiles, weights, bias, &mut memory[to.start..], &mut found.unsound, &sizes(to, to.channels));
            }
            Step::Convolve { from, to, kernel } => convolve(from, to, kernel, &mut memory),
            Step::Pool { from, to, copy } => {
                kernels.pool(&mut memory, from.start, &sizes(from, from.channels), to.start, (copy.start, copy.channels));
            }
            Step::Interpolate { from, to } => {
                let target = (to.of.start, to.of.channels);
                kernels.raise(true, &mut memory, from.start, &sizes(from, from.channels), target, to.first_channel);
            }
            Step::Interleave { from, to } => {
                let target = (to.of.start, to.of.channels);
                kernels.raise(false, &mut memory, from.start, &sizes(from, from.channels / 4), target, to.first_channel);
            }
            Step::Head { from, weights, bias } => {
                let out = (&mut found.logits[..], &mut found.probabilities[..], &mut found.unsound[..]);
                kernels.head(&memory[from.start..], weights, *bias, out, &sizes(from, from.channels));
            }
        }
    }
    found
}

/// What cuDNN is asked for, in plain words.
fn convolve(from: &Map, to: &Map, kernel: &Kernel, memory: &mut [u16]) {
    let Kernel { side, weights, bias, relu } = kernel;
    let reach = (*side / 2) as isize;
    let size = from.side_px as isize;
    for tile in 0..TILES as isize {
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            let mut sums: Vec<f32> = bias.iter().map(|bias| bf16::from_f32(*bias).to_f32()).collect();
            for (tap, (dy, dx)) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx))).enumerate() {
                if !(0..size).contains(&(y + dy)) || !(0..size).contains(&(x + dx)) {
                    continue;
                }
                let pixel = from.start + (((tile * size + y + dy) * size + x + dx) as usize) * from.channels;
                let values: Vec<f32> = memory[pixel..pixel + from.channels].iter().map(|v| bf16::from_bits(*v).to_f32()).collect();
                for (output, sum) in sums.iter_mut().enumerate() {
                    let weights = &weights[(output * side * side + tap) * from.channels..][..from.channels];
                    *sum += weights.iter().zip(&values).map(|(w, v)| bf16::from_f32(*w).to_f32() * v).sum::<f32>();
                }
            }
            let pixel = to.start + (((tile * size + y) * size + x) as usize) * to.channels;
            for (slot, sum) in memory[pixel..pixel + to.channels].iter_mut().zip(&sums) {
                *slot = bf16::from_f32(if *relu && *sum < 0.0 { 0.0 } else { *sum }).to_bits();
            }
        }
    }
}

#[test]
fn steps_compute_the_network_with_the_kernels_that_cuda_gets() {
    let Some(kernels) = Kernels::new() else { return println!("skipped: there is no C++ compiler (`c++`)") };
    for (base_width, upsampling) in [(8, Upsampling::Bilinear), (16, Upsampling::Transposed)] {
        let checkpoint = checkpoint(base_width, upsampling);
        let mut tiles = pictures(TILES, SIDE_PX);
        let want = CpuEngine::new(&checkpoint, SIDE_PX, Precision::F32, &2.into()).unwrap().logits(&tiles, TILES).unwrap();
        let mean = want.iter().sum::<f32>() / want.len() as f32;
        let deviation = (want.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / want.len() as f32).sqrt();
        let steps = Steps::new(&checkpoint, SIDE_PX, MOST).unwrap();
        let found = run(&kernels, &steps, &tiles);
        let worst = found.logits.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max) / deviation;
        assert!(worst < 0.15, "{upsampling:?}: {worst}");
        assert!(found.logits.iter().all(|logit| logit.is_finite()), "{upsampling:?}: read what was never written");
        assert_eq!(found.probabilities, found.logits.iter().map(|logit| quantised(*logit)).collect::<Vec<_>>());
        assert_eq!(found.unsound, [0, 0]);

        tiles[SIDE_PX * SIDE_PX + 5] = f32::NAN;
        assert_eq!(run(&kernels, &steps, &tiles).unsound, [0, 1], "{upsampling:?}");
    }
}

#[test]
fn steps_want_channels_in_eights() {
    let error = Steps::new(&checkpoint(4, Upsampling::Bilinear), SIDE_PX, MOST).unwrap_err().to_string();
    assert!(error.contains("base width of 4") && error.contains("multiple of 8"), "{error}");
}
