//! Golden pictures that a model has learnt from are known however they come.

use super::{fit, pictures, succeed, told, train};
use hairline::nn::Checkpoint;
use std::path::Path;

/// What promotion says of the golden set.
fn promoted(root: &Path, model: &str, golden: &str) -> String {
    let mut command = train();
    command.current_dir(root).args(["promote", model, "--first", "--data", golden, "--device", "cpu", "--threads", "1"]);
    // Whether it is promoted does not matter here.
    told(&command.output().unwrap())
}

#[test]
fn golden_pictures_that_were_learnt_are_known_when_saved_anew_and_by_models_that_began_with_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    pictures(&root.join("anew"));
    for i in 0..8 {
        let path = root.join(format!("anew/images/cell{i}.png"));
        let shown = image::open(&path).unwrap().into_luma16();
        shown.save(&path).unwrap();
    }
    succeed(fit(root, "first", 1));
    let learnt = "has learnt from 6 of these 8 pictures";
    for golden in ["pictures", "anew"] {
        let said = promoted(root, "first/best.safetensors", golden);
        assert!(said.contains(learnt), "{golden}: {said}");
    }
    for (run, init) in [("second", "first"), ("third", "second")] {
        let mut command = train();
        command.current_dir(root).args(["fit", "--simulate", "laser", "--validation-wafers", "1", "--run", run, "--init"]);
        command.arg(format!("{init}/best.safetensors")).args(["--crop", "32", "--batch", "1", "--steps", "1", "--device", "cpu"]);
        succeed(command);
        let said = promoted(root, &format!("{run}/best.safetensors"), "anew");
        assert!(said.contains(learnt), "{run}: {said}");
    }
    // Copied away from its folder, and prepared or promoted under another name, a model knows it still.
    std::fs::copy(root.join("third/best.safetensors"), root.join("copy.safetensors")).unwrap();
    let said = promoted(root, "copy.safetensors", "anew");
    assert!(said.contains(learnt), "{said}");
    let page = evaluated(root, &["--model", "copy.safetensors", "--data", "anew", "--validation-crop", "32"]);
    assert!(page.contains("the model has learnt from 6 of these 8 pictures"), "{page}");
    let page = evaluated(root, &["--model", "copy.safetensors", "--data", "anew", "--split", "first/split.csv"]);
    assert!(!page.contains("learnt from"), "{page}");
    for text in ["third/report.html", "page.html"] {
        let text = std::fs::read_to_string(root.join(text)).unwrap();
        assert!(text.contains("simulated wafers") && !text.contains("learnt"), "a page tells the data, not a list of digests");
    }
}

/// What an evaluation says, whose page is `page.html`.
fn evaluated(root: &Path, arguments: &[&str]) -> String {
    let mut command = train();
    command.current_dir(root).args(["eval", "--report", "page.html", "--device", "cpu", "--threads", "1"]).args(arguments);
    told(&succeed(command))
}

/// A step of `train fit` with another seed, and what it says.
fn next(root: &Path, run: &str, more: &[&str]) -> String {
    let mut command = train();
    command.current_dir(root).args(["fit", "--data", "pictures", "--run", run, "--crop", "32", "--seed", "6", "--steps", "1"]);
    command.args(["--device", "cpu", "--threads", "1"]).args(more);
    told(&succeed(command))
}

