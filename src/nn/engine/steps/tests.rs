//! The steps on this processor, with the kernels that CUDA gets, against the engine of the CPU.

use super::*;
use crate::config::Precision;
use crate::nn::Upsampling;
use crate::nn::engine::cpu::CpuEngine;
use crate::nn::engine::tests::{checkpoint, pictures};
use crate::nn::engine::{Engine, quantised};
use crate::nn::kernels::cuda::on_host::{Kernels, Sizes};
use half::{bf16, f16};

const SIDE_PX: usize = 32;
/// Fewer than the memory is made for.
const TILES: usize = 2;
const MOST: usize = 3;

/// What maps and weights are made of.
#[derive(Clone, Copy)]
struct Numbers {
    name: &'static str,
    halves: bool,
    narrow: fn(f32) -> u16,
    wide: fn(u16) -> f32,
}

const BRAINS: Numbers =
    Numbers { name: "bf16", halves: false, narrow: |value| bf16::from_f32(value).to_bits(), wide: |bits| bf16::from_bits(bits).to_f32() };
const HALVES: Numbers =
    Numbers { name: "f16", halves: true, narrow: |value| f16::from_f32(value).to_bits(), wide: |bits| f16::from_bits(bits).to_f32() };

struct Found {
    logits: Vec<f32>,
    probabilities: Vec<u8>,
    unsound: Vec<u32>,
}

/// Runs all steps on [`TILES`] tiles, in a memory of what is no number.
fn run(kernels: &Kernels, numbers: Numbers, steps: &Steps, tiles: &[f32]) -> Found {
    let mut memory = vec![(numbers.narrow)(f32::NAN); steps.memory];
    let pixels = TILES * SIDE_PX * SIDE_PX;
    let mut found = Found { logits: vec![f32::NAN; pixels], probabilities: vec![0; pixels], unsound: vec![0; TILES] };
    let sizes = |map: &Map, channels: usize| Sizes { tiles: TILES, side: map.side_px, channels };
    for step in &steps.list {
        match step {
            Step::First { to, weights, bias } => {
                kernels.first(tiles, weights, bias, &mut memory[to.start..], &mut found.unsound, &sizes(to, to.channels));
            }
            Step::Convolve { from, to, kernel } => convolve(from, to, kernel, numbers, &mut memory),
            Step::Pool { from, to, copy } => {
                let copy = (copy.start, copy.channels);
                kernels.pool(&mut memory, from.start, &sizes(from, from.channels), to.start, copy, &mut found.unsound);
            }
            Step::Interpolate { from, to } => {
                let target = [to.of.start, to.of.channels, to.first_channel];
                kernels.raise(true, &mut memory, from.start, &sizes(from, from.channels), target, &mut found.unsound);
            }
            Step::Interleave { from, to } => {
                let target = [to.of.start, to.of.channels, to.first_channel];
                kernels.raise(false, &mut memory, from.start, &sizes(from, from.channels / 4), target, &mut found.unsound);
            }
            Step::Look { at } => kernels.look(&memory[at.start..], &sizes(at, at.channels), &mut found.unsound),
            Step::Head { from, weights, bias } => {
                let out = (&mut found.logits[..], &mut found.probabilities[..], &mut found.unsound[..]);
                kernels.head(&memory[from.start..], weights, *bias, out, &sizes(from, from.channels));
            }
        }
    }
    found
}

/// What cuDNN is asked for, in plain words.
fn convolve(from: &Map, to: &Map, kernel: &Kernel, numbers: Numbers, memory: &mut [u16]) {
    let Numbers { narrow, wide, .. } = numbers;
    let rounded = |values: &[f32]| values.iter().map(|value| wide(narrow(*value))).collect::<Vec<_>>();
    let Kernel { side, weights, bias, relu } = kernel;
    let (weights, bias) = (rounded(weights), rounded(bias));
    let reach = (*side / 2) as isize;
    let size = from.side_px as isize;
    for tile in 0..TILES as isize {
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            let mut sums = bias.clone();
            for (tap, (dy, dx)) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx))).enumerate() {
                if !(0..size).contains(&(y + dy)) || !(0..size).contains(&(x + dx)) {
                    continue;
                }
                let pixel = from.start + (((tile * size + y + dy) * size + x + dx) as usize) * from.channels;
                let values: Vec<f32> = memory[pixel..pixel + from.channels].iter().map(|v| wide(*v)).collect();
                for (output, sum) in sums.iter_mut().enumerate() {
                    let weights = &weights[(output * side * side + tap) * from.channels..][..from.channels];
                    *sum += weights.iter().zip(&values).map(|(w, v)| w * v).sum::<f32>();
                }
            }
            let pixel = to.start + (((tile * size + y) * size + x) as usize) * to.channels;
            for (slot, sum) in memory[pixel..pixel + to.channels].iter_mut().zip(&sums) {
                // As cuDNN's, this ReLU makes 0 of what is no number.
                *slot = narrow(if *relu { sum.max(0.0) } else { *sum });
            }
        }
    }
}

