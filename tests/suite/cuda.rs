//! The network on CUDA against the CPU's exact way. Where there is no CUDA this says so and passes: a machine that
//! has it runs `cargo test --release --features cudnn --test suite cuda`.

use candle_core::{Device, Tensor, Var};
use clap::ValueEnum;
use hairline::cell::{CELL_PX, Mask, ProbabilityMap, SEEN_PX};
use hairline::config::{DeviceChoice, Precision};
use hairline::judge::{Recipe, judge};
use hairline::loss::{Hyperparameters, Loss, Objective};
use hairline::nn::{Architecture, Checkpoint, CheckpointMeta, Engine, Network, NetworkShape, NnError, Upsampling, cuda_device, engine};
use hairline::train::{Inspected, Kinds, Optimiser, OptimiserSettings, Picture, Rule, Simulated, inspect};
use image::imageops::FilterType;
use std::io::Write;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

const WAFERS: u64 = 200;
const MM_PER_PX: f64 = 182.0 / CELL_PX as f64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Checkpoint {
    let models = std::fs::read_dir(root().join("models")).unwrap().map(|entry| entry.unwrap().path());
    let model = models.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors")).min().unwrap();
    Checkpoint::load(&model).unwrap()
}

/// The real cells that come with the tests, as large as stitched ones.
fn real_cells() -> impl Iterator<Item = Picture> {
    let folder = std::fs::read_dir(root().join("tests/fixtures/pvcracks-el")).unwrap().map(|entry| entry.unwrap().path());
    folder.filter(|path| path.extension().is_some_and(|ending| ending == "png")).map(|path| {
        let side = CELL_PX as u32;
        let pixels = image::open(&path).unwrap().resize_exact(side, side, FilterType::Triangle).into_luma16().into_raw();
        Picture::new(path.display().to_string(), CELL_PX, pixels, Mask::new(CELL_PX, CELL_PX)).unwrap()
    })
}

/// With transposed convolutions, which the shipped networks have not.
fn transposed() -> Checkpoint {
    let shape = NetworkShape { architecture: Architecture::UNet, base_width: 16, upsampling: Upsampling::Transposed };
    let tensors = Network::new(&shape, 3, &Device::Cpu).unwrap().tensors().unwrap();
    Checkpoint { meta: CheckpointMeta::of(shape, "transposed"), tensors, digest: String::new() }
}

/// Says what is left out past the test harness, which keeps to itself what passing tests print.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// `None` where there is no CUDA. In bf16 and f16 it must be the compiled way: another one would pass for it.
fn on_cuda(checkpoint: &Checkpoint, precision: Precision) -> Option<Box<dyn Engine>> {
    match engine(checkpoint, DeviceChoice::Cuda(0), precision, 0) {
        Ok(cuda) => {
            let name = cuda.describe();
            let compiled = cfg!(feature = "cudnn") && matches!(precision, Precision::Bf16 | Precision::F16);
            assert!(!compiled || name.contains(&format!("{precision} (recorded)")), "{name}");
            Some(cuda)
        }
        Err(NnError::Device { reason, .. }) => {
            skipped(&reason);
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether a kernel of our own could not be had, so that another way would pass for it.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Listens for what the log says of that.
struct Listener;

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN && event.metadata().target().contains("kernels::cuda") {
            REFUSED.store(true, Ordering::Relaxed);
        }
    }
}

/// The device that trainings take; `None` where there is none.
fn device() -> Option<Device> {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| drop(tracing_subscriber::registry().with(Listener).try_init()));
    let found = cuda_device(0).ok();
    if found.is_none() {
        skipped("no CUDA device, or a build without");
    }
    found
}

/// What a test ends with that has used kernels of training.
fn assert_kernels_were_had() {
    assert!(cfg!(not(feature = "cudnn")) || !REFUSED.load(Ordering::Relaxed), "the log says why kernels could not be had");
}

fn tiles(count: usize) -> Vec<f32> {
    (0..count * SEEN_PX * SEEN_PX).map(|i| ((i * 7919) % 4099) as f32 / 1024.0 - 2.0).collect()
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let rms = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    rms(&mut got.iter().zip(want).map(|(g, w)| g - w)) / rms(&mut want.iter().copied())
}

fn map(engine: &mut dyn Engine, checkpoint: &Checkpoint, picture: &Picture) -> ProbabilityMap {
    let values = inspect(engine, &checkpoint.meta.normalisation, picture).unwrap();
    Inspected { index: 0, picture, values: &values }.map().unwrap()
}

