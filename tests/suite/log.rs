//! What the daemon logs, where the journal reads it, and which build it says that it is.

use crate::station::{Running, SIMULATED, hairline, pipeline, station};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// What `hairline run` writes to a standard error that is the journal's, or not.
fn logged(folder: &Path, config: &Path, is_journal: bool) -> String {
    let file = folder.join("log");
    let log = File::create(&file).unwrap();
    let told = log.metadata().unwrap();
    let stream = format!("{}:{}", told.dev(), if is_journal { told.ino() } else { told.ino() + 1 });
    let run = ["run", "--cells", "3", "--config", config.to_str().unwrap()];
    hairline(&run).env("JOURNAL_STREAM", stream).env("RUST_LOG", "").stderr(log).status().unwrap();
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn every_line_in_the_journal_has_its_priority_and_elsewhere_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let log = logged(folder.path(), &config, true);
    let priorities: Vec<&str> = log.lines().map(|line| line.get(..3).unwrap()).collect();
    assert!(priorities.iter().all(|priority| ["<4>", "<6>"].contains(priority)), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<4>") && line.contains("lines lost")), "{log}");
    let starting = format!("starting version=\"{}", env!("CARGO_PKG_VERSION"));
    assert!(log.lines().any(|line| line.starts_with("<6>") && line.contains(&starting)), "{log}");

    let log = logged(folder.path(), &config, false);
    assert!(log.contains("lines lost") && !log.contains("<4>"), "{log}");

    std::fs::write(&config, "[network]\nmodel = 1\n[[lane]]\nname = 2\n").unwrap();
    let log = logged(folder.path(), &config, true);
    let mistakes: Vec<&str> = log.lines().filter(|line| !line.contains("starting")).collect();
    assert!(mistakes.len() > 1 && mistakes.iter().all(|line| line.starts_with("<3>")), "{log}");
}

#[test]
fn a_note_is_no_warning_to_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let recipe = "minimum_length_mm = 1.0\nthreshold = 0.9\n[limits]\nlongest_crack_mm = 0.5\n";
    std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let file = folder.path().join("log");
    let log = File::create(&file).unwrap();
    let told = log.metadata().unwrap();
    let check = ["check", config.to_str().unwrap()];
    hairline(&check).env("JOURNAL_STREAM", format!("{}:{}", told.dev(), told.ino())).stderr(log).status().unwrap();
    let log = std::fs::read_to_string(file).unwrap();
    assert!(log.lines().any(|line| line.starts_with("<6>") && line.contains("note: `threshold`")), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<4>") && line.contains("`limits.longest_crack_mm`")), "{log}");
}

#[test]
fn what_a_camera_s_thread_logs_names_its_lane() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), &pipeline("filesrc location=nowhere ! rawvideoparse width=1500 height=128 format=gray8"));
    let run = ["run", "--config", config.to_str().unwrap()];
    let mut running = Running(hairline(&run).env("RUST_LOG", "warn").stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(running.0.stderr.take().unwrap());
    // The first attempt is the lane's to tell.
    let is_later_attempt = |line: &String| line.contains("WARN") && line.contains("does not start");
    let (sender, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || log.lines().map_while(Result::ok).find(is_later_attempt).map(|line| sender.send(line)));
    let told = told.recv_timeout(Duration::from_secs(120));
    drop(running);
    let _ = reader.join();
    let told = told.expect("a later attempt is told");
    assert!(told.contains("camera{lane=\"a\"}"), "{told}");
}

#[test]
fn a_rust_log_that_is_not_understood_is_told_and_what_is_logged_stays() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let run = ["run", "--cells", "1", "--config", config.to_str().unwrap()];
    let log = String::from_utf8(hairline(&run).env("RUST_LOG", "hairline=loud").output().unwrap().stderr).unwrap();
    assert!(log.contains("RUST_LOG=\"hairline=loud\" is not understood") && log.contains("stopped"), "{log}");
}

#[test]
fn the_version_names_the_commit() {
    let told = String::from_utf8(hairline(&["--version"]).output().unwrap().stdout).unwrap();
    let version = concat!("hairline ", env!("CARGO_PKG_VERSION"));
    let commit = option_env!("HAIRLINE_COMMIT").filter(|commit| !commit.is_empty());
    assert_eq!(told.trim_end(), commit.map_or(version.to_owned(), |commit| format!("{version} ({commit})")));
}
