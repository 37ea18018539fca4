//! The commands of `hairline` and `train`, one file each: arguments, progress and exit codes.
//! This is the binaries' edge: what a command needs done, a room does.

// Both panic where the pipe they write to is closed; `terminal` has what does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod against;
mod arguments;
pub mod bench;
pub mod calibrate;
pub mod check;
pub mod demo;
pub mod listen;
mod log;
mod memory;
mod overlay;
pub mod run;
mod terminal;
pub mod train;

use std::process::ExitCode;

/// Exit code for a configuration that cannot be used (EX_USAGE of sysexits).
const EXIT_CONFIG: u8 = 64;

/// What `--version` tells: the package's version and the commit that the program is built from, where that is known.
pub fn version(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    commit.map_or(version.to_owned(), |commit| format!("{version} ({commit})"))
}

/// Tells the error that a program ends with, behind `who`; the exit code for it.
pub fn failed(who: &str, error: &anyhow::Error) -> ExitCode {
    log::tell(tracing::Level::ERROR, format_args!("{who}: {}", told(error)));
    ExitCode::FAILURE
}

/// An error with its causes in one line. Many errors tell their cause themselves: what stands there already is not told again.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.contains(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_an_error_tells_itself_is_told_once() {
        let error = crate::ledger::LedgerError::NotWritable { dir: "ledger".into(), source: std::io::ErrorKind::StorageFull.into() };
        let told = told(&anyhow::Error::new(crate::station::StationError::from(error)).context("the station"));
        assert!(told.starts_with("the station: station.data_dir: the ledger folder ledger cannot be used"), "{told}");
        assert_eq!(told.matches(&std::io::Error::from(std::io::ErrorKind::StorageFull).to_string()).count(), 1, "{told}");
        assert!(told.contains("make room") && !told.contains("make it writable"), "{told}");
    }
}
