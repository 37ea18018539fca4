use super::TrainError;
use std::path::Path;

/// Writes a file whole or not at all ([`write_whole`](crate::disk::write_whole)).
///
/// # Errors
/// [`TrainError::File`] with its name; nothing half-written is left.
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    crate::disk::write_whole(path, bytes).map_err(TrainError::file(path, "cannot write it (is the disk full, or the folder not yours?)"))
}
