use super::*;
use crate::cell::HoldReason;
use crate::publish::tests::{Station, samples};
use crate::publish::wire::VerdictMessage;
use clap::Parser;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: ListenArgs,
}

fn args(station: &Station, more: &[&str]) -> ListenArgs {
    let (feed, requests) = station.publisher.endpoints();
    Line::parse_from([&["listen", "--connect", feed, "--requests", requests], more].concat()).args
}

/// Listens with `more` arguments to what `tell` makes the station say once the listener is connected.
/// Returns what stood on standard output and on standard error.
fn listen_to(station: &Station, more: &[&str], tell: impl FnOnce(&AtomicBool)) -> (String, String) {
    let (args, stop) = (args(station, more), AtomicBool::new(false));
    let topics = station.publisher.statistics().topics + if args.save.is_some() { 3 } else { 2 };
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let (mut out, mut notes) = (Vec::new(), Vec::new());
            listen(&args, &mut out, &mut notes, &stop).unwrap();
            (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
        });
        while station.publisher.statistics().topics < topics {
            std::thread::sleep(Duration::from_millis(2));
        }
        tell(&stop);
        listening.join().unwrap()
    })
}

#[test]
fn the_table_tells_each_cell_and_masks_are_saved() {
    let station = Station::start();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("masks");
    let (out, notes) = listen_to(&station, &["--count", "3", "--lane", "a", "--save", folder.to_str().unwrap()], |_| {
        station.publisher.status(&samples::status("a")).unwrap();
        station.publisher.blind(&samples::blind("a")).unwrap();
        station.tell(&samples::hold("a", 1), &[]);
        station.tell(&samples::reject("ab", 1), &[]);
        station.tell(&samples::pass("a", 2), &samples::mask_png(0));
        station.tell(&samples::reject("a", 3), &samples::mask_png(25));
    });
    let rows: Vec<Vec<&str>> = out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{out}");
    assert_eq!(rows[0][..5], ["a/1", "hold", "512", "lines", "lost"]);
    assert_eq!(rows[1], ["a/2", "pass", "0.00", "mm", "0.031", "open", "21.0", "ms"]);
    assert_eq!(rows[2], ["a/3", "reject", "longest_crack_mm", "7.25", ">", "3.00", "7.25", "mm", "0.969", "eject", "21.0", "ms"]);
    assert!(notes.contains("lane a: the belt stands, a cell lies under the camera"), "{notes}");
    assert!(notes.contains("lane a: blind for 30.0 s: the station was not running"), "{notes}");
    assert!(notes.ends_with("3 verdicts: 1 pass, 1 reject, 1 hold; 0 missed\n"), "{notes}");
    let folder = folder.join(samples::pass("a", 1).run);
    assert_eq!(mask_png::decode(&std::fs::read(folder.join("a-3.png")).unwrap()).unwrap(), samples::mask(25));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn masks_of_the_next_run_leave_those_of_the_last_where_they_are() {
    let station = Station::start();
    let folder = tempfile::tempdir().unwrap();
    let in_run = |run: &str| VerdictMessage { run: run.into(), ..samples::reject("a", 1) };
    listen_to(&station, &["--count", "2", "--save", folder.path().to_str().unwrap()], |_| {
        station.tell(&in_run("00"), &samples::mask_png(25));
        station.tell(&in_run("01"), &samples::mask_png(0));
    });
    let saved = |run: &str| mask_png::decode(&std::fs::read(folder.path().join(run).join("a-1.png")).unwrap()).unwrap();
    assert_eq!([saved("00"), saved("01")], [samples::mask(25), samples::mask(0)]);
}

#[test]
fn missed_verdicts_are_asked_again_and_come_in_order() {
    let station = Station::start();
    let (out, notes) = listen_to(&station, &["--count", "600", "--json"], |_| {
        station.tell(&samples::pass("a", 1), &[]);
        (2..600).for_each(|n| station.ledger.record(&samples::pass("a", n), &[]));
        station.tell(&samples::pass("a", 600), &[]);
    });
    let messages: Vec<VerdictMessage> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.iter().map(|m| m.number).collect::<Vec<_>>(), (1..=600).collect::<Vec<_>>());
    assert!(messages.iter().all(|m| m.resent == (2..600).contains(&m.number)));
    assert!(notes.contains("missed a/2 to 599 (598 cells)"), "{notes}");
    assert!(notes.ends_with("0 missed\n"), "{notes}");
}

#[test]
fn what_the_ledger_lacks_stays_missed() {
    let station = Station::start();
    let (_, notes) = listen_to(&station, &["--count", "4"], |_| {
        station.tell(&samples::pass("a", 1), &[]);
        [2, 4].into_iter().for_each(|n| station.ledger.record(&samples::pass("a", n), &[]));
        station.tell(&samples::pass("a", 6), &[]);
    });
    assert!(notes.ends_with("4 verdicts: 4 pass, 0 reject, 0 hold; 2 missed\n"), "{notes}");
}

