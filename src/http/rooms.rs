use super::{Health, Metrics};
use crate::album::Album;
use crate::review::Review;
use std::sync::Arc;

/// What the routes speak about.
#[derive(Clone)]
pub struct Rooms {
    /// The station's metrics.
    pub metrics: Arc<Metrics>,
    /// Whether it is ready and lives.
    pub health: Arc<Health>,
    /// The recent cells and what is true of them.
    pub review: Arc<Review>,
    /// Pictures to learn from, where they are kept.
    pub album: Option<Arc<Album>>,
}
