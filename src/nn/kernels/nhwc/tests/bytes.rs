//! Products of bytes.

use super::*;

/// Bytes have no sign and hold 0 to 255: weights are scaled so that results do, and nothing is transposed.
fn check_bytes(isa: Isa) {
    if !isa.is_here() {
        return crate::skipped!("bytes with {isa}, which this processor has not");
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
        let got = seen(&mut block, 3, &Source::Picture(&picture), [b, b.min(40)], h * w);
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
                crate::skipped!("bytes with {isa}, which this processor has not");
                continue;
            }
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], None, 3);
            let got = seen(&mut block, 3, &Source::Picture(&picture), [b, b.min(40)], h * w);
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
        let mut first =
            Convolution { inputs: 1 + outputs, outputs: a, side: 3, weights: whole(a * (1 + outputs) * 9, 126.0), bias: whole(a, 60.0) };
        let mut second = Convolution { inputs: a, outputs: b, side: 3, weights: vec![0.0; a * b * 9], bias: vec![0.0; b] };
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
                crate::skipped!("bytes with {isa}, which this processor has not");
                continue;
            }
            let bytes = |values: &[f32], h: usize, w: usize| {
                let mut map = Map::<Byte>::new(h, w, 1, h);
                map.set_picture(&values.iter().map(|v| *v as u8).collect::<Vec<_>>());
                map
            };
            let (skip, below) = (bytes(&skip, h, w), bytes(&below, h / 2, w / 2));
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&first, &second], Some((&raising, 1, 1)), 2);
            let got = seen(&mut block, 2, &Source::Joined(&skip, &below), [b, b], h * w);
            for (i, (got, want)) in got.iter().zip(&want.values).enumerate() {
                assert!((got - want.min(255.0)).abs() <= 0.51, "{isa}, {h} × {w}, {outputs} raised, value {i}: {got} instead of {want}");
            }
        }
    }
}

#[test]
fn bytes_are_the_same_with_tiles_and_without() {
    if !Isa::Amx.is_here() {
        return crate::skipped!("bytes with {}, which this processor has not", Isa::Amx);
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
        block.run(&Source::Picture(&picture), &mut Sinks { map: Some(&mut map), pooled: Some(&mut pooled), logits: None }, 3);
        let mut all = Vec::new();
        for raising in [&Raising::Bilinear, &transposed] {
            let mut block = Block::<Byte>::new(isa, Method::Direct, [h, w], [&third, &last], Some((raising, 40, 40)), 3);
            all.extend(seen(&mut block, 3, &Source::Joined(&map, &pooled), [6, 6], h * w));
        }
        all
    };
    let found = run(Isa::Amx);
    assert_eq!(found, run(Isa::Avx512Vnni));
    assert!(found.iter().filter(|v| **v > 0.0).count() > found.len() / 10);
}
