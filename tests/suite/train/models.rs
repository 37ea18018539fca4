//! What is done with finished trainings: searched among, compared; and foreign weights imported.

use super::{fit, pictures, succeed, told, train};
use hairline::cell::SEEN_PX;
use hairline::nn::{Checkpoint, CheckpointMeta, Normalisation};
use hairline::train::Source;
use std::path::Path;

#[test]
fn a_search_trains_each_alpha_once_and_goes_on_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    let search_for = |goal: &str, method: &str| {
        let mut command = train();
        command.current_dir(dir.path()).args(["search", "--method", method, "--parts", "3", goal, "--dir", "search"]);
        command.args(["--data", "pictures", "--base-width", "2", "--crop", "32", "--steps", "2", "--devices", "cpu", "--parallel", "2"]);
        command
    };
    let search = |method: &str| search_for("--goal=-1,1", method);
    let first = told(&succeed(search("guided")));
    assert!(first.contains("| OII-guided | dibe | 1 | 0.5 |") && first.contains("goal −1 to 1: reached"), "{first}");
    let log = dir.path().join("search/alpha-0.5000/log.jsonl");
    let before = std::fs::read(&log).unwrap();
    let both = told(&succeed(search("both")));
    assert!(both.contains("| 3-way grid | dibe | 3 |"), "{both}");
    assert!(std::fs::read(&log).unwrap() == before, "what is trained is not trained again");
    assert!(std::fs::read_to_string(dir.path().join("search/oii.svg")).unwrap().starts_with("<svg"));
    succeed(search_for("--goal=0.999,1", "guided"));
    let table = std::fs::read_to_string(dir.path().join("search/table.md")).unwrap();
    assert!(table.contains("\ngoal 0.999 to 1: not reached, the nearest is told\n"), "{table}");
    // A result of other data is none; where there are none any more, it stands.
    let mask = dir.path().join("pictures/masks/cell0.png");
    let drawn = std::fs::read(&mask).unwrap();
    std::fs::copy(dir.path().join("pictures/masks/cell2.png"), &mask).unwrap();
    let changed = search("guided").output().unwrap();
    let said = told(&changed);
    assert!(!changed.status.success() && said.contains("search/alpha-0.5000: its data have changed"), "{said}");
    assert!(said.contains("restore them, or remove the folder or choose another --dir"), "{said}");
    std::fs::write(&mask, drawn).unwrap();
    std::fs::rename(dir.path().join("pictures"), dir.path().join("moved")).unwrap();
    let said = told(&succeed(search("both")));
    assert!(said.contains("| 3-way grid | dibe | 3 |") && said.contains("its result is taken as it is"), "{said}");
    std::fs::rename(dir.path().join("moved"), dir.path().join("pictures")).unwrap();
    // One that cannot be gone on with is left out.
    std::fs::remove_file(dir.path().join("search/alpha-0.1667/result.json")).unwrap();
    std::fs::write(dir.path().join("search/alpha-0.1667/state.safetensors"), "torn").unwrap();
    let without = search("grid").output().unwrap();
    assert!(!without.status.success(), "{}", told(&without));
    let table = std::fs::read_to_string(dir.path().join("search/table.md")).unwrap();
    assert!(table.contains("| 3-way grid |") && table.contains("| 0.5 |") && !table.contains("| 0.1667 |"), "{table}");
    assert!(table.contains("1 of 3 trainings failed") && table.contains("search/alpha-0.1667: the training failed"), "{table}");
    let mut other = search("guided");
    let other = other.args(["--batch", "2"]).output().unwrap();
    assert!(!other.status.success() && told(&other).contains("other options"), "{}", told(&other));
}

#[test]
fn the_tool_tells_of_itself_and_not_of_the_daemon() {
    let tells = |option: &str| {
        told(&succeed({
            let mut command = train();
            command.arg(option);
            command
        }))
    };
    assert!(tells("--version").starts_with("train "), "{}", tells("--version"));
    assert!(tells("--help").starts_with("Teaches networks to find"), "{}", tells("--help"));
}

