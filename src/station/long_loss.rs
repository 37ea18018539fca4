//! Notices that so many lines were lost that a wafer may have passed among them.

use crate::cell::Moment;

/// Lines that are missing between two that were seen.
pub(super) struct LongLoss {
    wafer_lines: f64,
    lost: u64,
    seen: Moment,
    /// From line to line, as it last was.
    line_ns: f64,
    /// The belt has stood since.
    stood: bool,
}

impl LongLoss {
    /// For wafers that are at least `wafer_lines` camera lines long.
    pub fn new(wafer_lines: f64) -> Self {
        Self { wafer_lines, lost: 0, seen: Moment::now(), line_ns: f64::INFINITY, stood: false }
    }

    /// So many lines were lost.
    pub fn lose(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
    }

    /// The belt stands.
    pub fn stand(&mut self) {
        self.stood = true;
    }

    /// Whether a wafer fits into what is lost and not told yet.
    pub fn is_long(&self) -> bool {
        self.lost as f64 >= self.wafer_lines
    }

    /// Takes in `lines`, whose last came `at`. Returns from when to when nothing was seen, where a wafer fits in there.
    pub fn see(&mut self, lines: u32, at: Moment) -> Option<(Moment, Moment)> {
        let since_ns = at.instant.saturating_duration_since(self.seen.instant).as_nanos() as f64;
        // The belt moved on as evenly while lines were lost as while they came, unless it stood: before or after that, nobody knows.
        let evenly_ns = since_ns / (f64::from(lines) + self.lost as f64).max(1.0);
        let line_ns = if std::mem::take(&mut self.stood) { evenly_ns.min(self.line_ns) } else { evenly_ns };
        self.line_ns = line_ns;
        let unseen = self.begin(at.earlier_by_ns((line_ns * f64::from(lines)) as i64));
        self.seen = at;
        unseen
    }

    /// Nothing counts that was lost until `at`; returns what [`see`](Self::see) would of it.
    pub fn begin(&mut self, at: Moment) -> Option<(Moment, Moment)> {
        let (is_long, from) = (self.is_long(), std::mem::replace(&mut self.seen, at));
        self.lost = 0;
        is_long.then_some((from, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_from_the_last_line_seen_to_the_next_where_a_wafer_fits_in() {
        let start = Moment::now();
        let at = |ms: i64| start.earlier_by_ns(-ms * 1_000_000);
        let mut loss = LongLoss::new(1000.0);
        loss.begin(start);
        assert_eq!(loss.see(500, at(500)), None);
        loss.lose(999);
        assert_eq!(loss.see(500, at(1999)), None);
        loss.lose(600);
        loss.lose(900);
        assert_eq!(loss.see(500, at(3999)), Some((at(1999), at(3499))));
        assert_eq!(loss.see(500, at(4499)), None);
        loss.lose(1000);
        assert_eq!(loss.begin(at(6000)), Some((at(4499), at(6000))));
        assert_eq!(loss.begin(at(9000)), None);
    }

    #[test]
    fn after_a_stand_a_loss_is_told_up_to_the_lines_that_came_since() {
        let start = Moment::now();
        let at = |ms: i64| start.earlier_by_ns(-ms * 1_000_000);
        let mut loss = LongLoss::new(1000.0);
        loss.begin(start);
        loss.see(500, at(500));
        loss.stand();
        loss.lose(1000);
        assert!(loss.is_long());
        assert_eq!(loss.see(500, at(3_600_000)), Some((at(500), at(3_600_000 - 500))));
        assert!(!loss.is_long());
    }

    #[test]
    fn where_nobody_knows_how_long_a_wafer_is_no_loss_is_told() {
        let mut loss = LongLoss::new(f64::INFINITY);
        loss.lose(u64::MAX);
        loss.lose(1);
        assert_eq!(loss.see(0, Moment::now()), None);
    }
}
