//! The tape of a device on this processor, with the kernels that CUDA gets, against the tape of the CPU.

use super::device::DeviceTape;
use super::host::HostTape;
use super::*;
use crate::nn::kernels::Dims;
use crate::nn::kernels::cuda::on_host::{MapKernels, Numbers};
use crate::nn::kernels::cuda::{ConvolutionSize, Machine, MapOperator};
use candle_core::{Device, Shape};
use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// This processor as a device.
struct OnHost(MapKernels);

fn wide(numbers: &Numbers) -> Vec<f32> {
    match numbers {
        Numbers::Brains(values) => values.iter().map(|value| bf16::from_bits(*value).to_f32()).collect(),
        Numbers::Floats(_) => panic!("a convolution of f32"),
    }
}

/// Calls `each` with the places of a result, of what it comes from, and of the weight between.
fn each_product(of: ConvolutionSize, mut each: impl FnMut(usize, usize, usize)) {
    let ConvolutionSize { size: Dims { n, c, h, w }, outputs, side } = of;
    let reach = side / 2;
    for (map, y, x) in (0..n).flat_map(|map| (0..h).flat_map(move |y| (0..w).map(move |x| (map, y, x)))) {
        for (down, across) in (0..side).flat_map(|down| (0..side).map(move |across| (down, across))) {
            let (Some(row), Some(column)) = ((y + down).checked_sub(reach), (x + across).checked_sub(reach)) else { continue };
            if row >= h || column >= w {
                continue;
            }
            for (output, input) in (0..outputs).flat_map(|output| (0..c).map(move |input| (output, input))) {
                let result = ((map * h + y) * w + x) * outputs + output;
                let value = ((map * h + row) * w + column) * c + input;
                each(result, value, ((output * side + down) * side + across) * c + input);
            }
        }
    }
}

fn narrow(values: Vec<f32>) -> Numbers {
    Numbers::Brains(values.into_iter().map(|value| bf16::from_f32(value).to_bits()).collect())
}

impl Machine for OnHost {
    type Memory = Numbers;

    fn computed(&self, operator: MapOperator, size: Dims, arguments: &[&Numbers]) -> Result<Numbers> {
        Ok(self.0.computed(operator, size, arguments))
    }

    fn convolved(&self, maps: &Numbers, filter: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        let (x, weights, mut to) = (wide(maps), wide(filter), vec![0.0; of.size.n * of.size.plane() * of.outputs]);
        each_product(of, |result, value, weight| to[result] += x[value] * weights[weight]);
        Ok(narrow(to))
    }

    fn map_gradient(&self, filter: &Numbers, gradient: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        let (weights, gradient, mut to) = (wide(filter), wide(gradient), vec![0.0; of.size.n * of.size.plane() * of.size.c]);
        each_product(of, |result, value, weight| to[value] += gradient[result] * weights[weight]);
        Ok(narrow(to))
    }

    fn filter_gradient(&self, maps: &Numbers, gradient: &Numbers, of: ConvolutionSize) -> Result<Numbers> {
        let (x, gradient, mut to) = (wide(maps), wide(gradient), vec![0.0; of.outputs * of.side * of.side * of.size.c]);
        each_product(of, |result, value, weight| to[weight] += gradient[result] * x[value]);
        Ok(narrow(to))
    }

    fn memory(&self, tensor: &Tensor) -> Result<Numbers> {
        Ok(Numbers::Floats(tensor.flatten_all()?.to_vec1()?))
    }

    fn tensor(&self, memory: &Numbers, shape: &[usize]) -> Result<Tensor> {
        match memory {
            Numbers::Floats(values) => Tensor::from_vec(values.clone(), shape, &Device::Cpu),
            Numbers::Brains(_) => panic!("a map of brain floats"),
        }
    }
}

fn random(shape: impl Into<Shape>, scale: f64, offset: f64, rng: &mut ChaCha8Rng) -> Var {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().affine(scale, offset).unwrap()).unwrap()
}

