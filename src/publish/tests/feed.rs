use super::{MemoryLedger, RUN, Station, samples, settings};
use crate::cell::{HoldReason, VerdictKind, mask_png};
use crate::publish::wire::VerdictMessage;
use crate::publish::{Bindings, PublishError, Publisher, StationId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_verdict_comes_with_its_mask_and_every_message_fits_its_schema() {
    let station = Station::start();
    let listener = station.subscriber("a");
    station.tell(&samples::pass("a", 1), &samples::mask_png(0));
    station.tell(&samples::reject("a", 2), &samples::mask_png(40));
    station.tell(&samples::hold("a", 3), &[]);
    station.publisher.blind(&samples::blind("a")).unwrap();

    let (topic, header, payload) = listener.next();
    assert_eq!((topic.as_str(), &header["number"], payload.len()), ("verdict.a", &1.into(), 0));
    let (topic, header, payload) = listener.next();
    assert_eq!((topic.as_str(), &header["number"], &header["width_px"]), ("mask.a", &1.into(), &1344.into()));
    assert_eq!(mask_png::decode(&payload).unwrap(), samples::mask(0));
    let (_, header, _) = listener.next();
    assert_eq!(serde_json::from_value::<VerdictMessage>(header).unwrap(), samples::reject("a", 2));
    let (_, _, payload) = listener.next();
    assert_eq!(mask_png::decode(&payload).unwrap(), samples::mask(40));
    let (_, header, _) = listener.next();
    assert_eq!((&header["verdict"], &header["hold"]["reason"]), (&"hold".into(), &"lines_lost".into()));
    let (topic, header, _) = listener.next();
    assert_eq!((topic.as_str(), &header["schema"]), ("status.a", &"hairline.blind/1".into()));

    station.until("not every subscription is counted", |statistics| statistics.topics == 3);
    let statistics = station.publisher.statistics();
    assert_eq!((statistics.verdicts, statistics.masks, statistics.failed, statistics.bad_requests), (3, 2, 0, 0));
}

#[test]
fn the_thread_of_the_sockets_shows_that_it_lives_though_nobody_says_anything() {
    let turns = Arc::<AtomicU64>::default();
    let (identity, bindings) = (StationId { station: "s".into(), run: RUN.into(), lanes: vec![] }, Arc::new(Bindings::new([], 1)));
    let (alive, ledger) = (turns.clone(), Arc::<MemoryLedger>::default());
    let turn = move || _ = alive.fetch_add(1, Ordering::Relaxed);
    let publisher = Publisher::start(identity, &settings("tcp://127.0.0.1:*", 10), ledger, bindings, turn).unwrap();
    let started = Instant::now();
    while turns.load(Ordering::Relaxed) < 4 {
        assert!(started.elapsed() < Duration::from_secs(60), "it looks as if it hung");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(publisher);
    assert_eq!(Arc::strong_count(&turns), 1, "what ended need not live");
}

/// What has been accepted leaves, even if the publisher stops at once.
#[test]
fn stopping_sends_what_was_accepted() {
    let station = Station::start();
    let listener = station.subscriber("a");
    (1..=100).for_each(|n| station.tell(&samples::pass("a", n), &[]));
    drop(station.publisher);
    (1..=100).for_each(|n| assert_eq!(listener.next().1["number"], n));
}

/// Promise: a slow subscriber loses messages, but never unseen, and holds up nobody.
#[test]
fn a_slow_subscriber_sees_its_gap_and_holds_up_nobody() {
    let station = Station::with_high_water_mark(100);
    let slow = station.slow_subscriber("a");
    let quick = station.subscriber("ab");
    let mask = samples::mask_png(600);
    // More than the publisher's queue and the kernel's buffers hold, to a subscriber that does not read.
    let bulky = VerdictMessage {
        hold: Some(HoldReason::Network { detail: "x".repeat(100_000) }),
        verdict: VerdictKind::Hold,
        ..samples::hold("a", 1)
    };
    let cells = 400;
    for number in 1..=cells {
        station.tell(&VerdictMessage { number, ..bulky.clone() }, &[]);
        station.tell(&samples::reject("ab", number), &mask);
        assert_eq!(quick.next().1["number"], number);
        assert_eq!(quick.next().0, "mask.ab");
    }
    let mut numbers = Vec::new();
    while let Some((topic, header, _)) = slow.try_next(300) {
        // `verdict.a` is a prefix of `verdict.ab` too: a subscriber compares topics.
        if topic == "verdict.a" {
            numbers.push(header["number"].as_u64().unwrap());
        }
    }
    assert!(numbers.len() < cells as usize, "the subscriber was not slow enough for this test");
    assert!(numbers.is_sorted_by(|a, b| a < b));

    let (resent, _) = station.client().replay(serde_json::json!({"request": "replay", "lane": "a", "from": 1}));
    assert_eq!(resent.iter().map(|(m, _)| m.number).collect::<Vec<_>>(), (1..=cells).collect::<Vec<_>>());
}

#[test]
fn a_port_in_use_is_told_with_its_key_and_the_remedy() {
    let station = Station::start();
    let taken = station.publisher.endpoints().0.to_owned();
    let start = |settings| {
        let identity = StationId { station: "other".into(), run: RUN.into(), lanes: vec![] };
        Publisher::start(identity, &settings, station.ledger.clone(), Arc::new(Bindings::new([], 1)), || {}).map(|_| ())
    };
    let error = start(settings(&taken, 10)).unwrap_err();
    assert!(matches!(error, PublishError::InUse { key: "publish.feed", .. }), "{error}");
    assert!(error.to_string().contains(&taken) && error.to_string().contains("choose another port"), "{error}");
    let mut requests = settings("tcp://127.0.0.1:*", 10);
    requests.requests = taken;
    assert!(start(requests).unwrap_err().to_string().contains("`publish.requests`"));
}

#[test]
fn unusable_endpoints_are_told_with_what_is_expected() {
    let ledger = Arc::<super::MemoryLedger>::default();
    for endpoint in ["127.0.0.1:5556", "tcp://127.0.0.1", "tcp://:5556", "tcp://127.0.0.1:70000", "tcp://192.0.2.1:5556", "ipc:///x", ""] {
        let identity = StationId { station: "s".into(), run: RUN.into(), lanes: vec![] };
        let bindings = Arc::new(Bindings::new([], 1));
        let error =
            Publisher::start(identity, &settings(endpoint, 10), ledger.clone(), bindings, || {}).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("`publish.feed`") && error.contains("tcp://127.0.0.1:5556"), "{endpoint}: {error}");
    }
}

#[test]
fn a_payload_that_is_no_mask_is_refused_and_nothing_is_sent() {
    let station = Station::start();
    assert!(matches!(station.publisher.verdict(&samples::pass("a", 1), b"no png"), Err(PublishError::Mask(_))));
    assert_eq!(station.client().ask(serde_json::json!({"request": "hello"}))["lanes"][0]["last"], 0);
}
