use crate::cell::Gate;
use crate::config::{Problems, Severity};
use crate::judge::Recipe;
use std::path::Path;

fn load(text: &str) -> Result<(Recipe, Problems), Problems> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("M10.toml");
    std::fs::write(&file, text).unwrap();
    Recipe::load(&file)
}

/// `key: what` of every problem, by severity.
fn told(problems: &Problems, severity: Severity) -> Vec<String> {
    problems.all().iter().filter(|p| p.severity == severity).map(|p| format!("{}: {} / {}", p.key, p.what, p.remedy)).collect()
}

#[test]
fn the_shipped_recipe_is_sound_and_agrees_with_the_documented_defaults() {
    let (recipe, problems) = Recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/recipe.toml")).unwrap();
    assert!(problems.all().is_empty(), "{problems}");
    assert!(recipe.limits.longest_crack_mm.is_some());
    let without_limits = Recipe { limits: Default::default(), edge: Default::default(), name: "default".into(), ..recipe };
    assert_eq!(Recipe { digest: String::new(), ..without_limits }, Recipe::default());
}

#[test]
fn every_key_is_read() {
    let (recipe, problems) = load(
        r#"
        name = "G12"
        threshold = 0.25
        minimum_length_mm = 2
        minimum_area_mm2 = 0.5
        join_gap_mm = 0
        hold_gate = "open"
        [limits]
        longest_crack_mm = 3
        total_length_mm = 9.5
        area_mm2 = 7.0
        count = 4
        [edge]
        zone_mm = 5
        longest_crack_mm = 2.5
        total_length_mm = 8.0
        area_mm2 = 6.0
        count = 3
        [corners]
        reject_missing = false
        "#,
    )
    .unwrap();
    assert!(problems.all().is_empty(), "{problems}");
    assert_eq!((recipe.name.as_str(), recipe.threshold, recipe.hold_gate), ("G12", Some(0.25), Gate::Open));
    assert_eq!((recipe.minimum_length_mm, recipe.minimum_area_mm2, recipe.join_gap_mm), (2.0, 0.5, 0.0));
    let all = |l: crate::judge::Limits| (l.longest_crack_mm, l.total_length_mm, l.area_mm2, l.count);
    assert_eq!(all(recipe.limits), (Some(3.0), Some(9.5), Some(7.0), Some(4)));
    assert_eq!(all(recipe.edge), (Some(2.5), Some(8.0), Some(6.0), Some(3)));
    assert_eq!((recipe.edge_zone_mm, recipe.reject_missing_corners), (5.0, false));
}

#[test]
fn a_recipe_that_was_cut_off_before_its_limits_is_refused() {
    let whole = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/recipe.toml")).unwrap();
    let before = &whole[..whole.find("longest_crack_mm").unwrap()];
    for text in ["", "name = \"x\"\n", "[limits]\n", "[limits]\n[corners]\nreject_missing = true\n", "[edge]\nzone_mm = 3\n", before] {
        let problems = load(text).unwrap_err();
        let errors = told(&problems, Severity::Error);
        assert!(errors.len() == 1 && errors[0].starts_with("limits: sets no limit"), "{text:?}: {errors:?}");
        assert!(errors[0].contains("`limits = {}`"), "{errors:?}");
    }
    // Cut off within a line it is no TOML.
    assert!(load("limits = {").is_err() && load("[limits").is_err() && load("[limits]\ncount =").is_err());
    load("[edge]\nlongest_crack_mm = 1.5\n").unwrap();
}

