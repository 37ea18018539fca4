//! Blocks of every format on every instruction set against plain loops in `f64`.

use super::*;
use crate::nn::kernels::Isa;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Channels first, `f64`.
struct Picture {
    c: usize,
    h: usize,
    w: usize,
    values: Vec<f64>,
}

impl Picture {
    fn of(c: usize, h: usize, w: usize, at: impl Fn(usize, usize, usize) -> f64) -> Self {
        let values = (0..c * h * w).map(|i| at(i / (h * w), i / w % h, i % w)).collect();
        Self { c, h, w, values }
    }

    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.values[(c * self.h + y) * self.w + x]
    }

    fn convolved(&self, convolution: &Convolution) -> Self {
        Self::of(convolution.outputs, self.h, self.w, |o, y, x| {
            let mut sum = f64::from(convolution.bias[o]);
            for c in 0..self.c {
                for tap in 0..9 {
                    let (y, x) = ((y + tap / 3).wrapping_sub(1), (x + tap % 3).wrapping_sub(1));
                    if y < self.h && x < self.w {
                        sum += f64::from(convolution.weights[(o * self.c + c) * 9 + tap]) * self.at(c, y, x);
                    }
                }
            }
            sum.max(0.0)
        })
    }

    fn pooled(&self) -> Self {
        Self::of(self.c, self.h / 2, self.w / 2, |c, y, x| {
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| self.at(c, 2 * y + dy, 2 * x + dx)).into_iter().fold(f64::MIN, f64::max)
        })
    }

    fn raised(&self, raising: &Raising) -> Self {
        let (h, w) = (2 * self.h, 2 * self.w);
        match raising {
            Raising::Bilinear => Self::of(self.c, h, w, |c, y, x| {
                let place = |i: usize, n: usize| if n > 1 { i as f64 * (n - 1) as f64 / (2 * n - 1) as f64 } else { 0.0 };
                let (y, x) = (place(y, self.h), place(x, self.w));
                let (y0, x0) = (y as usize, x as usize);
                let (y1, x1) = ((y0 + 1).min(self.h - 1), (x0 + 1).min(self.w - 1));
                let (fy, fx) = (y - y0 as f64, x - x0 as f64);
                (self.at(c, y0, x0) * (1.0 - fx) + self.at(c, y0, x1) * fx) * (1.0 - fy)
                    + (self.at(c, y1, x0) * (1.0 - fx) + self.at(c, y1, x1) * fx) * fy
            }),
            Raising::Transposed { outputs, weights, bias, .. } => Self::of(*outputs, h, w, |o, y, x| {
                let tap = y % 2 * 2 + x % 2;
                let products = (0..self.c).map(|c| f64::from(weights[(c * outputs + o) * 4 + tap]) * self.at(c, y / 2, x / 2));
                f64::from(bias[o]) + products.sum::<f64>()
            }),
        }
    }

    /// Seen through each of the mixtures.
    fn mixed(&self, mixtures: &[Vec<f32>]) -> Vec<f64> {
        let at = |mixture: &[f32], pixel: usize| -> f64 {
            mixture.iter().enumerate().map(|(c, share)| f64::from(*share) * self.values[c * self.h * self.w + pixel]).sum()
        };
        mixtures.iter().flat_map(|mixture| (0..self.h * self.w).map(move |pixel| at(mixture, pixel))).collect()
    }

    fn below(mut self, other: &Self) -> Self {
        self.values.extend(&other.values);
        self.c += other.c;
        self
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn values(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-bound..bound)).collect()
    }

    fn convolution(&mut self, inputs: usize, outputs: usize) -> Convolution {
        let bound = (6.0 / (9 * inputs) as f32).sqrt();
        Convolution { inputs, outputs, weights: self.values(inputs * outputs * 9, bound), bias: self.values(outputs, 0.2) }
    }
}

/// The first `seen` channels of a block's result, each seen through the last layer.
fn seen<F: Multiply>(block: &mut Block<F>, source: &Source<F>, channels: usize, seen: usize, pixels: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for channel in 0..seen {
        let mut weights = vec![0.0; channels.next_multiple_of(16)];
        weights[channel] = 1.0;
        let mut logits = vec![0.0; pixels];
        block.run(source, &mut Sinks { map: None, pooled: None, logits: Some(Logits { weights: &weights, bias: 0.0, to: &mut logits }) });
        all.extend(logits.into_iter().map(f64::from));
    }
    all
}

