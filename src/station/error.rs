use crate::inspect::InspectError;
use crate::nn::NnError;

/// What keeps a station from starting, or from going on.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The model cannot be used.
    #[error("network.model: {0}")]
    Model(#[from] NnError),
    /// The network cannot be made ready, or does not fit a lane.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A recipe is wrong.
    #[error("{0}")]
    Recipe(crate::config::Problems),
    /// A calibration does not fit.
    #[error("lane {lane:?}: {source}")]
    Calibration {
        /// The lane.
        lane: String,
        /// What is wrong with it.
        source: crate::stitch::CalibrationError,
    },
    /// The stitcher cannot work with the lane's settings.
    #[error(transparent)]
    Stitch(#[from] crate::stitch::StitchError),
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
    /// The album cannot be opened.
    #[error("album.dir: {0}")]
    Album(#[from] crate::album::AlbumError),
    /// The sockets cannot be bound.
    #[error(transparent)]
    Publish(#[from] crate::publish::PublishError),
    /// The metrics cannot be set up: a fault of this program.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// The HTTP server cannot be started.
    #[error(transparent)]
    Http(#[from] crate::http::HttpError),
    /// A thread of the station failed: a fault of this program.
    #[error("the thread `{0}` has failed; the log above tells where, please report it")]
    Failed(String),
    /// A live camera's stream ended, and no lane is left.
    #[error("lane {lane:?}: the camera's stream has ended, and no lane is left that sees; check the camera")]
    StreamEnded {
        /// The lane.
        lane: String,
    },
    /// The operating system gives no thread.
    #[error("no thread `{name}`: {source}; free memory, or raise the limit of tasks (`ulimit -u`; under systemd `TasksMax`)")]
    Thread {
        /// The thread.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operating system refuses something else that the station cannot do without.
    #[error("cannot {what}: {source}; free memory, or raise the limit of open files (`ulimit -n`; under systemd `LimitNOFILE`)")]
    System {
        /// What it was asked for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StationError {
    /// For `map_err` where `name` was to be started.
    pub(super) fn thread(name: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Thread { name: name.into(), source }
    }

    /// For `map_err` where the system was asked to do `what`.
    pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// Whether the configuration, or a file that it names, has to be changed: starting again does not help.
    pub fn is_configuration(&self) -> bool {
        let wrong_model = |error: &NnError| matches!(error, NnError::Read { .. } | NnError::Unfit { .. } | NnError::Shape { .. });
        match self {
            Self::Model(error) => wrong_model(error),
            Self::Inspect(InspectError::Network(error)) => wrong_model(error),
            Self::Inspect(_) | Self::Recipe(_) | Self::Calibration { .. } | Self::Stitch(_) => true,
            Self::Camera { source, .. } => source.is_configuration(),
            Self::Ledger(_) | Self::Album(_) | Self::Publish(_) | Self::Telemetry(_) | Self::Http(_) => false,
            Self::Failed(_) | Self::StreamEnded { .. } | Self::Thread { .. } | Self::System { .. } => false,
        }
    }
}
