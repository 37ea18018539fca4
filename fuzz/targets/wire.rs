//! Bytes as any client may send them to the request socket, or a false station to a subscriber.
#![no_main]

use hairline::publish::wire::{BlindMessage, MaskMessage, Reply, Request, StatusMessage, Topic, VerdictMessage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::read(bytes) {
        let text = serde_json::to_vec(&request).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Request>(&text).expect("what was written can be read"), request);
    }
    let _ = serde_json::from_slice::<Reply>(bytes);
    let _ = serde_json::from_slice::<MaskMessage>(bytes);
    let _ = serde_json::from_slice::<StatusMessage>(bytes);
    let _ = serde_json::from_slice::<BlindMessage>(bytes);
    let _ = Topic::parse(bytes);
    if let Ok(verdict) = serde_json::from_slice::<VerdictMessage>(bytes) {
        let _ = verdict.full_verdict();
        assert!(!verdict.opens_gate(i64::MAX), "no gate is good for ever");
    }
});
