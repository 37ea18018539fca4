//! Notices that lines come and no wafer is seen.

use crate::cell::Moment;

/// An empty belt of so many cells' length is told: a pause between two lots is no fault, a dark lamp at a dark gap looks the same.
const CELLS: f64 = 10.0;

/// How much of the belt has passed without a wafer.
pub(super) struct EmptyBelt {
    after_lines: f64,
    lines: u64,
    since: Option<Moment>,
}

impl EmptyBelt {
    /// For cells that are `cell_lines` camera lines long.
    pub fn new(cell_lines: f64) -> Self {
        Self { after_lines: CELLS * cell_lines, lines: 0, since: None }
    }

    /// Takes in `lines`, whose last came `at`, and whether a wafer was seen on them. Returns since when none is seen, once that is
    /// for long.
    pub fn note(&mut self, lines: u32, at: Moment, wafer_seen: bool) -> Option<Moment> {
        if wafer_seen {
            return self.begin_anew();
        }
        self.lines += u64::from(lines);
        let since = *self.since.get_or_insert(at);
        (self.lines as f64 > self.after_lines).then_some(since)
    }

    /// Forgets what has passed: there is no wafer that could be missed.
    pub fn begin_anew(&mut self) -> Option<Moment> {
        (self.lines, self.since) = (0, None);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_belt_is_empty_after_ten_cells_without_a_wafer_until_one_is_seen() {
        let (mut belt, first) = (EmptyBelt::new(100.0), Moment::now());
        assert_eq!(belt.note(500, first, false), None);
        assert_eq!(belt.note(500, Moment::now(), false), None);
        assert_eq!(belt.note(1, Moment::now(), false), Some(first));
        assert_eq!(belt.note(500, Moment::now(), true), None);
        assert_eq!(belt.note(1000, Moment::now(), false), None);
    }
}
