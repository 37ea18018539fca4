//! The page on which people look at cells and say what is true of them: `/review/page`, three files that need nothing from elsewhere.

use super::rooms::Rooms;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing but what this station serves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Rooms> {
    Router::new()
        .route("/review/page", get(|| file("text/html; charset=utf-8", include_str!("page.html"))))
        .route("/review/page.css", get(|| file("text/css; charset=utf-8", include_str!("page.css"))))
        .route("/review/page.js", get(|| file("text/javascript; charset=utf-8", include_str!("page.js"))))
}

async fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let told = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    // Another version may be there after an update.
    let headers =
        [told(header::CONTENT_TYPE, kind), told(header::CONTENT_SECURITY_POLICY, POLICY), told(header::CACHE_CONTROL, "no-cache")];
    (headers, text)
}
