use std::sync::Arc;

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationId {
    /// Name of the station.
    pub station: String,
    /// Id of this run.
    pub run: String,
    /// Names of its lanes.
    pub lanes: Vec<Arc<str>>,
}
