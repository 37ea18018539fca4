//! Garbage on any socket changes nothing.

use super::{Station, samples};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;

#[test]
fn garbage_requests_are_answered_counted_and_change_nothing() {
    let station = Station::start();
    let listener = station.subscriber("a");
    let client = station.client();
    let frames: Vec<Vec<Vec<u8>>> = vec![
        vec![b"".to_vec()],
        vec![b"not json".to_vec()],
        vec![vec![0xff; 1000]],
        vec![b"[1,2,3]".to_vec()],
        vec!["[".repeat(5000).into_bytes()],
        vec![br#"{"request":"explode"}"#.to_vec()],
        vec![br#"{"request":"bind","lane":"a"}"#.to_vec()],
        vec![br#"{"request":"bind","lane":"a","id":"x","encoder_count":1e99,"tolerance_counts":1}"#.to_vec()],
        vec![br#"{"request":"bind","lane":"a","id":"x","encoder_count":1,"tolerance_counts":1,"more":1}"#.to_vec()],
        vec![br#"{"request":"replay","lane":"a","from":-1}"#.to_vec()],
        vec![b"{}".to_vec(), b"{}".to_vec()],
        vec![vec![]; 100],
    ];
    for frame in &frames {
        client.0.send_multipart(frame, 0).unwrap();
        let (reply, _) = client.answer();
        assert_eq!((&reply["ok"], &reply["reply"]), (&false.into(), &"error".into()), "{frame:?}");
        assert!(reply["error"].as_str().unwrap().len() < 1000);
    }
    assert_eq!(station.publisher.statistics().bad_requests, frames.len() as u64);
    assert_eq!(station.bindings.take("a", Some(1), samples::at(0)), None);
    assert_eq!(client.ask(json!({"request": "hello"}))["lanes"][0]["last"], 0);
    station.tell(&samples::pass("a", 1), &[]);
    assert_eq!(listener.next().1["number"], 1);
}

#[test]
fn numbers_that_are_none_are_told_with_their_keys_and_what_is_allowed() {
    let station = Station::start();
    let client = station.client();
    for (request, told) in [
        (json!({"request": "replay", "lane": "a", "from": -1}), "`from` is -1; give a whole number from 0 on"),
        (json!({"request": "replay", "lane": "a", "from": 1, "limit": 2.5}), "`limit` is 2.5; give a whole number from 0 on"),
        (json!({"request": "blind", "lane": "a", "since_unix_ns": 1e30}), "`since_unix_ns` is 1e+30; give a whole number of 64 bits"),
        (json!({"request": "replay", "lane": "a", "from": "1"}), "expected a JSON object whose `request` is"),
    ] {
        client.0.send(request.to_string().as_bytes(), 0).unwrap();
        let (reply, _) = client.answer();
        assert!(reply["error"].as_str().unwrap().starts_with(told), "{reply}");
    }
}

#[test]
fn a_request_too_large_loses_its_connection_only() {
    let station = Station::start();
    let huge = station.client();
    huge.0.send(vec![b'x'; 1 << 20], 0).unwrap();
    assert_eq!(station.client().ask(json!({"request": "hello"}))["ok"], true);
    assert_eq!(huge.0.poll(zmq::POLLIN, 50).unwrap(), 0);
}

#[test]
fn raw_bytes_on_both_ports_change_nothing() {
    let station = Station::start();
    let listener = station.subscriber("a");
    let (feed, requests) = station.publisher.endpoints();
    // A greeting cut short, one with a lie about what follows, another protocol, noise, and silence.
    let greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let lie = [&greeting[..], b"\x04\xff\x05READY\xff\xff\xff\xff"].concat();
    let old = b"\xff\0\0\0\0\0\0\0\x01\x7f\0".to_vec();
    let long: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let attacks = [greeting[..20].to_vec(), lie, old, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), long, Vec::new()];
    let mut open = Vec::new();
    for endpoint in [feed, requests] {
        for attack in &attacks {
            let mut stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
            // The station may hang up on it in the middle.
            let _ = stream.write_all(attack);
            open.push(stream);
        }
    }
    station.tell(&samples::pass("a", 1), &[]);
    assert_eq!(listener.next().1["number"], 1);
    assert_eq!(station.client().ask(json!({"request": "hello"}))["lanes"][0]["last"], 1);
    assert_eq!(station.publisher.statistics().failed, 0);
}

#[test]
fn odd_subscriptions_and_talking_subscribers_change_nothing() {
    let station = Station::start();
    let listener = station.subscriber("a");
    let context = zmq::Context::new();
    let odd = context.socket(zmq::XSUB).unwrap();
    odd.set_linger(0).unwrap();
    odd.connect(station.publisher.endpoints().0).unwrap();
    for message in [&b"\x01\xff\xfe\xfd"[..], b"\x01nothing.of.this", b"\x00never subscribed", b"hello", b"\x07"] {
        odd.send(message, 0).unwrap();
    }
    odd.send_multipart([&b"\x01"[..], b"more"], 0).unwrap();
    station.until("what they say is not counted", |statistics| statistics.bad_requests > 0);
    station.tell(&samples::reject("a", 1), &samples::mask_png(3));
    assert_eq!(listener.next().0, "verdict.a");
    assert_eq!(listener.next().0, "mask.a");
    assert_eq!(station.publisher.statistics().failed, 0);
}
