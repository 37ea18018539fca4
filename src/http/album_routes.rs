//! `/album`: the pictures that wait for somebody to say what is true of them, whichever run saw the cells.

use super::refusal::{Refusal, on_disk};
use super::rooms::Rooms;
use super::told::{ToldTruth, picture as picture_answer, true_mask};
use crate::album::{Album, Name, Told};
use crate::cell::{CELL_PX, mask_png};
use crate::review::Found;
use crate::telemetry::apply_truth;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Rooms> {
    Router::new()
        .route("/album", get(list))
        .route("/album/{name}", post(tell))
        .route("/album/{name}/picture.png", get(picture))
        .route("/album/{name}/view.png", get(view))
        .route("/album/{name}/mask.png", get(mask))
}

async fn list(State(rooms): State<Rooms>) -> Result<Json<Value>, Refusal> {
    let album = rooms.album()?;
    let names = on_disk(move || album.waiting()).await?.map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    let entry = |name: &Name| {
        let file = |of: &str| format!("/album/{name}/{of}.png");
        json!({ "name": name.to_string(), "picture": file("picture"), "view": file("view"), "mask": file("mask") })
    };
    Ok(Json(json!({ "waiting": names.iter().map(entry).collect::<Vec<_>>() })))
}

async fn picture(State(rooms): State<Rooms>, path: NamePath) -> Result<Response, Refusal> {
    read(&rooms, path, Album::picture).await
}

async fn view(State(rooms): State<Rooms>, path: NamePath) -> Result<Response, Refusal> {
    read(&rooms, path, Album::view).await
}

async fn mask(State(rooms): State<Rooms>, path: NamePath) -> Result<Response, Refusal> {
    read(&rooms, path, Album::mask).await
}

async fn tell(State(rooms): State<Rooms>, path: NamePath, ToldTruth(truth): ToldTruth) -> Result<Json<Value>, Refusal> {
    let (album, name) = (rooms.album()?, name(path)?);
    let cell = album.cell_of(&name);
    let recent = cell.as_ref().and_then(|(cell, _)| rooms.review.mask(cell).ok());
    let told = on_disk({
        let (album, name, truth) = (album.clone(), name.clone(), truth.clone());
        move || {
            // The album puts what was found aside once something was told, and keeps that of the last ones.
            let kept = || album.found(&name).map(|kept| mask_png::decode_drawn(&kept, CELL_PX).map(Arc::new)).transpose();
            let is_recent = recent.is_some();
            let found = recent.map_or_else(kept, |mask| Ok(Some(mask))).map_err(|e| Refusal::bad(format!("{name}: {e}")))?;
            let mask = true_mask(&truth, || found.clone().ok_or_else(|| forgotten(&album, &name)))?;
            match album.tell(name.clone(), mask) {
                Told::Kept => {
                    let of_forgotten = found.filter(|_| !is_recent).zip(album.judged(&name));
                    Ok(of_forgotten.map(|(mask, judged)| Found { mask, judged }))
                }
                Told::NoPicture => Err(missing(&name)),
                Told::Waits => Err(unavailable(format!(
                    "the truth about {name} waits for the album's disk, which is slow, and may be kept yet: it is once `/album` lists the \
                     picture no more; told again before, it counts"
                ))),
                Told::Lost => Err(unavailable(format!(
                    "the truth about {name} was not kept: the album's disk is full or far too slow, or the station is stopping; tell it again"
                ))),
            }
        }
    });
    let of_forgotten = told.await??;
    let counted = cell.is_some_and(|(cell, disposition)| {
        if let Some(found) = of_forgotten {
            rooms.review.recall(&cell, found, disposition);
        }
        apply_truth(&rooms.review, &rooms.metrics, &cell, &truth).is_ok()
    });
    tracing::info!(%name, counted, "the truth was told");
    Ok(Json(json!({ "name": name.to_string(), "in_album": true, "counted": counted })))
}

fn unavailable(sentence: String) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
}

/// Nobody can say any more that what was found is right.
fn forgotten(album: &Album, name: &Name) -> Refusal {
    if album.picture(name).is_none() {
        return missing(name);
    }
    let sentence = format!("what was found on {name} is not kept any more; send the true mask");
    Refusal::new(StatusCode::CONFLICT, sentence)
}

type NamePath = Result<Path<String>, PathRejection>;

fn name(path: NamePath) -> Result<Name, Refusal> {
    let Path(text) = path.map_err(|e| Refusal::bad(format!("the path is no /album/<name>: {}", e.body_text())))?;
    let unlike = || Refusal::bad("the album gives no such names: they have time, lane and number, as /album lists them");
    Name::parse(&text).ok_or_else(unlike)
}

async fn read(rooms: &Rooms, path: NamePath, file: fn(&Album, &Name) -> Option<Vec<u8>>) -> Result<Response, Refusal> {
    let (album, name) = (rooms.album()?, name(path)?);
    let bytes = on_disk({
        let name = name.clone();
        move || file(&album, &name)
    });
    bytes.await?.map(picture_answer).ok_or_else(|| missing(&name))
}

fn missing(name: &Name) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("the album has no {name} any more: the oldest make room beyond `album.unreviewed_max`"))
}
