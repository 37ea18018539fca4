//! What the tool does not do: write over models, and take arguments that have no effect or make no sense.

use super::{fit, pictures, succeed, told, train};
use std::path::Path;

/// What is said of a command that must fail.
fn refusal(root: &Path, arguments: &[&str]) -> String {
    let output = train().current_dir(root).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {}", told(&output));
    told(&output)
}

#[test]
fn no_command_writes_a_model_over_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch_unet/bilinear.pth");
    for file in ["model.safetensors", "q.jsonl", "b.last.safetensors"] {
        std::fs::write(root.join(file), "another").unwrap();
    }
    let small = ["fit", "--data", "pictures", "--base-width", "2", "--crop", "32", "--steps", "1", "--device", "cpu", "--out"];
    let fit = |out| [&small[..], &[out]].concat();
    for arguments in [
        vec!["import", weights, "--out", "model.safetensors"],
        vec!["quantise", "--model", "model.safetensors", "--data", "pictures", "--out", "model.safetensors"],
        fit("model.safetensors"),
        fit("q.safetensors"),
        fit("b"),
    ] {
        let said = refusal(root, &arguments);
        assert!(said.contains("exists already; choose another name or move it away"), "{arguments:?}: {said}");
    }
    for file in ["model.safetensors", "q.jsonl", "b.last.safetensors"] {
        assert_eq!(std::fs::read(root.join(file)).unwrap(), b"another", "{file}");
    }
    // Names with dots have files of their own.
    for out in ["m.v1", "m.v2", "m.jsonl"] {
        let mut command = train();
        command.current_dir(root).args(fit(out));
        succeed(command);
        assert!(root.join(out).is_file() && root.join(format!("{out}.jsonl")).is_file(), "{out}");
        assert!(root.join(format!("{out}.last.safetensors")).is_file(), "{out}");
    }
}

#[test]
fn a_training_that_goes_on_writes_over_no_checkpoint_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    succeed(fit(root, "run", 1));
    succeed(fit(root, "other", 1));
    for out in ["other/best.safetensors", "run/log.jsonl"] {
        let before = std::fs::read(root.join(out)).unwrap();
        let said = refusal(root, &["fit", "--resume", "run", "--out", out, "--device", "cpu"]);
        assert!(said.contains(&format!("--out {out}: exists already, and is no checkpoint of run")), "{said}");
        assert!(std::fs::read(root.join(out)).unwrap() == before, "{out}");
    }
}

#[test]
fn arguments_without_effect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ["--data", "pictures"];
    let wafers = ["--simulate", "laser"];
    let [new, golden] = [["fit", "--run", "run"], ["eval", "--model", "m"]];
    for (command, told, idle) in [
        (new, folder, ["--validation-wafers", "3"]),
        (new, folder, ["--cracked-share", "0.5"]),
        (new, wafers, ["--validation-share", "0.5"]),
        (golden, folder, ["--wafers", "3"]),
        (golden, folder, ["--seed", "3"]),
        (golden, folder, ["--cracked-share", "0.5"]),
    ] {
        let said = refusal(dir.path(), &[&command[..2], &command[2..], &told, &idle].concat());
        assert!(said.contains(idle[0]) && said.contains("cannot be used with"), "{idle:?}: {said}");
    }
    let said = refusal(dir.path(), &["fit", "--simulate", "laser", "--out", "m.safetensors", "--keep-all"]);
    assert!(said.contains("--keep-all") && said.contains("--run"), "{said}");
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let eval = ["eval", "--model", "m", "--simulate", "laser"];
    for (argument, value, remedy) in [
        ("--wafer-mm", "0", "10 to 500"),
        ("--wafer-mm", "nan", "10 to 500"),
        ("--wafer-mm", "1e300", "10 to 500"),
        ("--recipe-min-length-mm", "inf", "0 or more"),
        ("--reject-above-mm", "2,-5", "0 or more"),
        ("--threads", "100000", "0 to 1024"),
    ] {
        let told = format!("{argument}={value}");
        let said = refusal(dir.path(), &[&eval[..], &[&told]].concat());
        assert!(said.contains(argument) && said.contains(remedy), "{told}: {said}");
    }
    for command in [vec!["fit", "--simulate", "laser"], vec!["quantise"], vec!["promote", "new"], vec!["compare", "plan"], vec!["search"]] {
        let said = refusal(dir.path(), &[&command[..], &["--threads", "1025"]].concat());
        assert!(said.contains("0 to 1024"), "{command:?}: {said}");
    }
}

#[test]
fn a_comparison_tells_what_cannot_go_on_before_its_first_training() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let plan = |steps: u32, losses: &str| {
        let options = format!("[options]\nbase-width = 2\ncrop = 32\nsteps = {steps}\n");
        let text = format!("seeds = [1]\nlosses = [{losses}]\n{options}[data.D]\ndata = \"pictures\"\n");
        std::fs::write(root.join("plan.toml"), text).unwrap();
    };
    let compare = ["compare", "plan.toml", "--dir", "out", "--devices", "cpu"];
    plan(1, "\"tversky\"");
    let mut first = train();
    first.current_dir(root).args(compare);
    succeed(first);
    plan(2, "\"dibe\", \"tversky\"");
    let said = refusal(root, &compare);
    assert!(said.contains("out/D-unet-tversky-seed1: was begun with other options"), "{said}");
    assert!(!root.join("out/D-unet-dibe-seed1").exists(), "{said}");
}

#[test]
fn a_name_that_no_model_may_have_leaves_no_run_folder() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    let output = fit(dir.path(), r"runs/a\b", 1).output().unwrap();
    assert!(!output.status.success() && told(&output).contains("becomes a file's name"), "{}", told(&output));
    assert!(!dir.path().join("runs").exists());
}