#[test]
fn a_comparison_leaves_a_table_and_every_training_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("Crack"));
    let plan = "seeds = [1, 2]\nlosses = [\"dibe\"]\n[options]\nsteps = 2\nbase-width = 2\ncrop = 32\n[data.Crack]\ndata = \"Crack\"\n";
    std::fs::write(dir.path().join("plan.toml"), plan).unwrap();
    let mut command = train();
    command.current_dir(dir.path()).args(["compare", "plan.toml", "--dir", "out", "--devices", "cpu", "--parallel", "2"]);
    succeed(command);
    let table = std::fs::read_to_string(dir.path().join("out/table.md")).unwrap();
    assert!(table.contains("(2)") && table.contains("0.723"), "{table}");
    let figures = std::fs::read_to_string(dir.path().join("out/results.csv")).unwrap();
    let mean = figures.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap().parse::<f64>().unwrap();
    assert!(figures.starts_with("data,network,loss,seed,iou,pa,oii,mean_iou\n") && (0.0..=1.0).contains(&mean), "{figures}");
    let plot = std::fs::read_to_string(dir.path().join("out/iou-Crack.svg")).unwrap();
    assert!(plot.matches("<polyline").count() == 2 && plot.matches(">dibe<").count() == 1, "a line for each seed, one name: {plot}");
    let report = std::fs::read_to_string(dir.path().join("out/Crack-unet-dibe-seed2/report.html")).unwrap();
    assert!(report.contains("data:image/png;base64") && report.contains("1:"), "pictures and the ratio of classes are in it");
}

#[test]
fn a_training_that_fails_keeps_no_comparison_from_its_table() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    let plan = "seeds = [1]\nlosses = [\"dibe\"]\n[options]\nsteps = 4\nbase-width = 2\n\
        [data.Wild]\ndata = \"pictures\"\ncrop = 32\nlearning-rate = 1e30\n[data.Tame]\ndata = \"pictures\"\ncrop = 32\n\
        [data.Rash]\ndata = \"pictures\"\ncrop = 32\nlearning-rate = 1000\n\
        [data.Absent]\ndata = \"nowhere\"\n[data.Odd]\ndata = \"pictures\"\ncrop = 33\n";
    std::fs::write(dir.path().join("plan.toml"), plan).unwrap();
    let output = train().current_dir(dir.path()).args(["compare", "plan.toml", "--dir", "out", "--devices", "cpu"]).output().unwrap();
    assert!(!output.status.success(), "{}", told(&output));
    let table = std::fs::read_to_string(dir.path().join("out/table.md")).unwrap();
    assert!(table.contains("### Tame") && table.contains("### Rash") && table.matches("###").count() == 2, "{table}");
    let warnings = table.split("Warnings:").nth(1).unwrap();
    assert!(warnings.contains("Rash-unet-dibe-seed1: step 1: the weights are") && !warnings.contains("Wild"), "{table}");
    for part in ["3 of 5 trainings failed", "Wild-unet-dibe-seed1: the training failed", "nowhere", "33 px is not a multiple of 16"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!dir.path().join("out/Absent-unet-dibe-seed1").exists() && !dir.path().join("out/Odd-unet-dibe-seed1").exists());
    let report = std::fs::read_to_string(dir.path().join("out/Wild-unet-dibe-seed1/report.html")).unwrap();
    assert!(report.contains("beyond all measure") && report.contains("<svg"), "a training that diverged can be looked at");
}

#[test]
fn pytorch_weights_are_imported_and_other_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch_unet");
    let file = std::fs::read_dir(&weights).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "pth")).unwrap();
    let import = |weights: &Path, out: &str| {
        let mut command = train();
        command.current_dir(dir.path()).arg("import").arg(weights).args(["--out", out]);
        command
    };
    let said = told(&succeed(import(&file, "imported.safetensors")));
    assert!(said.contains("U-Net, base width"), "{said}");
    let wrong = import(&dir.path().join("nothing.pth"), "other.safetensors").output().unwrap();
    assert!(!wrong.status.success() && told(&wrong).contains("nothing.pth"), "{}", told(&wrong));
}

