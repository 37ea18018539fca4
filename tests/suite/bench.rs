//! `hairline bench` as an engineer asks it.

use crate::station::{hairline, told};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/crack-unet8.safetensors");

#[test]
fn a_bench_tells_every_stage_and_how_a_load_of_lanes_is_kept() {
    let output = hairline(&["bench", "--cells", "2", "--lanes", "2", "--takt-ms", "3000", "--model", MODEL]).output().unwrap();
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    let stages = ["stitch", "network", "last row", "judge", "encode mask"];
    assert!(stages.iter().all(|stage| text.lines().any(|line| line.starts_with(stage))), "{text}");
    assert!(text.contains("2 lanes, a cell each 3000 ms:") && text.contains("of 2 cells later than 100 ms"), "{text}");
}

#[test]
fn a_load_needs_a_network() {
    let output = hairline(&["bench", "--lanes", "2"]).output().unwrap();
    assert!(!output.status.success() && told(&output).contains("--model"), "{}", told(&output));
}

#[test]
fn arguments_without_effect_are_refused() {
    for (idle, needed) in [
        (["--threads", "2"], "--model"),
        (["--device", "cpu"], "--model"),
        (["--precision", "f32"], "--model"),
        (["--takt-ms", "500"], "--lanes"),
        (["--deadline-ms", "50"], "--lanes"),
    ] {
        let output = hairline(&[&["bench", "--cells", "1"], &idle[..]].concat()).output().unwrap();
        assert!(!output.status.success() && told(&output).contains(needed), "{idle:?}: {}", told(&output));
    }
    let output = hairline(&["calibrate", "--wafer-mm", "M10", "--lines", "100"]).output().unwrap();
    assert!(!output.status.success() && told(&output).contains("--config"), "{}", told(&output));
}

#[test]
fn a_bench_does_with_fewer_instructions_where_it_is_told_to() {
    let bench = |set: &str| hairline(&["bench", "--cells", "1", "--instructions", set, "--model", MODEL]).output().unwrap();
    let portable = bench("portable");
    assert!(portable.status.success() && told(&portable).contains("f32-grade (portable)"), "{}", told(&portable));
    let unknown = bench("sse9");
    assert!(!unknown.status.success() && told(&unknown).contains("avx512-vnni, avx512, avx2, portable"), "{}", told(&unknown));
}
