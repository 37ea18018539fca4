use super::*;
use crate::nn::learning::{Descent, Learning};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PLAIN: OptimiserSettings =
    OptimiserSettings { rule: Rule::Sgd { momentum: 0.9, nesterov: false }, weight_decay: 0.0, clip_norm: 0.0 };

fn ones(shape: &[usize]) -> Var {
    Var::from_tensor(&Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()).unwrap()
}

/// One step down the slope c w²/2, whose gradient is c w; the gradient's norm.
fn down(optimiser: &mut Optimiser, w: &Var, slope: f64, rate: f64) -> f64 {
    let loss = ((w.as_tensor().sqr().unwrap() * (slope / 2.0)).unwrap()).sum_all().unwrap();
    optimiser.step(&loss.backward().unwrap(), rate).unwrap()
}

fn first(w: &Var) -> f32 {
    w.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
}

fn descend(settings: OptimiserSettings, shape: &[usize], slope: f64, rate: f64, steps: usize) -> (f32, f64) {
    let w = ones(shape);
    let mut optimiser = Optimiser::new([("w".into(), w.clone())], settings);
    let norm = (0..steps).map(|_| down(&mut optimiser, &w, slope, rate)).last().unwrap();
    (first(&w), norm)
}

#[test]
fn sgd_steps_are_those_of_the_formulas() {
    // w: 1; v = 1, w = 0.9; v = 0.9 + 0.9 = 1.8, w = 0.72.
    assert!((descend(PLAIN, &[1], 1.0, 0.1, 2).0 - 0.72).abs() < 1e-6);
    // Nesterov: v = 1, w = 1 − 0.1 · 1.9 = 0.81; v = 0.9 + 0.81 = 1.71, w = 0.81 − 0.1 (0.81 + 1.539) = 0.5751.
    let nesterov = OptimiserSettings { rule: Rule::Sgd { momentum: 0.9, nesterov: true }, ..PLAIN };
    assert!((descend(nesterov, &[1], 1.0, 0.1, 2).0 - 0.5751).abs() < 1e-6);
    // Decay on a kernel: 1 − 0.1 (1 + 0.5) = 0.85; on a bias none.
    let decaying = OptimiserSettings { weight_decay: 0.5, ..PLAIN };
    assert!((descend(decaying, &[1, 1], 1.0, 0.1, 1).0 - 0.85).abs() < 1e-6);
    assert!((descend(decaying, &[1], 1.0, 0.1, 1).0 - 0.9).abs() < 1e-6);
}

#[test]
fn adamw_steps_are_those_of_the_formulas() {
    // The unbiased first step is the rate itself, whatever the gradient; decay comes on top of it.
    let adamw = OptimiserSettings { rule: Rule::AdamW, weight_decay: 0.5, clip_norm: 0.0 };
    assert!((descend(adamw, &[1], 7.0, 0.1, 1).0 - 0.9).abs() < 1e-6);
    assert!((descend(adamw, &[1, 1], 7.0, 0.1, 1).0 - 0.85).abs() < 1e-6);
    // Second step, g = 1 then 0.9: m̂ = (0.09 + 0.09) / 0.19, v̂ = (0.000999 + 0.00081) / 0.001999.
    let want = 0.9 - 0.1 * (0.18 / 0.19) / (0.001809f64 / 0.001999).sqrt();
    assert!((f64::from(descend(adamw, &[1], 1.0, 0.1, 2).0) - want).abs() < 1e-5);
}

