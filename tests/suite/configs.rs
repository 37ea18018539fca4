//! The shipped configurations say what they are said to say.

use crate::station::{hairline, tiny_model, told, verdicts};
use hairline::config::StationConfig;
use std::path::Path;
use std::process::Command;

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");

#[test]
fn every_key_of_the_template_stands_at_its_default() {
    let template = Path::new(CONFIGS).join("station.toml");
    let (as_it_stands, problems) = StationConfig::load(&template).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(as_it_stands.album.is_none(), "{problems}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("station.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        StationConfig::load(&file).unwrap_or_else(|problems| panic!("{problems}")).0
    };
    // With an album, whose keys are of no use without its folder; every other key but those that have no default, and the gap that
    // goes with the model, is left out.
    let text = std::fs::read_to_string(&template).unwrap();
    let (model, recipe) = (format!("{CONFIGS}/../models/crack-unet8.safetensors"), format!("{CONFIGS}/recipe.toml"));
    let named = text.replace("\"../models/crack-unet8.safetensors\"", &format!("{model:?}"));
    let named =
        named.replace("\"recipe.toml\"", &format!("{recipe:?}")).replace("# dir = \"/var/lib/hairline/NAME", "dir = \"/var/lib/hairline");
    let minimal = format!(
        "[network]\nmodel = {model:?}\n[album]\ndir = \"/var/lib/hairline/album\"\n[[lane]]\nname = \"lane-1\"\nrecipe = {recipe:?}\n\
         deadline_ms = 300\n[lane.camera]\nkind = \"gige\"\nid = \"Aravis-Fake-LINE01\"\nline_rate_hz = 5000\n\
         [lane.wafer]\nformat = \"M10\"\n[lane.belt]\ngap = \"bright\"\nmm_per_px = 0.14\nmm_per_line = 0.14\n"
    );
    let (told, left_out) = (load(&named), load(&minimal));
    assert!(told.album.is_some() && told.network.model.is_file());
    assert!(told == left_out, "the template:\n{told:#?}\nthe defaults:\n{left_out:#?}");
}

#[test]
fn a_folder_of_pictures_is_judged_by_the_shipped_configuration_as_it_stands() {
    let shipped = Path::new(CONFIGS).join("pictures.toml");
    let (as_it_stands, problems) = StationConfig::load(&shipped).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(problems.all().is_empty() && as_it_stands.network.model.is_file() && as_it_stands.lanes[0].recipe.is_file(), "{problems}");

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Pictures, and a model that takes a moment only.
    let drawn = ["synth", "--count", "2", "--corner-px", "0", "--out"];
    let output = Command::new(env!("CARGO_BIN_EXE_train")).args(drawn).arg(at("drawn")).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    std::fs::rename(at("drawn/images"), at("cells")).unwrap();
    std::fs::copy(Path::new(CONFIGS).join("recipe.toml"), at("recipe.toml")).unwrap();
    let model = tiny_model(folder.path());
    let text = std::fs::read_to_string(&shipped).unwrap().replace("\"../models/crack-unet8.safetensors\"", &format!("{model:?}"));
    let text = text.replace("pictures-ledger", "ledger").replace("\"pictures\"\nrecipe", "\"a\"\nrecipe");
    std::fs::write(
        at("pictures.toml"),
        text + "[publish]\nfeed = \"tcp://127.0.0.1:*\"\nrequests = \"tcp://127.0.0.1:*\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    for command in [["check"].as_slice(), &["run", "--config"]] {
        let output = hairline(command).arg(at("pictures.toml")).output().unwrap();
        assert!(output.status.success() && !told(&output).contains("warning"), "{}", told(&output));
    }
    let verdicts = verdicts(folder.path());
    assert!(verdicts.len() == 2 && verdicts.iter().all(|verdict| verdict["verdict"] != "hold"), "{verdicts:?}");
}
