//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside its place, makes sure it is on disk, then renames it: whoever reads it finds the old content
/// or the new, never half of it.
///
/// # Errors
/// Of the system. What was there before then still is, and nothing is left beside it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // The reason of the failure is told; a left-over that cannot be removed adds nothing to it.
        let _ = fs::remove_file(&beside);
    })
}

/// What to tell of a file that [`is_cut_off_jpeg`].
pub const CUT_OFF_JPEG: &str = "this JPEG is cut off: its end is missing; copy it again";

/// Whether a JPEG lacks its end: decoders fill what is missing with grey, which would be taken for what was seen.
///
/// Other files are never cut off in this sense; their decoders tell it themselves.
pub fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xda;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    // Segments have their length, so that the end mark of a preview within one is passed over.
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if *marker == SCAN {
            // In what follows 0xff stands for a mark only; something may lie behind the end.
            return !bytes[at..].windows(2).any(|mark| mark == [0xff, 0xd9]);
        }
        at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    // Without a scan it is cut off, or no JPEG, which its decoder tells.
    at + 4 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model");
        for content in ["one", "two"] {
            write_whole(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        fs::create_dir(folder.path().join("taken")).unwrap();
        fs::write(folder.path().join("taken/file"), "").unwrap();
        assert!(write_whole(&folder.path().join("taken"), b"three").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_jpeg_without_its_end_mark_is_cut_off() {
        let preview = [0xff, 0xe1, 0, 6, 0xff, 0xda, 0xff, 0xd9];
        let whole = [&[0xff, 0xd8][..], &preview, &[0xff, 0xda], &[7; 3000], &[0xff, 0xd9], &[0; 5000]].concat();
        assert!(!is_cut_off_jpeg(&whole));
        for length in [2, 8, 10, 12, 2000] {
            assert!(is_cut_off_jpeg(&whole[..length]), "{length} bytes");
        }
        assert!(!is_cut_off_jpeg(b"\x89PNG") && !is_cut_off_jpeg(b""));
    }
}