/// The layers of a little U-Net.
struct Layers {
    convolutions: Vec<(Var, BatchNorm)>,
    raise: (Var, Var),
    head: (Var, Var),
}

impl Layers {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut convolution = |outputs: usize, inputs: usize| {
            let weight = random((outputs, inputs, 3, 3), (3.0 / (9 * inputs) as f64).sqrt(), 0.0, &mut rng);
            // Offsets keep most ReLUs open: those that rounding turns over move a gradient by all of itself.
            let [gain, offset] = [0.5, 3.0].map(|at| random(outputs, 0.3, at, &mut rng));
            let [running_mean, running_var] = [0.0, 1.0].map(|at| random(outputs, 0.1, at, &mut rng));
            (weight, BatchNorm { gain, offset, running_mean, running_var })
        };
        let convolutions = [(8, 1), (16, 8), (16, 16), (8, 24)].map(|(outputs, inputs)| convolution(outputs, inputs)).into();
        let raise = (random((16, 16, 2, 2), 0.3, 0.0, &mut rng), random(16, 0.3, 0.0, &mut rng));
        let head = (random((1, 8, 1, 1), 0.5, 0.0, &mut rng), random(1, 0.5, 0.0, &mut rng));
        Self { convolutions, raise, head }
    }

    fn run(&self, tape: &mut dyn Tape, x: &Tensor, transposed: bool) -> MapId {
        let pictures = tape.pictures(x).unwrap();
        let convolve = |tape: &mut dyn Tape, number: usize, from: &[MapId]| {
            let (weight, norm) = &self.convolutions[number];
            tape.conv_norm_relu(from, weight, 1, norm).unwrap()
        };
        let skip = convolve(tape, 0, &[pictures]);
        let pooled = tape.max_pool(skip).unwrap();
        let below = convolve(tape, 1, &[pooled]);
        let below = convolve(tape, 2, &[below]);
        let raised = match transposed {
            true => tape.conv_transposed(below, &self.raise.0, &self.raise.1).unwrap(),
            false => tape.upsample_bilinear(below).unwrap(),
        };
        let joined = convolve(tape, 3, &[skip, raised]);
        tape.conv_bias(joined, &self.head.0, &self.head.1).unwrap()
    }

    fn running(&self) -> Vec<f32> {
        let of = |var: &Var| var.to_vec1::<f32>().unwrap();
        self.convolutions.iter().flat_map(|(_, norm)| [of(&norm.running_mean), of(&norm.running_var)].concat()).collect()
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f32 {
    let size = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    size(&mut got.iter().zip(want).map(|(got, want)| got - want)) / size(&mut want.iter().copied()).max(1e-12)
}

#[test]
fn a_network_and_its_gradients_are_those_of_the_cpu_but_for_rounding() {
    for transposed in [false, true] {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let x = random((2, 1, 12, 8), 2.0, 0.5, &mut rng).as_detached_tensor();
        let gradient = random((2, 1, 12, 8), 1.0, 1.0, &mut rng).as_detached_tensor();
        let run = |layers: &Layers, mut tape: Box<dyn Tape>| {
            let map = layers.run(tape.as_mut(), &x, transposed);
            let logits: Vec<f32> = tape.tensor(map).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let gradients = tape.backward(map, &gradient).unwrap();
            let of = |var: &Var| {
                let mut found = gradients.iter().filter(|(other, _)| other.id() == var.id());
                let (_, gradient) = found.next().unwrap();
                assert!(found.next().is_none() && gradient.shape() == var.shape());
                gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            let convolutions = layers.convolutions.iter();
            let mut all: Vec<Vec<f32>> = convolutions.flat_map(|(weight, norm)| [of(weight), of(&norm.gain), of(&norm.offset)]).collect();
            all.extend([of(&layers.head.0), of(&layers.head.1)]);
            if transposed {
                all.extend([of(&layers.raise.0), of(&layers.raise.1)]);
            }
            (logits, all, layers.running())
        };
        let Some(kernels) = MapKernels::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
        let (logits, gradients, running) = run(&Layers::new(), Box::new(DeviceTape::new(OnHost(kernels))));
        let (want_logits, wants, want_running) = run(&Layers::new(), Box::new(HostTape::new(Precision::F32)));
        assert!(relative_error(&logits, &want_logits) < 3e-2, "{}", relative_error(&logits, &want_logits));
        for (at, (got, want)) in gradients.iter().zip(&wants).enumerate() {
            let error = relative_error(got, want);
            // Sums that nearly come to nothing make more of rounding.
            assert!(error < 8e-2, "gradient {at}, {transposed}: {error}");
        }
        for (got, want) in running.iter().zip(&want_running) {
            assert!((got - want).abs() < 5e-3 * want.abs().max(1.0), "{got} for {want}");
        }
    }
}

#[test]
fn what_a_tape_of_a_device_cannot_do_is_refused() {
    let Some(kernels) = MapKernels::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let (layers, mut tape) = (Layers::new(), DeviceTape::new(OnHost(kernels)));
    let x = Tensor::zeros((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let pictures = tape.pictures(&x).unwrap();
    let (weight, norm) = &layers.convolutions[1];
    assert!(tape.conv_norm_relu(&[pictures], weight, 2, norm).unwrap_err().to_string().contains("dilation 2"));
    let (weight, norm) = &layers.convolutions[2];
    assert!(tape.conv_norm_relu(&[pictures], weight, 1, norm).unwrap_err().to_string().contains("8 channels"));
}

#[test]
fn sums_are_of_all_pixels_where_these_are_more_than_slices() {
    let Some(kernels) = MapKernels::new() else { return crate::skipped!("there is no C++ compiler (`c++`)") };
    let size = Dims { n: 2, c: 8, h: 130, w: 140 };
    let pixels = size.n * size.plane();
    let brains = |offset: f32| (0..pixels * size.c).map(|i| (i * 7919 % 4099) as f32 / 2048.0 - offset).collect::<Vec<_>>();
    let x = narrow(brains(0.5));
    let by_channel =
        |values: &[f32]| (0..size.c).map(|c| values.iter().skip(c).step_by(size.c).map(|v| f64::from(*v)).sum::<f64>()).collect::<Vec<_>>();
    let summed = |operator, arguments: &[&Numbers]| {
        let parts = kernels.computed(MapOperator::PartSums, size, &[&kernels.computed(operator, size, arguments)]);
        let Numbers::Floats(sums) = kernels.computed(MapOperator::ChannelSums, size, &[&parts]) else { panic!("sums of f32") };
        sums
    };
    let near = |got: &[f32], want: &[f64]| {
        assert_eq!(got.len(), want.len());
        got.iter()
            .zip(want)
            .for_each(|(got, want)| assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0), "{got} for {want}"));
    };
    let values = wide(&x);
    let view = crate::nn::kernels::cuda::View { pitch: size.c, first: 0 };
    let sums = by_channel(&values);
    near(&summed(MapOperator::GradientSlices(view), &[&x])[..size.c], &sums);
    let origin: Vec<f64> = values[..size.c].iter().map(|v| f64::from(*v)).collect();
    let beyond: Vec<f64> = sums.iter().zip(&origin).map(|(sum, origin)| sum - origin * pixels as f64).collect();
    let squares: Vec<f32> = values.iter().enumerate().map(|(i, v)| (v - values[i % size.c]).powi(2)).collect();
    near(&summed(MapOperator::MomentSlices, &[&x]), &[beyond, by_channel(&squares)].concat());
    let gradient: Vec<f32> = (0..pixels).map(|i| (i * 31 % 97) as f32 / 97.0).collect();
    let products: Vec<f32> = values.iter().enumerate().map(|(i, v)| v * gradient[i / size.c]).collect();
    let of_gradient = vec![gradient.iter().map(|v| f64::from(*v)).sum::<f64>(); size.c];
    near(&summed(MapOperator::HeadSlices, &[&x, &Numbers::Floats(gradient)]), &[by_channel(&products), of_gradient].concat());
}
