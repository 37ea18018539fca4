//! What is open to this machine alone.

use super::refusal::Refusal;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// What to do: from the station itself, too, requests are refused that name it otherwise.
const LISTEN: &str = "on the station itself open http://127.0.0.1:PORT (http.listen must be 127.0.0.1 or 0.0.0.0)";

/// Lets requests through that come from this machine and ask for it by its own name.
///
/// The name matters to browsers: a page from elsewhere may have its own name lead here, and would then be taken for ours.
pub(super) async fn loopback_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let refuse = |sentence: String| Refusal::new(StatusCode::FORBIDDEN, sentence).into_response();
    if !peer.ip().to_canonical().is_loopback() {
        return refuse(format!("the truth about cells is told at 127.0.0.1 alone; this request came from {}; {LISTEN}", peer.ip()));
    }
    match foreign_name(request.headers()) {
        Some(host) => refuse(format!("the truth about cells is told at 127.0.0.1 or localhost; this request asked for {host:?}; {LISTEN}")),
        None => next.run(request).await,
    }
}

/// The name that a request asks for, where it is not this machine's own.
fn foreign_name(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?;
    let text = String::from_utf8_lossy(host.as_bytes());
    let name = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    };
    let is_own = name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
    (!is_own).then(|| text.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let foreign = |host: &str| foreign_name(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())])).is_some();
        for own in ["127.0.0.1:9464", "127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:9464", "127.0.0.2"] {
            assert!(!foreign(own), "{own}");
        }
        for other in ["evil.example:9464", "192.0.2.7", "localhost.evil.example", "[2001:db8::1]:9464", "", "[", "127.0.0.1.evil.example"] {
            assert!(foreign(other), "{other}");
        }
        assert_eq!(foreign_name(&HeaderMap::new()), None);
    }
}
