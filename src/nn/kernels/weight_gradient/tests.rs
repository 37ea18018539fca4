//! The gradient of weights against plain loops in `f64`, on every instruction set.

use super::super::{Affine, Channels, Dims};
use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What it should be, and the sum of all products' sizes, which rounding is a share of.
fn plainly(x: &[f32], gradient: &[f32], size: Dims, kernel: Kernel) -> Vec<[f64; 2]> {
    let Kernel { outputs, side, dilation } = kernel;
    let (h, w) = (size.h as isize, size.w as isize);
    let mut all = Vec::new();
    for output in 0..outputs {
        for channel in 0..size.c {
            for tap in 0..side * side {
                let offset = |at: usize| (at as isize - side as isize / 2) * dilation as isize;
                let (down, across) = (offset(tap / side), offset(tap % side));
                let mut sums = [0.0; 2];
                for n in 0..size.n {
                    for y in 0.max(-down)..h.min(h - down) {
                        for column in 0.max(-across)..w.min(w - across) {
                            let at = |plane: usize, y: isize, x: isize| plane * size.plane() + (y * w + x) as usize;
                            let value = f64::from(x[at(n * size.c + channel, y + down, column + across)]);
                            let product = value * f64::from(gradient[at(n * outputs + output, y, column)]);
                            sums[0] += product;
                            sums[1] += product.abs();
                        }
                    }
                }
                all.push(sums);
            }
        }
    }
    all
}

/// Leaves numbers that are none wherever this pool's next tasks do not write.
fn poison() {
    rayon::broadcast(|_| with_scratch(1 << 16, |scratch| scratch.fill(f32::NAN)));
}

#[test]
fn nothing_comes_of_nothing() {
    let means = Means { isa: Isa::best(), products: Products::Single, values: 1000 };
    for [n, c, h, w] in [[0, 2, 3, 3], [1, 0, 3, 3], [1, 2, 0, 3], [2, 2, 3, 0]] {
        let size = Dims { n, c, h, w };
        let kernel = Kernel { outputs: 4, side: 3, dilation: 1 };
        let gradient = vec![1.0; size.with_channels(4).len()];
        let got = pixel_by_pixel(&Pictures::plain(&[], size), &Pictures::plain(&gradient, size.with_channels(4)), kernel, means);
        assert!(got.len() == 36 * c && got.iter().all(|v| *v == 0.0));
    }
}

#[test]
fn is_what_plain_loops_give_on_every_instruction_set() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (here, missing): (Vec<_>, Vec<_>) = Isa::ALL.into_iter().partition(|isa| isa.is_here());
    missing.iter().for_each(|isa| crate::skipped!("gradients of weights with {isa}, which this processor has not"));
    let sizes = [[1, 1, 1, 1], [2, 3, 1, 7], [3, 8, 5, 4], [1, 9, 6, 33], [2, 33, 7, 9], [1, 20, 18, 12], [5, 17, 2, 3], [1, 50, 4, 40]];
    for [n, c, h, w] in sizes {
        let size = Dims { n, c, h, w };
        for (outputs, side, dilation) in [(1, 3, 1), (8, 3, 1), (13, 3, 1), (9, 1, 1), (35, 3, 1), (5, 3, 2), (8, 3, 6)] {
            let mut values =
                |channels: usize| -> Vec<f32> { (0..size.with_channels(channels).len()).map(|_| random.random_range(-1.0..1.0)).collect() };
            let (x, gradient) = (values(c), values(outputs));
            let kernel = Kernel { outputs, side, dilation };
            let want = plainly(&x, &gradient, size, kernel);
            let of_gradient = Pictures::plain(&gradient, size.with_channels(outputs));
            let all = [Products::Single, Products::Halved, Products::HalvedPairs];
            for isa in here.iter().copied() {
                // Blocks of a few lines, of several pictures, and of whole ones.
                let can = all.into_iter().take(if side == 3 && dilation == 1 { 3 } else { 1 });
                // The vectors of AVX-512 alone know no pairs.
                let no_pairs = matches!(isa, Isa::Avx512 | Isa::Avx512Vnni);
                let can = can.filter(|products| *products != Products::HalvedPairs || !no_pairs);
                for (products, values) in can.flat_map(|products| [600, 6000, 400_000].map(|values| (products, values))) {
                    poison();
                    let means = Means { isa, products, values };
                    let got = pixel_by_pixel(&Pictures::plain(&x, size), &of_gradient, kernel, means);
                    assert_eq!(got.len(), want.len());
                    let most = match products {
                        Products::HalvedPairs => 2e-2,
                        Products::Halved => 4e-6,
                        _ => 1e-6,
                    };
                    for (i, (got, [want, scale])) in got.iter().zip(&want).enumerate() {
                        let off = (f64::from(*got) - want).abs();
                        let case = format!("{size:?} to {outputs}, side {side}, dilation {dilation}, {means:?}");
                        assert!(off <= most * (scale + 1.0), "{case}: value {i} is {got} instead of {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn reads_joined_maps_that_are_still_to_be_normalised() {
    let size = Dims { n: 2, c: 11, h: 6, w: 9 };
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
    let [first, second, gradient] = [3, 8, 12].map(|channels| values(size.with_channels(channels).len()));
    let affine = Affine { scale: values(8), shift: values(8) };
    let parts = [Channels { values: &first, count: 3, pending: None }, Channels { values: &second, count: 8, pending: Some(&affine) }];
    let mut joined = Vec::new();
    for n in 0..size.n {
        joined.extend_from_slice(&first[n * 3 * size.plane()..][..3 * size.plane()]);
        for c in 0..8 {
            let values = &second[(n * 8 + c) * size.plane()..][..size.plane()];
            joined.extend(values.iter().map(|v| (v * affine.scale[c] + affine.shift[c]).max(0.0)));
        }
    }
    let kernel = Kernel { outputs: 12, side: 3, dilation: 1 };
    let of_gradient = Pictures::plain(&gradient, size.with_channels(12));
    let all = [Products::Single, Products::Halved, Products::HalvedPairs];
    // The vectors of AVX-512 alone know no pairs.
    let pairs = !matches!(Isa::best(), Isa::Avx512 | Isa::Avx512Vnni);
    for products in all.into_iter().filter(|products| pairs || *products != Products::HalvedPairs) {
        let means = Means { isa: Isa::best(), products, values: 1000 };
        let gradient_of = |x: &Pictures| pixel_by_pixel(x, &of_gradient, kernel, means);
        let (got, want) = (gradient_of(&Pictures::new(&parts, size)), gradient_of(&Pictures::plain(&joined, size)));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} instead of {want}, {products:?}");
        }
    }
}
