//! Memory of a task, and how large its work is so that it stays in the cache.

use std::cell::RefCell;

/// Values of a block's input that should stay in the second-level cache.
pub(super) const BLOCK_VALUES: usize = 96 * 1024;

/// Values of a cache line, at whose beginning scratch begins.
const CACHE_LINE: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<[f32; CACHE_LINE]>> = const { RefCell::new(Vec::new()) };
}

/// Lends `work` a buffer of this thread of `length` values, of any content, that begins at a cache line.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with(|cell| {
        let mut buffer = cell.take();
        let lines = length.div_ceil(CACHE_LINE) + 1;
        if buffer.len() < lines {
            buffer.resize(lines, [0.0; CACHE_LINE]);
        }
        let values = buffer.as_flattened_mut();
        // Every value is a multiple of four bytes away from a cache line, so that one is found.
        let start = values.as_ptr().align_offset(4 * CACHE_LINE).min(CACHE_LINE);
        let result = work(&mut values[start..start + length]);
        cell.replace(buffer);
        result
    })
}

/// Lines of a block with `channels` channels of `w` pixels.
pub(super) fn block_lines(channels: usize, h: usize, w: usize) -> usize {
    (BLOCK_VALUES / (channels * (w + 1))).clamp(1, h.max(1))
}
