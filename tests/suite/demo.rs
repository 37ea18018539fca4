//! `hairline demo`, the first command of the README.

use crate::station::{hairline, told};

#[test]
fn the_demonstration_comes_to_its_totals_and_leaves_a_picture_of_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let output = hairline(&["demo", "--out"]).arg(&out).output().unwrap();
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    let totals = said.lines().find(|line| line.starts_with("13 cells: ")).unwrap_or_else(|| panic!("{said}"));
    let count = |kind: &str| -> usize {
        let told = totals.trim_start_matches("13 cells: ").split(", ").find_map(|part| part.strip_suffix(kind));
        told.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{totals}"))
    };
    assert_eq!((count("pass") + count("reject"), count("hold")), (12, 1), "{said}");
    let held = said.lines().any(|line| line.contains("hold ") && line.ends_with("64 lines lost"));
    assert!(held && said.contains("held against the simulation's truth: "), "{said}");
    let pictures: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".png"))
        .collect();
    assert_eq!(pictures.len(), 13, "{pictures:?}");
    for verdict in ["pass", "reject", "hold"] {
        let named = pictures.iter().filter(|name| name.ends_with(&format!("-{verdict}.png"))).count();
        assert_eq!(named, count(verdict), "{pictures:?}");
    }
    assert!(pictures.iter().all(|name| image::open(out.join(name)).is_ok_and(|picture| picture.width() > 0)));
    assert!(["demo.toml", "recipe.toml", "ledger"].iter().all(|left| out.join(left).exists()));
}
