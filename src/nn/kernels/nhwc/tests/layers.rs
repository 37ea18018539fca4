//! Single layers, and what stands between them, against plain loops in `f64`.

use super::{Dice, Picture, assert_near, values_of};
use crate::nn::kernels::Isa;
use crate::nn::kernels::nhwc::arrangement::Arrangement;
use crate::nn::kernels::nhwc::{
    Brain, Buffer, Convolution, Layer, Map, Method, Multiply, Shape, Single, Split, average, head, interpolate, pool_with_places, unpool,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

impl Picture {
    /// Convolved with taps `dilation` apart, or by a 1×1 kernel, and ReLU.
    fn seen_from_afar(&self, convolution: &Convolution, dilation: usize) -> Self {
        let (side, inputs) = (convolution.side, convolution.inputs);
        Self::of(convolution.outputs, self.h, self.w, |o, y, x| {
            let mut sum = f64::from(convolution.bias[o]);
            for (c, tap) in (0..inputs).flat_map(|c| (0..side * side).map(move |tap| (c, tap))) {
                let place = |at: usize, tap: usize| (at + tap * dilation).wrapping_sub(side / 2 * dilation);
                let (y, x) = (place(y, tap / side), place(x, tap % side));
                if y < self.h && x < self.w {
                    sum += f64::from(convolution.weights[(o * inputs + c) * side * side + tap]) * self.at(c, y, x);
                }
            }
            sum.max(0.0)
        })
    }
}

/// A map of random values, none below 0, as layers leave them, and the same as a picture.
fn random_map<F: Multiply>(isa: Isa, dice: &mut Dice, [h, w]: [usize; 2], c: usize) -> (Map<F>, Picture) {
    let values = dice.values(h * w, 1.0);
    let mut picture = Map::new(h, w, 1, h);
    picture.set_picture(&values);
    let [first, second] = [dice.convolution(1, c), dice.convolution(c, c)];
    let mut map = Map::new(h, w, c, h);
    let mut block = super::Block::<F>::new(isa, Method::Direct, [h, w], [&first, &second], None, 1);
    block.run(&super::Source::Picture(&picture), &mut super::Sinks { map: Some(&mut map), pooled: None, logits: None }, 1);
    let values = values_of(&map);
    (map, Picture { c, h, w, values })
}

fn check_layers<F: Multiply>(isa: Isa, method: Method, tolerance: f64) {
    if !isa.is_here() {
        return crate::skipped!("{} with {isa}, which this processor has not", super::format_name::<F>());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(11));
    // One pixel, lines shorter than the dilation, odd sides, channels beside the vectors' widths, large weights.
    let cases = [
        ([1, 1], [3, 5], 3, 6),
        ([2, 2], [16, 16], 3, 18),
        ([6, 9], [13, 16], 3, 4),
        ([13, 29], [16, 32], 3, 2),
        ([17, 18], [32, 16], 3, 12),
        ([3, 4], [256, 256], 3, 2),
        ([21, 26], [16, 16], 3, 1),
        ([11, 5], [24, 8], 1, 3),
        ([1, 1], [64, 24], 1, 1),
    ];
    for (size, [inputs, outputs], side, dilation) in cases {
        let case = format!("{isa}, {size:?}, {inputs} to {outputs} channels, {side}×{side}, dilation {dilation}");
        let (from, picture) = random_map::<F>(isa, &mut dice, size, inputs);
        let mut convolution = dice.convolution(inputs, outputs);
        convolution.side = side;
        convolution.weights.truncate(inputs * outputs * side * side);
        let want = picture.seen_from_afar(&convolution, dilation);
        for part in [false, true] {
            pool.install(|| {
                let mut layer = Layer::<F>::new(isa, method, &convolution, Shape { size, dilation, part }, 3);
                let (before, after) = if part { (5, 2) } else { (0, 0) };
                let mut to = Map::new(size[0], size[1], before + outputs + after, size[0]);
                // Twice: a second run finds the first one's values in its maps.
                let mut room = Buffer::zeroed(layer.room());
                layer.run(&from, &mut to, before, &mut room);
                layer.run(&from, &mut to, before, &mut room);
                let got = values_of(&to);
                let pixels = size[0] * size[1];
                assert_near(&got[before * pixels..][..outputs * pixels], &want.values, tolerance, &case);
                let others = got[..before * pixels].iter().chain(&got[(before + outputs) * pixels..]);
                assert!(others.into_iter().all(|value| *value == 0.0), "{case}: other channels");
                let work = layer.work();
                assert_eq!(work.multiply_adds, (side * side * pixels * inputs * outputs) as u64, "{case}");
                let apart = if side == 1 { size } else { size.map(|count| count + dilation.min(count) - 1) };
                let products = |size: [usize; 2], each: usize| (each * size[0] * size[1] * inputs * outputs) as u64;
                let (direct, squares) = (products(apart, side * side), products(apart.map(|count| count.div_ceil(4)), 36));
                let by_squares = method == Method::Winograd && side == 3 && inputs % 16 == 0 && outputs % 16 == 0;
                assert!(work.done == if by_squares { squares } else { direct } || inputs % 16 + outputs % 16 > 0, "{case}: {work:?}");
                assert!(work.bytes as usize >= inputs * outputs * side * side * size_of::<F::Value>(), "{case}: {work:?}");
            });
        }
    }
}

#[test]
fn layers_of_f32_are_right() {
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        check_layers::<Single>(isa, Method::Direct, 1e-5);
        check_layers::<Single>(isa, Method::Winograd, 1e-4);
    }
}

