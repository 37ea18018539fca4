//! Which pictures a network has learnt from.

use super::Set;
use crate::nn::CheckpointMeta;
use crate::train::TrainError;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Digests of the pictures that a network, or the one it began with, has learnt from: of their files and of what they show, and
/// whether these are all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt(BTreeSet<String>);

impl Learnt {
    /// Hex digits of a digest that are kept: enough to tell pictures apart, and few enough for a model's file to carry.
    const DIGITS: usize = 16;
    /// Stands among them for those of a network that tells nothing.
    const OTHERS: &str = "unknown";

    /// What a network has learnt of which nothing is known.
    pub fn unknown() -> Self {
        Self([Self::OTHERS.to_owned()].into())
    }

    /// Whether nothing else was learnt from, be it by a network that it began with.
    pub fn is_all(&self) -> bool {
        !self.0.contains(Self::OTHERS)
    }

    /// As the model's file tells, or, of models of earlier versions, the `manifest.json` of their run folder. `None` where neither
    /// does, unless its own training was on simulated wafers.
    ///
    /// # Errors
    /// A manifest that cannot be read or understood.
    pub fn by(model: &Path, meta: &CheckpointMeta) -> Result<Option<Self>, TrainError> {
        if let Some(digests) = &meta.learnt {
            return Ok(Some(Self(digests.clone())));
        }
        let path = model.with_file_name("manifest.json");
        if !path.exists() {
            return Ok((meta.training["data"]["source"] == "simulated wafers").then(Self::default));
        }
        let text = std::fs::read_to_string(&path).map_err(TrainError::file(&path, "cannot read it"))?;
        let unfit = |error| TrainError::Data { path: path.clone(), problem: format!("cannot be understood ({error})") };
        let manifest: Value = serde_json::from_str(&text).map_err(unfit)?;
        Ok(Some(Self::default().and_from(&manifest)))
    }

    /// These, and what is learnt from the data of a manifest.
    pub fn and_from(mut self, manifest: &Value) -> Self {
        let before = list(&manifest["learnt_before"]).filter_map(Value::as_str);
        self.0.extend(pictures(manifest, Set::Training).flat_map(digests).chain(before).map(|digest| short(digest).to_owned()));
        self
    }

    /// As a model's file carries them.
    pub fn digests(&self) -> &BTreeSet<String> {
        &self.0
    }

    /// Whether a picture with one of these digests is among them.
    pub fn knows<'a>(&self, digests: impl IntoIterator<Item = &'a str>) -> bool {
        digests.into_iter().any(|digest| self.0.contains(short(digest)))
    }

    /// How many pictures of a part of a manifest's data are among them.
    pub fn count_of(&self, manifest: &Value, set: Set) -> usize {
        pictures(manifest, set).filter(|picture| self.knows(digests(picture))).count()
    }
}

fn short(digest: &str) -> &str {
    digest.get(..Learnt::DIGITS).unwrap_or(digest)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn pictures(manifest: &Value, set: Set) -> impl Iterator<Item = &Value> {
    let set = json!(set);
    list(&manifest["pictures"]).filter(move |picture| picture["set"] == set)
}

/// Manifests of earlier versions tell files only.
fn digests(picture: &Value) -> impl Iterator<Item = &str> {
    ["picture_sha256", "shown_sha256"].into_iter().filter_map(|digest| picture[digest].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Architecture, NetworkShape, Upsampling};

    fn picture(name: &str, shown: Option<&str>, set: &str) -> Value {
        json!({ "picture_sha256": name, "shown_sha256": shown, "set": set })
    }

    #[test]
    fn what_was_learnt_is_known_by_file_and_by_sight_over_generations_and_unknown_only_where_nothing_tells() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("best.safetensors");
        let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
        let mut meta = CheckpointMeta::of(shape, "m");
        let golden = json!({ "pictures": [
            picture("saved anew", Some("A"), "validation"), picture("old", Some("O"), "validation"), picture("b", Some("B"), "validation"),
        ] });
        assert_eq!(Learnt::by(&model, &meta).unwrap(), None);
        meta.training = json!({ "data": { "source": "simulated wafers" } });
        assert_eq!(Learnt::by(&model, &meta).unwrap(), Some(Learnt::default()));

        let told = json!({ "summary": {}, "learnt_before": ["b"], "pictures": [
            picture("a", Some("A"), "training"), picture("old", None, "training"), picture("c", Some("C"), "validation"),
        ] });
        std::fs::write(dir.path().join("manifest.json"), told.to_string()).unwrap();
        let first = Learnt::by(&model, &meta).unwrap().unwrap();
        assert_eq!(first.count_of(&golden, Set::Validation), 3);
        assert_eq!(first.count_of(&golden, Set::Training), 0);
        // The file's own word goes before what lies beside it.
        let digest = |end: &str| "0123456789abcdef".to_owned() + end;
        let next = json!({ "pictures": [picture(&digest("1"), None, "training")] });
        meta.learnt = Some(Learnt::default().and_from(&next).digests().clone());
        let second = Learnt::by(&model, &meta).unwrap().unwrap();
        assert!(second.knows([digest("1").as_str()]) && !second.knows(["a"]), "{second:?}");
        assert_eq!(second.digests().first().map(String::len), Some(Learnt::DIGITS));

        std::fs::write(dir.path().join("manifest.json"), "torn").unwrap();
        meta.learnt = None;
        assert!(Learnt::by(&model, &meta).unwrap_err().to_string().contains("manifest.json: cannot be understood"));
    }
}
