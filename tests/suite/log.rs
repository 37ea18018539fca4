//! What the daemon logs, where the journal reads it, and which build it says that it is.

use crate::station::{SIMULATED, hairline, station};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
