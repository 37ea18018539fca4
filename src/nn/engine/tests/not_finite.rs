//! What becomes of numbers that are none, or infinite.

use super::*;

#[test]
fn what_is_no_number_comes_out_as_none() {
    let side = 64;
    let unets = [Upsampling::Bilinear, Upsampling::Transposed].map(|upsampling| checkpoint(8, upsampling));
    for checkpoint in unets.into_iter().chain(OTHERS.map(|architecture| other(architecture, 8))) {
        for value in [f32::NAN, f32::INFINITY] {
            for (isa, precision) in ways() {
                let mut tiles = pictures(1, side);
                let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &2.into(), isa).unwrap();
                let clean = engine.logits(&tiles, 1).unwrap();
                assert!(clean.iter().all(|logit| logit.is_finite()));
                tiles[20 * side + 20] = value;
                let spoilt = engine.logits(&tiles, 1).unwrap();
                // SegNet need not put it back to where it was.
                let hidden = if checkpoint.meta.shape.architecture == Architecture::SegNet {
                    spoilt.iter().all(|logit| logit.is_finite())
                } else {
                    spoilt[20 * side + 20].is_finite()
                };
                assert!(!hidden, "{isa} {precision} hides {value}");
                tiles[20 * side + 20] = 0.5;
                assert!(engine.logits(&tiles, 1).unwrap().iter().all(|logit| logit.is_finite()), "{isa} {precision} keeps {value}");
            }
        }
    }
}

/// Where the network that is trained has no finite logit, the engine has none: what is no number must not end as that of a good cell.
#[test]
fn what_is_not_finite_reaches_as_far_as_in_the_trained_network() {
    let side = 48;
    let unet = |base_width| [Upsampling::Bilinear, Upsampling::Transposed].map(|upsampling| checkpoint(base_width, upsampling));
    let others = OTHERS.into_iter().filter(|architecture| *architecture != Architecture::SegNet).map(|architecture| other(architecture, 8));
    for checkpoint in unet(8).into_iter().chain(unet(16)).chain(others) {
        let network = Network::from_checkpoint(&checkpoint, &Device::Cpu).unwrap();
        for (value, [y, x]) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().zip([[0, 0], [23, 47], [17, 26]]) {
            let mut tile = pictures(1, side);
            tile[y * side + x] = value;
            let input = Tensor::from_slice(&tile, (1, 1, side, side), &Device::Cpu).unwrap();
            let want: Vec<f32> = network.forward(&input, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            assert!(want.iter().any(|logit| !logit.is_finite()));
            for (isa, precision) in ways() {
                let mut engine = CpuEngine::with_isa(&checkpoint, side, precision, &2.into(), isa).unwrap();
                let got = engine.logits(&tile, 1).unwrap();
                let lost = want.iter().zip(&got).filter(|(want, got)| !want.is_finite() && got.is_finite()).count();
                assert!(lost == 0, "{isa} {precision}, {value} at {y}, {x}: {lost} logits are finite; {:?}", checkpoint.meta.shape);
            }
        }
    }
}

/// No sound network has an infinite logit, and one below zero would pass for a good cell.
#[test]
fn an_infinite_logit_is_no_answer() {
    let mut checkpoint = checkpoint(2, Upsampling::Bilinear);
    for bias in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        checkpoint.tensors.insert("outc.conv.bias".into(), Tensor::new(&[bias], &Device::Cpu).unwrap());
        let mut cpu = CpuEngine::new(&checkpoint, SEEN_PX, Precision::F32, &2.into()).unwrap();
        let mut tensors = device::DeviceEngine::on(&checkpoint, Device::Cpu, candle_core::DType::F32, "the CPU").unwrap();
        for engine in [&mut cpu as &mut dyn Engine, &mut tensors] {
            let found = engine.probabilities(1, &mut |tiles| tiles.fill(0.5)).unwrap().sound;
            assert_eq!(found, [false], "{bias}, {}", engine.describe());
        }
    }
}

#[test]
fn what_becomes_infinite_when_it_is_folded_is_refused_in_every_precision() {
    let mut checkpoint = checkpoint(8, Upsampling::Transposed);
    let side = 32;
    let mut calibration = Calibration::new(&checkpoint).unwrap();
    calibration.add(&pictures(1, SEEN_PX)).unwrap();
    let ranges = calibration.finish();
    let norm = "down2.maxpool_conv.1.double_conv.4";
    let whole = checkpoint.clone();
    checkpoint.meta.quantisation = Some(crate::nn::Quantisation { ranges: ranges.clone(), report: serde_json::Value::Null });
    for (part, value) in [("weight", 3e38_f32), ("running_var", 0.0)] {
        let name = format!("{norm}.{part}");
        let values = checkpoint.tensors[&name].ones_like().unwrap().affine(f64::from(value), 0.0).unwrap();
        checkpoint.tensors.insert(name, values);
    }
    let refusal = |told: Option<NnError>| told.expect("it was taken").to_string();
    for precision in [Precision::F32, Precision::F32Grade, Precision::Bf16, Precision::Int8] {
        let told = refusal(CpuEngine::new(&checkpoint, side, precision, &1.into()).err());
        assert!(told.contains("down2.maxpool_conv.1.double_conv.3") && told.contains("not finite"), "{precision}: {told}");
    }
    refusal(device::DeviceEngine::on(&checkpoint, Device::Cpu, candle_core::DType::F32, "the CPU").err());
    refusal(steps::Steps::new(&checkpoint, side, 1).err());

    if !Isa::Avx512Vnni.is_here() {
        return crate::skipped!("int8, which this processor has not");
    }
    let with = |changed: &[(&str, f32)]| {
        let mut ranges = ranges.clone();
        ranges.extend(changed.iter().map(|(name, range)| ((*name).to_owned(), *range)));
        let mut checkpoint = whole.clone();
        checkpoint.meta.quantisation = Some(crate::nn::Quantisation { ranges, report: serde_json::Value::Null });
        CpuEngine::new(&checkpoint, side, Precision::Int8, &1.into()).err()
    };
    assert!(with(&[]).is_none());
    let (first, second) = ("inc.double_conv.0", "inc.double_conv.3");
    assert!(refusal(with(&[(first, 1e-40)])).contains(first));
    assert!(refusal(with(&[(first, 1e30), (second, 1e-30)])).contains(second));
    assert!(refusal(with(&[("up1.up", 1e-30), ("down4.maxpool_conv.1.double_conv.3", 1e30)])).contains("up1.up"));
}
