//! Files that are whole or not there, and how much room there is for them.

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

/// Room on a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is free to this user.
    pub free_bytes: u64,
    /// All that there is, taken or not.
    pub total_bytes: u64,
}

/// How much room the file system of `path` has.
///
/// # Errors
/// Of the system.
pub fn room(path: &Path) -> io::Result<Room> {
    let told = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Ok(Room { free_bytes: bytes(told.f_bavail), total_bytes: bytes(told.f_blocks) })
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
    fn a_file_system_has_no_more_free_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let Room { free_bytes, total_bytes } = room(folder.path()).unwrap();
        assert!(0 < free_bytes && free_bytes <= total_bytes, "{free_bytes} of {total_bytes}");
        assert!(room(&folder.path().join("nowhere")).is_err());
    }
}
