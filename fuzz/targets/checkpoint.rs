//! A file that somebody gives as a model.
#![no_main]

use hairline::nn::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Checkpoint::load_bytes(bytes, "fuzzed");
});