#[test]
fn cuda_finds_the_same_cracks_as_the_cpu() {
    let checkpoint = shipped();
    let precisions = [Precision::F32, Precision::Bf16, Precision::F16];
    let engines: Vec<_> = precisions.into_iter().filter_map(|precision| Some((precision, on_cuda(&checkpoint, precision)?))).collect();
    if engines.len() < precisions.len() {
        return;
    }
    let mut cpu = engine(&checkpoint, DeviceChoice::Cpu, Precision::F32, 0).unwrap();
    let mut on_cuda = engines.into_iter().map(|(precision, engine)| (precision, engine, 0, 0)).collect::<Vec<_>>();
    let judged = |engine: &mut dyn Engine, picture: &Picture| {
        judge(&map(engine, &checkpoint, picture), MM_PER_PX, &[], checkpoint.meta.threshold, &Recipe::default())
    };
    let wafers = (0..WAFERS).map(|index| Simulated::test_wafer(Kinds::Both, 17, 0.5, index).unwrap());
    let mut cells = 0;
    for picture in wafers.chain(real_cells()) {
        let here = judged(cpu.as_mut(), &picture);
        for (precision, engine, common, either) in &mut on_cuda {
            let there = judged(engine.as_mut(), &picture);
            assert_eq!(here.verdict, there.verdict, "{}, {precision}", picture.name);
            for (a, b) in here.mask.bits().iter().zip(there.mask.bits()) {
                *common += u64::from((a & b).count_ones());
                *either += u64::from((a | b).count_ones());
            }
        }
        cells += 1;
    }
    for (precision, engine, common, either) in on_cuda {
        let iou = common as f64 / (either as f64).max(1.0);
        println!("{}: mask IoU {iou:.4} over {cells} cells", engine.describe());
        assert!(iou >= 0.98, "{precision}: mask IoU {iou}");
    }
}

/// For each tile, whether its logits are numbers.
fn sound(engine: &mut dyn Engine, tiles: &[f32]) -> Vec<bool> {
    const PIXELS: usize = SEEN_PX * SEEN_PX;
    let batches = tiles.chunks(engine.batch() * PIXELS);
    batches.flat_map(|tiles| engine.probabilities(tiles.len() / PIXELS, &mut |to| to.copy_from_slice(tiles)).unwrap().sound).collect()
}

#[test]
fn cuda_logits_are_those_of_the_cpu_whatever_the_batch() {
    for checkpoint in [shipped(), transposed()] {
        let tiles = tiles(20); // more than go through at a time
        let wants = engine(&checkpoint, DeviceChoice::Cpu, Precision::F32, 0).unwrap().logits(&tiles, 20).unwrap();
        // Random weights make more of rounding than trained ones do.
        let bf16 = if checkpoint.meta.name == "transposed" { 3e-2 } else { 2e-2 };
        for (precision, most) in [(Precision::F32, 2e-3), (Precision::Bf16, bf16), (Precision::F16, 5e-3)] {
            let Some(mut cuda) = on_cuda(&checkpoint, precision) else { return };
            for count in [1, 3, 9, 20] {
                let values = count * SEEN_PX * SEEN_PX;
                let got = cuda.logits(&tiles[..values], count).unwrap();
                assert_eq!(got.len(), values);
                for (got, want) in got.chunks(SEEN_PX * SEEN_PX).zip(wants.chunks(SEEN_PX * SEEN_PX)) {
                    let error = relative_error(got, want);
                    assert!(error <= most, "{}, {precision}, {count} tiles: relative error {error}", checkpoint.meta.name);
                }
                assert_eq!(sound(cuda.as_mut(), &tiles[..values]), vec![true; count]);
            }
        }
    }
}

