//! The network on CUDA against the CPU's exact way. Where there is no CUDA this says so and passes: a machine that
//! has it runs `cargo test --release --features cudnn --test suite cuda`.

use candle_core::{Device, Tensor};
use hairline::cell::{CELL_PX, Mask, ProbabilityMap, TILE_PX};
use hairline::config::{DeviceChoice, Precision};
use hairline::judge::{Recipe, judge};
use hairline::nn::{Architecture, Checkpoint, Engine, Mode, Network, NetworkShape, NnError, Upsampling, engine};
use hairline::train::{Inspected, Kinds, Picture, Simulated, inspect};
use image::imageops::FilterType;
use std::path::Path;

const WAFERS: u64 = 200;
const MM_PER_PX: f64 = 182.0 / CELL_PX as f64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Checkpoint {
    let models = std::fs::read_dir(root().join("models")).unwrap().map(|entry| entry.unwrap().path());
    let model = models.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors")).min().unwrap();
    Checkpoint::load(&model, &candle_core::Device::Cpu).unwrap()
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

fn map(engine: &mut dyn Engine, checkpoint: &Checkpoint, picture: &Picture) -> ProbabilityMap {
    let values = inspect(engine, &checkpoint.meta.normalisation, picture).unwrap();
    Inspected { index: 0, picture, values: &values }.map().unwrap()
}

#[test]
fn cuda_finds_the_same_cracks_as_the_cpu() {
    let checkpoint = shipped();
    for precision in [Precision::F32, Precision::Bf16] {
        let mut cuda = match engine(&checkpoint, DeviceChoice::Cuda(0), precision, 0) {
            Ok(cuda) => cuda,
            Err(NnError::Device { reason, .. }) => return println!("skipped: {reason}"),
            Err(other) => panic!("{other}"),
        };
        let mut cpu = engine(&checkpoint, DeviceChoice::Cpu, Precision::F32, 0).unwrap();
        println!("{} against {}", cuda.describe(), cpu.describe());
        let wafers = (0..WAFERS).map(|index| Simulated::test_wafer(Kinds::Both, 17, 0.5, index).unwrap());
        let (mut common, mut either, mut cells) = (0, 0, 0);
        for picture in wafers.chain(real_cells()) {
            let [here, there] = [&mut cpu, &mut cuda].map(|engine| map(engine.as_mut(), &checkpoint, &picture));
            let [here, there] = [here, there].map(|map| judge(&map, MM_PER_PX, &[], checkpoint.meta.threshold, &Recipe::default()));
            assert_eq!(here.verdict, there.verdict, "{}, {precision}", picture.name);
            let bits = here.mask.bits().iter().zip(there.mask.bits());
            let (both, any) = bits.fold((0, 0), |(both, any), (a, b)| (both + (a & b).count_ones(), any + (a | b).count_ones()));
            (common, either, cells) = (common + u64::from(both), either + u64::from(any), cells + 1);
        }
        let iou = common as f64 / (either as f64).max(1.0);
        println!("{precision}: mask IoU {iou:.4} over {cells} cells");
        assert!(iou >= 0.98, "{precision}: mask IoU {iou}");
    }
}

#[test]
fn cuda_logits_are_those_of_the_cpu_whatever_the_batch() {
    let checkpoint = shipped();
    let count = 20; // more than go through at a time
    let tiles: Vec<f32> = (0..count * TILE_PX * TILE_PX).map(|i| ((i * 7919) % 4099) as f32 / 1024.0 - 2.0).collect();
    let want = engine(&checkpoint, DeviceChoice::Cpu, Precision::F32, 0).unwrap().logits(&tiles[..TILE_PX * TILE_PX], 1).unwrap();
    for (precision, most) in [(Precision::F32, 2e-3), (Precision::Bf16, 2e-2)] {
        let mut cuda = match engine(&checkpoint, DeviceChoice::Cuda(0), precision, 0) {
            Ok(cuda) => cuda,
            Err(NnError::Device { reason, .. }) => return println!("skipped: {reason}"),
            Err(other) => panic!("{other}"),
        };
        let rms = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let got = cuda.logits(&tiles, count).unwrap();
        assert_eq!(got.len(), tiles.len());
        let error = rms(&mut got.iter().zip(&want).map(|(g, w)| g - w)) / rms(&mut want.iter().copied());
        println!("{precision}: relative error {error:.2e}");
        assert!(error <= most, "{precision}: relative error {error}");
        assert_eq!(cuda.probabilities(&tiles, count).unwrap().sound, vec![true; count]);
    }
}

#[test]
fn cuda_gradients_are_those_of_the_cpu() {
    let Ok(cuda) = Device::new_cuda(0) else { return println!("skipped: no CUDA device, or a build without") };
    let architectures = [Architecture::UNet, Architecture::SegNet, Architecture::PspNet, Architecture::DeepLabV3];
    for (architecture, upsampling) in
        architectures.map(|a| (a, Upsampling::Bilinear)).into_iter().chain([(Architecture::UNet, Upsampling::Transposed)])
    {
        let shape = NetworkShape { architecture, base_width: 8, upsampling };
        let [cpu, cuda] = [&Device::Cpu, &cuda].map(|device| {
            let network = Network::new(&shape, 5, device).unwrap();
            let pixels: Vec<f32> = (0..2 * 96 * 96).map(|i| ((i * 7919) % 4099) as f32 / 1024.0 - 2.0).collect();
            let x = Tensor::from_vec(pixels, (2, 1, 96, 96), device).unwrap();
            let logits = network.forward(&x, Mode::Train(Precision::F32)).unwrap();
            let gradients = logits.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            let of = |variable: &Tensor| gradients.get(variable).map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            network.variables().iter().map(|(name, variable)| (name.clone(), of(variable))).collect::<Vec<_>>()
        });
        for ((name, want), (_, got)) in cpu.iter().zip(&cuda) {
            let (Some(want), Some(got)) = (want, got) else {
                assert_eq!(want.is_some(), got.is_some(), "{shape}: {name}");
                continue;
            };
            let size = want.iter().map(|v| v * v).sum::<f32>().sqrt();
            let off = want.iter().zip(got).map(|(w, g)| (w - g).powi(2)).sum::<f32>().sqrt();
            // cuDNN may multiply in TF32, which has ten bits.
            assert!(off <= 2e-2 * size + 1e-6, "{shape}: {name} is off by {off} of {size}");
        }
    }
}