#[test]
fn behind_a_restart_the_end_of_the_run_before_is_asked_for_too() {
    let station = Station::start();
    let in_run = |run: &str, number| VerdictMessage { run: run.into(), ..samples::pass("a", number) };
    // The station's own run is the last one; runs are told in the order of their ids here.
    let (out, notes) = listen_to(&station, &["--count", "7", "--json"], |_| {
        station.tell(&in_run("00", 4), &[]);
        [("00", 5), ("00", 6), ("01", 1)].into_iter().for_each(|(run, n)| station.ledger.record(&in_run(run, n), &[]));
        [1, 2].into_iter().for_each(|n| station.ledger.record(&samples::pass("a", n), &[]));
        station.tell(&samples::pass("a", 3), &[]);
    });
    let heard: Vec<VerdictMessage> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let heard: Vec<(&str, u64)> = heard.iter().map(|m| (m.run.get(..2).unwrap(), m.number)).collect();
    assert_eq!(heard, [("00", 4), ("00", 5), ("00", 6), ("01", 1), ("01", 1), ("01", 2), ("01", 3)], "{notes}");
    assert!(notes.contains("lane a: the station was started anew after a/4 was heard\n"), "{notes}");
    assert!(notes.ends_with("0 missed\n"), "{notes}");
}

/// A belt that stands brings no further verdict whose number would show the gap.
#[test]
fn verdicts_lost_last_are_asked_for_once_a_status_tells_of_them() {
    let station = Station::start();
    let status = |run: &str, cells| StatusMessage { run: run.into(), cells, ..samples::status("a") };
    let in_run = |run: &str, number| VerdictMessage { run: run.into(), ..samples::pass("a", number) };
    let (out, notes) = listen_to(&station, &["--count", "5", "--lane", "a"], |_| {
        station.tell(&in_run("00", 1), &[]);
        [2, 3].into_iter().for_each(|n| station.ledger.record(&in_run("00", n), &[]));
        station.publisher.status(&status("00", 3)).unwrap();
        station.publisher.status(&status("00", 3)).unwrap();
        station.until("not all is told", |statistics| statistics.statuses >= 2);
        station.ledger.record(&in_run("00", 4), &[]);
        station.publisher.status(&status(crate::publish::tests::RUN, 0)).unwrap();
        station.tell(&samples::pass("a", 1), &[]);
    });
    let cells: Vec<_> = out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(cells, ["a/1", "a/2", "a/3", "a/4", "a/1"], "{notes}");
    assert!(notes.contains("missed a/2 to 3 (2 cells)") && notes.contains("missed a/4 to 4 (1 cells)"), "{notes}");
    assert!(notes.ends_with("0 missed\n"), "{notes}");
}

#[test]
fn a_reason_and_a_state_of_a_later_version_are_shown() {
    let station = Station::start();
    let (out, notes) = listen_to(&station, &["--count", "1", "--lane", "a"], |_| {
        let later = HoldReason::Other { reason: "meteor".into(), detail: None };
        let camera = CameraState::Unknown;
        station.publisher.status(&StatusMessage { camera, ..samples::status("a") }).unwrap();
        station.tell(&VerdictMessage { hold: Some(later), ..samples::hold("a", 1) }, &[]);
    });
    assert!(out.contains("a/1") && out.contains("meteor"), "{out}");
    assert!(notes.contains("lane a: camera and belt are in a state that this version does not know\n"), "{notes}");
}

#[test]
fn being_told_to_stop_ends_with_the_summary() {
    let station = Station::start();
    let (_, notes) = listen_to(&station, &[], |stop| stop.store(true, Ordering::Release));
    assert_eq!(notes, "0 verdicts: 0 pass, 0 reject, 0 hold; 0 missed\n");
}

#[test]
fn silence_of_one_lane_may_be_that_of_a_lane_that_is_not_there() {
    let station = Station::start();
    let (feed, _) = station.publisher.endpoints();
    let told = silence(&args(&station, &[]));
    assert!(told.contains(feed) && told.contains("is this its `publish.feed`?") && !told.contains("--lane"), "{told}");
    let told = silence(&args(&station, &["--lane", "lane-9"]));
    assert!(told.contains("lane \"lane-9\"") && told.contains("Listen without --lane") && told.contains("`publish.feed`"), "{told}");
}

#[test]
fn text_from_the_network_cannot_steer_the_terminal() {
    let station = Station::start();
    let mut evil = samples::hold("a", 1);
    evil.hold = Some(HoldReason::Network { detail: "\x1b[2Jgone".into() });
    let (out, _) = listen_to(&station, &["--count", "1"], |_| station.tell(&evil, &[]));
    assert!(out.contains("gone") && !out.contains('\x1b'), "{out}");
    assert_eq!(mask_file(Path::new("masks"), "00", "../a", 1), None);
    assert_eq!(mask_file(Path::new("masks"), "..", "a", 1), None);
    assert_eq!(mask_file(Path::new("masks"), "00", "a", 1), Some("masks/00/a-1.png".into()));
}

#[test]
fn unusable_arguments_are_told_with_their_names() {
    let station = Station::start();
    let error = |change: fn(&mut ListenArgs)| {
        let mut args = args(&station, &[]);
        change(&mut args);
        let error = listen(&args, &mut Vec::new(), &mut Vec::new(), &AtomicBool::new(true)).unwrap_err();
        format!("{error:#}")
    };
    let connect = error(|args| args.connect = "localhost:5556".into());
    assert!(connect.contains("--connect") && connect.contains("tcp://HOST:PORT"), "{connect}");
    assert!(error(|args| args.requests = Some("tcp://x:y".into())).contains("--requests"));
    assert!(error(|args| args.save = Some("/proc/none".into())).contains("/proc/none"));
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    struct Shut;
    impl Write for Shut {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let station = Station::start();
    listen(&args(&station, &[]), &mut Shut, &mut Vec::new(), &AtomicBool::new(false)).unwrap();
}