#[test]
fn steps_compute_the_network_with_the_kernels_that_cuda_gets() {
    for (numbers, most) in [(BRAINS, 0.15), (HALVES, 0.02)] {
        let Some(kernels) = Kernels::new(numbers.halves) else { return crate::skipped!("there is no C++ compiler (`c++`)") };
        for (base_width, upsampling) in [(8, Upsampling::Bilinear), (16, Upsampling::Transposed)] {
            let checkpoint = checkpoint(base_width, upsampling);
            let mut tiles = pictures(TILES, SIDE_PX);
            let want = CpuEngine::new(&checkpoint, SIDE_PX, Precision::F32, &2.into()).unwrap().logits(&tiles, TILES).unwrap();
            let mean = want.iter().sum::<f32>() / want.len() as f32;
            let deviation = (want.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / want.len() as f32).sqrt();
            let steps = Steps::new(&checkpoint, SIDE_PX, MOST).unwrap();
            let found = run(&kernels, numbers, &steps, &tiles);
            let worst = found.logits.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max) / deviation;
            println!("{}, {upsampling:?}: off by {worst}", numbers.name);
            assert!(worst < most, "{}, {upsampling:?}: {worst}", numbers.name);
            assert!(found.logits.iter().all(|logit| logit.is_finite()), "{}, {upsampling:?}: read what was never written", numbers.name);
            assert_eq!(found.probabilities, found.logits.iter().map(|logit| quantised(*logit)).collect::<Vec<_>>());
            assert_eq!(found.unsound, [0, 0]);

            tiles[SIDE_PX * SIDE_PX + 5] = f32::NAN;
            assert_eq!(run(&kernels, numbers, &steps, &tiles).unsound, [0, 1], "{}, {upsampling:?}", numbers.name);

            let mut infinite = Steps::new(&checkpoint, SIDE_PX, MOST).unwrap();
            let Some(Step::Head { bias, .. }) = infinite.list.last_mut() else { panic!("the last step is the head") };
            *bias = f32::NEG_INFINITY;
            assert_eq!(run(&kernels, numbers, &infinite, &pictures(TILES, SIDE_PX)).unsound, [1, 1], "{}", numbers.name);
        }
    }
}

#[test]
fn a_map_that_leaves_the_range_of_halves_is_told_wherever_it_lies() {
    for (numbers, unsound) in [(BRAINS, [0, 0]), (HALVES, [1, 1])] {
        let Some(kernels) = Kernels::new(numbers.halves) else { return crate::skipped!("there is no C++ compiler (`c++`)") };
        for upsampling in [Upsampling::Bilinear, Upsampling::Transposed] {
            let mut steps = Steps::new(&checkpoint(8, upsampling), SIDE_PX, MOST).unwrap();
            let tiles = pictures(TILES, SIDE_PX);
            for place in 0..steps.list.len() {
                let Some(bias) = bias_of(&mut steps.list[place]) else { continue };
                // Infinite among halves: convolutions of such a map are sums of both infinities, which the ReLU makes 0 of.
                let before = std::mem::replace(bias, vec![1e5; bias.len()]);
                let found = run(&kernels, numbers, &steps, &tiles);
                assert_eq!(found.unsound, unsound, "{}, {upsampling:?}, step {place}", numbers.name);
                *bias_of(&mut steps.list[place]).unwrap() = before;
            }
        }
    }
}

/// That of a convolution.
fn bias_of(step: &mut Step) -> Option<&mut Vec<f32>> {
    match step {
        Step::First { bias, .. } | Step::Convolve { kernel: Kernel { bias, .. }, .. } => Some(bias),
        _ => None,
    }
}

#[test]
fn halves_are_rounded_to_the_nearest_and_told_at_the_end_of_their_range() {
    let Some(kernels) = Kernels::new(true) else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let sizes = Sizes { tiles: 1, side: 4, channels: 8 };
    // What kernel `first` makes of a black picture is its bias.
    let first = |bias: [f32; 8]| {
        // On the heap, whose places are aligned as the kernels want them.
        let (weights, mut to, mut unsound) = (vec![1.0; 9 * 8], vec![0; 4 * 4 * 8], [0]);
        kernels.first(&[0.0; 4 * 4], &weights, &bias, &mut to, &mut unsound, &sizes);
        assert_eq!(to[..8], bias.map(|value| f16::from_f32(value).to_bits()), "{bias:?}");
        unsound[0]
    };
    let ulp = f32::EPSILON;
    assert_eq!(first([0.0, 1e-9, 2.9e-8, 3e-8, 5e-7, 6.1e-5, 6.103_5e-5, 6.2e-5]), 0);
    assert_eq!(first([1.0, 1.0 + 4096.0 * ulp, 1.0 + 4097.0 * ulp, 1.0 + 12288.0 * ulp, 2047.9, 2049.0, 2051.0, 65503.0 - 32.0]), 0);
    for end in [65504.0, 65519.0, 65520.0, 1e9] {
        assert_eq!(first([0.0, 0.0, 0.0, end, 0.0, 0.0, 0.0, 0.0]), 1, "{end}");
    }
}

#[test]
fn steps_want_channels_in_eights() {
    let error = Steps::new(&checkpoint(4, Upsampling::Bilinear), SIDE_PX, MOST).unwrap_err().to_string();
    assert!(error.contains("base width of 4") && error.contains("multiple of 8"), "{error}");
}