/// What the last layer is to show of so many channels: a few of them alone, and all of them mixed.
fn mixtures(dice: &mut Dice, channels: usize) -> Vec<Vec<f32>> {
    let alone = [0, 1, channels / 2, channels - 1].map(|channel| (0..channels).map(|c| f32::from(c == channel)).collect());
    let mixed = [0; 2].map(|_| dice.values(channels, 1.0 / (channels as f32).sqrt()));
    alone.into_iter().chain(mixed).collect()
}

/// A block's result seen through each of the mixtures.
fn mixed<F: Multiply>(block: &mut Block<F>, source: &Source<F>, mixtures: &[Vec<f32>], pixels: usize) -> Vec<f64> {
    let mut logits = vec![0.0; pixels];
    let mut all = Vec::new();
    for mixture in mixtures {
        let mut weights = mixture.clone();
        weights.resize(weights.len().next_multiple_of(16), 0.0);
        block.run(source, &mut Sinks { map: None, pooled: None, logits: Some(Logits { weights: &weights, bias: 0.0, to: &mut logits }) });
        all.extend(logits.iter().map(|v| f64::from(*v)));
    }
    all
}

#[track_caller]
fn assert_near(got: &[f64], want: &[f64], tolerance: f64, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    let scale = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt() + 0.1;
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{case}, value {i}: {g} instead of {w}");
    }
}

/// An encoder's block, and a decoder's on what it leaves.
fn check<F: Multiply>(isa: Isa, method: Method, tolerance: f64) {
    if !isa.is_here() {
        println!("skipped: {} with {isa}, which this processor has not", std::any::type_name::<F>());
        return;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(5));
    // One pixel, odd sides, lines longer and shorter than the tiles, channels beside the vectors' widths; large weights.
    let sizes = [
        (1, 1, [1, 1]),
        (1, 7, [3, 5]),
        (5, 1, [16, 2]),
        (9, 17, [2, 33]),
        (6, 47, [13, 16]),
        (20, 34, [8, 8]),
        (33, 66, [24, 16]),
        (4, 10, [256, 330]),
    ];
    // Lines that come out even in squares of four and channels in vectors; strips that end within the picture and beyond it;
    // weights that are large, in steps of the whole picture and of two strips.
    let even = [
        (1, 4, [16, 16]),
        (4, 8, [16, 32]),
        (13, 16, [32, 16]),
        (6, 28, [16, 48]),
        (40, 36, [16, 16]),
        (12, 8, [256, 256]),
        (10, 112, [96, 96]),
    ];
    let (of_squares, middle, last, more) = if method == Method::Winograd { (&even[..], 32, 16, 16) } else { (&[][..], 10, 6, 3) };
    for (h, w, [a, b]) in sizes.iter().chain(of_squares).copied() {
        let case = format!("{isa}, {h} × {w}, {a} and {b} channels");
        let values = dice.values(h * w, 1.0);
        let (first, second) = (dice.convolution(1, a), dice.convolution(a, b));
        let mut picture = Map::new(h, w, 1, h);
        picture.set_picture(&values);
        let plain = Picture::of(1, h, w, |_, y, x| f64::from(values[y * w + x]));
        let want = plain.convolved(&first).convolved(&second);
        let mut block = Block::<F>::new(isa, method, [h, w], [&first, &second], None, 3);
        let mixtures_of_b = mixtures(&mut dice, b);
        let got = pool.install(|| mixed(&mut block, &Source::Picture(&picture), &mixtures_of_b, h * w));
        assert_near(&got, &want.mixed(&mixtures_of_b), tolerance, &case);
        if h % 2 + w % 2 > 0 {
            continue;
        }
        let (mut map, mut pooled) = (Map::new(h, w, b, h), Map::new(h / 2, w / 2, b, h / 2));
        pool.install(|| {
            block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled: Some(&mut pooled), logits: None });
        });
        let outputs = b + more;
        let transposed =
            Raising::Transposed { outputs, weights: dice.values(b * outputs * 4, 0.3), bias: dice.values(outputs, 0.2), zero: 0 };
        for (raising, raised) in [(Raising::Bilinear, b), (transposed, outputs)] {
            let (first, second) = (dice.convolution(b + raised, middle), dice.convolution(middle, last));
            let want_raised = want.pooled().raised(&raising);
            let joined = Picture::of(b, h, w, |c, y, x| want.at(c, y, x)).below(&want_raised);
            let want = joined.convolved(&first).convolved(&second);
            let mut block = Block::<F>::new(isa, method, [h, w], [&first, &second], Some((&raising, b, b)), 3);
            let mixtures_of_last = mixtures(&mut dice, last);
            let got = pool.install(|| mixed(&mut block, &Source::Joined(&map, &pooled), &mixtures_of_last, h * w));
            assert_near(&got, &want.mixed(&mixtures_of_last), 2.0 * tolerance, &format!("{case}, joined"));
        }
    }
}

