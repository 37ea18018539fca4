//! How data differ from those that a training began with, by the manifests of both.

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
}
