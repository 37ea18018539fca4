//! Weights of the U-Net that PyTorch users know: imported, they give the logits that PyTorch gave.

use candle_core::{Device, Tensor};
use hairline::nn::{Architecture, Checkpoint, CheckpointMeta, Mode, Network, NetworkShape, Normalisation, Upsampling};
use std::path::Path;

fn meta(upsampling: Upsampling) -> CheckpointMeta {
    CheckpointMeta {
        normalisation: Normalisation::Fixed { mean: 0.0, std: 1.0 },
        ..CheckpointMeta::of(NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling }, "imported")
    }
}

#[test]
fn imported_weights_give_the_logits_of_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch_unet");
    for (name, upsampling) in [("bilinear", Upsampling::Bilinear), ("transposed", Upsampling::Transposed)] {
        let io = candle_core::safetensors::load(folder.join(format!("{name}-io.safetensors")), &Device::Cpu).unwrap();
        for ending in ["safetensors", "pth"] {
            let checkpoint = Checkpoint::import(folder.join(format!("{name}.{ending}")), meta(upsampling)).unwrap();
            let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
            let logits = network.forward(&io["x"], Mode::Eval).unwrap();
            let off: Tensor = (logits - &io["logits"]).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let off = off.to_scalar::<f32>().unwrap();
            assert!(off < 1e-4, "{name}.{ending}: off by {off}");
        }
    }
}
