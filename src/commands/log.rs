//! What is logged on standard error: with times and colours for people, with syslog levels where the journal reads it.

use super::terminal::note;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Logs to standard error: `level`, and what `RUST_LOG` asks for besides or in its place.
pub(super) fn start(level: &str) {
    let (filter, misread) = filter(level, std::env::var_os("RUST_LOG").as_deref());
    // A log that cannot be written (its disk full, its pipe closed) must not end the station: the report about it would panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).log_internal_errors(false);
    // A second start in one process (tests) keeps the first log; the journal has times of its own.
    let _ = if journal_reads() {
        log.with_writer(Journal).without_time().with_ansi(false).try_init()
    } else {
        log.with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).try_init()
    };
    if let Some(misread) = misread {
        tracing::warn!("{misread}");
    }
}

/// Tells on standard error what is no event of the log, such as why a program ends.
pub(super) fn tell(level: Level, text: impl Display) {
    if journal_reads() {
        _ = io::stderr().write_all(&levelled(level, format!("{text}\n").as_bytes()));
    } else {
        note!("{text}");
    }
}

/// What is logged, and what is wrong with `RUST_LOG`, which `asked` is: a mistake in it silences nothing.
fn filter(level: &str, asked: Option<&OsStr>) -> (EnvFilter, Option<String>) {
    let Some(asked) = asked.map(OsStr::to_string_lossy).filter(|asked| !asked.trim().is_empty()) else {
        return (EnvFilter::new(level), None);
    };
    match EnvFilter::try_new(format!("{level},{asked}")) {
        Ok(filter) => (filter, None),
        Err(error) => (
            EnvFilter::new(level),
            Some(format!("RUST_LOG={asked:?} is not understood ({error}): `{level}` is logged; give a level, such as `debug`")),
        ),
    }
}

/// Whether standard error is the journal's: a shell inside a service has the variable as well, with an output of its own.
fn journal_reads() -> bool {
    let Some(told) = std::env::var_os("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| told.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino)))
}

/// Writes for the journal, which takes a level in front of each line for its priority.
struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Levelled;

    fn make_writer(&'a self) -> Levelled {
        Levelled(Level::INFO)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Levelled {
        Levelled(*event.level())
    }
}

/// Takes an event whole.
struct Levelled(Level);

impl Write for Levelled {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&levelled(self.0, event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Every line of `text` behind its syslog level.
fn levelled(level: Level, text: &[u8]) -> Vec<u8> {
    let priority = match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    };
    text.split_inclusive(|byte| *byte == b'\n').flat_map(|line| [priority.as_bytes(), line]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_adds_to_the_level_or_replaces_it_and_a_mistake_silences_nothing() {
        let logged = |asked: &str| filter("info", Some(OsStr::new(asked))).0.to_string();
        assert_eq!(filter("info", None).0.to_string(), "info");
        for (asked, logs) in [("", "info"), (" ", "info"), ("debug", "debug"), ("error", "error"), ("off", "off")] {
            assert_eq!(logged(asked), logs, "{asked:?}");
        }
        assert!(logged("inof").contains("info"), "{}", logged("inof"));
        assert!(logged("hairline::camera=debug").split(',').any(|directive| directive == "info"));
        let (still, told) = filter("info", Some(OsStr::new("hairline=loud")));
        assert_eq!(still.to_string(), "info");
        assert!(told.unwrap().contains("hairline=loud"));
        assert_eq!(filter("info", Some(OsStr::new("debug"))).1, None);
    }

    #[test]
    fn every_line_has_its_level() {
        assert_eq!(levelled(Level::ERROR, b"the disk\nis full\n"), b"<3>the disk\n<3>is full\n");
        assert_eq!(levelled(Level::WARN, b"late"), b"<4>late");
    }
}