#[test]
fn a_recipe_may_say_that_it_sets_no_limit_and_is_warned_of() {
    let (recipe, problems) = load("limits = {}").unwrap();
    assert_eq!(recipe, Recipe { name: "M10".into(), digest: recipe.digest.clone(), ..Recipe::default() });
    let warnings = told(&problems, Severity::Warning);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("limits: ") && warnings[0].contains("no crack ever rejects"), "{warnings:?}");
    let (_, problems) = load("limits = { count = 1 }").unwrap();
    assert!(problems.all().is_empty(), "{problems}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_remedy() {
    let problems = load(
        r#"threshold = 50
        minimum_length_mm = "1 mm"
        join_gap_mm = -0.1
        hold_gate = "closed"
        [limits]
        longest_crack = 3.0
        total_length_mm = inf
        count = 2.5
        [edge]
        zone_mm = -1
        count = -1
        [corner]
        reject_missing = true
        [corners]
        reject_missing = "yes"
        "#,
    )
    .unwrap_err();
    let errors = told(&problems, Severity::Error);
    let expected = [
        ("threshold: ", "50 % is 0.5"),
        ("minimum_length_mm: is the text", "millimetres"),
        ("join_gap_mm: is -0.1", "from 0 to 2"),
        ("hold_gate: ", "\"eject\" or \"open\""),
        ("limits.longest_crack: ", "did you mean `longest_crack_mm`?"),
        ("limits.total_length_mm: is inf", "from 0"),
        ("limits.count: ", "whole number"),
        ("limits: sets no limit", "`limits = {}`"),
        ("edge.zone_mm: is -1", "from 0 to 50"),
        ("edge.count: ", "whole number"),
        ("corner: ", "did you mean `corners`?"),
        ("corners.reject_missing: ", "true or false"),
    ];
    for (start, remedy) in expected {
        let hit = errors.iter().find(|e| e.starts_with(start));
        assert!(hit.is_some_and(|e| e.contains(remedy)), "no error {start:?} with {remedy:?} in {errors:#?}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    assert_eq!(problems.all()[0].line, Some(1));
}

#[test]
fn rules_that_cannot_fire_are_warned_of() {
    let text = "minimum_length_mm = 2.0\n[limits]\nlongest_crack_mm = 1.5\ncount = 3\n[edge]\nlongest_crack_mm = 1.0\ncount = 3\n";
    let (_, problems) = load(text).unwrap();
    let warnings = told(&problems, Severity::Warning);
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert!(warnings.iter().any(|w| w.starts_with("edge.count: ") && w.contains("never fires")));
    assert!(warnings.iter().any(|w| w.starts_with("edge.longest_crack_mm: ") && w.contains("below minimum_length_mm")));
    assert!(warnings.iter().any(|w| w.starts_with("limits.longest_crack_mm: ") && w.contains("below minimum_length_mm (2)")));
}

#[test]
fn minimums_that_hide_cracks_from_a_limit_are_warned_of() {
    let warnings = |text: &str| told(&load(text).unwrap().1, Severity::Warning);
    let cases = [
        ("minimum_length_mm = 4.0", "total_length_mm = 3.0", "limits.total_length_mm: (3) is below minimum_length_mm (4)"),
        ("minimum_area_mm2 = 0.9", "area_mm2 = 0.5", "limits.area_mm2: (0.5) is below minimum_area_mm2 (0.9)"),
        ("minimum_length_mm = 20.0", "count = 0", "minimum_length_mm: (20) is larger than any speck"),
        ("minimum_area_mm2 = 20.0", "count = 0", "minimum_area_mm2: (20) is larger than any speck"),
        ("minimum_area_mm2 = 20.0", "longest_crack_mm = 2.0", "minimum_area_mm2: (20) is larger than any speck"),
    ];
    for (minimum, limit, expected) in cases {
        let whole = warnings(&format!("{minimum}\n[limits]\n{limit}\n"));
        assert!(whole.len() == 1 && whole[0].starts_with(expected), "{minimum}, {limit}: {whole:#?}");
        let edge = warnings(&format!("{minimum}\n[edge]\n{limit}\n"));
        assert!(edge.len() == 1 && edge[0].starts_with(&expected.replace("limits.", "edge.")), "{minimum}, {limit}: {edge:#?}");
    }
    let none: [String; 0] = [];
    assert_eq!(warnings("minimum_length_mm = 3.0\n[limits]\ntotal_length_mm = 3.0\ncount = 0\n"), none, "none lies between the two");
    assert_eq!(warnings("minimum_length_mm = 20.0\n[limits]\nlongest_crack_mm = 25.0\n"), none, "a long crack is what it is about");
}

#[test]
fn what_cannot_be_read_is_told() {
    let missing = Recipe::load(Path::new("/nonexistent/recipe.toml")).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    let malformed = load("[limits\ncount = 1").unwrap_err();
    assert!(malformed.to_string().contains("no valid TOML"), "{malformed}");
}
