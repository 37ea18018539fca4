//! What a test leaves out on a machine that lacks what it needs, told past the test harness, which keeps to itself what passing tests print.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Says once in the tests' output what is left out, as `println!` would.
macro_rules! skipped {
    ($($what:tt)*) => { $crate::skipped::tell(format!($($what)*)) };
}
pub(crate) use skipped;

pub(crate) fn tell(what: String) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.contains(&what) {
        // Nobody who could be told that this did not work.
        let _ = writeln!(std::io::stderr(), "skipped: {what}");
        told.insert(what);
    }
}
