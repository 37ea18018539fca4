use super::{Client, MemoryLedger, RUN, Station, samples, settings};
use crate::cell::mask_png;
use crate::publish::wire::{BlindMessage, ReplayRequest, ReplyBody, Request, VerdictMessage};
use crate::publish::{Bindings, PublishError, Publisher, Requester, StationId};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Who comes late gets everything, in order and without gaps, and cannot take it for fresh.
#[test]
fn a_late_joiner_gets_all_without_gaps() {
    let station = Station::start();
    let mask = samples::mask_png(12);
    (1..=60).for_each(|n| station.tell(&samples::reject("a", n), &mask));
    station.until("not every verdict is published", |statistics| statistics.verdicts == 60);
    let late = station.subscriber("a");
    (61..=90).for_each(|n| station.tell(&samples::pass("a", n), &[]));

    let first = late.next().1["number"].as_u64().unwrap();
    assert_eq!(first, 61);
    let (resent, end) = station.client().replay(json!({"request": "replay", "lane": "a", "from": 1, "limit": first - 1}));
    assert_eq!(end, ReplyBody::ReplayEnd { run: RUN.into(), lane: "a".into(), sent: 60, next: 61 });
    let mut numbers: Vec<_> = resent.iter().map(|(m, _)| m.number).collect();
    numbers.push(first);
    (62..=90).for_each(|_| numbers.push(late.next().1["number"].as_u64().unwrap()));
    assert_eq!(numbers, (1..=90).collect::<Vec<_>>());

    for (message, payload) in &resent {
        assert!(message.resent && !message.opens_gate(i64::MIN));
        assert_eq!(VerdictMessage { resent: false, ..message.clone() }, samples::reject("a", message.number));
        assert_eq!(mask_png::decode(payload).unwrap(), samples::mask(12));
    }
    assert_eq!(station.publisher.statistics().replayed, 60);
}

#[test]
fn fresh_verdicts_go_out_while_a_replay_is_stuck_on_a_client_that_does_not_read() {
    let station = Station::start();
    // More than the sockets' and the kernel's buffers hold.
    let (cells, payload) = (400, vec![7; 100_000]);
    (1..=cells).for_each(|n| station.ledger.record(&samples::reject("a", n), &payload));
    let listener = station.subscriber("ab");
    let context = zmq::Context::new();
    let stuck = Client(context.socket(zmq::DEALER).unwrap());
    stuck.0.set_rcvhwm(1).unwrap();
    stuck.0.set_rcvbuf(1 << 16).unwrap();
    stuck.0.connect(station.publisher.endpoints().1).unwrap();
    stuck.0.send(json!({"request": "replay", "lane": "a", "from": 1}).to_string().as_bytes(), 0).unwrap();
    // The replay is under way, and its client reads nothing.
    station.until("no replay has begun", |statistics| statistics.replayed > 0);
    for number in 1..=20 {
        station.tell(&samples::pass("ab", number), &[]);
        assert_eq!(listener.next().1["number"], number);
    }
    assert!(station.publisher.statistics().replayed < cells, "the client was not slow enough for this test");
    // When it reads at last, it has lost nothing.
    for number in 1..=cells {
        let (reply, mask) = stuck.answer();
        assert_eq!((&reply["message"]["number"], mask.len()), (&number.into(), payload.len()));
    }
    assert_eq!(stuck.answer().0["reply"], "replay_end");
}

/// The promise's one exception: what the disk did not confirm is kept for a replay nevertheless.
#[test]
fn what_was_not_recorded_is_replayed_too() {
    let station = Station::start();
    for number in 1..=50 {
        station.tell(&VerdictMessage { recorded: number % 3 != 0, ..samples::hold("a", number) }, &[]);
    }
    let numbers = |from: u64, limit: u64| -> Vec<u64> {
        let (resent, _) = station.client().replay(json!({"request": "replay", "lane": "a", "from": from, "limit": limit}));
        resent.iter().map(|(m, _)| m.number).collect()
    };
    assert_eq!(numbers(1, 1000), (1..=50).collect::<Vec<_>>());
    assert_eq!(numbers(20, 7), (20..27).collect::<Vec<_>>());

    station.ledger.broken.store(true, Ordering::Relaxed);
    // Asked on from the last number, nothing that the ledger has may be passed over.
    for (from, got) in [(41, &[][..]), (42, &[42])] {
        let (resent, end) = station.client().replay(json!({"request": "replay", "lane": "a", "from": from}));
        assert_eq!(resent.iter().map(|(m, _)| m.number).collect::<Vec<_>>(), got);
        assert!(matches!(end, ReplyBody::Error { error } if error.contains("the disk is gone")));
    }
}

