//! Programs whose output nobody reads to its end (`| head`).

use crate::station::{SIMULATED, hairline, station};
use std::process::Stdio;

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_closed_pipe_changes_nothing_about_how_a_program_ends() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let check = || hairline(&["check", config.to_str().unwrap()]);
    let output = check().stdout(closed()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A mistake in a configuration ends with 64, told or not.
    std::fs::write(&config, "[station]\n").unwrap();
    assert_eq!(check().stderr(closed()).output().unwrap().status.code(), Some(64));
}
