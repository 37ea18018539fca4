//! Which pictures a model has learnt from.

use anyhow::Context;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Digests of the pictures that a model, or the one it began with, has learnt from: of their files and of what they show.
#[derive(Debug, Default)]
pub(super) struct Learnt(BTreeSet<String>);

impl Learnt {
    /// As the `manifest.json` of the model's run folder tells; nothing where it lies in none.
    ///
    /// # Errors
    /// A manifest that cannot be read or understood.
    pub fn by(model: &Path) -> anyhow::Result<Self> {
        let path = model.with_file_name("manifest.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let manifest: Value = serde_json::from_str(&text).with_context(|| format!("{}: cannot be understood", path.display()))?;
        let before = list(&manifest["learnt_before"]).filter_map(Value::as_str);
        Ok(Self(pictures(&manifest, "training").flat_map(digests).chain(before).map(str::to_owned).collect()))
    }

    /// How many pictures of a manifest's `set` are among them.
    pub fn count_of(&self, manifest: &Value, set: &str) -> usize {
        pictures(manifest, set).filter(|picture| digests(picture).any(|digest| self.0.contains(digest))).count()
    }

    /// The manifest of a training that begins with what this model knows.
    pub fn noted_in(&self, manifest: Value) -> Value {
        if self.0.is_empty() {
            return manifest;
        }
        let mut manifest = if manifest["summary"].is_null() { json!({ "summary": manifest }) } else { manifest };
        manifest["learnt_before"] = json!(self.0);
        manifest
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn pictures<'a>(manifest: &'a Value, set: &str) -> impl Iterator<Item = &'a Value> {
    list(&manifest["pictures"]).filter(move |picture| picture["set"] == set)
}

/// Manifests of earlier versions tell files only.
fn digests(picture: &Value) -> impl Iterator<Item = &str> {
    ["picture_sha256", "shown_sha256"].into_iter().filter_map(|digest| picture[digest].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, shown: Option<&str>, set: &str) -> Value {
        json!({ "picture_sha256": name, "shown_sha256": shown, "set": set })
    }

    #[test]
    fn what_was_learnt_is_known_by_file_and_by_sight_and_over_generations() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("best.safetensors");
        assert_eq!(Learnt::by(&model).unwrap().noted_in(json!({ "seed": 1 })), json!({ "seed": 1 }));
        let first = json!({ "summary": {}, "pictures": [
            picture("a", Some("A"), "training"), picture("old", None, "training"), picture("b", Some("B"), "validation"),
        ] });
        let noted = |manifest: &Value| {
            std::fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
            Learnt::by(&model).unwrap()
        };
        let golden = json!({ "pictures": [
            picture("saved anew", Some("A"), "validation"), picture("old", Some("O"), "validation"), picture("b", Some("B"), "validation"),
        ] });
        let learnt = noted(&first);
        assert_eq!(learnt.count_of(&golden, "validation"), 2);
        let second = learnt.noted_in(json!({ "source": "simulated wafers" }));
        assert_eq!(second["summary"]["source"], "simulated wafers");
        let third = noted(&second).noted_in(json!({ "summary": {}, "pictures": [picture("b", None, "training")] }));
        assert_eq!(noted(&third).count_of(&golden, "validation"), 3);
        std::fs::write(dir.path().join("manifest.json"), "torn").unwrap();
        assert!(format!("{:#}", Learnt::by(&model).unwrap_err()).contains("manifest.json: cannot be understood"));
    }
}