/// The station had given up waiting for the disk, which took the verdict all the same.
#[test]
fn what_was_published_is_replayed_whatever_the_ledger_holds_of_it() {
    let station = Station::start();
    station.ledger.record(&samples::pass("a", 1), &[]);
    station.tell(&VerdictMessage { recorded: false, ..samples::hold("a", 1) }, &[]);
    let (resent, _) = station.client().replay(json!({"request": "replay", "lane": "a", "from": 1}));
    assert_eq!(resent.iter().map(|(m, _)| (m.number, m.recorded)).collect::<Vec<_>>(), [(1, false)]);
}

#[test]
fn an_id_is_bound_and_comes_back_for_its_cell() {
    let station = Station::start();
    let client = station.client();
    let bind = |id: &str, at: i64| json!({"request": "bind", "lane": "a", "id": id, "encoder_count": at, "tolerance_counts": 100});
    let reply = client.ask(bind("CARRIER-1", 41_000));
    assert_eq!((&reply["ok"], &reply["id"]), (&true.into(), &"CARRIER-1".into()));
    client.ask(json!({"request": "bind", "lane": "a", "id": "CARRIER-2", "unix_ns": samples::NOON_NS, "tolerance_ms": 3.5}));
    assert_eq!(station.bindings.take("a", Some(40_960), samples::at(0)).as_deref(), Some("CARRIER-1"));
    assert_eq!(station.bindings.take("a", None, samples::at(samples::NOON_NS + 3_500_000)).as_deref(), Some("CARRIER-2"));

    let mut elsewhere = bind("CARRIER-3", 0);
    elsewhere["lane"] = "nowhere".into();
    let reply = client.ask(elsewhere);
    assert_eq!(reply["ok"], false);
    assert!(reply["error"].as_str().unwrap().contains("`nowhere`"));
}

#[test]
fn hello_and_runs_tell_who_is_there_and_what_is_stored() {
    let station = Station::start();
    (1..=3).for_each(|n| station.tell(&samples::pass("ab", n), &[]));
    // A request may be answered before what waits is published.
    station.until("not every verdict is published", |statistics| statistics.verdicts == 3);
    station.ledger.record(&VerdictMessage { run: "0000".into(), ..samples::pass("a", 7) }, &[]);
    let req = Client::connect(station.publisher.endpoints().1, zmq::REQ);
    let hello = req.ask(json!({"request": "hello"}));
    assert_eq!((&hello["station"], &hello["run"]), (&"line-3".into(), &RUN.into()));
    assert_eq!(hello["lanes"], json!([{"lane": "a", "last": 0}, {"lane": "ab", "last": 3}]));
    let runs = req.ask(json!({"request": "runs"}));
    assert_eq!(
        runs["runs"],
        json!([{"run": "0000", "lane": "a", "first": 7, "last": 7}, {"run": RUN, "lane": "ab", "first": 1, "last": 3}])
    );
    let (old, _) = station.client().replay(json!({"request": "replay", "run": "0000", "lane": "a", "from": 1}));
    assert_eq!(old[0].0.number, 7);
}

/// Nothing found must not be taken for nothing missed.
#[test]
fn what_neither_station_nor_ledger_knows_is_an_error() {
    let station = Station::start();
    station.ledger.record(&VerdictMessage { run: "0000".into(), ..samples::pass("old", 7) }, &[]);
    let client = station.client();
    for (request, named) in [
        (json!({"request": "replay", "lane": "nowhere", "from": 1}), "`nowhere`"),
        (json!({"request": "replay", "run": "1111", "lane": "a", "from": 1}), "`1111`"),
        (json!({"request": "blind", "lane": "nowhere"}), "`nowhere`"),
    ] {
        let reply = client.ask(request);
        assert_eq!(reply["reply"], "error", "{reply}");
        assert!(reply["error"].as_str().unwrap().contains(named), "{reply}");
    }
    for request in [
        json!({"request": "replay", "lane": "a", "from": 1}),
        json!({"request": "replay", "run": "0000", "lane": "old", "from": 8}),
        json!({"request": "blind", "lane": "a"}),
        json!({"request": "blind", "lane": "old"}),
    ] {
        assert_eq!(client.ask(request.clone())["ok"], true, "{request}");
    }
}

