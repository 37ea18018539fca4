//! Every operator against candle's own (or a product form), and every gradient against finite differences.

use super::*;
use crate::nn::kernels::Isa;
use candle_core::{DType, Device, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_near(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims());
    for (i, (g, w)) in flat(got).iter().zip(flat(want)).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "value {i}: {g} instead of {w}");
    }
}

/// Sizes with one pixel, odd sides, channels beside the vectors' widths, several blocks of lines for some.
const SIZES: [[usize; 4]; 7] = [[1, 1, 1, 1], [2, 3, 1, 7], [1, 5, 6, 1], [3, 9, 5, 4], [1, 16, 17, 47], [2, 33, 8, 20], [1, 70, 40, 60]];

#[test]
fn convolution_is_candles() {
    for (i, size) in SIZES.iter().enumerate() {
        for (side, outputs) in [(3, 1), (3, 13), (1, 1), (1, 8), (3, 16)] {
            let x = random(size, i as u64);
            let weight = random(&[outputs, size[1], side, side], 100 + i as u64);
            assert_near(&conv(&x, &weight, 1).unwrap(), &portable::conv(&x, &weight, 1).unwrap(), 1e-4);
        }
    }
}

#[test]
fn convolution_gradients_are_candles() {
    for (i, size) in SIZES.iter().enumerate() {
        for (side, outputs) in [(3, 1), (3, 13), (1, 1), (1, 9), (3, 16)] {
            let x = Var::from_tensor(&random(size, i as u64)).unwrap();
            let weight = Var::from_tensor(&random(&[outputs, size[1], side, side], 100 + i as u64)).unwrap();
            let target = random(&[size[0], outputs, size[2], size[3]], 200 + i as u64);
            let gradients = |y: Tensor| {
                let store = (y * &target).unwrap().sum_all().unwrap().backward().unwrap();
                (store.get(&x).unwrap().clone(), store.get(&weight).unwrap().clone())
            };
            let (dx, dw) = gradients(conv(&x, &weight, 1).unwrap());
            let (want_dx, want_dw) = gradients(portable::conv(&x, &weight, 1).unwrap());
            assert_near(&dx, &want_dx, 1e-4);
            assert_near(&dw, &want_dw, 1e-3);
        }
    }
}

