//! Where lines and pixels go so that those some distance apart lie side by side.

/// Places of lines, or of the pixels of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// The place of each.
    pub places: Vec<usize>,
    /// Places in all, those that stay empty among them.
    pub length: usize,
}

impl Arrangement {
    /// Of `count` lines those `dilation` apart side by side, and a place between one kind and the next.
    pub fn of(count: usize, dilation: usize) -> Self {
        let kinds = dilation.min(count).max(1);
        let of_kind = |kind: usize| (count - kind).div_ceil(dilation);
        let starts: Vec<usize> = (0..kinds)
            .scan(0, |next, kind| {
                let start = *next;
                *next += of_kind(kind) + 1;
                Some(start)
            })
            .collect();
        Self { places: (0..count).map(|line| starts[line % dilation] + line / dilation).collect(), length: count + kinds - 1 }
    }
}