#[test]
fn every_network_learns_and_is_loaded_by_the_engine_of_the_line() {
    use hairline::config::{DeviceChoice, Precision};
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pictures(&root.join("pictures"));
    for network in ["unet", "segnet", "pspnet", "deeplabv3"] {
        let mut small = train();
        small.current_dir(root).args(["fit", "--data", "pictures", "--run", network, "--network", network, "--base-width", "4"]);
        small.args(["--crop", "32", "--steps", "100", "--eval-every", "100", "--optimiser", "adamw", "--learning-rate", "0.02"]);
        small.args(["--augment", "none", "--seed", "5", "--device", "cpu", "--threads", "1"]);
        succeed(small);
        let log = std::fs::read_to_string(root.join(network).join("log.jsonl")).unwrap();
        let losses: Vec<f64> =
            log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64()).collect();
        let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
        let (first, last) = (mean(&losses[..20]), mean(&losses[80..]));
        assert!(last < 0.9 * first, "{network}: the loss went from {first:.3} to {last:.3}");

        let checkpoint = Checkpoint::load(root.join(network).join("best.safetensors")).unwrap();
        let mut engine = hairline::nn::engine(&checkpoint, DeviceChoice::Cpu, Precision::default(), 1).unwrap();
        let found = engine.probabilities(1, &mut |tiles| tiles.fill(0.0)).unwrap();
        assert!(found.sound == [true] && found.values.len() == SEEN_PX * SEEN_PX, "{network}");
    }
}

#[test]
fn a_training_that_begins_with_a_checkpoint_keeps_its_threshold_and_pitch_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    let mut first = fit(dir.path(), "first", 1);
    first.args(["--threshold", "0.7", "--mm-per-px-min", "0.05", "--mm-per-px-max", "0.3"]);
    succeed(first);
    let begin_with = |run: &str, more: &[&str]| {
        let mut command = train();
        command.current_dir(dir.path()).args([
            "fit",
            "--data",
            "pictures",
            "--run",
            run,
            "--init",
            "first/best.safetensors",
            "--crop",
            "32",
        ]);
        command.args(["--steps", "1", "--device", "cpu", "--threads", "1"]).args(more);
        succeed(command);
        Checkpoint::load(dir.path().join(run).join("best.safetensors")).unwrap().meta
    };
    let kept = begin_with("second", &[]);
    assert_eq!((kept.threshold, kept.mm_per_px_min, kept.mm_per_px_max), (0.7, 0.05, 0.3));
    assert_eq!(kept.normalisation, Normalisation::Tile);
    // What the run tells of its network is the checkpoint's, not what a new one would have had.
    let page = std::fs::read_to_string(dir.path().join("second/report.html")).unwrap();
    assert!(page.contains("<td>base width</td><td>2</td>") && !page.contains("<td>prior</td>"), "{page}");
    let told = begin_with("third", &["--threshold", "0.6"]);
    assert_eq!((told.threshold, told.mm_per_px_max), (0.6, 0.3));
    // Its input is made as it was when it learnt.
    let fixed = Normalisation::Fixed { mean: 0.25, std: 0.5 };
    let path = dir.path().join("first/best.safetensors");
    let first = Checkpoint::load(&path).unwrap();
    Checkpoint { meta: CheckpointMeta { normalisation: fixed, ..first.meta.clone() }, ..first }.save(&path).unwrap();
    assert_eq!(begin_with("fourth", &[]).normalisation, fixed);
    let mut both = train();
    both.current_dir(dir.path()).args(["fit", "--data", "pictures", "--run", "no", "--init", "first/best.safetensors", "--prior", "0.1"]);
    assert!(!both.output().unwrap().status.success(), "a checkpoint has its own prior");
}

#[test]
fn a_training_can_be_validated_on_squares_around_the_cracks() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    let mut command = fit(dir.path(), "run", 1);
    let output = command.args(["--validation-crop", "32"]).output().unwrap();
    assert!(output.status.success() && told(&output).contains("squares of 32 px"), "{}", told(&output));
    let report = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(report.contains("validation squares") && report.contains(" from "), "the report tells which squares");
    let mut nothing = fit(dir.path(), "none", 1);
    let output = nothing.args(["--validation-crop", "0"]).output().unwrap();
    assert!(!output.status.success() && told(&output).contains("validation-crop"), "{}", told(&output));
}

