use crate::cell::encoder::{gone_back, travel};
use crate::cell::{LineBlock, Moment};

/// When a line was exposed, on every clock there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineTime {
    pub line: u64,
    pub at: Moment,
    pub camera_time_ns: Option<u64>,
    pub encoder_count: Option<i64>,
}

/// Tells the times of the lines of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineClock {
    end: LineTime,
    period_ns: f64,
    counts_per_line: f64,
}

impl LineClock {
    /// The encoder's count at lines before the block's last is reckoned from the block before.
    pub fn new(block: &LineBlock, before: Option<&LineClock>) -> Self {
        let end = LineTime {
            line: block.end_line().saturating_sub(1),
            at: block.last_line_at,
            camera_time_ns: block.camera_time_ns,
            encoder_count: block.encoder_count,
        };
        let counts_per_line = before
            .filter(|b| b.end.line < end.line)
            .and_then(|b| Some(travel(b.end.encoder_count?, end.encoder_count?) as f64 / (end.line - b.end.line) as f64));
        Self { end, period_ns: block.line_period_ns, counts_per_line: counts_per_line.unwrap_or(0.0) }
    }

    /// The times of a line of this block, or of one near it.
    pub fn time_of(&self, line: u64) -> LineTime {
        let before = self.end.line as f64 - line as f64;
        let ns = (before * self.period_ns) as i64;
        LineTime {
            line,
            at: self.end.at.earlier_by_ns(ns),
            camera_time_ns: self.end.camera_time_ns.map(|t| t.saturating_add_signed(ns.saturating_neg())),
            encoder_count: self.end.encoder_count.map(|c| gone_back(c, (before * self.counts_per_line).round() as i64)),
        }
    }
}