/// Distance of two tensors, of the length of the second.
fn distance(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let (got, want) = (flat(got), flat(want));
    norm(&mut got.iter().zip(&want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

fn conv_in(x: &Tensor, weight: &Tensor, dilation: usize, precision: Precision) -> Result<Tensor> {
    x.apply_op2(weight, conv::Convolution { dilation, precision })
}

#[test]
fn convolutions_are_as_exact_as_their_precision() {
    if !Isa::Amx.is_here() {
        crate::skipped!("tiles, which this processor has not; half of the products instead");
    }
    // At Winograd's points rounding counts for twice as much.
    let most_bf16 = if Isa::best() == Isa::Avx512Bf16 && !Isa::best().is_slow_at_bf16() { 1e-2 } else { 5e-3 };
    let sizes = [[1, 8, 1, 1], [2, 9, 5, 33], [3, 16, 30, 47], [2, 40, 14, 14], [1, 70, 20, 40], [4, 64, 3, 2]];
    let kinds = [(8, 3, 1), (13, 1, 1), (16, 3, 2), (40, 3, 1), (65, 3, 4)];
    for (i, size) in sizes.iter().enumerate() {
        // Every size with every kind takes minutes under valgrind.
        for (outputs, side, dilation) in [kinds[i % 5], kinds[(i + 2) % 5]] {
            let x = var(size, i as u64);
            let weight = var(&[outputs, size[1], side, side], 100 + i as u64);
            let target = random(&[size[0], outputs, size[2], size[3]], 200 + i as u64);
            let all = |precision| {
                let y = conv_in(&x, &weight, dilation, precision).unwrap();
                let store = (&y * &target).unwrap().sum_all().unwrap().backward().unwrap();
                [y.clone(), store.get(&x).unwrap().clone(), store.get(&weight).unwrap().clone()]
            };
            let exact = all(Precision::F32);
            for (precision, most) in [(Precision::F32Grade, 2e-5), (Precision::Bf16, most_bf16)] {
                for (name, (got, want)) in ["result", "dx", "dw"].iter().zip(all(precision).iter().zip(&exact)) {
                    let off = distance(got, want);
                    assert!(off <= most, "{size:?} to {outputs}, side {side}, dilation {dilation}, {precision}: {name} is off by {off}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_are_none_pass_through_tiles() {
    let x = random(&[1, 8, 6, 20], 3);
    let broken = (x.narrow(3, 0, 1).unwrap() * f64::NAN).unwrap();
    let x = Tensor::cat(&[&broken, &x.narrow(3, 1, 19).unwrap()], 3).unwrap();
    for precision in [Precision::F32, Precision::F32Grade, Precision::Bf16] {
        let y = conv_in(&x, &random(&[8, 8, 3, 3], 4), 1, precision).unwrap();
        let sound: Vec<bool> = flat(&y).iter().map(|v| v.is_finite()).collect();
        assert!(sound.chunks(20).all(|line| !line[0] && !line[1] && line[2..].iter().all(|sound| *sound)), "{precision}");
    }
}

#[test]
fn resizing_is_the_product_form() {
    for (i, [n, c, h, w]) in [[1, 1, 1, 1], [2, 3, 4, 5], [1, 9, 7, 2], [1, 2, 1, 33], [2, 17, 6, 3]].into_iter().enumerate() {
        let x = random(&[n, c, h, w], i as u64);
        assert_near(&upsample_bilinear(&x).unwrap(), &portable::resize_bilinear(&x, 2 * h, 2 * w).unwrap(), 1e-5);
        let (weight, bias) = (random(&[c, 5, 2, 2], 50), random(&[5], 51));
        assert_near(
            &conv_transposed(&x, &weight, &bias, Precision::F32).unwrap(),
            &portable::conv_transposed(&x, &weight, &bias).unwrap(),
            1e-5,
        );
        let squares = random(&[n, 20, h, w], 52);
        let interleaved = squares.apply_op2(&bias, resize::Interleave).unwrap();
        assert_near(&interleaved, &portable::interleave(&squares, &bias).unwrap(), 1e-5);
        let even = random(&[n, c, 2 * h, 2 * w], i as u64);
        assert_eq!(flat(&max_pool(&even).unwrap()), flat(&even.max_pool2d(2).unwrap()));
    }
    assert!(max_pool(&random(&[1, 1, 3, 4], 0)).is_err());
    assert!(max_pool_indices(&random(&[1, 1, 4, 3], 0)).is_err());
}

#[test]
fn dilated_convolution_and_its_gradients_are_candles() {
    for (i, (size, dilation)) in
        [([2, 3, 9, 7], 2), ([1, 9, 12, 20], 4), ([2, 5, 28, 28], 18), ([1, 2, 3, 4], 6), ([1, 17, 1, 1], 3)].into_iter().enumerate()
    {
        for (side, outputs) in [(3, 11), (1, 4)] {
            let (x, weight) = (var(&size, i as u64), var(&[outputs, size[1], side, side], 100 + i as u64));
            let target = random(&[size[0], outputs, size[2], size[3]], 200 + i as u64);
            let all = |y: Tensor| {
                let store = (&y * &target).unwrap().sum_all().unwrap().backward().unwrap();
                [y, store.get(&x).unwrap().clone(), store.get(&weight).unwrap().clone()]
            };
            let theirs = all(portable::conv(&x, &weight, dilation).unwrap());
            for (got, want) in all(conv(&x, &weight, dilation).unwrap()).iter().zip(&theirs) {
                assert_near(got, want, 1e-3);
            }
        }
    }
}

#[test]
fn maxima_go_back_to_where_they_came_from() {
    let x = Tensor::new(&[[[[1.0_f32, 3.0, 0.0, 2.0], [2.0, 3.0, 2.0, 2.0]]]], &Device::Cpu).unwrap();
    let (places, maxima) = (max_pool_indices(&x).unwrap(), max_pool(&x).unwrap());
    assert_eq!(places.flatten_all().unwrap().to_vec1::<u8>().unwrap(), [1, 1]);
    assert_eq!(flat(&unpool(&maxima, &places).unwrap()), [0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
    let large = random(&[2, 5, 6, 10], 31);
    let places = max_pool_indices(&large).unwrap();
    let others = portable::max_pool_indices(&large).unwrap();
    assert_eq!(places.flatten_all().unwrap().to_vec1::<u8>().unwrap(), others.flatten_all().unwrap().to_vec1::<u8>().unwrap());
    let values = var(&[2, 5, 3, 5], 32);
    assert_eq!(flat(&unpool(&values, &places).unwrap()), flat(&portable::unpool(&values, &places).unwrap()));
    check_gradient(&[&values], || unpool(&values, &places).unwrap(), 0.25, 1e-4);
    check_gradient(&[&values], || portable::unpool(&values, &places).unwrap(), 0.25, 1e-4);
    assert!(unpool(&random(&[2, 5, 3, 4], 33), &places).is_err());
}

#[test]
fn resizing_to_any_size_is_the_product_form_and_so_is_its_gradient() {
    for ([h, w], [out_h, out_w]) in [([3, 4], [3, 4]), ([1, 6], [7, 48]), ([6, 6], [5, 2]), ([2, 3], [1, 1])] {
        let x = var(&[2, 3, h, w], 41);
        let same = portable::resize_bilinear(&x, out_h, out_w).unwrap();
        assert_near(&resize_bilinear(&x, out_h, out_w).unwrap(), &same, 1e-5);
        check_gradient(&[&x], || resize_bilinear(&x, out_h, out_w).unwrap(), 0.25, 1e-4);
    }
    let line = Tensor::new(&[[[[0.0_f32, 6.0]]]], &Device::Cpu).unwrap();
    assert_eq!(flat(&resize_bilinear(&line, 1, 4).unwrap()), [0.0, 2.0, 4.0, 6.0]);
}

#[test]
fn average_pooling_covers_every_pixel_and_has_the_right_gradient() {
    let line = Tensor::new(&[[[[1.0_f32, 2.0, 3.0, 4.0, 5.0]]]], &Device::Cpu).unwrap();
    // Five pixels in three parts: 0–1, 1–3, 3–4.
    let parts = flat(&average_pool(&line, 3).unwrap());
    assert_eq!(parts, [[1.5, 3.0, 4.5]; 3].concat());
    assert_near(&average_pool(&random(&[2, 3, 4, 6], 42), 2).unwrap(), &random(&[2, 3, 4, 6], 42).avg_pool2d((2, 3)).unwrap(), 1e-6);
    let x = var(&[2, 2, 5, 7], 43);
    for bins in [1, 3, 6] {
        check_gradient(&[&x], || average_pool(&x, bins).unwrap(), 0.25, 1e-4);
    }
}

#[test]
fn the_first_of_equal_maxima_gets_the_gradient() {
    let x = Var::new(&[[[[1.0_f32, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]], &Device::Cpu).unwrap();
    let y = max_pool(&x).unwrap();
    let store = (y * Tensor::new(&[[[[3.0_f32, 5.0]]]], &Device::Cpu).unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(flat(store.get(&x).unwrap()), [3.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Compares the gradient of `loss = sum(f(x) * weights)` in every direction with its central difference.
#[track_caller]
fn check_gradient(variables: &[&Var], f: impl Fn() -> Tensor, step: f32, tolerance: f64) {
    let weights = random(f().dims(), 999);
    let loss = || -> f64 {
        let y = f();
        flat(&y).iter().zip(flat(&weights)).map(|(y, w)| f64::from(*y) * f64::from(w)).sum()
    };
    let store = (f() * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    for var in variables {
        let gradient = flat(store.get(var).unwrap());
        let values = flat(var);
        for i in 0..values.len() {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[i] += by;
                var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap()).unwrap();
                loss()
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            var.set(&Tensor::from_vec(values.clone(), var.dims(), &Device::Cpu).unwrap()).unwrap();
            let got = f64::from(gradient[i]);
            assert!((got - difference).abs() <= tolerance * (1.0 + difference.abs()), "value {i}: gradient {got}, difference {difference}");
        }
    }
}

fn var(shape: &[usize], seed: u64) -> Var {
    Var::from_tensor(&random(shape, seed)).unwrap()
}

#[test]
fn linear_gradients_are_right() {
    let (x, weight, bias) = (var(&[2, 3, 4, 6], 1), var(&[3, 5, 2, 2], 2), var(&[5], 3));
    check_gradient(&[&x, &weight, &bias], || conv_transposed(&x, &weight, &bias, Precision::F32).unwrap(), 0.25, 1e-4);
    check_gradient(&[&x], || upsample_bilinear(&x).unwrap(), 0.25, 1e-4);
    let single = var(&[1, 2, 1, 1], 4);
    check_gradient(&[&single], || upsample_bilinear(&single).unwrap(), 0.25, 1e-4);
    let (kernel, point) = (var(&[2, 3, 3, 3], 5), var(&[2, 3, 1, 1], 6));
    check_gradient(&[&x, &kernel], || conv(&x, &kernel, 1).unwrap(), 0.25, 1e-4);
    check_gradient(&[&x, &point], || conv(&x, &point, 1).unwrap(), 0.25, 1e-4);
    check_gradient(&[&x, &kernel], || conv(&x, &kernel, 3).unwrap(), 0.25, 1e-4);
}

#[test]
fn pooling_gradient_is_right_away_from_ties() {
    // Values a tenth apart, in an order that puts the maxima everywhere: no step changes which is the greatest.
    let values: Vec<f32> = (0..48).map(|i| ((i * 29) % 48) as f32 * 0.1).collect();
    let x = Var::from_vec(values, (1, 2, 4, 6), &Device::Cpu).unwrap();
    check_gradient(&[&x], || max_pool(&x).unwrap(), 0.02, 1e-3);
}

fn norm(c: usize) -> BatchNorm {
    let var = |seed, add: f64| Var::from_tensor(&(random(&[c], seed).affine(0.4, add)).unwrap()).unwrap();
    BatchNorm { gain: var(21, 1.0), offset: var(22, 0.1), running_mean: var(23, 0.0), running_var: var(24, 1.0) }
}

#[test]
fn batch_norm_is_candles_with_its_running_statistics() {
    for [n, c, h, w] in [[2, 3, 4, 5], [4, 17, 16, 16], [1, 1, 1, 2]] {
        let x = (random(&[n, c, h, w], 7) + 3.0).unwrap();
        for train in [true, false] {
            let (ours, theirs) = (norm(c), norm(c));
            assert_near(&norm_relu(&x, &ours, train).unwrap(), &portable::norm_relu(&x, &theirs, train).unwrap(), 1e-4);
            assert_near(&ours.running_mean, &theirs.running_mean, 1e-5);
            assert_near(&ours.running_var, &theirs.running_var, 1e-5);
        }
    }
}

#[test]
fn batch_norm_gradients_are_candles() {
    for train in [true, false] {
        let x = Var::from_tensor(&(random(&[3, 5, 6, 7], 8) + 1.0).unwrap()).unwrap();
        let target = random(&[3, 5, 6, 7], 9);
        let gradients = |portable: bool| {
            let norm = norm(5);
            let y = if portable { portable::norm_relu(&x, &norm, train) } else { norm_relu(&x, &norm, train) }.unwrap();
            let store = (y * &target).unwrap().sum_all().unwrap().backward().unwrap();
            [x.as_tensor(), &norm.gain, &norm.offset].map(|v| store.get(v).unwrap().clone())
        };
        for (got, want) in gradients(false).iter().zip(&gradients(true)) {
            assert_near(got, want, 1e-4);
        }
    }
}

#[test]
fn the_fused_block_is_its_parts_one_after_the_other() {
    for ([n, c, h, w], side, dilation) in [([3, 5, 6, 7], 3, 1), ([2, 9, 5, 4], 3, 2), ([4, 3, 1, 1], 1, 1), ([1, 16, 20, 33], 3, 1)] {
        let (x, weight) = (var(&[n, c, h, w], 61), var(&[11, c, side, side], 62));
        let target = random(&[n, 11, h, w], 63);
        let all = |y: Tensor, norm: &BatchNorm| {
            let store = (&y * &target).unwrap().sum_all().unwrap().backward().unwrap();
            let gradients = [&x, &weight, &norm.gain, &norm.offset].map(|v| store.get(v).unwrap().clone());
            let running = [&norm.running_mean, &norm.running_var].map(|v| v.as_tensor().copy().unwrap());
            [vec![y], gradients.to_vec(), running.to_vec()].concat()
        };
        let (ours, theirs) = (norm(11), norm(11));
        let fused = all(conv_norm_relu(&x, &weight, Convolution { dilation, precision: Precision::F32 }, &ours, true).unwrap(), &ours);
        let parts = all(portable::norm_relu(&portable::conv(&x, &weight, dilation).unwrap(), &theirs, true).unwrap(), &theirs);
        for (got, want) in fused.iter().zip(&parts) {
            assert_near(got, want, 2e-3);
        }
    }
    assert!(
        conv_norm_relu(
            &random(&[1, 2, 4, 4], 64),
            &random(&[3, 3, 3, 3], 65),
            Convolution { dilation: 1, precision: Precision::F32 },
            &norm(3),
            true
        )
        .is_err()
    );
}

#[test]
fn batch_norm_gradients_agree_with_differences() {
    // Offsets that keep every value away from the bend of ReLU.
    let x = var(&[2, 2, 3, 3], 10);
    let far = |sign: f32| {
        let constant = |v: f32| Var::from_vec(vec![v; 2], 2, &Device::Cpu).unwrap();
        BatchNorm { gain: constant(0.7), offset: constant(sign * 5.0), running_mean: constant(0.1), running_var: constant(0.8) }
    };
    for train in [true, false] {
        let norm = far(1.0);
        check_gradient(&[&x, &norm.gain, &norm.offset], || norm_relu(&x, &norm, train).unwrap(), 0.01, 3e-3);
        let dead = far(-1.0);
        assert_eq!(flat(&norm_relu(&x, &dead, train).unwrap()), vec![0.0; 36]);
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let x = random(&[3, 20, 50, 60], 11);
    let weight = var(&[24, 20, 3, 3], 12);
    let gradient = |threads, precision| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = conv_norm_relu(&x, &weight, Convolution { dilation: 1, precision }, &norm(24), true).unwrap();
            flat(y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&weight).unwrap())
        })
    };
    for precision in [Precision::F32, Precision::F32Grade, Precision::Bf16] {
        assert_eq!(gradient(1, precision), gradient(3, precision));
    }
}

#[test]
fn a_strided_argument_and_another_type() {
    let x = random(&[2, 4, 6, 8], 13);
    let turned = x.transpose(2, 3).unwrap();
    let weight = random(&[3, 4, 3, 3], 14);
    assert_near(&conv(&turned, &weight, 1).unwrap(), &portable::conv(&turned, &weight, 1).unwrap(), 1e-4);
    assert!(conv(&x.to_dtype(DType::F64).unwrap(), &weight.to_dtype(DType::F64).unwrap(), 1).is_err());
    assert!(conv(&x, &random(&[3, 5, 3, 3], 15), 1).is_err());
    assert!(conv(&x, &weight, 0).is_err());
}