#[test]
fn blind_times_are_told_again_in_portions() {
    let station = Station::start();
    let spell = |n: i64| BlindMessage { from_unix_ns: 10 * n, to_unix_ns: 10 * n + 5, ..samples::blind("a") };
    let spells: Vec<_> = (1..=1001).map(spell).collect();
    *station.ledger.blind.lock().unwrap() = spells.clone();
    let client = station.client();
    let first = client.ask(json!({"request": "blind", "lane": "a"}));
    assert_eq!((first["records"].as_array().unwrap().len(), &first["complete"]), (1000, &json!(false)));
    let since = first["records"][999]["to_unix_ns"].clone();
    let rest = client.ask(json!({"request": "blind", "lane": "a", "since_unix_ns": since}));
    assert_eq!((&rest["records"], &rest["complete"]), (&json!([spells[1000]]), &json!(true)));
    assert_eq!(client.ask(json!({"request": "blind", "lane": "ab"}))["records"], json!([]));
}

#[test]
fn a_stored_verdict_that_cannot_be_read_is_left_out_and_what_follows_comes() {
    let station = Station::start();
    (1..=3).for_each(|number| station.tell(&samples::pass("a", number), &[]));
    station.ledger.verdicts.lock().unwrap()[1].2.header = b"{".to_vec();
    let (resent, end) = station.client().replay(json!({"request": "replay", "lane": "a", "from": 1}));
    assert_eq!(resent.iter().map(|(m, _)| m.number).collect::<Vec<_>>(), [1, 3]);
    assert!(matches!(end, ReplyBody::ReplayEnd { sent: 2, next: 4, .. }));
}

