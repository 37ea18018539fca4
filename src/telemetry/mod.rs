//! What the station knows of itself: whether it lives and is ready ([`Health`]), its numbers ([`Metrics`]), and how the
//! truth about a cell reaches them ([`apply_truth`]). Who asks for them, and how, is [`http`](crate::http)'s.

mod error;
mod health;
mod labels;
mod metrics;
mod truth;

pub use error::TelemetryError;
pub use health::{Health, Pulse, Report};
pub use labels::{LaneTotals, ModelLabels, Queue, Socket, Stage};
pub use metrics::Metrics;
pub use truth::apply_truth;

#[cfg(test)]
mod tests;
