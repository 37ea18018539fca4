use crate::cell::Mask;
use std::ops::Range;

/// Consecutive crack pixels of one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub y: usize,
    pub start: usize,
    /// First pixel after it.
    pub end: usize,
    /// The component it belongs to, from 0.
    pub component: usize,
}

/// A mask as runs, each with its 8-connected component.
///
/// Run-based labelling with union-find (Wu, Otoo, Suzuki 2009 give the principle): one pass over the
/// packed words joins each run with those that touch it in the line above.
pub(super) struct Components {
    pub runs: Vec<Run>,
    pub count: usize,
    first_of_line: Vec<usize>,
}

impl Components {
    pub(super) fn of(mask: &Mask) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut sets = Sets::default();
        let mut first_of_line = vec![0];
        let mut above = 0..0;
        for y in 0..mask.height_px() {
            let start = runs.len();
            for_each_run(mask.line_bits(y), |run| {
                let component = sets.push();
                match runs.last_mut().filter(|last| last.y == y && last.end == run.start) {
                    Some(last) => last.end = run.end,
                    None => runs.push(Run { y, start: run.start, end: run.end, component }),
                }
            });
            let mut candidate = above.start;
            for i in start..runs.len() {
                let run = runs[i];
                while candidate < above.end && runs[candidate].end < run.start {
                    candidate += 1;
                }
                let mut touching = candidate;
                while touching < above.end && runs[touching].start <= run.end {
                    sets.unite(runs[touching].component, run.component);
                    touching += 1;
                }
            }
            above = start..runs.len();
            first_of_line.push(runs.len());
        }
        let mut names = vec![usize::MAX; sets.len()];
        let mut count = 0;
        for run in &mut runs {
            let name = &mut names[sets.find(run.component)];
            if *name == usize::MAX {
                *name = count;
                count += 1;
            }
            run.component = *name;
        }
        Self { runs, count, first_of_line }
    }

    /// Every run, with where the next one of its line begins; its own end where none follows.
    pub(super) fn runs_with_next(&self) -> impl Iterator<Item = (&Run, usize)> {
        let next = self.runs.iter().skip(1).map(Some).chain([None]);
        self.runs.iter().zip(next).map(|(run, next)| (run, next.filter(|next| next.y == run.y).map_or(run.end, |next| next.start)))
    }

    /// The component of pixel (`x`, `y`), `None` where it is no crack.
    pub(super) fn at(&self, x: usize, y: usize) -> Option<usize> {
        let (first, last) = (*self.first_of_line.get(y)?, *self.first_of_line.get(y + 1)?);
        let line = &self.runs[first..last];
        let run = line.get(line.partition_point(|run| run.end <= x))?;
        (run.start <= x).then_some(run.component)
    }
}

/// Calls `f` with the runs of a packed line; a run across a border of 64 pixels comes in two parts.
fn for_each_run(bits: &[u8], mut f: impl FnMut(Range<usize>)) {
    for (i, chunk) in bits.chunks(8).enumerate() {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let mut word = u64::from_be_bytes(bytes);
        while word != 0 {
            let start = word.leading_zeros();
            let end = start + (!(word << start)).leading_zeros();
            f(i * 64 + start as usize..i * 64 + end as usize);
            word &= u64::MAX.checked_shr(end).unwrap_or(0);
        }
    }
}

/// Disjoint sets of the numbers from 0 (union-find with path halving); the smallest leads its set.
#[derive(Default)]
pub(super) struct Sets(Vec<usize>);

impl Sets {
    /// The sets {0}, {1}, … {`len` - 1}.
    pub(super) fn singles(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self) -> usize {
        self.0.push(self.0.len());
        self.0.len() - 1
    }

    pub(super) fn find(&mut self, mut of: usize) -> usize {
        while self.0[of] != of {
            self.0[of] = self.0[self.0[of]];
            of = self.0[of];
        }
        of
    }

    /// Makes one set of two; false where they were one before.
    pub(super) fn unite(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Components by flooding, the slow and obvious way.
    fn flooded(mask: &Mask) -> usize {
        let mut left = mask.clone();
        let mut count = 0;
        for y in 0..mask.height_px() {
            for x in 0..mask.width_px() {
                let mut open = vec![(x, y)];
                count += usize::from(left.get(x, y));
                while let Some((x, y)) = open.pop() {
                    if !left.get(x, y) {
                        continue;
                    }
                    left.set(x, y, false);
                    for ny in y.saturating_sub(1)..(y + 2).min(mask.height_px()) {
                        open.extend((x.saturating_sub(1)..(x + 2).min(mask.width_px())).map(|nx| (nx, ny)));
                    }
                }
            }
        }
        count
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Any mask falls into the same components as by flooding, and every crack pixel is in one.
        #[test]
        fn labelling_agrees_with_flooding(width in 1usize..150, seed in proptest::collection::vec(any::<u8>(), 20..400)) {
            let stride = width.div_ceil(8);
            let height = seed.len() / stride;
            let mask = Mask::from_bits(width, height, seed[..height * stride].to_vec()).unwrap();
            let components = Components::of(&mask);
            prop_assert_eq!(components.count, flooded(&mask));
            prop_assert_eq!(components.runs.iter().map(|r| (r.end - r.start) as u64).sum::<u64>(), mask.count());
            for y in 0..height {
                for x in 0..width {
                    prop_assert_eq!(components.at(x, y).is_some(), mask.get(x, y));
                }
            }
        }
    }
}
