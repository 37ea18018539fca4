//! A checkpoint's own SHA-256, so that one that was damaged on its way judges no cell.
//!
//! It is the first thing in the description, and is taken of the whole file with zeros in its place. It is no metadata of its own:
//! safetensors writes several of them in any order, and the same training must leave the same file.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Key of the description in the file's metadata.
pub(super) const METADATA_KEY: &str = "hairline";

/// What stands for the SHA-256 while it is taken: as many zeros as it has digits.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A description with room for the file's SHA-256.
#[derive(Serialize)]
struct Sealed<'a, M> {
    sha256: &'static str,
    #[serde(flatten)]
    meta: &'a M,
}

/// A description as JSON, with room for what [`seal`] writes.
pub(super) fn description(meta: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(&Sealed { sha256: BLANK, meta })
}

/// Writes the SHA-256 of a checkpoint file into its description.
pub(super) fn seal(file: &mut [u8]) {
    if let Some(place) = place(file) {
        let digits = digits(file, &place);
        file[place].copy_from_slice(digits.as_bytes());
    }
}

/// Whether a file has another SHA-256 than it says; one that says none, of an earlier version, may be whole.
pub(super) fn is_damaged(file: &[u8]) -> bool {
    place(file).is_some_and(|place| digits(file, &place).as_bytes() != &file[place])
}

/// Where in a safetensors file the SHA-256 stands. Quotes within the description are escaped: nothing else there looks like its
/// beginning.
fn place(file: &[u8]) -> Option<Range<usize>> {
    let length = usize::try_from(u64::from_le_bytes(*file.first_chunk()?)).ok()?;
    let header = file.get(8..)?.get(..length)?;
    let before = format!(r#""{METADATA_KEY}":"{{\"sha256\":\""#);
    let start = 8 + header.windows(before.len()).position(|found| found == before.as_bytes())? + before.len();
    let place = start..start + BLANK.len();
    (place.end <= 8 + length).then_some(place)
}

fn digits(file: &[u8], place: &Range<usize>) -> String {
    let parts = [&file[..place.start], BLANK.as_bytes(), &file[place.end..]];
    hex::encode(parts.into_iter().fold(Sha256::new(), |sum, part| sum.chain_update(part)).finalize())
}

#[cfg(test)]
mod tests {
    use crate::nn::{Architecture, Checkpoint, CheckpointMeta, Network, NetworkShape, NnError, Upsampling};
    use candle_core::Device;

    /// A checkpoint's file, and the length of its header.
    fn file(meta: impl FnOnce(&mut CheckpointMeta)) -> (Vec<u8>, usize) {
        let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
        let tensors = Network::new(&shape, 1, &Device::Cpu).unwrap().tensors().unwrap();
        let mut checkpoint = Checkpoint { meta: CheckpointMeta::of(shape, "sealed"), tensors, digest: String::new() };
        meta(&mut checkpoint.meta);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        checkpoint.save(&path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        (bytes, length)
    }

    fn load(bytes: &[u8]) -> Result<Checkpoint, NnError> {
        Checkpoint::load_bytes(bytes, "model")
    }

    fn find(bytes: &[u8], text: &str) -> usize {
        bytes.windows(text.len()).position(|found| found == text.as_bytes()).unwrap()
    }

    #[test]
    fn a_flipped_bit_is_told_wherever_it_lies() {
        let (whole, header) = file(|_| ());
        load(&whole).unwrap();
        let tensors = 8 + header;
        let described = [r#"\"threshold\":0.5"#, r#"\"mm_per_px_min\":0.1"#, "sealed"].map(|text| find(&whole, text) + text.len() - 1);
        let named = find(&whole, "data_offsets");
        for place in [tensors, tensors + 1002, whole.len() - 1, named].into_iter().chain(described) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            let told = load(&damaged).unwrap_err().to_string();
            assert!(told.contains("model") && told.contains("damaged") && told.contains("copy it again"), "byte {place}: {told}");
        }
        // What is no safetensors file any more is told as that.
        for place in [0, 5, 8] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            load(&damaged).unwrap_err();
        }
    }

    #[test]
    fn the_models_that_are_shipped_are_sealed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let models: Vec<_> = paths.filter(|path| path.extension().is_some_and(|of| of == "safetensors")).collect();
        assert!(!models.is_empty());
        for model in models {
            let mut bytes = std::fs::read(&model).unwrap();
            load(&bytes).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            assert!(load(&bytes).unwrap_err().to_string().contains("damaged"), "{}", model.display());
        }
    }

    #[test]
    fn a_file_of_an_earlier_version_is_read() {
        let (whole, header) = file(|_| ());
        let sealed = r#"\"sha256\":\""#;
        let at = find(&whole, sealed);
        let end = at + sealed.len() + 64 + r#"\","#.len();
        let mut earlier = whole.clone();
        // Room at the end of the header is allowed.
        earlier.splice(8 + header..8 + header, vec![b' '; end - at]);
        earlier.drain(at..end);
        assert!(!earlier.windows(6).any(|found| found == b"sha256"));
        let (earlier, now) = (load(&earlier).unwrap(), load(&whole).unwrap());
        assert_eq!(earlier.meta, now.meta);
        assert!(earlier.digest != now.digest);
    }

    #[test]
    fn the_same_checkpoint_is_the_same_file_whatever_its_summary_says() {
        let summary =
            |meta: &mut CheckpointMeta| meta.training = serde_json::json!({"hairline": {"sha256": "\"hairline\":\"{\"sha256\":\""}});
        let (first, _) = file(summary);
        assert!(first == file(summary).0);
        let mut kept = CheckpointMeta::of(load(&first).unwrap().meta.shape, "sealed");
        summary(&mut kept);
        assert_eq!(load(&first).unwrap().meta, kept);
    }
}
