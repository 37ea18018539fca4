//! The page, and the album's routes.

use super::*;
use crate::album::{Album, Page};
use crate::cell::{Spans, TILE_PX, TileRow};

fn page(number: u64) -> Page {
    let pixels: Arc<[u16]> = vec![20_000; TileRow::PIXELS].into();
    let spans: Spans = vec![Span { start: 0, end: CELL_PX as u16 }; TILE_PX].into();
    let mut found = Mask::new(CELL_PX, CELL_PX);
    (10..20).for_each(|x| found.set(x, 7, true));
    Page {
        cell: CellId { lane: "a".into(), number },
        unix_ns: 1_700_000_000_000_000_000 + number as i64,
        disposition: VerdictKind::Reject.into(),
        rows: [0, 1, 2].map(|_| (pixels.clone(), spans.clone())),
        found: Arc::new(found),
    }
}

fn list(server: &Server) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(&server.get("/album").1).unwrap();
    list["waiting"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn pictures_of_earlier_runs_can_be_told_about_and_those_of_this_one_count() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Album { dir: folder.path().into(), passed_every: 1, unreviewed_max: 10 };
    let open = || Album::open(&settings, |_| (), |_| panic!("the disk took everything")).unwrap();
    let (before, thread) = open();
    before.keep(page(7));
    before.close();
    thread.join().unwrap();
    let (album, thread) = open();
    album.keep(page(1));
    album.keep(page(9));
    let server = serving(Rooms { album: Some(Arc::new(album)), ..rooms() });
    until("not all are listed", || list(&server).len() == 3);
    let [forgotten, old, recent] = ["20231114T221320.000Z_a_9", "20231114T221320.000Z_a_7", "20231114T221320.000Z_a_1"];
    assert_eq!(list(&server), [forgotten, old, recent], "the newest first");

    let fetch = |path: String| server.agent.get(format!("http://{}{path}", server.at)).call().unwrap().body_mut().read_to_vec().unwrap();
    let crack_px = |name: &str| mask_png::decode_drawn(&fetch(format!("/album/{name}/mask.png")), CELL_PX).unwrap().count();
    assert_eq!(crack_px(old), 10);
    for file in ["picture", "view"] {
        assert!(fetch(format!("/album/{old}/{file}.png")).starts_with(b"\x89PNG"), "{file}");
    }
    let cells: serde_json::Value = serde_json::from_str(&server.get("/review").1).unwrap();
    assert_eq!(cells["lanes"][0]["cells"][0]["album"].as_str(), Some(recent));

    let mut truth = Mask::new(CELL_PX, CELL_PX);
    (15..30).for_each(|x| truth.set(x, 7, true));
    let (status, body) = server.post(&format!("/album/{old}"), "image/png", &mask_png::encode(&truth).unwrap());
    assert!(status == 200 && body.contains(r#""counted":false,"in_album":true"#), "{body}");
    let (status, body) = server.post(&format!("/album/{recent}"), JSON, br#"{"truth":"mask_is_right"}"#);
    assert!(status == 200 && body.contains(r#""counted":true,"in_album":true"#), "{body}");
    assert_eq!(server.value(r#"hairline_running_cells{lane="a"}"#), Some(1.0));
    // Not among the recent cells any more, of which the album keeps mask and verdict; told twice it counts once.
    for told in [&br#"{"truth":"no_defect"}"#[..], br#"{"truth":"mask_is_right"}"#] {
        let (status, body) = server.post(&format!("/album/{forgotten}"), JSON, told);
        assert!(status == 200 && body.contains(r#""counted":true,"in_album":true"#), "{body}");
    }
    assert_eq!(server.value(r#"hairline_running_cells{lane="a"}"#), Some(2.0));
    assert_eq!(server.value(r#"hairline_overkill_cells_total{lane="a"}"#), Some(1.0));
    // Others have come since, and it has been forgotten again.
    let judged: Spans = vec![Span { start: 0, end: CELL_PX as u16 }; CELL_PX].into();
    for number in 11..=14 {
        let found = Found { mask: Arc::new(Mask::new(CELL_PX, CELL_PX)), judged: judged.clone() };
        server.rooms.review.remember(CellId { lane: "a".into(), number }, found, VerdictKind::Pass.into());
    }
    let (status, body) = server.post(&format!("/album/{forgotten}"), "image/png", &mask_png::encode(&truth).unwrap());
    assert!(status == 200 && body.contains(r#""counted":true,"in_album":true"#), "{body}");
    assert_eq!(server.value(r#"hairline_running_cells{lane="a"}"#), Some(2.0));
    assert_eq!(server.value(r#"hairline_running_iou{lane="a"}"#), Some(15.0 / 30.0));
    let (status, sentence) = server.post(&format!("/album/{old}"), JSON, br#"{"truth":"mask_is_right"}"#);
    assert!(status == 409 && sentence.contains("send the true mask"), "what was found is gone: {sentence}");
    assert!(list(&server).is_empty());
    assert_eq!((crack_px(old), crack_px(recent)), (15, 10));
    // What was told last holds, and "right" is what was found even then.
    for (told, crack) in [(&br#"{"truth":"no_defect"}"#[..], 0), (br#"{"truth":"mask_is_right"}"#, 10)] {
        assert_eq!((server.post(&format!("/album/{recent}"), JSON, told).0, crack_px(recent)), (200, crack));
    }
    server.rooms.album.as_ref().unwrap().close();
    thread.join().unwrap();
    let (status, sentence) = server.post(&format!("/album/{old}"), JSON, br#"{"truth":"no_defect"}"#);
    assert!(status == 503 && sentence.contains("was not kept"), "what is not kept is not said to be: {sentence}");
}

#[test]
fn a_truth_that_waits_for_a_slow_disk_is_said_to_and_kept_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Album { dir: folder.path().into(), passed_every: 1, unreviewed_max: 10 };
    let (works, work) = std::sync::mpsc::channel();
    // The disk takes a picture, and is not done before it is told to be.
    let slow = move |_: &str| work.recv().unwrap_or_default();
    let (album, thread) = Album::open(&settings, slow, |_| panic!("the disk took everything")).unwrap();
    album.keep(page(1));
    let server = serving(Rooms { album: Some(Arc::new(album.impatient(Duration::from_millis(50)))), ..rooms() });
    until("no picture", || !list(&server).is_empty());
    let (status, sentence) = server.post("/album/20231114T221320.000Z_a_1", JSON, br#"{"truth":"no_defect"}"#);
    assert!(status == 503 && sentence.contains("may be kept yet") && !sentence.contains("not kept"), "{sentence}");
    works.send(()).unwrap();
    until("it is not kept", || list(&server).is_empty());
    server.rooms.album.as_ref().unwrap().close();
    thread.join().unwrap();
}

#[test]
fn names_that_the_album_does_not_give_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Album { dir: folder.path().join("album"), passed_every: 1, unreviewed_max: 10 };
    std::fs::write(folder.path().join("secret.png"), "x").unwrap();
    let (album, thread) = Album::open(&settings, |_| (), |_| ()).unwrap();
    let server = serving(Rooms { album: Some(Arc::new(album)), ..rooms() });
    for (path, status) in [
        ("/album/20231114T221320.000Z_a_1/mask.png", 404),
        ("/album/..%2F..%2Fsecret/picture.png", 400),
        ("/album/%2e%2e/picture.png", 400),
        ("/album/%ff/mask.png", 400),
    ] {
        assert_eq!(server.get(path).0, status, "{path}");
    }
    let (status, sentence) = server.post("/album/20231114T221320.000Z_a_1", JSON, br#"{"truth":"no_defect"}"#);
    assert!(status == 404 && sentence.contains("unreviewed_max"), "{sentence}");
    server.rooms.album.as_ref().unwrap().close();
    thread.join().unwrap();
    let (status, sentence) = self::server().get("/album");
    assert!(status == 404 && sentence.contains("album.dir"), "{sentence}");
}

#[test]
fn the_page_comes_with_all_it_needs_and_only_to_this_machine() {
    let server = server();
    for (path, kind) in [("/review/page", "text/html"), ("/review/page.js", "text/javascript"), ("/review/page.css", "text/css")] {
        let url = format!("http://{}{path}", server.at);
        let answer = server.agent.get(&url).call().unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(answer.status() == 200 && header("content-type").starts_with(kind), "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        // Another name that leads here is a page from elsewhere.
        let mut refused = server.agent.get(&url).header("Host", "evil.example").call().unwrap();
        assert_eq!(refused.status(), 403, "{path}");
        assert!(refused.body_mut().read_to_string().unwrap().contains("evil.example"), "{path}");
    }
    let script = server.get("/review/page.js").1;
    assert!(script.contains("/view.png") && !script.contains("/picture.png"), "a browser shows the upper 8 of 16 bits alone");
    let page = server.get("/review/page").1;
    for named in script.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{named}\"")), "the page has no {named}");
    }
}