#[test]
fn what_is_no_number_is_told_on_cuda_and_leaves_nothing_behind() {
    for checkpoint in [shipped(), transposed()] {
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            let Some(mut cuda) = on_cuda(&checkpoint, precision) else { return };
            let clean = tiles(3);
            let want = cuda.logits(&clean, 3).unwrap();
            // The last one only leaves the range of f16.
            let values = [f32::NAN, f32::INFINITY, 1e9];
            for value in &values[..if cuda.precision() == Precision::F16 { 3 } else { 2 }] {
                let mut soiled = clean.clone();
                soiled[SEEN_PX * SEEN_PX + 5000] = *value;
                assert_eq!(sound(cuda.as_mut(), &soiled), [true, false, true], "{precision}, {value}");
                let logits = cuda.logits(&soiled, 3).unwrap();
                assert!(logits[SEEN_PX * SEEN_PX..2 * SEEN_PX * SEEN_PX].iter().all(|logit| logit.is_nan()));
                assert!(logits[..SEEN_PX * SEEN_PX] == want[..SEEN_PX * SEEN_PX]);
                assert!(cuda.logits(&clean, 3).unwrap() == want, "{precision}: the batch after it");
            }
        }
    }
}

/// Each normalisation in turn makes its map a hundred times as large: too large for f16 once the pictures are bright, wherever it lies.
#[test]
fn a_map_that_leaves_the_range_of_f16_is_told_on_cuda() {
    let bright: Vec<f32> = tiles(3).iter().map(|value| 1000.0 * value).collect();
    for upsampling in [Upsampling::Bilinear, Upsampling::Transposed] {
        let shape = NetworkShape { architecture: Architecture::UNet, base_width: 16, upsampling };
        let whole = Network::new(&shape, 3, &Device::Cpu).unwrap().tensors().unwrap();
        let gains = whole.keys().filter_map(|name| name.strip_suffix("running_var")).map(|norm| Some(format!("{norm}weight")));
        for gain in std::iter::once(None).chain(gains) {
            let mut tensors = whole.clone();
            if let Some(gain) = &gain {
                tensors.insert(gain.clone(), whole[gain].affine(100.0, 0.0).unwrap());
            }
            let checkpoint = Checkpoint { meta: CheckpointMeta::of(shape, "gains"), tensors, digest: String::new() };
            let Some(mut cuda) = on_cuda(&checkpoint, Precision::F16) else { return };
            let found = cuda.probabilities(3, &mut |to| to.copy_from_slice(&bright)).unwrap();
            assert_eq!(found.sound, [gain.is_none(); 3], "{upsampling:?}, {gain:?}");
        }
    }
}

#[test]
fn cuda_gradients_are_those_of_the_cpu() {
    let Some(cuda) = device() else { return };
    let architectures = [Architecture::UNet, Architecture::SegNet, Architecture::PspNet, Architecture::DeepLabV3];
    for (architecture, upsampling) in
        architectures.map(|a| (a, Upsampling::Bilinear)).into_iter().chain([(Architecture::UNet, Upsampling::Transposed)])
    {
        let shape = NetworkShape { architecture, base_width: 8, upsampling };
        let gradients = |device: &Device, precision, offset: f64| {
            let network = Network::new(&shape, 5, device).unwrap();
            for (name, variable) in network.variables() {
                if name.contains("double_conv") && name.ends_with(".bias") {
                    variable.set(&variable.affine(1.0, offset).unwrap()).unwrap();
                }
            }
            let pixels: Vec<f32> = (0..2 * 96 * 96).map(|i| ((i * 7919) % 4099) as f32 / 1024.0 - 2.0).collect();
            let x = Tensor::from_vec(pixels, (2, 1, 96, 96), device).unwrap();
            let (_, gradients) = network.learn(&x, precision, |logits| logits.sqr()?.mean_all()).unwrap();
            let of = |variable: &Tensor| gradients.get(variable).map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            network.variables().iter().map(|(name, variable)| (name.clone(), of(variable))).collect::<Vec<_>>()
        };
        // Less exact products turn ReLUs and maxima over, each of which moves a gradient by all of itself: in the U-Net offsets of 4
        // keep all ReLUs open, in the others nothing does.
        let unet = architecture == Architecture::UNet;
        for (precision, offset, most) in [(Precision::F32, 0.0, 5e-2), (Precision::F32Grade, 4.0, 2e-2), (Precision::Bf16, 4.0, 0.1)] {
            if !unet && offset > 0.0 {
                continue;
            }
            let wants = gradients(&Device::Cpu, Precision::F32, offset);
            for ((name, want), (_, got)) in wants.iter().zip(&gradients(&cuda, precision, offset)) {
                let (Some(want), Some(got)) = (want, got) else {
                    assert_eq!(want.is_some(), got.is_some(), "{shape}: {name}");
                    continue;
                };
                let size = want.iter().map(|v| v * v).sum::<f32>().sqrt();
                let off = want.iter().zip(got).map(|(w, g)| (w - g).powi(2)).sum::<f32>().sqrt();
                assert!(off <= most * size + 1e-6, "{shape}, {precision}: {name} is off by {off} of {size}");
            }
        }
    }
    assert_kernels_were_had();
}

