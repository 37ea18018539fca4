//! How the work on a weight gradient is split.

use super::Dims;
use std::ops::Range;

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
    size: Dims,
    outputs: usize,
    /// Outputs that are computed together.
    group: usize,
    /// Pictures of a task.
    pub pictures: usize,
    /// Lines of each.
    pub lines: usize,
    /// Blocks of lines in a picture.
    blocks: usize,
    /// Output groups of a task.
    pub groups: usize,
}

/// What tasks are like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tasks {
    /// Outputs that are computed together.
    pub group: usize,
    /// Lines that are computed together.
    pub lines: usize,
    /// Values of a block, at most.
    pub values: usize,
}

/// What a task works on.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Which pictures, at least one.
    pub pictures: Range<usize>,
    /// Which lines of each.
    pub lines: Range<usize>,
    /// Which outputs.
    pub outputs: Range<usize>,
}

impl Split {
    /// For so many `outputs`, in tasks of that shape.
    pub fn new(size: Dims, outputs: usize, Tasks { group, lines: step, values }: Tasks) -> Self {
        let most = values / ((size.c + outputs) * (size.w + 1)) / step * step;
        let lines = most.clamp(step, size.h.next_multiple_of(step).max(step));
        let blocks = size.h.div_ceil(lines);
        let together = if blocks == 1 { values / ((size.c + outputs) * (size.h + 2) * (size.w + 1)) } else { 1 };
        let pictures = together.clamp(1, size.n.max(1));
        let all_groups = outputs.div_ceil(group);
        let runs = size.n.div_ceil(pictures) * blocks;
        let groups = all_groups.div_ceil(TASKS.div_ceil(runs.max(1))).max(LEAST_OUTPUTS / group).min(all_groups.max(1));
        Self { size, outputs, group, pictures, lines, blocks, groups }
    }

    /// Tasks whose sums belong to the same outputs.
    pub fn runs(&self) -> usize {
        self.size.n.div_ceil(self.pictures) * self.blocks
    }

    /// Tasks that share a run's outputs.
    pub fn shares(&self) -> usize {
        self.outputs.div_ceil(self.group).div_ceil(self.groups)
    }

    /// What task `task` of `runs × shares` works on.
    pub fn part(&self, task: usize) -> Part {
        let (run, share) = (task / self.shares(), task % self.shares());
        let (picture, line) = (run / self.blocks * self.pictures, run % self.blocks * self.lines);
        let output = share * self.groups * self.group;
        Part {
            pictures: picture..self.size.n.min(picture + self.pictures),
            lines: line..self.size.h.min(line + self.lines),
            outputs: output..self.outputs.min(output + self.groups * self.group),
        }
    }

    /// The share that an output belongs to, and its number there.
    pub fn place(&self, output: usize) -> (usize, usize) {
        let of_share = self.groups * self.group;
        (output / of_share, output % of_share)
    }
}
