//! `/review`: the way in for the operator's truth, open to this machine only.

use super::refusal::Refusal;
use super::rooms::Rooms;
use super::truth::apply_truth;
use crate::cell::{CELL_PX, CellId, Mask};
use crate::review::{Outcome, RecentCell, Reviewed, Truth, png};
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, body::Bytes};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes of a body: twice a mask of eight bits a pixel that does not compress.
const BODY_LIMIT: usize = 4 << 20;
/// Longest number worth parsing, and longest lane name worth looking up.
const PATH_PART_LIMIT: usize = 64;

pub(super) fn routes() -> Router<Rooms> {
    Router::new()
        .route("/review", get(list))
        .route("/review/{lane}/{number}", axum::routing::post(tell))
        .route("/review/{lane}/{number}/mask.png", get(mask))
        .route("/review/{lane}/{number}/picture.png", get(picture))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(loopback_only))
}

async fn loopback_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let sentence = format!("the truth about cells is told on the station itself (127.0.0.1); this request came from {}", peer.ip());
    Refusal::new(StatusCode::FORBIDDEN, sentence).into_response()
}

async fn list(State(rooms): State<Rooms>) -> Json<Value> {
    let lane = |lane: &Arc<str>| {
        let running = rooms.review.running(lane);
        let cell = |cell: &RecentCell| {
            json!({
                "number": cell.number,
                "verdict": cell.verdict,
                "crack_px": cell.crack_px,
                "mask": format!("/review/{lane}/{}/mask.png", cell.number),
                "picture": rooms.album.as_ref().map(|_| format!("/review/{lane}/{}/picture.png", cell.number)),
                "truth": cell.outcome.as_ref().map(outcome_json),
            })
        };
        let cells: Vec<Value> = rooms.review.recent(lane).iter().map(cell).collect();
        let window = (running.cells > 0).then(|| {
            json!({
                "cells": running.cells, "iou": running.iou, "pa": running.pa, "oii": running.oii,
                "overkill": running.overkill, "escape": running.escape, "held": running.held,
            })
        });
        json!({ "lane": lane, "running": window, "cells": cells })
    };
    Json(json!({ "lanes": rooms.review.lanes().iter().map(lane).collect::<Vec<_>>() }))
}

async fn mask(State(rooms): State<Rooms>, path: CellPath) -> Result<Response, Refusal> {
    let mask = rooms.review.mask(&cell_id(path)?)?;
    let bytes = png::encode(&mask)
        .map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the mask cannot be written as PNG: {e}")))?;
    Ok(([(header::CONTENT_TYPE, "image/png")], bytes).into_response())
}

async fn picture(State(rooms): State<Rooms>, path: CellPath) -> Result<Response, Refusal> {
    let cell = cell_id(path)?;
    let Some(album) = rooms.album.clone() else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "this station keeps no pictures; name a folder under `album.dir`"));
    };
    // A few megabytes from the disk: not on the thread that answers everybody.
    let found = tokio::task::spawn_blocking({
        let cell = cell.clone();
        move || album.picture(&cell)
    });
    match found.await.ok().flatten() {
        Some(bytes) => Ok(([(header::CONTENT_TYPE, "image/png")], bytes).into_response()),
        None => {
            let sentence = format!("the album has no picture of {cell}: of cells that passed it keeps one in `album.passed_every`");
            Err(Refusal::new(StatusCode::NOT_FOUND, sentence))
        }
    }
}

async fn tell(
    State(rooms): State<Rooms>,
    path: CellPath,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let cell = cell_id(path)?;
    let body = body.map_err(|e| {
        Refusal::new(e.status(), format!("the body was not taken: {}; a mask has at most {BODY_LIMIT} bytes", e.body_text()))
    })?;
    let truth = truth(content_type(&headers), &body)?;
    let true_mask = true_mask(&rooms, &cell, &truth)?;
    let reviewed = apply_truth(&rooms.review, &rooms.metrics, &cell, &truth)?;
    let in_album = match rooms.album.clone() {
        Some(album) => {
            let cell = cell.clone();
            // It may wait for the disk.
            tokio::task::spawn_blocking(move || album.tell(&cell, true_mask)).await.unwrap_or(false)
        }
        None => false,
    };
    tracing::info!(%cell, oii = reviewed.outcome.counts.oii(), corrected = reviewed.replaced.is_some(), in_album, "the truth was told");
    Ok(Json(reviewed_json(&cell, &reviewed, in_album)))
}

type CellPath = Result<Path<(String, String)>, PathRejection>;

fn cell_id(path: CellPath) -> Result<CellId, Refusal> {
    let Path((lane, number)) = path.map_err(|e| Refusal::bad(format!("the path is no /review/<lane>/<number>: {}", e.body_text())))?;
    if lane.len() > PATH_PART_LIMIT || number.len() > PATH_PART_LIMIT {
        return Err(Refusal::bad(format!("lane and number have at most {PATH_PART_LIMIT} characters each")));
    }
    let number: u64 = number.parse().map_err(|_| Refusal::bad(format!("{number:?} is no cell number; give a whole number from 1")))?;
    Ok(CellId { lane: lane.into(), number })
}

/// The type without its parameters, in small letters; empty where there is none.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
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

// Both types make a browser ask first before another site's page may send them.
fn truth(content_type: String, body: &[u8]) -> Result<Truth, Refusal> {
    match content_type.as_str() {
        "image/png" => {
            let mask = png::decode(body, CELL_PX).map_err(|e| Refusal::bad(e.to_string()))?;
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

/// The truth, pixel by pixel.
fn true_mask(rooms: &Rooms, cell: &CellId, truth: &Truth) -> Result<Arc<Mask>, Refusal> {
    Ok(match truth {
        Truth::Mask(mask) => mask.clone(),
        Truth::MaskIsRight => rooms.review.mask(cell)?,
        Truth::NoDefect => Arc::new(Mask::new(CELL_PX, CELL_PX)),
    })
}

fn reviewed_json(cell: &CellId, reviewed: &Reviewed, in_album: bool) -> Value {
    json!({
        "cell": cell, "truth": outcome_json(&reviewed.outcome), "replaced": reviewed.replaced.as_ref().map(outcome_json),
        "in_album": in_album,
    })
}

fn outcome_json(outcome: &Outcome) -> Value {
    let counts = outcome.counts;
    json!({
        "truly_cracked": outcome.truly_cracked, "verdict": outcome.verdict,
        "overkill": outcome.is_overkill(), "escape": outcome.is_escape(),
        "tp": counts.tp, "fp": counts.fp, "fn": counts.fn_,
        "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
    })
}
