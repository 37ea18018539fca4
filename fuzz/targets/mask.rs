//! Masks as they come with a review, and as a subscriber gets them.
#![no_main]

use hairline::cell::mask_png::{decode, decode_drawn, encode, size_px};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_drawn(bytes, 64);
    let _ = size_px(bytes);
    if let Ok(mask) = decode(bytes) {
        let again = encode(&mask).expect("a mask that was read can be written");
        assert_eq!(decode(&again).expect("and read again"), mask);
    }
});
