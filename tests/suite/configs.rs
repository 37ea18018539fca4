//! The template of a configuration says what it is said to say.

use hairline::config::StationConfig;
use std::path::Path;

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
    // With an album, whose keys are of no use without its folder; every other key but those that have no default is left out.
    let text = std::fs::read_to_string(&template).unwrap();
    let (model, recipe) = (format!("{CONFIGS}/../models/crack-unet8.safetensors"), format!("{CONFIGS}/recipe.toml"));
    let named = text.replace("\"../models/crack-unet8.safetensors\"", &format!("{model:?}"));
    let named = named.replace("\"recipe.toml\"", &format!("{recipe:?}")).replace("# dir = ", "dir = ");
    let minimal = format!(
        "[network]\nmodel = {model:?}\n[album]\ndir = \"/var/lib/hairline/album\"\n[[lane]]\nname = \"lane-1\"\nrecipe = {recipe:?}\n\
         deadline_ms = 300\n[lane.camera]\nkind = \"gige\"\nid = \"Aravis-Fake-LINE01\"\nline_rate_hz = 5000\n\
         [lane.wafer]\nformat = \"M10\"\n[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n"
    );
    let (told, left_out) = (load(&named), load(&minimal));
    assert!(told.album.is_some() && told.network.model.is_file());
    assert!(told == left_out, "the template:\n{told:#?}\nthe defaults:\n{left_out:#?}");
}
