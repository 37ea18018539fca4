use super::refusal::Refusal;
use crate::album::Album;
use crate::review::Review;
use crate::telemetry::{Health, Metrics};
use axum::http::StatusCode;
use std::sync::Arc;

/// What the routes speak about.
#[derive(Clone)]
pub struct Rooms {
    /// The run, which gives cells their numbers.
    pub run: Arc<str>,
    /// The station's metrics.
    pub metrics: Arc<Metrics>,
    /// Whether it is ready and lives.
    pub health: Arc<Health>,
    /// The recent cells and what is true of them.
    pub review: Arc<Review>,
    /// Pictures to learn from, where they are kept.
    pub album: Option<Arc<Album>>,
}

impl Rooms {
    /// The album, or that there is none.
    pub(super) fn album(&self) -> Result<Arc<Album>, Refusal> {
        let none = || Refusal::new(StatusCode::NOT_FOUND, "this station keeps no pictures; name a folder under `album.dir`");
        self.album.clone().ok_or_else(none)
    }
}
