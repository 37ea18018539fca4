//! Blocks of every format on every instruction set against plain loops in `f64`.

mod bytes;
mod layers;

use super::*;
use crate::nn::kernels::Isa;
use crate::nn::kernels::simd::{Lanes, Plain};
use proptest::prelude::*;
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
        let (h, w) = (self.h, self.w);
        let mut values = Vec::with_capacity(convolution.outputs * h * w);
        for o in 0..convolution.outputs {
            let mut plane = vec![f64::from(convolution.bias[o]); h * w];
            for (c, tap) in (0..self.c).flat_map(|c| (0..9).map(move |tap| (c, tap))) {
                let weight = f64::from(convolution.weights[(o * self.c + c) * 9 + tap]);
                let (down, right) = (tap / 3, tap % 3);
                // Pixels whose neighbour there lies within the picture.
                let xs = usize::from(right == 0)..w - usize::from(right == 2);
                for y in usize::from(down == 0)..h - usize::from(down == 2) {
                    let neighbours = &self.values[(c * h + y + down - 1) * w..][..w][xs.start + right - 1..];
                    for (sum, value) in plane[y * w..][xs.clone()].iter_mut().zip(neighbours) {
                        *sum += weight * value;
                    }
                }
            }
            values.extend(plane.iter().map(|sum| sum.max(0.0)));
        }
        Self { c: convolution.outputs, h, w, values }
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

    /// Seen through the last layer.
    fn mixed(&self, mixture: &[f32]) -> Vec<f64> {
        let at =
            |pixel: usize| mixture.iter().enumerate().map(|(c, share)| f64::from(*share) * self.values[c * self.h * self.w + pixel]).sum();
        (0..self.h * self.w).map(at).collect()
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
        Convolution { inputs, outputs, side: 3, weights: self.values(inputs * outputs * 9, bound), bias: self.values(outputs, 0.2) }
    }
}

/// The first `seen` channels of a block's result, each seen through the last layer.
fn seen<F: Multiply>(block: &mut Block<F>, threads: usize, source: &Source<F>, [channels, seen]: [usize; 2], pixels: usize) -> Vec<f64> {
    let alone = |channel| (0..channels).map(|c| f32::from(c == channel)).collect::<Vec<_>>();
    (0..seen).flat_map(|channel| mixed(block, threads, source, &alone(channel), pixels)).collect()
}

/// All channels of a map, one after the other.
fn values_of<F: Multiply>(map: &Map<F>) -> Vec<f64> {
    let view = map.view();
    let value = |c: usize, y: usize, x: usize| {
        // SAFETY: a pixel of the map; what follows it may be read.
        let found = unsafe { F::load::<Plain>(view.pixels(y).add(x * view.c + c), view.part()) };
        let mut first = 0.0;
        // SAFETY: room for one value.
        unsafe { found.store_first(&mut first, 1) };
        f64::from(first)
    };
    Picture::of(view.c, view.h, view.w, value).values
}

/// A block's result seen through a last layer of these weights, shared out among so many threads.
fn mixed<F: Multiply>(block: &mut Block<F>, threads: usize, source: &Source<F>, mixture: &[f32], pixels: usize) -> Vec<f64> {
    let mut logits = vec![0.0; pixels];
    let mut weights = mixture.to_vec();
    weights.resize(weights.len().next_multiple_of(16), 0.0);
    let last = Logits { weights: &weights, bias: 0.0, to: &mut logits };
    block.run(source, &mut Sinks { map: None, pooled: None, logits: Some(last) }, threads);
    logits.iter().map(|v| f64::from(*v)).collect()
}

