//! `/review`: the way in for the operator's truth about recent cells.

use super::refusal::{Refusal, on_disk};
use super::rooms::Rooms;
use super::told::{ToldTruth, picture as picture_answer, true_mask};
use crate::album::Told;
use crate::cell::{CellId, mask_png};
use crate::review::{Outcome, RecentCell, Reviewed};
use crate::telemetry::apply_truth;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest number worth parsing, and longest lane name worth looking up.
const PATH_PART_LIMIT: usize = 64;

pub(super) fn routes() -> Router<Rooms> {
    Router::new()
        .route("/review", get(list))
        .route("/review/{lane}/{number}", post(tell))
        .route("/review/{lane}/{number}/mask.png", get(mask))
        .route("/review/{lane}/{number}/picture.png", get(picture))
}

async fn list(State(rooms): State<Rooms>) -> Json<Value> {
    let lane = |lane: &Arc<str>| {
        let running = rooms.review.running(lane);
        let name = |number: u64| rooms.album.as_ref()?.name_of(&CellId { lane: lane.clone(), number });
        let cell = |cell: &RecentCell| {
            let at = format!("/review/{lane}/{}", cell.number);
            let name = name(cell.number);
            json!({
                "number": cell.number,
                "verdict": cell.verdict,
                "crack_px": cell.crack_px,
                "mask": format!("{at}/mask.png"),
                "picture": name.as_ref().map(|_| format!("{at}/picture.png")),
                "album": name.map(|name| name.to_string()),
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
    Json(json!({ "run": &*rooms.run, "lanes": rooms.review.lanes().iter().map(lane).collect::<Vec<_>>() }))
}

async fn mask(State(rooms): State<Rooms>, path: CellPath) -> Result<Response, Refusal> {
    let mask = rooms.review.mask(&cell_id(path)?)?;
    let bytes = mask_png::encode(&mask)
        .map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the mask cannot be written as PNG: {e}")))?;
    Ok(picture_answer(bytes))
}

async fn picture(State(rooms): State<Rooms>, path: CellPath) -> Result<Response, Refusal> {
    let cell = cell_id(path)?;
    let album = rooms.album()?;
    let found = on_disk({
        let cell = cell.clone();
        move || album.picture(&album.name_of(&cell)?)
    });
    found.await?.map(picture_answer).ok_or_else(|| {
        let sentence = format!(
            "the album has no picture of {cell}: of cells that passed it keeps one in `album.passed_every`, and the oldest make room \
             beyond `album.unreviewed_max`"
        );
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    })
}

/// The run that the cell is of, where whoever tells the truth knows it.
#[derive(serde::Deserialize)]
struct OfRun {
    run: Option<String>,
}

async fn tell(
    State(rooms): State<Rooms>,
    path: CellPath,
    Query(OfRun { run }): Query<OfRun>,
    ToldTruth(truth): ToldTruth,
) -> Result<Json<Value>, Refusal> {
    let cell = cell_id(path)?;
    if run.is_some_and(|run| run != *rooms.run) {
        let sentence = format!("{cell} was seen before the station's restart: this run has another cell of that number");
        return Err(Refusal::new(StatusCode::CONFLICT, sentence));
    }
    let true_mask = true_mask(&truth, || Ok(rooms.review.mask(&cell)?))?;
    let reviewed = apply_truth(&rooms.review, &rooms.metrics, &cell, &truth)?;
    let kept = rooms.album.clone().and_then(|album| Some((album.name_of(&cell)?, album)));
    let in_album = match kept {
        Some((name, album)) => on_disk(move || album.tell(name, true_mask)).await? == Told::Kept,
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

fn reviewed_json(cell: &CellId, reviewed: &Reviewed, in_album: bool) -> Value {
    json!({
        "cell": cell, "truth": outcome_json(&reviewed.outcome), "replaced": reviewed.replaced.as_ref().map(outcome_json),
        "in_album": in_album,
    })
}

fn outcome_json(outcome: &Outcome) -> Value {
    let counts = outcome.counts;
    json!({
        "truly_cracked": outcome.truly_cracked, "verdict": outcome.disposition.verdict,
        "overkill": outcome.is_overkill(), "escape": outcome.is_escape(),
        "tp": counts.tp, "fp": counts.fp, "fn": counts.fn_,
        "iou": counts.iou(), "pa": counts.pa(), "oii": counts.oii(),
    })
}