#[test]
fn a_model_can_be_evaluated_on_squares_around_the_cracks_as_its_training_was_validated() {
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    succeed(fit(dir.path(), "run", 1));
    let eval = |more: &[&str]| {
        let mut command = train();
        command.current_dir(dir.path()).args(["eval", "--model", "run/best.safetensors", "--device", "cpu", "--threads", "1"]).args(more);
        command.output().unwrap()
    };
    // Streaks of 40 px take two squares each, the four clean pictures one each.
    let output = eval(&["--data", "pictures", "--validation-crop", "32", "--report", "page.html"]);
    let said = told(&output);
    assert!(output.status.success() && said.contains("12 squares of 32 px") && said.contains("of 8 cracked squares"), "{said}");
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.contains("validation squares"), "the page tells which squares");
    assert!(told(&eval(&["--data", "pictures"])).contains("of 4 cracked cells"));
    let nothing = eval(&["--data", "pictures", "--validation-crop", "0"]);
    assert!(!nothing.status.success() && told(&nothing).contains("validation-crop"), "{}", told(&nothing));
    let simulated = eval(&["--simulate", "laser", "--wafers", "1", "--validation-crop", "32"]);
    let said = told(&simulated);
    assert!(!simulated.status.success() && said.contains("--validation-crop") && said.contains("--simulate"), "{said}");
}

#[test]
fn simulated_wafers_that_show_no_crack_are_warned_of_as_a_folders_pictures_are() {
    use hairline::train::{Kinds, Simulated, SimulatedSettings};
    let clean = |seed: &u64| {
        let one = SimulatedSettings { kinds: Kinds::Laser, seed: *seed, cracked_share: 0.75, validation_wafers: 1 };
        Simulated::new(one).unwrap().validation(0).unwrap().truth.count() == 0
    };
    let seed_of = |wanted: bool| (1..100).find(|seed| clean(seed) == wanted).unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    for (run, seed, warned) in [("clean", seed_of(true), true), ("cracked", seed_of(false), false)] {
        let mut command = train();
        command.current_dir(dir.path()).args(["fit", "--simulate", "laser", "--validation-wafers", "1", "--seed", &seed, "--run", run]);
        command.args(["--base-width", "2", "--crop", "32", "--batch", "1", "--steps", "1", "--device", "cpu", "--threads", "1"]);
        let said = told(&succeed(command));
        assert_eq!(said.contains("warning: no validation wafer shows a crack"), warned, "{said}");
    }
}

#[test]
fn a_model_is_prepared_for_int8_only_where_its_cost_can_be_told() {
    use hairline::config::Precision;
    let dir = tempfile::tempdir().unwrap();
    pictures(&dir.path().join("pictures"));
    // After a step it still calls nothing a crack.
    succeed(fit(dir.path(), "run", 1));
    let mut command = train();
    command.current_dir(dir.path()).args(["quantise", "--model", "run/best.safetensors", "--out", "int8.safetensors", "--calibrate", "1"]);
    let refused = command.args(["--data", "pictures", "--threads", "1"]).output().unwrap();
    let said = told(&refused);
    assert!(!refused.status.success() && !dir.path().join("int8.safetensors").exists(), "{said}");
    let why = hairline::nn::unable(Precision::Int8);
    let why = why.as_deref().unwrap_or("finds none of the cracks in f32");
    let flattered = said.contains("warning: the model has learnt from 6 of these 8 pictures");
    assert_eq!(flattered, why.contains("in f32"), "{said}");
    if hairline::nn::unable(Precision::Int8).is_none() {
        let mut few = train();
        few.current_dir(dir.path()).args(["quantise", "--model", "run/best.safetensors", "--out", "few.safetensors"]);
        let said = told(&few.args(["--data", "pictures"]).output().unwrap());
        assert!(said.contains("--calibrate 8: there are 8 pictures") && said.contains("give 1 to 7, or more pictures"), "{said}");
    }
    // Neither ranges nor a look in int8 where that comes to nothing.
    let looked_in = |precision: &str| said.lines().any(|line| line.starts_with(&format!("{precision} ")));
    assert!(said.contains(why) && !looked_in("int8"), "{said}");
    assert_eq!(looked_in("f32"), why.contains("in f32"), "{said}");
}