#[test]
fn long_gradients_are_cut_to_the_clip_norm_and_reported_as_they_were() {
    let clipped = OptimiserSettings { rule: Rule::Sgd { momentum: 0.0, nesterov: false }, weight_decay: 0.0, clip_norm: 2.0 };
    // Four elements of gradient 10: norm 20, scaled by a tenth.
    let (w, norm) = descend(clipped, &[4], 10.0, 0.1, 1);
    assert!((norm - 20.0).abs() < 1e-4 && (w - 0.9).abs() < 1e-6);
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing() {
    let (w, norm) = descend(OptimiserSettings::default(), &[1], f64::NAN, 0.1, 3);
    assert!(norm.is_nan() && w == 1.0);
}

#[test]
fn a_restored_optimiser_goes_on_as_if_it_had_never_stopped() {
    for rule in [Rule::Sgd { momentum: 0.9, nesterov: true }, Rule::AdamW] {
        let settings = OptimiserSettings { rule, ..PLAIN };
        let w = ones(&[2, 2]);
        let mut whole = Optimiser::new([("w".into(), w.clone())], settings);
        (0..3).for_each(|_| _ = down(&mut whole, &w, 1.0, 0.1));

        let again = Var::from_tensor(&w.as_detached_tensor().copy().unwrap()).unwrap();
        let mut resumed = Optimiser::new([("w".into(), again.clone())], settings);
        resumed.restore(&whole.tensors(), 3, &Device::Cpu).unwrap();
        (0..3).for_each(|_| _ = down(&mut whole, &w, 1.0, 0.1));
        (0..3).for_each(|_| _ = down(&mut resumed, &again, 1.0, 0.1));
        assert_eq!(first(&w).to_bits(), first(&again).to_bits(), "{rule:?}");
    }
}

#[test]
fn the_state_of_another_network_or_rule_is_refused() {
    let w = ones(&[2]);
    let mut optimiser = Optimiser::new([("w".into(), w.clone())], OptimiserSettings { rule: Rule::AdamW, ..PLAIN });
    down(&mut optimiser, &w, 1.0, 0.1);
    let state = optimiser.tensors();
    let refuse = |name: &str, shape: &[usize], rule| {
        let settings = OptimiserSettings { rule, ..PLAIN };
        Optimiser::new([(name.into(), ones(shape))], settings).restore(&state, 1, &Device::Cpu).unwrap_err().to_string()
    };
    assert!(refuse("w", &[3], Rule::AdamW).contains('w'));
    assert!(refuse("other", &[2], Rule::AdamW).contains("0.w"));
    assert!(refuse("w", &[2], Rule::Sgd { momentum: 0.9, nesterov: true }).contains("another rule"));
}

#[test]
fn kernels_for_cuda_step_as_the_formulas_do() {
    let Some(kernels) = Learning::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut random = || (0..1001).map(|_| rng.random_range(-2.0..2.0)).collect::<Vec<f32>>();
    let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap();
    for ((nesterov, decay), scale) in [(false, 0.0), (true, 0.0), (false, 0.3), (true, 0.3)].into_iter().flat_map(|a| [(a, 1.0), (a, 0.2)])
    {
        let mut weights = random();
        let mut velocity = vec![0.0; weights.len()];
        let (mut want, mut moments) = (tensor(&weights), Vec::new());
        for step in 0..3 {
            let gradient = random();
            let scaled = (tensor(&gradient) * scale).unwrap();
            want = sgd(&mut moments, &want, scaled, decay, 0.9, nesterov, 0.05).unwrap();
            kernels.descend(&mut weights, &mut velocity, &gradient, Descent::new(0.05, (0.9, nesterov), decay, scale));
            for (got, want) in [(&weights, &want), (&velocity, &moments[0])] {
                let near = |(got, want): (&f32, f32)| (got - want).abs() <= 1e-6 * want.abs().max(1.0);
                let want = want.to_vec1::<f32>().unwrap();
                assert!(got.iter().zip(want).all(near), "step {step}, nesterov {nesterov}, decay {decay}, scale {scale}");
            }
        }
    }
}

#[test]
fn kernels_for_cuda_find_the_same_norm() {
    let Some(kernels) = Learning::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let gradients = [1, 63, 40_000].map(|values| (0..values).map(|_| rng.random_range(-2.0..2.0)).collect::<Vec<f32>>());
    let want: f64 = gradients.iter().flatten().map(|value| f64::from(*value).powi(2)).sum();
    let got = kernels.squared_norm(&gradients.each_ref().map(Vec::as_slice));
    assert!((got - want).abs() <= 1e-12 * want, "{got} is not {want}");
    let tensors = gradients.each_ref().map(|values| Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap());
    assert!((squared_norm(&tensors.each_ref()).unwrap() - want).abs() <= 1e-5 * want);
}
