//! The truth about a cell, as a request's body tells it.

use super::refusal::Refusal;
use crate::cell::{CELL_PX, Mask, mask_png};
use crate::review::Truth;
use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Bytes of a body: twice a mask of eight bits a pixel that does not compress.
pub(super) const BODY_LIMIT: usize = 4 << 20;

/// The truth in a body: a mask as `image/png`, or a word as `application/json`.
// Both types make a browser ask first before another site's page may send them.
pub(super) struct ToldTruth(pub Truth);

impl<S: Send + Sync> FromRequest<S> for ToldTruth {
    type Rejection = Refusal;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let body = Bytes::from_request(request, state).await.map_err(|e: BytesRejection| {
            Refusal::new(e.status(), format!("the body was not taken: {}; a mask has at most {BODY_LIMIT} bytes", e.body_text()))
        })?;
        truth(&content_type, &body).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    truth: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    MaskIsRight,
    NoDefect,
}

fn truth(content_type: &str, body: &[u8]) -> Result<Truth, Refusal> {
    match content_type {
        "image/png" => {
            let mask = mask_png::decode_drawn(body, CELL_PX).map_err(|e| Refusal::bad(e.to_string()))?;
            Ok(Truth::Mask(Arc::new(mask)))
        }
        "application/json" => match serde_json::from_slice(body) {
            Ok(Told { truth: Word::MaskIsRight }) => Ok(Truth::MaskIsRight),
            Ok(Told { truth: Word::NoDefect }) => Ok(Truth::NoDefect),
            Err(e) => Err(Refusal::bad(format!(
                "the JSON is not understood ({e}); send {{\"truth\": \"mask_is_right\"}} or {{\"truth\": \"no_defect\"}}"
            ))),
        },
        other => {
            let sentence = format!("content type {other:?} is not taken; send a mask as image/png or a word as application/json");
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence))
        }
    }
}

/// The truth pixel by pixel; `found` is asked for the mask that the network found.
pub(super) fn true_mask(truth: &Truth, found: impl FnOnce() -> Result<Arc<Mask>, Refusal>) -> Result<Arc<Mask>, Refusal> {
    match truth {
        Truth::Mask(mask) => Ok(mask.clone()),
        Truth::MaskIsRight => found(),
        Truth::NoDefect => Ok(Arc::new(Mask::new(CELL_PX, CELL_PX))),
    }
}

/// A picture as an answer.
pub(super) fn picture(bytes: Vec<u8>) -> Response {
    // What it shows changes with what is told.
    ([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], bytes).into_response()
}
