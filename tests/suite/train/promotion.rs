//! What is promoted, and what is not.

use super::{fit, pictures, succeed, told, train};
use hairline::nn::Checkpoint;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Promotes a model into `models/`, judged by the pictures it was trained on.
fn promote(root: &Path, new: &str, current: &[&str]) -> Command {
    let mut command = train();
    command.current_dir(root).args(["promote", new, "--data", "pictures", "--device", "cpu"]).args(current);
    command
}

#[test]
fn only_a_model_that_is_no_worse_is_promoted_and_it_gets_a_card() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let mut poor = fit(root, "poor", 1);
    poor.args(["--name", "crack", "--prior", "0.5", "--threshold", "0.3"]);
    succeed(poor);
    let mut good = fit(root, "good", 120);
    good.args(["--name", "crack", "--learning-rate", "0.3"]);
    succeed(good);

    std::fs::write(root.join("file"), "").unwrap();
    let nowhere = told(&promote(root, "poor/best.safetensors", &["--first", "--models", "file/models"]).output().unwrap());
    assert!(nowhere.contains("--models file/models: this folder cannot be made") && !nowhere.contains("| new: crack"), "{nowhere}");
    let first = told(&succeed(promote(root, "poor/best.safetensors", &["--first"])));
    assert!(first.contains("has learnt from 6 of these 8 pictures"), "{first}");
    let promoted = root.join("models/crack.safetensors");
    assert!(first.contains(&format!("[network] of its configuration names {}", promoted.display())), "{first}");
    let again = promote(root, "good/best.safetensors", &["--first"]).output().unwrap();
    assert!(!again.status.success() && told(&again).contains("--current models/crack.safetensors"), "{}", told(&again));
    let current = ["--current", "models/crack.safetensors"];
    succeed(promote(root, "good/best.safetensors", &current));
    assert!(std::fs::read(root.join("models/crack.safetensors")).unwrap() == std::fs::read(root.join("good/best.safetensors")).unwrap());
    assert!(
        std::fs::read(root.join("models/crack.previous.safetensors")).unwrap()
            == std::fs::read(root.join("poor/best.safetensors")).unwrap()
    );
    let card = std::fs::read_to_string(root.join("models/crack.md")).unwrap();
    for word in ["# Model crack", "| α | 0.5 |", "digest of the training data", "compared with | crack (SHA-256", "| new: crack"] {
        assert!(card.contains(word), "{card}");
    }
    assert!(card.contains("learnt from | 6 |") && !card.contains("tolerance") && !card.contains("clean pictures"), "{card}");
    // Cracked ones only: what it costs in good cells is not known.
    for part in ["images", "masks"] {
        std::fs::create_dir_all(root.join("cracked").join(part)).unwrap();
        for i in [0, 2] {
            let file = format!("{part}/cell{i}.png");
            std::fs::copy(root.join("pictures").join(&file), root.join("cracked").join(&file)).unwrap();
        }
    }
    let mut cracked = train();
    cracked.current_dir(root).args([
        "promote",
        "good/best.safetensors",
        "--data",
        "cracked",
        "--device",
        "cpu",
        "--first",
        "--models",
        "other",
    ]);
    let said = told(&succeed(cracked));
    assert!(said.contains("warning: no picture is clean: whether it alarms more often was not compared"), "{said}");
    let card = std::fs::read_to_string(root.join("other/crack.md")).unwrap();
    assert!(card.contains("| of it, clean pictures | none: whether it alarms more often was not compared |"), "{card}");
    let fifth = root.join("fifth");
    let mut elsewhere = promote(root, "good/best.safetensors", &["--current", "poor/best.safetensors", "--tolerance", "0.5"]);
    elsewhere.arg("--models").arg(&fifth);
    succeed(elsewhere);
    let card = std::fs::read_to_string(fifth.join("crack.md")).unwrap();
    assert!(card.contains("| tolerance of IoU and PA | 0.5 instead of 0.005 |"), "{card}");
    // What is promoted is what was compared: a model is read once.
    let (sixth, bytes) = (root.join("sixth"), std::fs::read(root.join("good/best.safetensors")).unwrap());
    let mut once = promote(root, "/dev/stdin", &["--first"]);
    let mut once = once.arg("--models").arg(&sixth).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    once.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(once.wait().unwrap().success() && std::fs::read(sixth.join("crack.safetensors")).unwrap() == bytes);
    let same = promote(root, "good/best.safetensors", &current).output().unwrap();
    assert!(!same.status.success() && told(&same).contains("current model already"), "{}", told(&same));
    let worse = promote(root, "poor/best.safetensors", &current).output().unwrap();
    assert!(!worse.status.success() && told(&worse).contains("not promoted: its IoU"), "{}", told(&worse));
    let nonsense = promote(root, "poor/best.safetensors", &["--tolerance", "nan"]).args(current).output().unwrap();
    assert!(!nonsense.status.success() && told(&nonsense).contains("must lie within 0 to 1"), "{}", told(&nonsense));
    assert!(std::fs::read(root.join("models/crack.safetensors")).unwrap() == std::fs::read(root.join("good/best.safetensors")).unwrap());
}

#[test]
fn nothing_is_replaced_unmeasured_and_no_name_leads_out_of_the_models() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let refused = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{}", told(&output));
        told(&output)
    };
    let mut named = fit(root, "run", 1);
    named.args(["--name", "../evil"]);
    let said = refused(named);
    assert!(said.contains("name: ") && !root.join("run").exists(), "{said}");

    let mut some = fit(root, "run", 1);
    some.args(["--name", "crack", "--prior", "0.5"]);
    succeed(some);
    let new = root.join("run/best.safetensors");
    std::fs::create_dir(root.join("models")).unwrap();
    std::fs::write(root.join("models/crack.safetensors"), "another model").unwrap();
    let said = refused(promote(root, "run/best.safetensors", &["--current", "run/last.safetensors"]));
    assert!(said.contains("compare with that by --current models/crack.safetensors"), "{said}");
    assert_eq!(std::fs::read(root.join("models/crack.safetensors")).unwrap(), b"another model");

    let mut changed = Checkpoint::load(&new).unwrap();
    changed.meta.name = "../evil".into();
    changed.save(root.join("evil-named.safetensors")).unwrap();
    let said = refused(promote(root, "evil-named.safetensors", &["--first"]));
    assert!(said.contains("../evil") && !root.join("evil.safetensors").exists(), "{said}");

    changed.meta.name = "blind".into();
    changed.meta.threshold = 0.9999;
    changed.save(root.join("blind.safetensors")).unwrap();
    let said = refused(promote(root, "blind.safetensors", &["--first"]));
    assert!(said.contains("finds none of 4 cracked cells") && !root.join("models/blind.safetensors").exists(), "{said}");
}
