//! What [`telemetry`](crate::telemetry), [`review`](crate::review) and [`album`](crate::album) know, over HTTP: metrics, health, a
//! page for people, and the way in for the operator's truth.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus text format, see [`Metrics`](crate::telemetry::Metrics) |
//! | `GET /live`, `GET /ready` | 200 or 503 and the reasons, see [`Health`](crate::telemetry::Health) |
//! | `GET /` | a small page: lanes, counts, links |
//! | `GET /review` | cells that can be judged, JSON (loopback only, as all of `/review`) |
//! | `GET /review/<lane>/<number>/mask.png` | the network's mask, 1 bit a pixel |
//! | `GET /review/page` | a page on which people look at cells and tell the truth |
//! | `GET /review/<lane>/<number>/picture.png` | the stitched cell, 16 bits a pixel, where the [`album`](crate::album) has it |
//! | `POST /review/<lane>/<number>` | the truth: a mask as `image/png`, or `{"truth": "mask_is_right"}` / `{"truth": "no_defect"}` as `application/json` |
//! | `GET /album` | pictures of the album that wait for their truth, JSON (loopback only, as all of `/album`) |
//! | `GET /album/<name>/picture.png`, `…/mask.png`, `POST /album/<name>` | the same for them |
//! | `GET /album/<name>/view.png` | the picture for the eye: its contrast in 8 bits a pixel |

mod album_routes;
mod error;
mod loopback;
mod page;
mod refusal;
mod review_page;
mod review_routes;
mod rooms;
mod server;
mod told;

pub use error::HttpError;
pub use rooms::Rooms;
pub use server::{bind, serve};

#[cfg(test)]
mod tests;
