use std::path::PathBuf;
use thiserror::Error;

/// What can go wrong with a network.
#[derive(Debug, Error)]
pub enum NnError {
    /// The tensor library refused an operation.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file could not be read.
    #[error("checkpoint {path}: cannot be read: {reason}; check the path and its permissions")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A file could not be written.
    #[error("checkpoint {path}: cannot be written: {reason}; check that the folder exists, is writable and has room")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is no checkpoint of this program.
    #[error("checkpoint {origin}: found {found}, expected {expected}; {remedy}")]
    Unfit {
        /// Which file.
        origin: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A shape that no network can have.
    #[error("network shape: found {found}, expected {expected}")]
    Shape {
        /// What was asked for.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// The device is not there.
    #[error("device {wanted}: {reason}; {remedy}")]
    Device {
        /// What was asked for.
        wanted: String,
        /// Why it cannot be had.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// Threads could not be started.
    #[error("network threads: {0}; lower `threads`")]
    Threads(String),
}
