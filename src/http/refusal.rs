use crate::review::ReviewError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A request that is not answered as asked: the status, and a sentence saying why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    sentence: String,
}

impl Refusal {
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    /// 400: the request itself is wrong.
    pub fn bad(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.sentence + "\n").into_response()
    }
}

impl From<ReviewError> for Refusal {
    fn from(e: ReviewError) -> Self {
        let status = match e {
            ReviewError::UnknownLane { .. } | ReviewError::UnknownCell { .. } => StatusCode::NOT_FOUND,
            ReviewError::SizeDiffers { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, e.to_string())
    }
}

/// Does what waits for the disk, not on the thread that answers everybody.
pub(super) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}