#[test]
fn f32_is_right_without_any_instruction_set() {
    check::<Single>(Isa::Portable, Method::Direct, 1e-5);
}

#[test]
fn f32_is_right_with_avx2() {
    check::<Single>(Isa::Avx2, Method::Direct, 1e-5);
}

#[test]
fn f32_is_right_with_avx512() {
    check::<Single>(Isa::Avx512, Method::Direct, 1e-5);
}

/// Heights of which a step of four or of two strips leaves one line, in a block that reads a map.
#[test]
fn a_last_line_alone_is_computed() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(9));
    for (h, w) in [(5, 56), (9, 28), (13, 28)] {
        let (first, second) = (dice.convolution(1, 16), dice.convolution(16, 16));
        let values = dice.values(h * w, 1.0);
        let mut picture = Map::new(h, w, 1, h);
        picture.set_picture(&values);
        let run = |method| {
            let mut map = Map::new(h, w, 16, h);
            let mut block = Block::<Single>::new(Isa::best(), method, [h, w], [&first, &second], None, 1);
            block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled: None, logits: None });
            let mut block = Block::<Single>::new(Isa::best(), method, [h, w], [&second, &second], None, 1);
            seen(&mut block, &Source::Map(&map), 16, 16, h * w)
        };
        assert_near(&run(Method::Winograd), &run(Method::Direct), 1e-4, &format!("{h} × {w}"));
    }
}

#[test]
fn fewer_products_of_f32_are_right() {
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        check::<Single>(isa, Method::Winograd, 1e-4);
    }
}

#[test]
fn bf16_is_right_with_avx512() {
    check::<Brain>(Isa::Avx512Bf16, Method::Direct, 0.05);
}

#[test]
fn bf16_is_right_with_tiles() {
    check::<Brain>(Isa::Amx, Method::Direct, 0.05);
}

#[test]
fn split_bf16_is_right_with_tiles() {
    check::<Split>(Isa::Amx, Method::Direct, 1e-4);
}

/// Bytes have no sign and hold 0 to 255: weights are scaled so that results do, and nothing is transposed.
fn check_bytes(isa: Isa) {
    if !isa.is_here() {
        return println!("skipped: bytes with {isa}, which this processor has not");
    }
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(6));
    for (h, w, [a, b]) in [(1, 1, [1, 1]), (1, 7, [3, 5]), (9, 17, [2, 33]), (20, 34, [8, 8]), (33, 66, [24, 16]), (4, 10, [256, 330])] {
        let case = format!("{isa}, {h} × {w}, {a} and {b} channels");
        let values = dice.values(h * w, 1.0);
        let (mut first, mut second) = (dice.convolution(1, a), dice.convolution(a, b));
        let plain = Picture::of(1, h, w, |_, y, x| f64::from(values[y * w + x]));
        // To the whole range.
        for (convolution, before) in [(&mut first, None), (&mut second, Some(()))] {
            let scale = 200.0 / if before.is_none() { 3.0 } else { 400.0 };
            convolution.weights.iter_mut().for_each(|v| *v *= scale);
            convolution.bias.iter_mut().for_each(|v| *v *= 20.0);
        }
        let whole = |picture: Picture| Picture {
            values: picture.values.iter().map(|v| v.round_ties_even().clamp(0.0, 255.0)).collect(),
            ..picture
        };
        let want = whole(whole(plain.convolved(&first)).convolved(&second));
        let mut picture = Map::new(h, w, 1, h);
        picture.set_picture(&values);
        let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], None, 3);
        let got = seen(&mut block, &Source::Picture(&picture), b, b.min(40), h * w);
        // A weight is off by half of a 127th of the greatest at most, an activation of the first layer by one.
        let most = |c: &Convolution| c.weights.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        let slack = 2.0 + f64::from(most(&second)) * (9.0 * a as f64).sqrt() * (255.0 / 254.0 + 2.0);
        for (i, (got, want)) in got.iter().zip(&want.values).enumerate() {
            assert!(
                (got - want).abs() <= slack && got.fract() == 0.0 && (0.0..=255.0).contains(got),
                "{case}, value {i}: {got} instead of {want}"
            );
        }
    }
}