#[test]
fn cuda_losses_and_their_gradients_are_those_of_the_cpu() {
    let Some(cuda) = device() else { return };
    let shape = (3, 1, 96, 96);
    let pixels = 3 * 96 * 96;
    let logits: Vec<f32> =
        (0..pixels).map(|i| if i % 50 == 0 { 40.0 - (i % 3) as f32 * 40.0 } else { (i * 7919 % 4099) as f32 / 512.0 - 4.0 }).collect();
    let labels: Vec<f32> = (0..pixels).map(|i| f32::from(u8::from(i * 31 % 97 < 7))).collect();
    for (loss, labels) in Loss::value_variants().iter().flat_map(|loss| [(*loss, labels.clone()), (*loss, vec![0.0; pixels])]) {
        let objective = Objective::new(loss, Hyperparameters::of(loss)).unwrap();
        let on = |device: &Device| {
            let x = Var::from_tensor(&Tensor::from_slice(&logits, shape, device).unwrap()).unwrap();
            let y = Tensor::from_slice(&labels, shape, device).unwrap();
            let value = objective.of(&x, &y).unwrap();
            let gradients = value.backward().unwrap();
            let gradient = gradients.get(x.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (value.to_scalar::<f32>().unwrap(), gradient)
        };
        let ((want, wants), (got, gots)) = (on(&Device::Cpu), on(&cuda));
        assert!((got - want).abs() <= 1e-5 * want.abs(), "{loss:?}: {got} is not {want}");
        for (i, (got, want)) in gots.iter().zip(&wants).enumerate() {
            assert!((got - want).abs() <= 1e-5 * want.abs() + 1e-37, "{loss:?} pixel {i}: {got} is not {want}");
        }
    }
    assert_kernels_were_had();
}

#[test]
fn cuda_steps_are_those_of_the_cpu() {
    let Some(cuda) = device() else { return };
    let rules = [Rule::Sgd { momentum: 0.9, nesterov: true }, Rule::Sgd { momentum: 0.9, nesterov: false }, Rule::AdamW];
    for (rule, clip_norm) in rules.into_iter().flat_map(|rule| [(rule, 0.0), (rule, 1.0)]) {
        let settings = OptimiserSettings { rule, weight_decay: 0.1, clip_norm };
        let on = |device: &Device| {
            let of = |shape: &[usize]| {
                let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 4099) as f32 / 2048.0 - 1.0).collect();
                Var::from_tensor(&Tensor::from_vec(values, shape, device).unwrap()).unwrap()
            };
            let variables = [of(&[40, 30, 3, 3]), of(&[40])];
            let named = || variables.iter().enumerate().map(|(i, variable)| (i.to_string(), variable.clone()));
            let mut optimiser = Optimiser::new(named(), settings);
            let gradients = || {
                let sums = variables.each_ref().map(|variable| variable.sqr().unwrap().sum_all().unwrap());
                (&sums[0] + &sums[1]).unwrap().backward().unwrap()
            };
            let mut norms = Vec::new();
            for step in 0..4 {
                if step == 2 {
                    // As a training that is resumed twice from one state: the first may not change it.
                    let state = optimiser.tensors();
                    for _ in 0..2 {
                        let mut resumed = Optimiser::new(named(), settings);
                        resumed.restore(&state, step, device).unwrap();
                        let before = variables.each_ref().map(|variable| variable.copy().unwrap());
                        optimiser = resumed;
                        optimiser.step(&gradients(), 0.02).unwrap();
                        variables.iter().zip(&before).for_each(|(variable, before)| variable.set(before).unwrap());
                        optimiser = Optimiser::new(named(), settings);
                        optimiser.restore(&state, step, device).unwrap();
                    }
                }
                norms.push(optimiser.step(&gradients(), 0.02).unwrap() as f32);
            }
            let weights = variables.iter().flat_map(|variable| variable.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            weights.chain(norms).collect::<Vec<_>>()
        };
        for (want, got) in on(&Device::Cpu).iter().zip(on(&cuda)) {
            assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{rule:?}, clipped to {clip_norm}: {got} is not {want}");
        }
    }
    assert_kernels_were_had();
}
