//! The station's configuration: TOML, typed, and validated whole before anything starts.
//!
//! [`StationConfig::load`] reports every mistake at once, each with its place, its key and the remedy.
//! `configs/` documents every key with its default. Sections are plain types that the rooms take as
//! their settings.

mod lane;
mod places;
mod precision;
mod problem;
mod reader;
mod sections;
mod station;
mod units;

pub use places::Places;
pub use precision::Precision;
pub use problem::{Problem, Problems, Severity};
pub use reader::{Reader, read_document};
pub use sections::{
    Album, Belt, Camera, CameraKind, DeviceChoice, FeatureValue, FilesCamera, GapKind, GigeCamera, GstreamerCamera, Http, Lane, Network,
    Publish, Review, SimulatedCamera, Station, Threads, Wafer, WaferKind,
};
pub use station::StationConfig;
pub use units::wafer_size_mm;