#[test]
fn bytes_are_right_with_avx512() {
    check_bytes(Isa::Avx512Vnni);
}

#[test]
fn bytes_are_right_with_tiles() {
    check_bytes(Isa::Amx);
}

/// With whole weights of ±127 and whole inputs nothing is rounded but the last result: any slip in the order of weights shows.
#[test]
fn bytes_of_whole_weights_are_exact() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(8));
    for (h, w, [a, b]) in [(5, 9, [7, 5]), (12, 20, [40, 33]), (6, 8, [400, 400])] {
        let mut first = dice.convolution(1, a);
        // The picture itself, a little different in each channel.
        first.weights.iter_mut().enumerate().for_each(|(i, v)| *v = if i % 9 == 4 { (i / 9 % 5 + 1) as f32 } else { 0.0 });
        first.bias.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32);
        let mut second = dice.convolution(a, b);
        let unit = 1.0 / (8.0 * a as f32);
        for weights in second.weights.chunks_exact_mut(9 * a) {
            weights.iter_mut().for_each(|v| *v = (*v * 1e4).rem_euclid(255.0).floor() - 127.0);
            weights[0] = 127.0;
            weights.iter_mut().for_each(|v| *v *= unit);
        }
        let values: Vec<f32> = (0..h * w).map(|i| (i * 7 % 11) as f32).collect();
        let plain = Picture::of(1, h, w, |_, y, x| f64::from(values[y * w + x]));
        let want = plain.convolved(&first).convolved(&second);
        let mut picture = Map::new(h, w, 1, h);
        picture.set_picture(&values);
        for isa in [Isa::Avx512Vnni, Isa::Amx] {
            if !isa.is_here() {
                println!("skipped: bytes with {isa}, which this processor has not");
                continue;
            }
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], None, 3);
            let got = seen(&mut block, &Source::Picture(&picture), b, b.min(40), h * w);
            for (i, (got, want)) in got.iter().zip(&want.values).enumerate() {
                assert!((got - want.min(255.0)).abs() <= 0.51, "{isa}, {a} and {b} channels, value {i}: {got} instead of {want}");
            }
        }
    }
}

