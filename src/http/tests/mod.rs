//! The routes, through a real server on a port of its own.

mod album;

use super::rooms::Rooms;
use super::server::router;
use super::*;
use crate::cell::{CELL_PX, CellId, HoldReason, LossCause, Mask, Span, Verdict, VerdictKind, mask_png};
use crate::config;
use crate::review::{Found, Review};
use crate::telemetry::{Health, Metrics};
use axum::extract::connect_info::MockConnectInfo;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

struct Server {
    at: SocketAddr,
    rooms: Rooms,
    agent: ureq::Agent,
    runtime: Runtime,
}

const JSON: &str = "application/json";
const LOCALHOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn rooms() -> Rooms {
    let lanes: [Arc<str>; 2] = ["a".into(), "b".into()];
    let review = Review::new(&config::Review { keep_cells: 4, window_cells: 4 });
    let mut mask = Mask::new(CELL_PX, CELL_PX);
    (10..20).for_each(|x| mask.set(x, 7, true));
    let judged = vec![Span { start: 0, end: CELL_PX as u16 }; CELL_PX].into();
    review.remember(CellId { lane: "a".into(), number: 1 }, Found { mask: Arc::new(mask), judged }, VerdictKind::Reject.into());
    Rooms {
        run: "this".into(),
        metrics: Arc::new(Metrics::new(&lanes).unwrap()),
        health: Health::new(&lanes, Duration::from_secs(3600)),
        review: Arc::new(review),
        album: None,
    }
}

/// A server that runs until the test ends.
fn server() -> Server {
    serving(rooms())
}

fn serving(rooms: Rooms) -> Server {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(bind(LOCALHOST)).unwrap();
    let at = listener.local_addr().unwrap();
    runtime.spawn(serve(listener, rooms.clone(), std::future::pending()));
    Server { at, rooms, agent: agent(), runtime }
}

