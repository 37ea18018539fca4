//! Golden pictures that a model has learnt from are known however they come.

use super::{fit, pictures, succeed, told, train};
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
    let report = std::fs::read_to_string(root.join("third/report.html")).unwrap();
    assert!(report.contains("simulated wafers") && !report.contains("learnt_before"), "the page tells the data, not a list of digests");
}
