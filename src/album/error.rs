use std::path::{Path, PathBuf};

/// What can go wrong with the album.
#[derive(Debug, thiserror::Error)]
pub enum AlbumError {
    /// A file or folder that cannot be used.
    #[error("{path}: {source}; see that it can be written and has room, or take `album.dir` out")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is left of the disk is not the album's.
    #[error(
        "{dir}: only {free_mb} MB of the disk are free, and its last {reserve_mb} MB are for others, such as the ledger: no picture \
         is kept; make room, take pairs away, lower `album.unreviewed_max` or give `album.dir` a disk of its own"
    )]
    Reserve {
        /// The album.
        dir: PathBuf,
        /// What is free.
        free_mb: u64,
        /// What is left to others.
        reserve_mb: u64,
    },
    /// A picture that cannot be written as PNG.
    #[error("{path}: cannot be made: {source}")]
    Picture {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: png::EncodingError,
    },
    /// The operating system refused a thread.
    #[error("its thread cannot be started: {0}")]
    Thread(std::io::Error),
}

impl AlbumError {
    /// For `map_err` on what is done to `path`.
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }

    /// For `map_err` on what is made for `path`.
    pub(super) fn picture(path: &Path) -> impl FnOnce(png::EncodingError) -> Self {
        move |source| Self::Picture { path: path.to_owned(), source }
    }
}