fn agent() -> ureq::Agent {
    // The way to this machine leads through no proxy, whatever the environment says of proxies.
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

impl Server {
    fn get(&self, path: &str) -> (u16, String) {
        let mut response = self.agent.get(format!("http://{}{path}", self.at)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, String) {
        let request = self.agent.post(format!("http://{}{path}", self.at)).content_type(content_type);
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn value(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

#[test]
fn health_says_what_stands_against_it() {
    let server = server();
    let (status, body) = server.get("/ready");
    assert_eq!((status, body.lines().count()), (503, 4), "{body}");
    server.rooms.health.warmed_up();
    server.rooms.health.camera_ready("a");
    server.rooms.health.camera_ready("b");
    assert_eq!(server.get("/ready"), (200, "ready\n".into()));
    assert_eq!(server.get("/live"), (200, "live\n".into()));
}

#[test]
fn the_page_tells_each_lane_s_sums() {
    let server = server();
    let metrics = &server.rooms.metrics;
    metrics.verdict("a", &Verdict::Reject, Some("longest_crack_mm"), 3);
    metrics.verdict("a", &Verdict::Pass, None, 0);
    metrics.verdict("a", &Verdict::Hold(HoldReason::Deadline), None, 0);
    metrics.lines_lost("a", LossCause::FramesMissing, 512);
    metrics.camera_connected("a", true);
    assert_eq!(server.value(r#"hairline_defects_total{lane="a"}"#), Some(3.0));
    let (status, page) = server.get("/");
    assert!(
        status == 200 && page.contains("<tr><td>a</td><td>connected</td><td>1</td><td>1</td><td>1 (deadline 1)</td><td>512</td>"),
        "{page}"
    );
}

#[test]
fn a_truth_reaches_counters_and_gauges_and_can_be_corrected() {
    let server = server();
    assert_eq!(server.value(r#"hairline_running_oii{lane="a"}"#), None);
    let (status, body) = server.post("/review/a/1", JSON, br#"{"truth":"mask_is_right"}"#);
    assert!(status == 200 && body.contains(r#""tp":10"#), "{body}");
    let mut truth = Mask::new(CELL_PX, CELL_PX);
    (15..30).for_each(|x| truth.set(x, 7, true));
    let (status, body) = server.post("/review/a/1", "image/png", &mask_png::encode(&truth).unwrap());
    assert!(status == 200 && body.contains(r#""fn":10"#), "{body}");
    assert_eq!(server.value(r#"hairline_running_iou{lane="a"}"#), Some(0.25));
    let (status, _) = server.post("/review/a/1", JSON, br#"{"truth":"no_defect"}"#);
    assert_eq!(status, 200);
    for (series, value) in [
        (r#"hairline_running_oii{lane="a"}"#, 1.0),
        (r#"hairline_running_cells{lane="a"}"#, 1.0),
        (r#"hairline_truth_pixels_total{lane="a",outcome="tp"}"#, 10.0),
        (r#"hairline_truth_pixels_total{lane="a",outcome="fp"}"#, 10.0),
        (r#"hairline_truth_pixels_total{lane="a",outcome="fn"}"#, 10.0),
        (r#"hairline_truth_corrections_total{lane="a"}"#, 2.0),
        (r#"hairline_overkill_cells_total{lane="a"}"#, 1.0),
        (r#"hairline_escape_cells_total{lane="a"}"#, 0.0),
    ] {
        assert_eq!(server.value(series), Some(value), "{series}");
    }
}

#[test]
fn a_truth_about_a_cell_of_an_earlier_run_is_told_of_no_other_one() {
    let server = server();
    assert!(server.get("/review").1.contains(r#""run":"this""#));
    let (status, sentence) = server.post("/review/a/1?run=before", JSON, br#"{"truth":"no_defect"}"#);
    assert!(status == 409 && sentence.contains("restart"), "{sentence}");
    assert_eq!(server.value(r#"hairline_running_cells{lane="a"}"#), Some(0.0));
    assert_eq!(server.post("/review/a/1?run=this", JSON, br#"{"truth":"no_defect"}"#).0, 200);
}

#[test]
fn the_mask_that_is_listed_can_be_fetched_and_sent_back() {
    let server = server();
    let (_, list) = server.get("/review");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let cell = &list["lanes"][0]["cells"][0];
    assert_eq!((cell["number"].as_u64(), cell["crack_px"].as_u64()), (Some(1), Some(10)));
    let mut response = server.agent.get(format!("http://{}{}", server.at, cell["mask"].as_str().unwrap())).call().unwrap();
    let picture = response.body_mut().read_to_vec().unwrap();
    assert_eq!(mask_png::decode_drawn(&picture, CELL_PX).unwrap().count(), 10);
    let (status, body) = server.post("/review/a/1", "image/png", &picture);
    assert!(status == 200 && body.contains(r#""iou":1.0"#), "{body}");
}

#[test]
fn garbage_is_refused_with_a_sentence_and_changes_nothing() {
    let server = server();
    let small = mask_png::encode(&Mask::new(8, 8)).unwrap();
    let huge = vec![0; (4 << 20) + 1];
    let cases: [(&str, &str, &[u8], u16, &str); 11] = [
        ("/review/a/1", JSON, b"{", 400, "not understood"),
        ("/review/a/1", JSON, br#"{"truth":"perhaps"}"#, 400, "mask_is_right"),
        ("/review/a/1", "text/html", b"x", 415, "image/png"),
        ("/review/a/1", "image/png", b"\x89PNG\r\n\x1a\n garbage", 400, "no readable PNG"),
        ("/review/a/1", "image/png", &small, 400, "8×8"),
        ("/review/a/1", "image/png", &huge, 413, "at most"),
        ("/review/a/0x1", JSON, br#"{"truth":"no_defect"}"#, 400, "no cell number"),
        ("/review/a/99999999999999999999", JSON, br#"{"truth":"no_defect"}"#, 400, "no cell number"),
        ("/review/a/2", JSON, br#"{"truth":"no_defect"}"#, 404, "keep_cells"),
        ("/review/%ff/1", JSON, br#"{"truth":"no_defect"}"#, 400, "<lane>"),
        ("/metrics", JSON, b"{}", 405, "POST"),
    ];
    for (path, content_type, body, status, sentence) in cases {
        let (got, text) = server.post(path, content_type, body);
        assert!(got == status && text.contains(sentence), "{path} {content_type}: {got} {text}");
    }
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.value(r#"hairline_running_cells{lane="a"}"#), Some(0.0));
    assert_eq!(server.value(r#"hairline_bad_requests_total{socket="http"}"#), Some(12.0));
}

#[test]
fn bytes_that_are_no_http_leave_the_server_serving() {
    let server = server();
    for garbage in
        [&b"\0\xff\xfe\x01garbage\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"POST /review/a/1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(server.at).unwrap();
        socket.write_all(garbage).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
    }
    assert_eq!(server.get("/live").0, 200);
}

#[test]
fn the_truth_is_not_open_to_other_machines() {
    let (server, rooms) = (server(), rooms());
    let elsewhere = SocketAddr::from(([192, 0, 2, 7], 4711));
    let listener = server.runtime.block_on(bind(LOCALHOST)).unwrap();
    let at = listener.local_addr().unwrap();
    let app = router(rooms.clone()).layer(MockConnectInfo(elsewhere));
    server.runtime.spawn(async { axum::serve(listener, app).await });
    let remote = Server { at, rooms, agent: agent(), runtime: Runtime::new().unwrap() };
    let (status, sentence) = remote.post("/review/a/1", JSON, br#"{"truth":"no_defect"}"#);
    assert!(status == 403 && sentence.contains("192.0.2.7"), "{sentence}");
    assert_eq!(["/review", "/review/a/1/mask.png", "/review/page", "/album"].map(|path| remote.get(path).0), [403; 4]);
    assert_eq!((remote.get("/metrics").0, remote.rooms.review.running("a").cells), (200, 0));
}

#[test]
fn a_port_in_use_is_told_with_key_and_remedy() {
    let server = server();
    let error = server.runtime.block_on(bind(server.at)).unwrap_err().to_string();
    assert!(error.contains("`http.listen`") && error.contains(&server.at.to_string()) && error.contains("ss -ltnp"), "{error}");
}

#[test]
fn a_connection_that_never_ends_does_not_keep_the_server_from_stopping() {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(bind(LOCALHOST)).unwrap();
    let mut idle = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let head = b"POST /review/a/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    idle.write_all(head).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(serve(listener, rooms(), async {
        let _ = stopped.await;
    }));
    // The server waits for the body now, which never comes.
    idle.read_exact(&mut [0; 25]).unwrap();
    stop.send(()).unwrap();
    let served = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), serving).await });
    assert!(matches!(served, Ok(Ok(()))), "{served:?}");
}

#[test]
fn forgotten_connections_take_no_more_than_their_places_and_the_next_waits_for_one() {
    let server = server();
    let forgotten: Vec<TcpStream> = (0..super::server::CONNECTIONS).map(|_| TcpStream::connect(server.at).unwrap()).collect();
    let mut next = TcpStream::connect(server.at).unwrap();
    next.write_all(b"GET /live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(next.read(&mut [0]).is_err(), "it has been served beside {} others", forgotten.len());
    drop(forgotten);
    next.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = String::new();
    next.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
