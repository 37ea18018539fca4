use super::{Health, Metrics};
use crate::review::Review;
use std::sync::Arc;

/// What the routes speak about.
#[derive(Clone)]
pub(super) struct Rooms {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub review: Arc<Review>,
}
