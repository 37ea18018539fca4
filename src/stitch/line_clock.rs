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

/// A belt goes back so many times as fast as it ever went forward at most: an encoder that shows more counts from anew.
const BACK_MAX: f64 = 2.0;
/// And forward so many times as fast.
const FORWARD_MAX: f64 = 16.0;
/// Counts in a block by which a belt that moves is told from one that trembles.
const MOVES: i128 = 4;
/// Blocks of a belt that moves after which its speed is known.
const KNOWN_AFTER: u32 = 8;

/// Tells the times of the lines of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineClock {
    end: LineTime,
    period_ns: f64,
    counts_per_line: f64,
    speed: Speed,
    counts_from_anew: bool,
}

/// How fast a belt goes, in its encoder's counts.
#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    /// The fastest it went, with its direction.
    per_line: f64,
    /// Blocks in which it moved.
    blocks: u32,
}

impl Speed {
    fn learn(self, per_line: f64, travel: i128) -> Self {
        let opposes = per_line * self.per_line < 0.0;
        match self {
            _ if travel.abs() < MOVES => self,
            Self { blocks: 0..KNOWN_AFTER, .. } if opposes => Self { per_line, blocks: 1 },
            _ if opposes => self,
            _ if per_line.abs() > self.per_line.abs() => Self { per_line, blocks: self.blocks.saturating_add(1) },
            _ => Self { blocks: self.blocks.saturating_add(1), ..self },
        }
    }

    /// Whether no belt that has gone so far as this one moves so fast.
    fn excludes(self, per_line: f64) -> bool {
        let times = per_line / self.per_line;
        self.blocks >= KNOWN_AFTER && !(-BACK_MAX..=FORWARD_MAX).contains(&times)
    }
}

impl LineClock {
    /// The encoder's count at lines before the block's last is reckoned from the block before, or, where the encoder counts from anew
    /// in between, with the rate of that block.
    pub fn new(block: &LineBlock, before: Option<&LineClock>) -> Self {
        let end = LineTime {
            line: block.end_line().saturating_sub(1),
            at: block.last_line_at,
            camera_time_ns: block.camera_time_ns,
            encoder_count: block.encoder_count,
        };
        let mut clock = Self {
            end,
            period_ns: block.line_period_ns,
            counts_per_line: 0.0,
            speed: before.map_or(Speed::default(), |b| b.speed),
            counts_from_anew: false,
        };
        if let Some(before) = before.filter(|b| b.end.line < end.line)
            && let Some((from, to)) = before.end.encoder_count.zip(end.encoder_count)
        {
            let travel = travel(from, to);
            let per_line = travel as f64 / (end.line - before.end.line) as f64;
            if clock.speed.excludes(per_line) {
                clock.counts_per_line = before.counts_per_line;
                clock.counts_from_anew = true;
            } else {
                clock.counts_per_line = per_line;
                clock.speed = clock.speed.learn(per_line, travel);
            }
        }
        clock
    }

    /// Whether the encoder began to count from anew since the block before.
    pub fn counts_from_anew(&self) -> bool {
        self.counts_from_anew
    }

    /// When the block's last line was exposed.
    pub fn end_at(&self) -> Moment {
        self.end.at
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::PixelFormat;

    /// A block of 128 lines that ends at this count.
    fn block(number: u64, encoder_count: i64) -> LineBlock {
        LineBlock {
            first_line: number * 128,
            lines: 128,
            width_px: 1,
            stride_bytes: 1,
            format: PixelFormat::Gray8,
            pixels: bytes::Bytes::from_static(&[0; 128]),
            last_line_at: Moment::now(),
            camera_time_ns: None,
            encoder_count: Some(encoder_count),
            line_period_ns: 0.0,
        }
    }

    /// The clocks of blocks that end at these counts.
    fn clocks(counts: impl IntoIterator<Item = i64>) -> Vec<LineClock> {
        let mut clocks: Vec<LineClock> = Vec::new();
        for (number, count) in (0..).zip(counts) {
            clocks.push(LineClock::new(&block(number, count), clocks.last()));
        }
        clocks
    }

    /// The counts at the first and the last line of the last of these blocks, and whether the encoder counts from anew there.
    fn last(counts: impl IntoIterator<Item = i64>) -> (Option<i64>, Option<i64>, bool) {
        let clock = *clocks(counts).last().unwrap();
        let count = |line| clock.time_of(line).encoder_count;
        (count(clock.end.line - 127), count(clock.end.line), clock.counts_from_anew())
    }

    /// A belt that goes a count a line for ten blocks, up to this count.
    fn steady(end: i64) -> impl Iterator<Item = i64> {
        (0..10).rev().map(move |n| end - n * 128)
    }

    #[test]
    fn a_count_that_was_set_anew_is_not_reckoned_across() {
        assert_eq!(last(steady(1_000_000).chain([64])), (Some((1 << 32) - 63), Some(64), true), "set to nought");
        assert_eq!(last(steady(1_000).chain([5_000_000])), (Some(4_999_873), Some(5_000_000), true), "set to some count");
        let (first, end, anew) = last(steady(1_000_000).chain([64, 192]));
        assert_eq!((first, end, anew), (Some(65), Some(192), false), "and goes on");
    }

    #[test]
    fn what_a_belt_does_is_no_count_set_anew() {
        let none = |counts: Vec<i64>| assert!(clocks(counts).iter().all(|clock| !clock.counts_from_anew()));
        none(steady((1 << 32) - 64).chain([64, 192]).collect());
        none(steady(5_000).chain([5_000, 5_000, 4_950, 4_900, 5_000, 5_128]).collect());
        none((0..9).map(|n| -128 * n).collect());
        // One that stands and trembles, then starts; one that starts slowly.
        none((0..40).map(|n| n % 2).chain((1..20).map(|n| n * 128)).collect());
        none((0..40).map(|n| n * n * 4).collect());
        none(vec![7; 20]);
    }
}
