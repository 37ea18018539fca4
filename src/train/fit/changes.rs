//! How data and settings differ from those that a training began with.

use serde_json::Value;
use std::collections::BTreeMap;

/// The files of `before` and `now` that differ, each with what became of it; where none does, the pictures that are in another
/// part now. Of sources without files none.
pub(super) fn changes(before: &Value, now: &Value) -> Vec<String> {
    let (before, now) = (by_picture(before), by_picture(now));
    let only = |here: &BTreeMap<&str, &Value>, there: &BTreeMap<&str, &Value>, what: &str| -> Vec<String> {
        here.keys().filter(|picture| !there.contains_key(*picture)).map(|picture| format!("{picture} is {what}")).collect()
    };
    let both = || now.iter().filter_map(|(picture, entry)| Some((*picture, *before.get(picture)?, *entry)));
    let other = both().flat_map(|(picture, old, new)| {
        let files = [("picture", "picture_sha256"), ("mask", "mask_sha256")].into_iter().filter(|(_, digest)| old[digest] != new[digest]);
        files.map(move |(file, _)| format!("{} is another one", new[file].as_str().unwrap_or(picture)))
    });
    let files = [only(&now, &before, "new"), only(&before, &now, "gone"), other.collect()].concat();
    if !files.is_empty() {
        return files;
    }
    let moved = both().filter(|(_, old, new)| old["set"] != new["set"]);
    moved.map(|(picture, _, new)| format!("{picture} is for {} now", new["set"].as_str().unwrap_or("another part"))).collect()
}

/// What a checkpoint tells of its training that must not change on the way.
const LASTING: [&str; 9] = ["loss", "parameters", "batch", "crop_px", "sampling", "learning_rate", "schedule", "optimiser", "seed"];

/// The lasting settings that differ, each with its value `before` and `now`; what earlier versions did not tell is not compared.
pub(super) fn setting_changes(before: &Value, now: &Value) -> Vec<String> {
    LASTING.iter().flat_map(|key| value_changes(key, &before[key], &now[key])).collect()
}

fn value_changes(key: &str, before: &Value, now: &Value) -> Vec<String> {
    match (before, now) {
        (Value::Null, _) => Vec::new(),
        (Value::Object(before), Value::Object(_)) => {
            before.iter().flat_map(|(part, before)| value_changes(&format!("{key}.{part}"), before, &now[part])).collect()
        }
        _ if before == now => Vec::new(),
        _ => vec![format!("{key} was {before} and is {now}")],
    }
}

fn by_picture(manifest: &Value) -> BTreeMap<&str, &Value> {
    let pictures = manifest["pictures"].as_array().map_or(&[][..], Vec::as_slice);
    pictures.iter().filter_map(|entry| Some((entry["picture"].as_str()?, entry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_that_differ_are_named_and_parts_only_where_none_does() {
        let entry = |name: &str, mask: &str, set: &str| {
            json!({ "picture": format!("images/{name}.png"), "mask": format!("masks/{name}.png"),
                "picture_sha256": name, "mask_sha256": mask, "set": set })
        };
        let before = json!({ "pictures": [entry("a", "1", "training"), entry("b", "2", "validation")] });
        let grown = json!({ "pictures": [entry("a", "3", "validation"), entry("c", "4", "validation")] });
        assert_eq!(changes(&before, &grown), ["images/c.png is new", "images/b.png is gone", "masks/a.png is another one"]);
        let dealt = json!({ "pictures": [entry("a", "1", "validation"), entry("b", "2", "validation")] });
        assert_eq!(changes(&before, &dealt), ["images/a.png is for validation now"]);
        assert!(changes(&before, &before).is_empty() && changes(&Value::Null, &json!({ "source": "simulated" })).is_empty());
    }

    #[test]
    fn settings_that_differ_are_named_with_both_values_and_what_was_not_told_is_not_compared() {
        let before = json!({ "loss": "dibe", "batch": 4, "steps": 10, "optimiser": { "rule": { "sgd": { "momentum": 0.9 } } } });
        let now = json!({ "loss": "dibe", "batch": 8, "steps": 20, "seed": 3, "optimiser": { "rule": { "sgd": { "momentum": 0.8 } }, "new": 1 } });
        assert_eq!(setting_changes(&before, &now), ["batch was 4 and is 8", "optimiser.rule.sgd.momentum was 0.9 and is 0.8"]);
        let other_rule = json!({ "loss": "dibe", "batch": 4, "optimiser": { "rule": "adam_w" } });
        assert_eq!(setting_changes(&before, &other_rule), [r#"optimiser.rule was {"sgd":{"momentum":0.9}} and is "adam_w""#]);
    }
}
