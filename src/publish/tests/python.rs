use super::{RUN, Station, samples};
use crate::publish::wire::{StatusMessage, VerdictMessage};
use std::process::{Command, Stdio};

/// The Python example moves a gate as the contract says.
#[test]
fn the_python_subscriber_opens_only_when_told_to_in_time() {
    let station = Station::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/clients/subscribe.py");
    let child = Command::new("/usr/bin/python3")
        .args([script, station.publisher.endpoints().0, "a", "6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("/usr/bin/python3 (Debian: apt install python3 python3-zmq)");
    let pid = child.id();
    while station.publisher.statistics().topics < 2 {
        assert!(std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists(), "the script ended early");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let open = VerdictMessage { gate_by_unix_ns: Some(i64::MAX), ..samples::pass("a", 1) };
    station.tell(&open, &[]);
    station.tell(&VerdictMessage { number: 1, ..samples::reject("ab", 1) }, &[]);
    let late = VerdictMessage { gate_by_unix_ns: Some(1), ..samples::pass("a", 2) };
    station.tell(&late, &samples::mask_png(0));
    station.tell(&samples::reject("a", 3), &samples::mask_png(9));
    station.tell(&VerdictMessage { resent: true, number: 4, ..open }, &[]);
    station.tell(&VerdictMessage { run: "the next".into(), ..samples::reject("a", 2) }, &[]);
    // Verdicts lost last, while the belt stands: no further one tells of them.
    // One of them comes late.
    for cells in [2, 5, 4, 5] {
        station.publisher.status(&StatusMessage { run: "the next".into(), cells, ..samples::status("a") }).unwrap();
    }
    station.tell(&VerdictMessage { run: "the next".into(), ..samples::reject("a", 6) }, &[]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let gates: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(gates, ["OPEN", "EJECT", "EJECT", "EJECT", "EJECT", "EJECT"], "{text}");
    assert!(text.contains("CARRIER-0815") && text.contains("longest_crack_mm"), "{text}");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes.lines().count(), 2, "{notes}");
    assert!(notes.contains(&format!("replays of run {RUN} from 5 and of the next from 1")), "{notes}");
    assert!(notes.contains("missed 3 to 5"), "{notes}");
}
