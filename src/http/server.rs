use super::loopback::loopback_only;
use super::refusal::Refusal;
use super::rooms::Rooms;
use super::told::BODY_LIMIT;
use super::{HttpError, album_routes, page, review_page, review_routes};
use crate::telemetry::{Report, Socket};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long open connections may take to end once the station stops.
const GRACE: Duration = Duration::from_secs(2);
/// How long a connection may say nothing, or take for the head of a request: one that is forgotten does not keep its descriptor.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// Connections at a time, so that the station's other files and sockets have descriptors; more wait until one of them ends.
pub(super) const CONNECTIONS: usize = 64;
/// How long a request may take, its body included; one that dawdles is refused.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Takes the configured address. Fails with the key and the remedy where it cannot be had.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(listen).await.map_err(|source| HttpError::Bind { listen, source })
}

/// Serves until `shutdown` is done; then answers what is under way, for two seconds at most.
pub async fn serve(listener: TcpListener, rooms: Rooms, shutdown: impl Future<Output = ()> + Send + 'static) {
    let router = router(rooms);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE_LIMIT);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async { (places.clone().acquire_owned().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo(peer))));
                let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    // One that breaks is its client's affair.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) => {}
            Err(e) => {
                // No file descriptors left, most likely: others end meanwhile.
                tracing::warn!("HTTP: a connection cannot be taken: {e}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
}

pub(super) fn router(rooms: Rooms) -> Router {
    Router::new()
        .route("/", get(index))
        // Browsers ask for one: that is no bad request.
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .merge(for_this_machine())
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(rooms.clone(), within_limits))
        .with_state(rooms)
}

/// What is told about cells, and who may look at them.
fn for_this_machine() -> Router<Rooms> {
    let routes = review_page::routes().merge(review_routes::routes()).merge(album_routes::routes());
    routes.layer(DefaultBodyLimit::max(BODY_LIMIT)).layer(from_fn(loopback_only))
}

/// Ends requests that dawdle, and counts refused ones.
async fn within_limits(State(rooms): State<Rooms>, request: Request, next: Next) -> Response {
    let response = match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, format!("the request took longer than {} s", REQUEST_LIMIT.as_secs())).into_response()
        }
    };
    if response.status().is_client_error() {
        rooms.metrics.bad_requests(Socket::Http, 1);
    }
    response
}

async fn index(State(rooms): State<Rooms>) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page::render(&rooms))).into_response()
}

async fn metrics(State(rooms): State<Rooms>) -> Result<Response, Refusal> {
    let text = rooms.metrics.render().map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

async fn live(State(rooms): State<Rooms>) -> Response {
    answer("live", &rooms.health.live())
}

async fn ready(State(rooms): State<Rooms>) -> Response {
    answer("ready", &rooms.health.ready())
}

fn answer(what: &str, report: &Report) -> Response {
    if report.is_ok() {
        return format!("{what}\n").into_response();
    }
    let reasons: String = report.reasons.iter().map(|reason| format!("- {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not {what}:\n{reasons}")).into_response()
}

async fn nothing_here(request: Request) -> Refusal {
    let sentence =
        format!("there is nothing at {}; there are /, /metrics, /live, /ready, /review, /review/page and /album", request.uri().path());
    Refusal::new(StatusCode::NOT_FOUND, sentence)
}

async fn wrong_method(request: Request) -> Refusal {
    let sentence = format!(
        "{} cannot be done to {}; GET asks, POST /review/<lane>/<number> and POST /album/<name> tell the truth",
        request.method(),
        request.uri().path()
    );
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
}
