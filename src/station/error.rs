use std::path::PathBuf;

/// What keeps a station from starting.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The model cannot be used.
    #[error("network.model: {0}")]
    Model(#[from] crate::nn::NnError),
    /// The network cannot be made ready, or does not fit a lane.
    #[error(transparent)]
    Inspect(#[from] crate::inspect::InspectError),
    /// A recipe is wrong.
    #[error("{0}")]
    Recipe(crate::config::Problems),
    /// A calibration does not fit.
    #[error("lane {lane:?}: calibration {file}: {source}")]
    Calibration {
        /// The lane.
        lane: String,
        /// The calibration file.
        file: PathBuf,
        /// What is wrong with it.
        source: crate::stitch::CalibrationError,
    },
    /// The stitcher cannot work with the lane's settings.
    #[error("lane {lane:?}: {source}")]
    Stitch {
        /// The lane.
        lane: String,
        /// What is wrong.
        source: crate::stitch::StitchError,
    },
    /// A camera cannot be started.
    #[error("lane {lane:?}: {source}")]
    Camera {
        /// The lane.
        lane: String,
        /// What is wrong.
        source: crate::camera::CameraError,
    },
    /// The ledger cannot be opened.
    #[error("station.data_dir: {0}")]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The sockets cannot be bound.
    #[error(transparent)]
    Publish(#[from] crate::publish::PublishError),
    /// The HTTP server cannot be started.
    #[error(transparent)]
    Http(#[from] crate::http::HttpError),
    /// The operating system refused a thread or the runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