fn format_name<F>() -> &'static str {
    std::any::type_name::<F>().rsplit("::").next().unwrap_or_default()
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
        crate::skipped!("{} with {isa}, which this processor has not", format_name::<F>());
        return;
    }
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(5));
    // One pixel, odd sides, lines longer and shorter than the tiles, channels beside the vectors' widths; large weights; pixels that are
    // all at one place of the first-level cache.
    let sizes = [
        (1, 1, [1, 1]),
        (1, 7, [3, 5]),
        (5, 1, [16, 2]),
        (9, 17, [2, 33]),
        (6, 47, [13, 16]),
        (20, 34, [8, 8]),
        (33, 66, [24, 16]),
        (4, 10, [256, 330]),
        (1, 19, [1024, 32]),
    ];
    // Channels that come out even in vectors; squares of four that end with the line and beyond it, strips within the picture and
    // beyond it; weights that are large, in steps of the whole picture and of two strips.
    let even = [
        (1, 4, [16, 16]),
        (4, 8, [16, 32]),
        (13, 16, [32, 16]),
        (6, 28, [16, 48]),
        (40, 36, [16, 16]),
        (12, 8, [256, 256]),
        (10, 112, [96, 96]),
        (3, 1, [16, 16]),
        (7, 29, [16, 32]),
        (14, 58, [32, 16]),
        (6, 30, [256, 256]),
        (3, 37, [1024, 32]),
    ];
    let (of_squares, middle, last, more) = if method == Method::Winograd { (&even[..], 32, 16, 16) } else { (&[][..], 10, 6, 3) };
    for (h, w, encoder) in sizes.iter().chain(of_squares).copied() {
        check_case::<F>(isa, method, tolerance, &mut dice, &Case { size: [h, w], encoder, more, decoder: [middle, last], threads: 3 });
    }
}

/// A size and numbers of channels.
#[derive(Debug)]
struct Case {
    size: [usize; 2],
    encoder: [usize; 2],
    /// What a transposed convolution puts out beyond what it reads.
    more: usize,
    decoder: [usize; 2],
    threads: usize,
}

/// An encoder's block, and, where the sides are even, a decoder's on what it leaves.
fn check_case<F: Multiply>(isa: Isa, method: Method, tolerance: f64, dice: &mut Dice, case: &Case) {
    let Case { size: [h, w], encoder: [a, b], more, decoder: [middle, last], threads } = *case;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let case = format!("{isa}, {h} × {w}, {a} and {b} channels, then {middle} and {last}");
    let values = dice.values(h * w, 1.0);
    let (first, second) = (dice.convolution(1, a), dice.convolution(a, b));
    let mut picture = Map::new(h, w, 1, h);
    picture.set_picture(&values);
    let plain = Picture::of(1, h, w, |_, y, x| f64::from(values[y * w + x]));
    let want = plain.convolved(&first).convolved(&second);
    let mut block = Block::<F>::new(isa, method, [h, w], [&first, &second], None, threads);
    let mixture = dice.values(b, 1.0 / (b as f32).sqrt());
    let got = pool.install(|| mixed(&mut block, threads, &Source::Picture(&picture), &mixture, h * w));
    assert_near(&got, &want.mixed(&mixture), tolerance, &case);
    let even = h % 2 + w % 2 == 0;
    let (mut map, mut pooled) = (Map::new(h, w, b, h), Map::new(h / 2, w / 2, b, h / 2));
    pool.install(|| {
        let pooled = even.then_some(&mut pooled);
        block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled, logits: None }, threads);
    });
    assert_near(&values_of(&map), &want.values, tolerance, &case);
    if !even {
        return;
    }
    let mut alone = Map::new(h / 2, w / 2, b, h / 2);
    pool.install(|| {
        block.run(&Source::Picture(&picture), &mut Sinks { map: None, pooled: Some(&mut alone), logits: None }, threads);
    });
    assert!(values_of(&alone) == values_of(&pooled), "{case}: pooled alone");
    let outputs = b + more;
    let transposed = Raising::Transposed { outputs, weights: dice.values(b * outputs * 4, 0.3), bias: dice.values(outputs, 0.2), zero: 0 };
    for (raising, raised) in [(Raising::Bilinear, b), (transposed, outputs)] {
        let (first, second) = (dice.convolution(b + raised, middle), dice.convolution(middle, last));
        let want_raised = want.pooled().raised(&raising);
        let joined = Picture::of(b, h, w, |c, y, x| want.at(c, y, x)).below(&want_raised);
        let want = joined.convolved(&first).convolved(&second);
        let mut block = Block::<F>::new(isa, method, [h, w], [&first, &second], Some((&raising, b, b)), threads);
        let mixture = dice.values(last, 1.0 / (last as f32).sqrt());
        let got = pool.install(|| mixed(&mut block, threads, &Source::Joined(&map, &pooled), &mixture, h * w));
        let case = format!("{case}, joined");
        assert_near(&got, &want.mixed(&mixture), 2.0 * tolerance, &case);
        let mut result = Map::new(h, w, last, h);
        pool.install(|| {
            block.run(&Source::Joined(&map, &pooled), &mut Sinks { map: Some(&mut result), pooled: None, logits: None }, threads);
        });
        assert_near(&values_of(&result), &want.values, 2.0 * tolerance, &case);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    /// What nobody thought of: sizes, channels and threads drawn at random, in every way that the processor has. Not for valgrind, under
    /// which it takes minutes.
    #[test]
    fn blocks_of_any_shape_are_right(
        size in [1_usize..24, 1_usize..24], doubled: bool, even: bool, channels in [1_usize..40, 1_usize..40, 1_usize..40, 1_usize..40],
        more in 1_usize..20, threads in 1_usize..5, seed: u64,
    ) {
        let [a, b, middle, last] = channels.map(|c| if even { c.next_multiple_of(16) } else { c });
        let size = if doubled { size.map(|side| side / 2 * 2 + 2) } else { size };
        let case = Case { size, encoder: [a, b], more: if even { 16 } else { more }, decoder: [middle, last], threads };
        let dice = || Dice(ChaCha8Rng::seed_from_u64(seed));
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_here()) {
            check_case::<Single>(isa, Method::Direct, 1e-5, &mut dice(), &case);
            check_case::<Single>(isa, Method::Winograd, 1e-4, &mut dice(), &case);
        }
        if Isa::Avx512Bf16.is_here() {
            check_case::<Brain>(Isa::Avx512Bf16, Method::Direct, 0.05, &mut dice(), &case);
            check_case::<Brain>(Isa::Avx512Bf16, Method::Winograd, 0.05, &mut dice(), &case);
        }
        if Isa::Amx.is_here() {
            check_case::<Brain>(Isa::Amx, Method::Direct, 0.05, &mut dice(), &case);
            check_case::<Split>(Isa::Amx, Method::Direct, 1e-4, &mut dice(), &case);
        }
    }
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
            block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled: None, logits: None }, 1);
            let mut block = Block::<Single>::new(Isa::best(), method, [h, w], [&second, &second], None, 1);
            seen(&mut block, 1, &Source::Map(&map), [16, 16], h * w)
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
    check::<Brain>(Isa::Avx512Bf16, Method::Winograd, 0.05);
}