#[test]
fn layers_of_bf16_are_right() {
    check_layers::<Brain>(Isa::Avx512Bf16, Method::Direct, 0.05);
    check_layers::<Brain>(Isa::Avx512Bf16, Method::Winograd, 0.05);
    check_layers::<Brain>(Isa::Amx, Method::Direct, 0.05);
    check_layers::<Split>(Isa::Amx, Method::Direct, 1e-4);
}

fn check_between<F: Multiply>(isa: Isa, tolerance: f64) {
    if !isa.is_here() {
        return crate::skipped!("{} with {isa}, which this processor has not", super::format_name::<F>());
    }
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(12));
    for ([h, w], c) in [([1, 1], 3), ([2, 5], 8), ([7, 3], 20), ([12, 12], 33)] {
        let case = format!("{isa}, {h} × {w}, {c} channels");
        let (from, picture) = random_map::<F>(isa, &mut dice, [2 * h, 2 * w], c);
        let (mut pooled, mut raised) = (Map::<F>::new(h, w, c, h), Map::<F>::new(2 * h, 2 * w, c, 2 * h));
        let mut places = vec![9; h * w * c];
        pool_with_places(isa, &from, &mut pooled, &mut places);
        unpool(isa, &pooled, &places, &mut raised);
        let want = picture.pooled();
        // What is copied is copied exactly.
        assert_eq!(values_of(&pooled), want.values, "{case}");
        let four = |c: usize, y: usize, x: usize| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| picture.at(c, 2 * y + dy, 2 * x + dx));
        let back = Picture::of(c, 2 * h, 2 * w, |c, y, x| {
            let (four, greatest) = (four(c, y / 2, x / 2), want.at(c, y / 2, x / 2));
            let place = four.iter().position(|value| *value == greatest).unwrap();
            if place == y % 2 * 2 + x % 2 { greatest } else { 0.0 }
        });
        assert_eq!(values_of(&raised), back.values, "{case}");

        for bins in [1, 2, 3, 6] {
            let mut of_parts = Map::<F>::new(bins, bins, c, bins);
            average(isa, &from, &mut of_parts);
            let reach = |part: usize, pixels: usize| part * pixels / bins..((part + 1) * pixels).div_ceil(bins);
            let want = Picture::of(c, bins, bins, |c, y, x| {
                let (lines, pixels) = (reach(y, 2 * h), reach(x, 2 * w));
                let sum: f64 = lines.clone().flat_map(|y| pixels.clone().map(move |x| (y, x))).map(|(y, x)| picture.at(c, y, x)).sum();
                sum / (lines.len() * pixels.len()) as f64
            });
            assert_near(&values_of(&of_parts), &want.values, tolerance, &format!("{case}, {bins} bins"));
            let want = Picture { values: values_of(&of_parts), ..want };
            let mut to = Map::<F>::new(2 * h, 2 * w, c + 3, 2 * h);
            interpolate(isa, &of_parts, &mut to, 2);
            let place = |i: usize, n: usize| if n > 1 { i as f64 * (bins - 1) as f64 / (n - 1) as f64 } else { 0.0 };
            let stretched = Picture::of(c + 3, 2 * h, 2 * w, |c, y, x| {
                if !(2..want.c + 2).contains(&c) {
                    return 0.0;
                }
                let (y, x) = (place(y, 2 * h), place(x, 2 * w));
                let (y0, x0) = (y as usize, x as usize);
                let (y1, x1) = ((y0 + 1).min(bins - 1), (x0 + 1).min(bins - 1));
                let (fy, fx) = (y - y0 as f64, x - x0 as f64);
                let line = |y: usize| want.at(c - 2, y, x0) * (1.0 - fx) + want.at(c - 2, y, x1) * fx;
                line(y0) * (1.0 - fy) + line(y1) * fy
            });
            assert_near(&values_of(&to), &stretched.values, 2.0 * tolerance, &format!("{case}, {bins} bins stretched"));
        }

        let mut weights = dice.values(c, 0.5);
        let mut logits = vec![0.0; 4 * h * w];
        let want = Picture::of(1, 2 * h, 2 * w, |_, y, x| {
            0.25 + weights.iter().enumerate().map(|(c, weight)| f64::from(*weight) * picture.at(c, y, x)).sum::<f64>()
        });
        weights.resize(c.next_multiple_of(16), 0.0);
        head(isa, &from, &weights, 0.25, &mut logits);
        let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
        assert_near(&logits, &want.values, 1e-5, &format!("{case}, last layer"));
    }
}

#[test]
fn what_stands_between_layers_is_right() {
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        check_between::<Single>(isa, 1e-5);
    }
    // Where rounding is half a step of a large number.
    check_between::<Brain>(Isa::Avx512Bf16, 0.02);
    check_between::<Split>(Isa::Amx, 1e-4);
}

proptest! {
    /// Taps that are apart find side by side what they want, and zeros where there is nothing.
    #[test]
    fn lines_that_are_apart_lie_side_by_side(count in 1_usize..100, dilation in 1_usize..30) {
        let Arrangement { places, length } = Arrangement::of(count, dilation);
        let mut lines = vec![None; length];
        for (line, place) in places.iter().enumerate() {
            prop_assert!(lines[*place].replace(line).is_none(), "two lines in one place");
        }
        prop_assert!(length < count + dilation);
        for (line, place) in places.iter().enumerate() {
            let above = place.checked_sub(1).and_then(|place| lines[place]);
            prop_assert_eq!(above, line.checked_sub(dilation));
            prop_assert_eq!(lines.get(place + 1).copied().flatten(), Some(line + dilation).filter(|line| *line < count));
        }
    }
}
