//! How the work on a weight gradient is split.

use super::Dims;
use super::scratch::{BLOCK_VALUES, block_lines};

/// The weights whose gradient is wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Kernel {
    /// Output channels.
    pub outputs: usize,
    /// Side of the kernel: 1 or 3.
    pub side: usize,
    /// Distance of its taps.
    pub dilation: usize,
}

/// Outputs of a task, at least: their products should outweigh the copy of the inputs.
const LEAST_OUTPUTS: usize = 32;
/// Tasks that a small layer is split into, as far as its channels allow.
const TASKS: usize = 8;

/// How the work is split, by the layer's size alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// Pictures of a task.
    pub pictures: usize,
    /// Lines of each.
    pub lines: usize,
    /// Blocks of lines in a picture.
    pub blocks: usize,
    /// Output groups of a task.
    pub groups: usize,
}

impl Split {
    /// For outputs that are computed `group` at a time.
    pub fn new(dims: Dims, outputs: usize, group: usize) -> Self {
        let lines = block_lines(dims.c + outputs, dims.h, dims.w);
        let blocks = dims.h.div_ceil(lines);
        let together = if blocks == 1 { BLOCK_VALUES / ((dims.c + outputs) * (dims.h + 2) * (dims.w + 1)) } else { 1 };
        let pictures = together.clamp(1, dims.n.max(1));
        let all_groups = outputs.div_ceil(group);
        let runs = dims.n.div_ceil(pictures) * blocks;
        let groups = all_groups.div_ceil(TASKS.div_ceil(runs.max(1))).max(LEAST_OUTPUTS / group).min(all_groups.max(1));
        Self { pictures, lines, blocks, groups }
    }
}
