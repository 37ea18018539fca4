//! What a running station says, held against what `docs/wire/` shows to those who write the other side.

use crate::station::{SIMULATED, hairline, station, told};
use hairline::config::StationConfig;
use hairline::publish::wire::{BlindRequest, ReplyBody, Request, StatusMessage};
use hairline::publish::{Heard, Requester, Subscriber};
use hairline::station::{Endpoints, RunOptions, run};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than any machine needs; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The example of this name in the contract.
fn example(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/wire/feed.md")).unwrap();
    let (_, behind) = text.split_once(&format!("<!-- example: {name} -->\n```json\n")).unwrap();
    serde_json::from_str(behind.split_once("\n```").unwrap().0).unwrap()
}

/// Runs the station of `config` for as long as `client` talks with it.
fn with_station<T: Send>(config: &Path, client: impl FnOnce(Endpoints) -> T + Send) -> T {
    let config = StationConfig::load(config).unwrap().0;
    let (started, endpoints) = std::sync::mpsc::channel();
    let (done, asked_to_stop) = tokio::sync::oneshot::channel::<()>();
    let on_start: Box<dyn FnOnce(Endpoints) + Send> = Box::new(move |bound| started.send(bound).unwrap());
    std::thread::scope(|scope| {
        let running = scope.spawn(move || {
            let stop = async move {
                let _ = asked_to_stop.await;
            };
            run(&config, RunOptions { on_start: Some(on_start), ..Default::default() }, stop).unwrap();
        });
        let answer = client(endpoints.recv_timeout(PATIENCE).expect("the station did not start"));
        // A client that fails drops it as well: the station stops, and the failure is told.
        drop(done);
        running.join().unwrap();
        answer
    })
}

/// Listens until the lane has told its status and at least one verdict.
fn status_and_a_verdict(at: &Endpoints) -> StatusMessage {
    let mut subscriber = Subscriber::connect(&at.feed, Some("a"), false).unwrap();
    let (begun, mut status, mut verdict) = (Instant::now(), None, None);
    while begun.elapsed() < PATIENCE {
        match subscriber.next(100).unwrap() {
            Some(Heard::Status(told)) => status = Some(*told),
            Some(Heard::Verdict(told)) => verdict = Some(told),
            Some(Heard::Foreign { topic, reason }) => panic!("`{topic}`: {reason}"),
            _ => {}
        }
        if verdict.is_some()
            && let Some(status) = status.clone()
        {
            return status;
        }
    }
    panic!("no status or no verdict came");
}

#[test]
fn queues_and_blind_times_are_told_as_the_contract_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    // In a process of its own: where this one closes a ledger, those that other tests start may hold it for a moment.
    let before = hairline(&["run", "--cells", "1", "--config", config.to_str().unwrap()]).output().unwrap();
    assert!(before.status.success(), "{}", told(&before));
    let (status, blind) = with_station(&config, |at| {
        let status = status_and_a_verdict(&at);
        let ask = Request::Blind(BlindRequest { lane: "a".into(), since_unix_ns: None });
        (status, Requester::new(&at.requests).unwrap().ask(&ask).unwrap())
    });
    let status = serde_json::to_value(status).unwrap();
    let names = |status: &serde_json::Value| status["queues"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&status), names(&example("status")));

    let ReplyBody::Blind { records, complete: true } = blind else { panic!("{blind:?}") };
    let reasons: Vec<&str> = records.iter().map(|record| record.reason.as_str()).collect();
    assert_eq!(reasons, [example("blind")["reason"].as_str().unwrap()]);
}
