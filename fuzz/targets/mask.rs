//! Masks as they come with a review, and as a subscriber gets them.
#![no_main]

use hairline::publish::{decode_mask, encode_mask, mask_size_px};
use hairline::review::png;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = png::decode(bytes, 64);
    let _ = mask_size_px(bytes);
    if let Ok(mask) = decode_mask(bytes) {
        let again = encode_mask(&mask).expect("a mask that was read can be written");
        assert_eq!(decode_mask(&again).expect("and read again"), mask);
    }
});
