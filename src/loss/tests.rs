use super::*;
use crate::nn::learning::Learning;
use candle_core::{DType, Device, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const VECTORS: &str = include_str!("../../tests/fixtures/loss-vectors.json");

const ALL: [(Loss, &str); 12] = [
    (Loss::Bce, "bce"),
    (Loss::Wbce, "wbce"),
    (Loss::Focal, "focal"),
    (Loss::Dice, "dice"),
    (Loss::Tversky, "tversky"),
    (Loss::FocalTversky, "focal_tversky"),
    (Loss::Combo, "combo"),
    (Loss::ExponentialLogarithmic, "exponential_logarithmic"),
    (Loss::HybridFocal, "hybrid_focal"),
    (Loss::DibeDis, "dibe_dis"),
    (Loss::DibeReg, "dibe_reg"),
    (Loss::Dibe, "dibe"),
];

struct Case {
    name: String,
    logits: Vec<f64>,
    labels: Vec<f64>,
    parameters: Hyperparameters,
    all_parameters: Value,
    losses: Value,
}

impl Case {
    /// The file has exponents and shares under a name for each loss.
    fn parameters_of(&self, loss: Loss) -> Hyperparameters {
        let number = |name: &str| self.all_parameters[name].as_f64().unwrap();
        match loss {
            Loss::FocalTversky | Loss::HybridFocal => Hyperparameters { gamma_reg: number("gamma_ft"), ..self.parameters },
            Loss::ExponentialLogarithmic => {
                Hyperparameters { gamma: number("gamma_el"), gamma_reg: number("gamma_el"), lambda: number("lambda_el"), ..self.parameters }
            }
            _ => self.parameters,
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn cases() -> Vec<Case> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let of = |case: &Value| {
        let number = |name: &str| case["hyperparameters"][name].as_f64().unwrap();
        Case {
            name: format!("{} alpha {}", case["case"], number("alpha")),
            logits: numbers(&case["logits"]),
            labels: numbers(&case["labels"]),
            parameters: Hyperparameters {
                alpha: number("alpha"),
                omega: number("omega"),
                gamma: number("gamma"),
                gamma_reg: number("gamma_reg"),
                lambda: number("lambda"),
            },
            all_parameters: case["hyperparameters"].clone(),
            losses: case["losses"].clone(),
        }
    };
    file["cases"].as_array().unwrap().iter().map(of).collect()
}

/// Value and gradient through the tensors, as training gets them.
fn through_tensors(objective: &Objective, logits: &[f64], labels: &[f64], dtype: DType) -> (f64, Vec<f64>) {
    let shape = (1, 1, 1, logits.len());
    let x = Var::from_tensor(&Tensor::from_slice(logits, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()).unwrap();
    let y = Tensor::from_slice(labels, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let loss = objective.of(x.as_tensor(), &y).unwrap();
    let gradients = loss.backward().unwrap();
    let host = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    (host(&loss)[0], host(gradients.get(x.as_tensor()).unwrap()))
}

#[test]
fn values_and_gradients_are_those_of_the_reference() {
    let cases = cases();
    assert_eq!(cases.len(), 12);
    for case in &cases {
        for (loss, key) in ALL {
            let objective = Objective::new(loss, case.parameters_of(loss)).unwrap();
            for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-5)] {
                let (value, gradient) = through_tensors(&objective, &case.logits, &case.labels, dtype);
                let want = case.losses[key]["value"].as_f64().unwrap();
                // The reference's 1 − T is good to one unit in the last place of 1, whatever is left of it.
                assert!(
                    (value - want).abs() <= tolerance * want.abs() + f64::EPSILON,
                    "{} {key} {dtype:?}: {value} is not {want}",
                    case.name
                );
                let want = numbers(&case.losses[key]["grad"]);
                // Below single precision's smallest normal number nothing can be said of relative error.
                let floor = if dtype == DType::F32 { 1e-37 } else { 1e-300 };
                for (i, (got, want)) in gradient.iter().zip(&want).enumerate() {
                    let near = (got - want).abs() <= tolerance * want.abs() + floor;
                    assert!(near, "{} {key} {dtype:?} pixel {i}: {got} is not {want}", case.name);
                }
            }
        }
    }
}

fn value(loss: Loss, parameters: Hyperparameters, case: &Case) -> f64 {
    Objective::new(loss, parameters).unwrap().value_and_gradient(&case.logits, &case.labels).0
}

#[test]
fn losses_degenerate_into_each_other_as_the_table_says() {
    for case in cases() {
        let base = case.parameters;
        let halves = Hyperparameters { alpha: 0.5, ..base };
        let region = |gamma_reg| Hyperparameters { gamma_reg, ..base };
        let share = |lambda| Hyperparameters { lambda, ..base };
        let even = Hyperparameters { omega: 0.5, ..base };
        let of = |loss, parameters| value(loss, parameters, &case);
        // The Dice coefficient with its own ε, from which Tversky's differs by half an ε.
        let dice = 1.0 - of(Loss::Dice, base);
        let pairs = [
            (of(Loss::Wbce, even), 0.5 * of(Loss::Bce, base)),
            (of(Loss::Focal, Hyperparameters { gamma: 0.0, ..base }), of(Loss::Wbce, base)),
            (of(Loss::DibeDis, halves), of(Loss::Focal, halves)),
            (of(Loss::FocalTversky, region(1.0)), of(Loss::Tversky, base)),
            (of(Loss::DibeReg, region(1.0)), -(1.0 - of(Loss::Tversky, base)).ln()),
            (of(Loss::Combo, share(1.0)), of(Loss::Wbce, base)),
            (of(Loss::Combo, share(0.0)), of(Loss::Dice, base)),
            (of(Loss::ExponentialLogarithmic, Hyperparameters { gamma: 1.0, ..share(1.0) }), of(Loss::Wbce, base)),
            (of(Loss::ExponentialLogarithmic, Hyperparameters { gamma_reg: 1.0, ..share(0.0) }), -dice.ln()),
            (of(Loss::HybridFocal, share(1.0)), of(Loss::Focal, base)),
            (of(Loss::HybridFocal, share(0.0)), of(Loss::FocalTversky, base)),
            (of(Loss::Dibe, share(1.0)), of(Loss::DibeDis, base)),
            (of(Loss::Dibe, share(0.0)), of(Loss::DibeReg, base)),
        ];
        for (i, (one, other)) in pairs.iter().enumerate() {
            assert!((one - other).abs() <= 1e-6, "{} pair {i}: {one} is not {other}", case.name);
        }
    }
}

/// α = β = ½ makes Tversky Dice, with ε halved: on counts so large that neither ε is seen, and exactly with its own.
#[test]
fn tversky_of_halves_is_dice_with_half_its_epsilon() {
    let counts = terms::SoftCounts { tp: 12.25, fp: 3.5, fn_: 7.75 };
    let dice = 1.0 - (2.0 * counts.tp + 1.0) / (2.0 * counts.tp + counts.fp + counts.fn_ + 1.0);
    let tversky = |smoothing| RegionTerm { alpha: 0.5, smoothing, form: RegionForm::Complement { gamma: 1.0 } }.at(&counts).0;
    assert!((tversky(0.5) - dice).abs() < 1e-12);
    assert!((tversky(1.0) - dice).abs() > 1e-3);
    let objective = Objective::new(Loss::Dice, Hyperparameters::default()).unwrap();
    assert_eq!(objective.region.unwrap().1, RegionTerm { alpha: 0.5, smoothing: 0.5, form: RegionForm::Complement { gamma: 1.0 } });
}

#[test]
fn each_loss_starts_from_its_papers_numbers() {
    let gammas = |loss| {
        let h = Hyperparameters::of(loss);
        (h.gamma, h.gamma_reg, h.lambda)
    };
    assert_eq!(gammas(Loss::Dibe), (2.0, 0.3, 0.5));
    assert_eq!(gammas(Loss::HybridFocal), (2.0, 4.0 / 3.0, 0.5));
    assert_eq!(gammas(Loss::ExponentialLogarithmic), (0.3, 0.3, 0.2));
    let tied = Hyperparameters { gamma: 0.7, ..Hyperparameters::default() }.tied();
    assert_eq!((tied.gamma, tied.gamma_reg), (0.7, 0.7));
}

#[test]
fn gradients_agree_with_finite_differences_from_sure_to_surely_wrong() {
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let logits: Vec<f64> = [1e-7, 1e-3, 0.2, 0.7, 0.999, 1.0 - 1e-7].iter().cycle().take(12).map(|p| logit(*p)).collect();
    let mixed: Vec<f64> = (0..12).map(|i| f64::from(u8::from(i >= 6))).collect();
    let batches = [mixed, vec![0.0; 12], vec![1.0; 12]];
    for ((loss, key), labels) in ALL.iter().flat_map(|all| batches.iter().map(move |labels| (*all, labels))) {
        let parameters = Hyperparameters { alpha: 0.3, omega: 0.9, lambda: 0.3, ..Hyperparameters::of(loss) };
        let objective = Objective::new(loss, parameters).unwrap();
        let (_, gradient) = objective.value_and_gradient(&logits, labels);
        for i in 0..logits.len() {
            let at = |shift: f64| {
                let mut moved = logits.clone();
                moved[i] += shift;
                objective.value_and_gradient(&moved, labels).0
            };
            let step = 1e-5;
            let difference = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (difference - gradient[i]).abs() <= 1e-9 + 1e-6 * difference.abs(),
                "{key} pixel {i}: {} is not {difference}",
                gradient[i]
            );
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_on_a_perfect_batch() {
    let labels: Vec<f64> = (0..12).map(|i| f64::from(u8::from(i >= 8))).collect();
    let logits: Vec<f64> = labels.iter().map(|label| if *label > 0.0 { 16.0 } else { -16.0 }).collect();
    for (loss, key) in ALL {
        for alpha in [0.3, 0.7] {
            let objective = Objective::new(loss, Hyperparameters { alpha, ..Hyperparameters::of(loss) }).unwrap();
            let (_, gradient) = objective.value_and_gradient(&logits, &labels);
            for i in 0..logits.len() {
                let at = |shift: f64| {
                    let mut moved = logits.clone();
                    moved[i] += shift;
                    objective.value_and_gradient(&moved, &labels).0
                };
                let step = 1e-3;
                let difference = (at(step) - at(-step)) / (2.0 * step);
                // Relative alone: what is left of a perfect batch's gradient is small, and must be right all the same.
                let near = (difference - gradient[i]).abs() <= 1e-5 * difference.abs();
                assert!(near && difference != 0.0, "{key} alpha {alpha} pixel {i}: {} is not {difference}", gradient[i]);
            }
        }
    }
}

#[test]
fn empty_and_perfect_batches_are_finite() {
    let sure = vec![-60.0, -60.0, 60.0, 60.0];
    for (loss, key) in ALL {
        for alpha in [0.1, 0.5, 0.9] {
            let objective = Objective::new(loss, Hyperparameters { alpha, ..Hyperparameters::of(loss) }).unwrap();
            for labels in [[0.0; 4], [1.0; 4], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]] {
                for dtype in [DType::F32, DType::F64] {
                    let (value, gradient) = through_tensors(&objective, &sure, &labels, dtype);
                    assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{key} {labels:?}: {value} {gradient:?}");
                }
            }
        }
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    let error = Objective::new(Loss::Dibe, Hyperparameters { alpha: 1.0, ..Default::default() }).unwrap_err();
    assert!(error.to_string().contains("alpha") && error.to_string().contains("(0, 1)"), "{error}");
}

#[test]
fn shapes_that_differ_are_refused() {
    let objective = Objective::new(Loss::Bce, Hyperparameters::default()).unwrap();
    let zeros = |n: usize| Tensor::zeros((1, 1, 1, n), DType::F32, &Device::Cpu).unwrap();
    assert!(objective.of(&zeros(3), &zeros(4)).is_err());
}

/// Logits between both ends, with some far out, in batches with crack, without, all right and all wrong.
fn batches() -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let extremes = [-40.0, 40.0, -16.0, 16.0, 0.0];
    let logits: Vec<f32> = (0..40_000).map(|i| if i % 9 == 0 { extremes[i / 9 % 5] } else { rng.random_range(-6.0..6.0) }).collect();
    let mixed: Vec<f32> = logits.iter().map(|_| f32::from(u8::from(rng.random_bool(0.1)))).collect();
    let sure = |right: f32| mixed.iter().map(|label| (2.0 * label - 1.0) * right * 16.0).collect::<Vec<_>>();
    let of_all = |label: f32| vec![label; logits.len()];
    vec![
        (logits[..7].to_vec(), mixed[..7].to_vec()),
        (logits.clone(), of_all(0.0)),
        (logits.clone(), of_all(1.0)),
        (sure(1.0), mixed.clone()),
        (sure(-1.0), mixed.clone()),
        (vec![-40.0; 100], vec![0.0; 100]),
        (logits, mixed),
    ]
}

#[test]
fn kernels_for_cuda_reckon_as_the_host_does() {
    let Some(kernels) = Learning::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    for (batch, (logits, labels)) in batches().iter().enumerate() {
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        for (loss, key) in ALL {
            // Exponents on both sides of 1, and those that are told apart.
            for gamma in [None, Some(0.0), Some(1.0), Some(0.6), Some(3.0)] {
                let parameters = Hyperparameters { alpha: 0.3, omega: 0.9, lambda: 0.4, ..Hyperparameters::of(loss) };
                let parameters = Hyperparameters { gamma: gamma.unwrap_or(parameters.gamma), ..parameters };
                let objective = Objective::new(loss, parameters).unwrap();
                let (want, wants) = objective.value_and_gradient(&wide(logits), &wide(labels));
                let term = objective.kernel_term(logits.len());
                let (value, by) = objective.of_sums(&kernels.loss_sums(logits, labels, term));
                assert!((value - want).abs() <= 1e-9 * want.abs(), "{key} batch {batch} gamma {gamma:?}: {value} is not {want}");
                for (i, (got, want)) in kernels.loss_gradient(logits, labels, term, by).iter().zip(wants).enumerate() {
                    // Below single precision's smallest normal number nothing can be said of relative error.
                    let near = (f64::from(*got) - want).abs() <= 1e-6 * want.abs() + 1e-37;
                    assert!(near, "{key} batch {batch} gamma {gamma:?} pixel {i}: {got} is not {want}");
                }
            }
        }
    }
}

#[test]
fn a_loss_passes_on_what_flows_into_it() {
    let objective = Objective::new(Loss::Dibe, Hyperparameters::default()).unwrap();
    let x = Var::new(&[[0.5f32, -2.0, 3.0]], &Device::Cpu).unwrap();
    let y = Tensor::new(&[[1f32, 0.0, 0.0]], &Device::Cpu).unwrap();
    let gradient = |factor: f64| {
        let loss = (objective.of(&x, &y).unwrap() * factor).unwrap();
        loss.backward().unwrap().get(x.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(gradient(1.0).iter().map(|g| 4.0 * g).collect::<Vec<_>>(), gradient(4.0));
}
