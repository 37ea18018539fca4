//! A network of their own for tests that speak GigE Vision: a namespace that has loopback only, so
//! that no camera outside is found and none inside is seen, and tests do not meet each other.

use crate::line_camera;
use clap::Parser;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Set within the namespace.
const INSIDE: &str = "HAIRLINE_TEST_IN_LOOPBACK";
/// The arguments of a camera's own process, one a line.
const CAMERA_ARGUMENTS: &str = "HAIRLINE_TEST_LINE_CAMERA";

/// Runs `body` in a network namespace that has loopback only.
///
/// This process starts itself again in there, with `test`, the full name of the calling test, as the
/// only one to run. Where the machine does not permit namespaces, the test is skipped by name.
pub fn in_loopback(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let unshare = |command: &[&str]| {
        // Without root a user namespace comes with it, in which the network may be set up.
        let kind = if is_root() { "-n" } else { "-rn" };
        let mut unshare = Command::new("unshare");
        unshare.args([kind, "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).args(command);
        unshare
    };
    if !unshare(&["true"]).output().is_ok_and(|done| done.status.success()) {
        // Past the test harness, which keeps to itself what passing tests print; nobody could be told that it did not work.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {test}: this machine permits no network namespaces (tried `unshare` and `ip link set lo up`)"
        );
        return;
    }
    let this = std::env::current_exe().unwrap();
    let done = unshare(&[&this.to_string_lossy(), "--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "in its own network, {test} failed:\n{told}");
    assert!(told.contains("1 passed"), "in its own network, {test} was not found:\n{told}");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|done| done.stdout.starts_with(b"0\n"))
}

/// The pictures of real cells that come with the suite.
pub fn cell_pictures() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pvcracks-el");
    let mut pictures: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.retain(|path| path.extension().is_some_and(|e| e == "png"));
    pictures.sort();
    assert_eq!(pictures.len(), 27);
    pictures
}

/// A line camera in a process of its own; dropping it kills that process.
pub struct LineCamera {
    process: Child,
}

impl LineCamera {
    /// Starts the camera and waits until it serves. Only within [`in_loopback`].
    pub fn start(arguments: &str, pictures: &[PathBuf]) -> Self {
        let mut lines: Vec<String> = arguments.split_whitespace().map(String::from).collect();
        lines.push("--until-stdin-ends".into());
        lines.extend(pictures.iter().map(|path| path.display().to_string()));
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loopback::line_camera_process", "--ignored", "--nocapture"])
            .env(CAMERA_ARGUMENTS, lines.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(told.any(|line| line.is_ok_and(|l| l.contains("camera Aravis-Fake-"))), "the line camera did not start");
        // Whatever else it says is read away, so that it never waits for us.
        std::thread::spawn(move || told.for_each(drop));
        Self { process }
    }
}

impl Drop for LineCamera {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Not a test: what [`LineCamera::start`] runs in the camera's own process.
#[test]
#[ignore = "the line camera's own process, started by other tests"]
fn line_camera_process() {
    if let Ok(lines) = std::env::var(CAMERA_ARGUMENTS) {
        let arguments = std::iter::once("line_camera").chain(lines.lines());
        line_camera::run(line_camera::Arguments::parse_from(arguments)).unwrap();
    }
}
