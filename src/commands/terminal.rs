//! What the commands tell on standard output and standard error, either of which may be a pipe that its reader closes before the
//! end (`| head`): the work goes on and the rest is not told, where `println!` and `eprintln!` panic.

use anyhow::Context;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Tells a line of the result on standard output, as `println!` does. `Err` where it cannot be written, on a full disk for
/// example, but not where nobody reads any more.
macro_rules! say {
    ($($line:tt)*) => { $crate::commands::terminal::line(&mut std::io::stdout(), format_args!($($line)*)) };
}

/// Tells a line about the work on standard error, as `eprintln!` does. What cannot be told there can be told nowhere.
macro_rules! note {
    ($($line:tt)*) => { _ = $crate::commands::terminal::line(&mut std::io::stderr(), format_args!($($line)*)) };
}

pub(super) use {note, say};

/// Writes a line to `out`, or nothing where nobody reads it any more.
pub(super) fn line(out: &mut impl Write, line: Arguments<'_>) -> anyhow::Result<()> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        told => told.context("standard output cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_is_no_error_and_a_full_disk_is() {
        line(&mut Fails(ErrorKind::BrokenPipe), format_args!("told")).unwrap();
        let full = line(&mut Fails(ErrorKind::StorageFull), format_args!("told")).unwrap_err();
        assert!(full.to_string().contains("standard output"), "{full:#}");
    }
}
