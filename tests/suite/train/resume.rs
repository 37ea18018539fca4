//! Interrupted, killed, resumed, on a full disk.

use super::{fit, pictures, succeed, told, train};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn log_steps(run: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries.filter(|entry| entry["event"] == "step").map(|entry| entry["step"].as_u64().unwrap()).collect()
}

fn weights(run: &Path) -> Vec<u8> {
    let bytes = std::fs::read(run.join("last.safetensors")).unwrap();
    // The description tells the time taken; the weights follow it.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn interrupted_and_killed_trainings_go_on_to_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    const STEPS: u32 = 200;
    succeed(fit(root, "whole", STEPS));

    // Ctrl-C, once the first evaluation is told.
    let mut running = fit(root, "parts", STEPS).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("step     20")).unwrap().unwrap();
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(running.wait().unwrap().code(), Some(130), "what is not finished is no success: {said:?}");
    let advice = said.last().unwrap();
    assert!(advice.contains("train fit --resume parts --device cpu --threads 1"), "{said:?}");
    assert!(log_steps(&root.join("parts")).len() < STEPS as usize);
    assert!(!root.join("parts/result.json").exists(), "not finished");
    let report = std::fs::read_to_string(root.join("parts/report.html")).unwrap();
    assert!(report.contains("<svg") && !report.contains("data:image"), "curves only: a look at the pictures would take its time");

    // Killed in the middle of going on, as a power failure would.
    let resume = || {
        let mut command = train();
        command.current_dir(root).args(advice.split_whitespace().skip(1));
        command
    };
    let mut running = resume().stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("IoU")).unwrap().unwrap();
    running.kill().unwrap();
    running.wait().unwrap();

    succeed(resume());
    let (whole, parts) = (root.join("whole"), root.join("parts"));
    assert_eq!(log_steps(&parts), (1..=u64::from(STEPS)).collect::<Vec<_>>());
    assert!(weights(&whole) == weights(&parts), "the weights are the same, bit for bit");
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(parts.join("result.json")).unwrap()).unwrap();
    assert!(result["best"]["mean_iou"].is_f64(), "{result}");
    let settings: serde_json::Value = serde_json::from_slice(&std::fs::read(parts.join("settings.json")).unwrap()).unwrap();
    let commit = option_env!("HAIRLINE_COMMIT").filter(|commit| !commit.is_empty());
    assert_eq!(settings["commit"].as_str(), commit, "as it was told to whoever built this");
}

#[test]
fn a_second_interrupt_ends_a_long_evaluation_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    // One picture of very many tiles, which no evaluation leaves before its end.
    for (part, grey) in [("images", 90), ("masks", 0)] {
        image::GrayImage::from_pixel(1344, 9000, image::Luma([grey])).save(root.join(format!("pictures/{part}/wide.png"))).unwrap();
    }
    let part = |i: usize| format!("cell{i},{}\n", if i == 0 { "validation" } else { "training" });
    std::fs::write(root.join("split.csv"), (0..8).map(part).collect::<String>() + "wide,validation\n").unwrap();
    let mut command = train();
    command.current_dir(root).args(["fit", "--data", "pictures", "--split", "split.csv", "--run", "run", "--base-width", "16"]);
    command.args(["--crop", "32", "--batch", "1", "--steps", "2", "--sampling", "uniform", "--device", "cpu", "--threads", "1"]);
    let mut running = command.args(["--eval-every", "2"]).stderr(Stdio::piped()).spawn().unwrap();
    let log = root.join("run/log.jsonl");
    let begun = std::time::Instant::now();
    while std::fs::read_to_string(&log).map_or(0, |log| log.matches("\"step\"").count()) < 2 * 2 {
        assert!(begun.elapsed().as_secs() < 120, "no two steps in two minutes");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let process = running.id().to_string();
    let interrupt = || Command::new("kill").args(["-INT", &process]).status().unwrap();
    interrupt();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("once more ends it at once")).unwrap();
    interrupt();
    let (ended, said) = (running.wait().unwrap().code(), lines.collect::<Vec<_>>());
    // One that is stopped by the first alone ends with 130, too.
    assert!(ended == Some(130) && said.iter().any(|line| line.contains("ended at once")), "{ended:?}: {said:?}");
}

#[test]
fn data_that_change_before_anything_is_learnt_are_told_as_they_are_then() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    succeed(fit(root, "run", 1));
    // As a process leaves it that is killed in its first steps.
    for file in ["state", "last", "best"] {
        std::fs::remove_file(root.join(format!("run/{file}.safetensors"))).unwrap();
    }
    let manifest = || std::fs::read_to_string(root.join("run/manifest.json")).unwrap();
    let before = manifest();
    std::fs::remove_file(root.join("pictures/images/cell7.png")).unwrap();
    std::fs::remove_file(root.join("pictures/masks/cell7.png")).unwrap();
    let resume = || {
        let mut command = train();
        command.current_dir(root).args(["fit", "--resume", "run", "--device", "cpu", "--threads", "1"]);
        command
    };
    succeed(resume());
    assert!(before.contains("cell7") && !manifest().contains("cell7"), "{}", manifest());
    // Afterwards a change is refused.
    std::fs::remove_file(root.join("pictures/images/cell6.png")).unwrap();
    std::fs::remove_file(root.join("pictures/masks/cell6.png")).unwrap();
    let refused = resume().output().unwrap();
    let said = told(&refused);
    assert!(!refused.status.success() && said.contains("the data have changed") && said.contains("(images/cell6.png is gone)"), "{said}");
}