#[test]
fn a_training_that_begins_with_a_model_is_not_validated_with_what_that_has_learnt() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    succeed(fit(root, "first", 1));
    std::fs::copy(root.join("first/best.safetensors"), root.join("promoted.safetensors")).unwrap();
    let held_back = |run: &str| -> Vec<String> {
        let split = std::fs::read_to_string(root.join(run).join("split.csv")).unwrap();
        let mut names: Vec<String> = split.lines().filter(|line| line.ends_with(",validation")).map(str::to_owned).collect();
        names.sort();
        names
    };
    // With this seed others would be held back.
    next(root, "other", &[]);
    assert_ne!(held_back("other"), held_back("first"));
    let said = next(root, "second", &["--init", "promoted.safetensors"]);
    assert_eq!(held_back("second"), held_back("first"), "{said}");
    assert!(!said.contains("flattered") && said.contains("every picture to learn from was learnt"), "{said}");
    // What is told is kept to, and what it costs is said, where people look.
    let said = next(root, "third", &["--init", "promoted.safetensors", "--split", "other/split.csv"]);
    let warning = "validation pictures: all figures are flattered";
    let report = std::fs::read_to_string(root.join("third/report.html")).unwrap();
    assert!(said.contains(warning) && report.contains(warning), "{said}");
    assert_eq!(held_back("third"), held_back("other"));
    // It goes on with the same pictures when that model is gone, and knows what it has learnt.
    std::fs::remove_file(root.join("promoted.safetensors")).unwrap();
    let mut resume = train();
    resume.current_dir(root).args(["fit", "--resume", "second", "--device", "cpu", "--threads", "1"]);
    succeed(resume);
    assert!(promoted(root, "second/last.safetensors", "pictures").contains("has learnt from 6 of these 8 pictures"));

    // A model of which nothing is known is said to be one.
    let mut unknown = Checkpoint::load(root.join("first/best.safetensors")).unwrap();
    unknown.meta.learnt = None;
    unknown.save(root.join("unknown.safetensors")).unwrap();
    let said = next(root, "fourth", &["--init", "unknown.safetensors"]);
    assert!(said.contains("which pictures the network of --init has learnt from is not known"), "{said}");
    let said = promoted(root, "fourth/best.safetensors", "pictures");
    assert!(said.contains("the new model has learnt from is not known: a network that it began with does not tell"), "{said}");
}

#[test]
fn a_training_goes_on_with_the_parts_that_it_was_begun_with_however_they_would_be_dealt_out_now() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let part = |i: usize| format!("cell{i},{}\n", if i < 3 { "validation" } else { "training" });
    std::fs::write(root.join("told.csv"), (0..8).map(part).collect::<String>()).unwrap();
    let mut begun = fit(root, "run", 1);
    begun.args(["--split", "told.csv"]);
    succeed(begun);
    let settings = root.join("run/settings.json");
    let mut told_then: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&settings).unwrap()).unwrap();
    told_then["options"]["split"] = serde_json::Value::Null;
    std::fs::write(&settings, told_then.to_string()).unwrap();
    let resume = || {
        let mut command = train();
        command.current_dir(root).args(["fit", "--resume", "run", "--device", "cpu", "--threads", "1"]);
        command
    };
    succeed(resume());
    // A new picture has no part there; that it is new is what is said.
    for part in ["images", "masks"] {
        std::fs::copy(root.join(format!("pictures/{part}/cell1.png")), root.join(format!("pictures/{part}/cell9.png"))).unwrap();
    }
    let said = told(&resume().output().unwrap());
    assert!(said.contains("the data have changed") && said.contains("(images/cell9.png is new)"), "{said}");
}

#[test]
fn a_golden_set_that_the_current_model_has_learnt_is_told_on_the_card_and_so_is_one_of_which_that_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    let mut learnt = fit(root, "learnt", 1);
    learnt.args(["--prior", "0.5", "--threshold", "0.3"]);
    succeed(learnt);
    let mut new = Checkpoint::load(root.join("learnt/best.safetensors")).unwrap();
    for (name, digests) in [("fresh", Some(Default::default())), ("foreign", None)] {
        new.meta.learnt = digests;
        new.meta.name = name.into();
        new.save(root.join(format!("{name}.safetensors"))).unwrap();
    }
    let promote = |model: &str| {
        let mut command = train();
        command.current_dir(root).args(["promote", model, "--current", "learnt/best.safetensors", "--data", "pictures", "--device", "cpu"]);
        told(&succeed(command))
    };
    let said = promote("fresh.safetensors");
    assert!(
        said.contains("warning: the current model has learnt from 6 of these 8 pictures") && !said.contains("the new model has"),
        "{said}"
    );
    let card = |name: &str| std::fs::read_to_string(root.join(format!("models/{name}.md"))).unwrap();
    let fresh = card("fresh");
    assert!(
        fresh.contains("| of it, pictures that the current model has learnt from | 6 |") && !fresh.contains("the model has"),
        "{fresh}"
    );
    let said = promote("foreign.safetensors");
    assert!(said.contains("warning: which pictures the new model has learnt from is not known"), "{said}");
    let foreign = card("foreign");
    assert!(foreign.contains("| of it, pictures that the model has learnt from | not known |"), "{foreign}");
}
