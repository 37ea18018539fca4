//! The operators that CUDA gets, on this processor, against those of the CPU.

use super::*;
use crate::nn::kernels::cuda::{Operator, on_host::Operators};
use candle_core::Var;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The last ones have more pixels than a plane has slices.
const SIZES: [(usize, usize, usize, usize); 5] = [(2, 3, 6, 10), (1, 5, 16, 14), (3, 2, 2, 2), (2, 3, 34, 26), (1, 2, 120, 100)];

fn random(shape: impl Into<candle_core::Shape>, seed: u64) -> Var {
    let (shape, mut rng) = (shape.into(), ChaCha8Rng::seed_from_u64(seed));
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn values_of(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-5 * want.abs().max(1.0), "{what}: {got} for {want} at {at}");
    }
}

/// The gradient that flows into `y`, and what comes of it for `inputs`.
fn gradients(y: &Tensor, inputs: &[&Var]) -> (Vec<f32>, Vec<Vec<f32>>) {
    let weights = random(y.shape(), 99);
    let found = (y * weights.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    (values_of(&weights), inputs.iter().map(|input| values_of(found.get(input).unwrap())).collect())
}

#[test]
fn norm_and_its_gradients_are_those_of_the_cpu() {
    let Some(kernels) = Operators::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    for (shape, train) in SIZES.into_iter().flat_map(|shape| [(shape, true), (shape, false)]) {
        // Far from zero and narrow: sums of squares lose their digits there unless care is taken.
        let x = Var::from_tensor(&random(shape, 1).affine(0.5, 20.0).unwrap()).unwrap();
        let size = dims(&x).unwrap();
        let ones = |at: f64, seed| Var::from_tensor(&random(size.c, seed).affine(0.3, at).unwrap()).unwrap();
        let norm = BatchNorm { gain: ones(1.0, 2), offset: ones(0.0, 3), running_mean: ones(20.0, 4), running_var: ones(0.5, 5) };
        let before = [values_of(&norm.running_mean), values_of(&norm.running_var)].concat();
        let y = norm_relu(&x, &norm, train).unwrap();
        let (gradient, wants) = gradients(&y, &[&x, &norm.offset, &norm.gain]);

        let x = values_of(&x);
        let mut by = if train {
            let parts = kernels.computed(Operator::PartSums, size, &[&kernels.computed(Operator::PlaneMoments, size, &[&x])]);
            kernels.computed(Operator::ChannelMoments, size, &[&x, &parts])
        } else {
            before
        };
        by.extend([values_of(&norm.gain), values_of(&norm.offset)].concat());
        assert_near(&kernels.computed(Operator::NormRelu, size, &[&x, &by]), &values_of(&y), "values");

        let slices = kernels.computed(Operator::NormSlices, size, &[&x, &gradient, &by]);
        let parts = kernels.computed(Operator::PartSums, size, &[&slices]);
        let sums = kernels.computed(Operator::NormSums, size, &[&parts]);
        assert_near(&sums, &[wants[1].as_slice(), &wants[2]].concat(), "gradients of offsets and gains");
        by.extend(if train { sums } else { vec![0.0; 2 * size.c] });
        assert_near(&kernels.computed(Operator::NormGradient, size, &[&x, &gradient, &by]), &wants[0], "gradient of the values");
    }
}

#[test]
fn pooling_and_its_gradient_are_those_of_the_cpu() {
    let Some(kernels) = Operators::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    for shape in SIZES {
        // Coarse, so that squares have several largest values.
        let x = Var::from_tensor(&(random(shape, 6).affine(2.0, 0.0).unwrap().round().unwrap())).unwrap();
        let size = dims(&x).unwrap();
        let y = max_pool(&x).unwrap();
        let (gradient, wants) = gradients(&y, &[&x]);
        let x = values_of(&x);
        assert_eq!(kernels.computed(Operator::MaxPool, size, &[&x]), values_of(&y));
        assert_eq!(kernels.computed(Operator::MaxPoolGradient, size, &[&x, &gradient]), wants[0]);
    }
}

#[test]
fn interpolation_and_its_gradient_are_those_of_the_cpu() {
    let Some(kernels) = Operators::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let sizes =
        [((2, 3, 7, 5), (14, 10)), ((1, 2, 1, 6), (4, 3)), ((1, 2, 6, 1), (1, 5)), ((2, 1, 9, 8), (9, 8)), ((1, 1, 3, 3), (56, 41))];
    for (shape, (h, w)) in sizes {
        let x = random(shape, 7);
        let size = dims(&x).unwrap();
        let y = resize_bilinear(&x, h, w).unwrap();
        let (gradient, wants) = gradients(&y, &[&x]);
        assert_near(&kernels.computed(Operator::Resize(h, w), size, &[&values_of(&x)]), &values_of(&y), "values");
        assert_near(&kernels.computed(Operator::ResizeGradient(h, w), size, &[&gradient]), &wants[0], "gradient");
    }
}

#[test]
fn maps_too_large_to_count_or_empty_are_refused() {
    assert!(Operator::MaxPool.of(Dims { n: 64, c: 256, h: 448, w: 448 }).is_none());
    assert!(Operator::PlaneMoments.of(Dims { n: 1, c: 2, h: 0, w: 8 }).is_none(), "and what is empty");
    assert!(Operator::NormRelu.of(Dims { n: 8, c: 64, h: 448, w: 448 }).is_some());
}