#[test]
fn a_run_is_never_begun_over_another_and_settings_are_not_changed_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    succeed(fit(dir.path(), "run", 1));
    let again = fit(dir.path(), "run", 1).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("--resume"), "{said}");
    let changed = train().current_dir(dir.path()).args(["fit", "--resume", "run", "--alpha", "0.3"]).output().unwrap();
    let said = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(!changed.status.success() && said.contains("--resume") && said.contains("cannot be used"), "{said}");
}

#[test]
fn a_new_training_takes_no_models_place_but_one_that_goes_on_writes_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    std::fs::write(root.join("model.safetensors"), "another model").unwrap();
    let mut begun = fit(root, "run", 1);
    let refused = begun.args(["--out", "model.safetensors", "--split", "not-even-read.csv"]).output().unwrap();
    let said = told(&refused);
    assert!(!refused.status.success() && said.contains("--out model.safetensors: exists already") && !said.contains("not-even"), "{said}");
    let mut alone = train();
    alone.current_dir(root).args(["fit", "--simulate", "laser", "--out", "model.safetensors"]);
    let refused = alone.output().unwrap();
    assert!(!refused.status.success() && told(&refused).contains("exists already"), "{}", told(&refused));
    assert_eq!(std::fs::read(root.join("model.safetensors")).unwrap(), b"another model");
    assert!(!root.join("run").exists() && !root.join("model.jsonl").exists());
    let mut first = fit(root, "run", 1);
    first.args(["--out", "own.safetensors"]);
    succeed(first);
    let mut resumed = train();
    resumed.current_dir(root).args(["fit", "--resume", "run", "--out", "own.safetensors", "--device", "cpu", "--threads", "1"]);
    succeed(resumed);
}

#[test]
fn data_that_tell_their_own_split_are_not_dealt_out_anew() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    succeed(fit(root, "before", 1));
    std::fs::rename(root.join("before/split.csv"), root.join("pictures/split.csv")).unwrap();
    let refused = fit(root, "run", 1).output().unwrap();
    let said = told(&refused);
    assert!(!refused.status.success() && said.contains("pictures/split.csv, or move it away"), "{said}");
    assert!(said.contains("give --split") && !root.join("run").exists(), "{said}");
    for (run, asked) in [("by-file", ["--split", "pictures/split.csv"]), ("by-lot", ["--group-by", "[0-9]"])] {
        let mut command = fit(root, run, 1);
        command.args(asked);
        succeed(command);
    }
    // What was begun before goes on, and a finished model is looked at with all of them.
    let mut resumed = train();
    resumed.current_dir(root).args(["fit", "--resume", "before", "--device", "cpu", "--threads", "1"]);
    succeed(resumed);
    let mut looked = train();
    looked.current_dir(root).args(["eval", "--model", "before/best.safetensors", "--data", "pictures", "--device", "cpu"]);
    succeed(looked);
}

#[test]
fn a_full_disk_is_named_and_nothing_half_written_is_left() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    // A process that may not write files longer than this gets the same kind of error as on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 32; exec \"$@\"";
    let small = fit(dir.path(), "run", 20);
    let mut command = Command::new("bash");
    command.current_dir(dir.path()).args(["-c", limited, "bash"]).arg(small.get_program()).args(small.get_args());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(".safetensors") && said.contains("written"), "{said}");
    let left: Vec<String> =
        std::fs::read_dir(dir.path().join("run")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".part") && !name.ends_with("last.safetensors")), "{left:?}");
}

#[test]
fn a_signal_to_a_comparison_reaches_its_training_which_nobody_else_may_continue_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let plan = "seeds = [1]\nlosses = [\"dibe\"]\n[options]\nbase-width = 2\ncrop = 32\nbatch = 2\nsteps = 100000\neval-every = 20\n[data.D]\ndata = \"pictures\"\n";
    std::fs::write(root.join("plan.toml"), plan).unwrap();
    let mut comparison = train().current_dir(root).args(["compare", "plan.toml", "--dir", "out"]).stderr(Stdio::piped()).spawn().unwrap();
    let run = root.join("out/D-unet-dibe-seed1");
    let begun = std::time::Instant::now();
    while !run.join("state.safetensors").exists() {
        assert!(begun.elapsed().as_secs() < 120, "no evaluation in two minutes");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let second = train().current_dir(root).args(["fit", "--resume", "out/D-unet-dibe-seed1"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("another process is training"), "{said}");

    // To the comparison alone, as a service manager or `kill` would send it.
    Command::new("kill").args(["-TERM", &comparison.id().to_string()]).status().unwrap();
    let said: Vec<String> = BufReader::new(comparison.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(!comparison.wait().unwrap().success() && said.last().unwrap().contains("the same command goes on"), "{said:?}");
    let console = std::fs::read_to_string(run.join("console.log")).unwrap();
    assert!(console.contains("stopped early"), "{console}");
    assert!(!run.join("result.json").exists());
}