#[test]
fn bf16_is_right_with_tiles() {
    check::<Brain>(Isa::Amx, Method::Direct, 0.05);
}

#[test]
fn split_bf16_is_right_with_tiles() {
    check::<Split>(Isa::Amx, Method::Direct, 1e-4);
}

#[test]
#[should_panic(expected = "cannot multiply this format")]
fn an_instruction_set_that_cannot_is_refused() {
    let convolution = Convolution { inputs: 1, outputs: 1, side: 3, weights: vec![0.0; 9], bias: vec![0.0] };
    let _ = Block::<Split>::new(Isa::Portable, Method::Direct, [2, 2], [&convolution, &convolution], None, 1);
}

#[test]
#[should_panic(expected = "maps have all their lines")]
fn a_map_that_keeps_some_of_its_lines_is_refused() {
    let convolution = Convolution { inputs: 1, outputs: 1, side: 3, weights: vec![0.0; 9], bias: vec![0.0] };
    let mut block = Block::<Single>::new(Isa::Portable, Method::Direct, [8, 2], [&convolution, &convolution], None, 1);
    let sinks = &mut Sinks { map: Some(&mut Map::new(8, 2, 1, 4)), pooled: None, logits: None };
    block.run(&Source::Picture(&Map::new(8, 2, 1, 8)), sinks, 1);
}

#[test]
#[should_panic(expected = "size of a convolution's weights")]
fn a_bias_of_another_length_is_refused() {
    let convolution =
        |bias: usize| Convolution { inputs: 16, outputs: 16, side: 3, weights: vec![0.0; 16 * 16 * 9], bias: vec![0.0; bias] };
    let _ = Block::<Single>::new(Isa::best(), Method::Winograd, [8, 8], [&convolution(16), &convolution(32)], None, 1);
}

#[test]
#[should_panic(expected = "size of the picture")]
fn a_map_of_another_size_is_refused() {
    let convolution = Convolution { inputs: 1, outputs: 1, side: 3, weights: vec![0.0; 9], bias: vec![0.0] };
    let mut block = Block::<Single>::new(Isa::Portable, Method::Direct, [2, 2], [&convolution, &convolution], None, 1);
    block.run(&Source::Picture(&Map::new(2, 4, 1, 2)), &mut Sinks { map: None, pooled: None, logits: None }, 1);
}
