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
        for ending in [".safetensors", ".pth", "-channels-last.pth"] {
            let weights = folder.join(format!("{name}{ending}"));
            if upsampling == Upsampling::Transposed && ending.contains("last") {
                continue;
            }
            let checkpoint = Checkpoint::import(weights, meta(upsampling)).unwrap();
            let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
            let logits = network.forward(&io["x"], Mode::Eval).unwrap();
            let off: Tensor = (logits - &io["logits"]).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let off = off.to_scalar::<f32>().unwrap();
            assert!(off < 1e-4, "{name}{ending}: off by {off}");
        }
    }
}

#[test]
fn a_damaged_file_is_refused_before_its_sizes_are_believed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch_unet");
    let refusal = |file: &Path| Checkpoint::import(file, meta(Upsampling::Bilinear)).unwrap_err().to_string();
    let told = refusal(&folder.join("vast.pth"));
    assert!(told.contains("vast.pth") && told.contains("inc.double_conv.0.weight") && told.contains("16 bytes"), "{told}");

    let whole = std::fs::read(folder.join("bilinear.pth")).unwrap();
    let weights = candle_core::safetensors::load(folder.join("bilinear.safetensors"), &Device::Cpu).unwrap();
    let weight = weights["inc.double_conv.0.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap()[0].to_le_bytes();
    let find = |bytes: &[u8]| whole.windows(bytes.len()).position(|found| found == bytes).unwrap();
    let other = tempfile::tempdir().unwrap();
    // In a weight, and in what describes them.
    for place in [find(&weight), find(b"_rebuild_tensor_v2")] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        let file = other.path().join("damaged.pth");
        std::fs::write(&file, damaged).unwrap();
        let told = refusal(&file);
        assert!(told.contains("damaged.pth") && told.contains("copy it again"), "byte {place}: {told}");
    }
}
