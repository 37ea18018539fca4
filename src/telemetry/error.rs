/// Why metrics cannot be kept or told.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Two metrics of one name, or a name that is none.
    #[error("a metric cannot be registered: {0}")]
    Register(#[from] prometheus::Error),
    /// Metrics that do not go into Prometheus' text format.
    #[error("the metrics cannot be written as text: {0}")]
    Render(#[source] prometheus::Error),
}
