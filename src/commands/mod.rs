//! The commands of `hairline` and `train`, one file each: arguments, progress and exit codes.
//! This is the binaries' edge: what a command needs done, a room does.

mod against;
pub mod bench;
pub mod calibrate;
pub mod check;
pub mod demo;
pub mod listen;
mod memory;
mod overlay;
pub mod run;
pub mod train;

/// Exit code for a configuration that cannot be used (EX_USAGE of sysexits).
const EXIT_CONFIG: u8 = 64;