/// What comes from below has signs, and what lies around it is 0: everything is whole, so that only the last result is rounded.
#[test]
fn bytes_of_transposed_convolutions_have_signs() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(10));
    for (h, w, outputs, [a, b]) in [(2, 2, 1, [3, 2]), (6, 10, 5, [8, 5]), (12, 36, 17, [33, 16]), (4, 4, 200, [300, 40])] {
        let mut whole = |count: usize, bound: f32| -> Vec<f32> { dice.values(count, bound).into_iter().map(f32::round).collect() };
        let [skip, below] = [whole(h * w, 3.0), whole(h * w / 4, 3.0)].map(|values| values.into_iter().map(f32::abs).collect::<Vec<_>>());
        let mut weights = whole(outputs * 4, 30.0);
        // Every column has a weight of 127, so that all of them stay whole.
        weights.iter_mut().for_each(|v| *v = v.signum() * 127.0 / 3.0);
        let raising = Raising::Transposed { outputs, weights, bias: whole(outputs, 9.0), zero: 128 };
        let mut first = Convolution { inputs: 1 + outputs, outputs: a, weights: whole(a * (1 + outputs) * 9, 126.0), bias: whole(a, 60.0) };
        let mut second = Convolution { inputs: a, outputs: b, weights: vec![0.0; a * b * 9], bias: vec![0.0; b] };
        let unit = 1.0 / (1000.0 * (outputs as f32).sqrt());
        for of_output in first.weights.chunks_exact_mut(9 * (1 + outputs)) {
            of_output[0] = 127.0;
            of_output.iter_mut().for_each(|v| *v *= unit);
        }
        // Each result of the first once more.
        second.weights.iter_mut().enumerate().for_each(|(i, v)| *v = f32::from(i % 9 == 4 && i / 9 % a == i / 9 / a % a));
        let of = |values: &[f32], h: usize, w: usize| Picture::of(1, h, w, |_, y, x| f64::from(values[y * w + x]));
        let rounded = |mut picture: Picture, [least, most]: [f64; 2]| {
            picture.values.iter_mut().for_each(|v| *v = v.round_ties_even().clamp(least, most));
            picture
        };
        let raised = rounded(of(&below, h / 2, w / 2).raised(&raising), [-128.0, 127.0]);
        assert!(outputs == 1 || [-1.0, 1.0].iter().all(|sign| raised.values.iter().any(|v| v * sign > 100.0)), "both signs");
        let want = of(&skip, h, w).below(&raised).convolved(&first).convolved(&second);
        for isa in [Isa::Avx512Vnni, Isa::Amx] {
            if !isa.is_here() {
                println!("skipped: bytes with {isa}, which this processor has not");
                continue;
            }
            let bytes = |values: &[f32], h: usize, w: usize| {
                let mut map = Map::<Byte>::new(h, w, 1, h);
                map.set_picture(&values.iter().map(|v| *v as u8).collect::<Vec<_>>());
                map
            };
            let (skip, below) = (bytes(&skip, h, w), bytes(&below, h / 2, w / 2));
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], Some((&raising, 1, 1)), 2);
            let got = seen(&mut block, &Source::Joined(&skip, &below), b, b, h * w);
            for (i, (got, want)) in got.iter().zip(&want.values).enumerate() {
                assert!((got - want.min(255.0)).abs() <= 0.51, "{isa}, {h} × {w}, {outputs} raised, value {i}: {got} instead of {want}");
            }
        }
    }
}

#[test]
fn bytes_are_the_same_with_tiles_and_without() {
    if !Isa::Amx.is_here() {
        return println!("skipped: bytes with {}, which this processor has not", Isa::Amx);
    }
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(7));
    let (h, w) = (12, 40);
    let scaled = |mut convolution: Convolution, by: f32| {
        convolution.weights.iter_mut().for_each(|v| *v *= by);
        convolution
    };
    let (first, second) = (scaled(dice.convolution(1, 24), 60.0), scaled(dice.convolution(24, 40), 0.8));
    let (third, last) = (scaled(dice.convolution(80, 16), 0.8), scaled(dice.convolution(16, 6), 0.8));
    let transposed = Raising::Transposed { outputs: 40, weights: dice.values(40 * 40 * 4, 0.3), bias: dice.values(40, 9.0), zero: 128 };
    let values = dice.values(h * w, 1.0);
    let mut picture = Map::new(h, w, 1, h);
    picture.set_picture(&values);
    let run = |isa: Isa| {
        let (mut map, mut pooled) = (Map::new(h, w, 40, h), Map::new(h / 2, w / 2, 40, h / 2));
        let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], None, 3);
        block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled: Some(&mut pooled), logits: None });
        let mut all = Vec::new();
        for raising in [&Raising::Bilinear, &transposed] {
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&third, &last], Some((raising, 40, 40)), 3);
            all.extend(seen(&mut block, &Source::Joined(&map, &pooled), 6, 6, h * w));
        }
        all
    };
    let found = run(Isa::Amx);
    assert_eq!(found, run(Isa::Avx512Vnni));
    assert!(found.iter().filter(|v| **v > 0.0).count() > found.len() / 10);
}

#[test]
#[should_panic(expected = "cannot multiply this format")]
fn an_instruction_set_that_cannot_is_refused() {
    let convolution = Convolution { inputs: 1, outputs: 1, weights: vec![0.0; 9], bias: vec![0.0] };
    let _ = Block::<Split>::new(Isa::Portable, Method::Direct, [2, 2], [&convolution, &convolution], None, 1);
}

#[test]
#[should_panic(expected = "size of the picture")]
fn a_map_of_another_size_is_refused() {
    let convolution = Convolution { inputs: 1, outputs: 1, weights: vec![0.0; 9], bias: vec![0.0] };
    let mut block = Block::<Single>::new(Isa::Portable, Method::Direct, [2, 2], [&convolution, &convolution], None, 1);
    block.run(&Source::Picture(&Map::new(2, 4, 1, 2)), &mut Sinks { map: None, pooled: None, logits: None });
}