/// After going back to an older program the ledger holds reasons, fields and numbers that it does not know.
#[test]
fn what_a_later_version_stored_is_told_again_letter_by_letter() {
    let station = Station::start();
    (1..=2).for_each(|number| station.tell(&samples::hold("a", number), &[]));
    let written = String::from_utf8(samples::hold("a", 1).to_json().unwrap()).unwrap();
    let known = r#""hold":{"reason":"lines_lost","lines":512}"#;
    let later = r#""zone":[1e2,0.10,{"z":1,"a":-0.0}],"hold":{"reason":"meteor","detail":"says \"resent\":false"}"#;
    assert!(written.contains(known));
    let later = written.replace(known, later);
    station.ledger.verdicts.lock().unwrap()[0].2.header = later.clone().into_bytes();
    let client = station.client();
    client.0.send(json!({"request": "replay", "lane": "a", "from": 1}).to_string().as_bytes(), 0).unwrap();
    let told = String::from_utf8(client.0.recv_multipart(0).unwrap().swap_remove(0)).unwrap();
    let expected = later.replace(r#""resent":false,"#, r#""resent":true,"#);
    assert_eq!(told, format!(r#"{{"schema":"hairline.reply/1","ok":true,"reply":"replayed","message":{expected}}}"#));
    let told: crate::publish::wire::Reply = serde_json::from_str(&told).unwrap();
    assert!(matches!(told.body, ReplyBody::Replayed { message } if message.resent && message.hold.as_ref().unwrap().name() == "other"));
    assert_eq!(client.answer().0["message"]["number"], 2);
    assert_eq!(client.answer().0["sent"], 2);
}

/// A gate must never take a verdict of the past for one of now.
#[test]
fn a_stored_verdict_that_cannot_be_marked_as_told_again_is_left_out() {
    let station = Station::start();
    (1..=2).for_each(|number| station.tell(&samples::pass("a", number), &[]));
    let written = String::from_utf8(samples::pass("a", 1).to_json().unwrap()).unwrap();
    let strange = written.replace(r#""resent":false"#, r#""resent": false"#);
    station.ledger.verdicts.lock().unwrap()[0].2.header = strange.into_bytes();
    let (resent, end) = station.client().replay(json!({"request": "replay", "lane": "a", "from": 1}));
    assert_eq!(resent.iter().map(|(m, _)| m.number).collect::<Vec<_>>(), [2]);
    assert!(matches!(end, ReplyBody::ReplayEnd { sent: 1, next: 3, .. }));
}

#[test]
fn the_requester_asks_replays_and_tells_refusals() {
    let station = Station::start();
    (1..=40).for_each(|n| station.tell(&samples::pass("a", n), &[]));
    let requester = Requester::new(station.publisher.endpoints().1).unwrap();
    assert!(matches!(requester.ask(&Request::Hello).unwrap(), ReplyBody::Hello { station, .. } if station == "line-3"));
    let mut numbers = Vec::new();
    let request = ReplayRequest { run: None, lane: "a".into(), from: 5, limit: Some(30) };
    let resent = requester.replay(request, |message, _| numbers.push(message.number)).unwrap();
    assert_eq!((resent.sent, resent.next), (30, 35));
    assert_eq!(numbers, (5..35).collect::<Vec<_>>());
    station.ledger.broken.store(true, Ordering::Relaxed);
    let request = ReplayRequest { run: None, lane: "a".into(), from: 5, limit: None };
    assert!(matches!(requester.replay(request, |_, _| {}), Err(PublishError::Answer(_))));
    for endpoint in ["localhost", "tcp://localhost", "tcp://localhost:*", "tcp://*:5"] {
        assert!(matches!(Requester::new(endpoint), Err(PublishError::Connect { .. })), "{endpoint}");
    }
}

/// A ledger whose disk hangs stops the replay, and nothing else.
#[test]
fn a_hanging_ledger_holds_up_no_verdict() {
    struct Hanging(std::sync::Barrier, MemoryLedger);
    impl crate::publish::Replay for Hanging {
        fn replay(&self, run: &str, lane: &str, from: u64, limit: usize) -> Result<Vec<crate::publish::StoredMessage>, String> {
            self.0.wait();
            self.0.wait();
            self.1.replay(run, lane, from, limit)
        }
        fn runs(&self) -> Result<Vec<crate::publish::StoredRun>, String> {
            self.1.runs()
        }
        fn blind(&self, lane: &str, since_unix_ns: i64, limit: usize) -> Result<Vec<Vec<u8>>, String> {
            self.1.blind(lane, since_unix_ns, limit)
        }
    }
    let ledger = Arc::new(Hanging(std::sync::Barrier::new(2), MemoryLedger::default()));
    let (lanes, bindings) = (vec!["a".into()], Arc::new(Bindings::new(["a".into()], 1)));
    let identity = StationId { station: "line-3".into(), run: RUN.into(), lanes };
    let publisher = Publisher::start(identity, &settings("tcp://127.0.0.1:*", 10), ledger.clone(), bindings.clone(), || {}).unwrap();
    let station = Station { publisher, ledger: Arc::default(), bindings };
    let (client, listener) = (station.client(), station.subscriber("a"));
    client.0.send(json!({"request": "replay", "lane": "a", "from": 1}).to_string().as_bytes(), 0).unwrap();
    ledger.0.wait();
    station.tell(&samples::pass("a", 1), &[]);
    assert_eq!(listener.next().1["number"], 1);
    assert_eq!(station.client().ask(json!({"request": "hello"}))["lanes"][0]["last"], 1);
    ledger.0.wait();
    assert_eq!(client.answer().0["reply"], "replay_end");
}

/// The same over the real ledger, on disk.
#[test]
fn the_ledger_on_disk_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(crate::ledger::Ledger::open(dir.path(), 30).unwrap());
    let (lanes, bindings) = (vec!["a".into()], Arc::new(Bindings::new(["a".into()], 1)));
    let identity = StationId { station: "line-3".into(), run: RUN.into(), lanes };
    let publisher = Publisher::start(identity, &settings("tcp://127.0.0.1:*", 10), ledger.clone(), bindings.clone(), || {}).unwrap();
    let station = Station { publisher, ledger: Arc::default(), bindings };
    let entry = |message: &VerdictMessage, payload: &[u8]| crate::ledger::Entry {
        run: message.run.clone(),
        lane: message.lane.as_str().into(),
        number: message.number,
        unix_ns: message.trailing_edge.unix_ns,
        header: message.to_json().unwrap(),
        payload: payload.to_vec(),
    };
    let entries: Vec<_> = (1..=40).map(|n| entry(&samples::reject("a", n), &samples::mask_png(n as usize))).collect();
    ledger.record_all(&entries).unwrap();
    let (resent, _) = station.client().replay(json!({"request": "replay", "lane": "a", "from": 3}));
    assert_eq!(resent.len(), 38);
    for (message, mask) in resent {
        assert_eq!(mask_png::decode(&mask).unwrap(), samples::mask(message.number as usize));
    }
    let runs = station.client().ask(json!({"request": "runs"}));
    assert_eq!(runs["runs"], json!([{"run": RUN, "lane": "a", "first": 1, "last": 40}]));
}
