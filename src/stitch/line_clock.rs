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

/// A belt goes back so many times as fast as it went forward at most: an encoder that shows more is taken to count from anew.
const BACK_MAX: f64 = 2.0;
/// And forward so many times as fast, in the time that its lines take or in that since the block before.
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

/// How far a belt went between the ends of two blocks.
#[derive(Debug, Clone, Copy)]
struct Way {
    counts: i128,
    lines: f64,
    ns: f64,
}

/// How fast a belt goes, in its encoder's counts.
#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    /// The fastest it went, with its direction.
    per_line: f64,
    /// Blocks in which it moved, their lines, or those that would have fitted into their time, and that time.
    blocks: u32,
    lines: f64,
    ns: f64,
}

impl Speed {
    fn learn(self, way: Way) -> Self {
        let lines = self.lines_of(way);
        let per_line = way.counts as f64 / lines;
        let opposes = per_line * self.per_line < 0.0;
        let before = match self {
            _ if way.counts.abs() < MOVES => return self,
            Self { blocks: 0..KNOWN_AFTER, .. } if opposes => Self::default(),
            _ if opposes => return self,
            _ => self,
        };
        Self {
            per_line: if per_line.abs() > before.per_line.abs() { per_line } else { before.per_line },
            blocks: before.blocks.saturating_add(1),
            lines: before.lines + lines,
            ns: before.ns + way.ns,
        }
    }

    /// Whether no belt that went as this one did goes that way.
    fn excludes(self, way: Way) -> bool {
        let back = -way.counts as f64 / way.lines / self.per_line;
        let forward = way.counts as f64 / self.lines_of(way) / self.per_line;
        self.blocks >= KNOWN_AFTER && !(back <= BACK_MAX && forward <= FORWARD_MAX)
    }

    /// Its lines, or those that would have fitted into its time: a belt goes on while its camera waits for a trigger.
    fn lines_of(self, way: Way) -> f64 {
        let fitted = if self.ns > 0.0 { way.ns * self.lines / self.ns } else { 0.0 };
        way.lines.max(fitted)
    }
}

impl LineClock {
    /// The encoder's count at lines before the block's last is reckoned from the block before, or, where the encoder counts from anew
    /// in between, with the rate of that block. A belt that was only fast is taken for that once: its speed is learnt anew.
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
            let lines = (end.line - before.end.line) as f64;
            let ns = end.at.instant.saturating_duration_since(before.end.at.instant).as_nanos() as f64;
            let way = Way { counts: travel(from, to), lines, ns };
            clock.counts_from_anew = clock.speed.excludes(way);
            if clock.counts_from_anew {
                clock.counts_per_line = before.counts_per_line;
                clock.speed = Speed::default();
            } else {
                clock.counts_per_line = way.counts as f64 / lines;
                clock.speed = clock.speed.learn(way);
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

    /// A block of 128 lines that ends at this count, so many milliseconds after the start.
    fn block(number: u64, encoder_count: i64, start: Moment, ms: u64) -> LineBlock {
        LineBlock {
            first_line: number * 128,
            lines: 128,
            width_px: 1,
            stride_bytes: 1,
            format: PixelFormat::Gray8,
            pixels: bytes::Bytes::from_static(&[0; 128]),
            last_line_at: start.earlier_by_ns(-1_000_000 * ms as i64),
            camera_time_ns: None,
            encoder_count: Some(encoder_count),
            line_period_ns: 0.0,
        }
    }

    /// The clocks of blocks that end at these counts, so many milliseconds after the start.
    fn timed_clocks(counts: impl IntoIterator<Item = (i64, u64)>) -> Vec<LineClock> {
        let (start, mut clocks) = (Moment::now(), Vec::<LineClock>::new());
        for (number, (count, ms)) in (0..).zip(counts) {
            clocks.push(LineClock::new(&block(number, count, start, ms), clocks.last()));
        }
        clocks
    }

    /// The clocks of blocks that end at these counts, one every ten milliseconds.
    fn clocks(counts: impl IntoIterator<Item = i64>) -> Vec<LineClock> {
        timed_clocks(counts.into_iter().zip((0..).step_by(10)))
    }

    /// Where a block's encoder is taken to count from anew.
    fn anew(clocks: &[LineClock]) -> Vec<usize> {
        clocks.iter().enumerate().filter(|(_, clock)| clock.counts_from_anew()).map(|(n, _)| n).collect()
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
        let none = |counts: Vec<i64>| assert_eq!(anew(&clocks(counts)), [0; 0]);
        none(steady((1 << 32) - 64).chain([64, 192]).collect());
        none(steady(5_000).chain([5_000, 5_000, 4_950, 4_900, 5_000, 5_128]).collect());
        none((0..9).map(|n| -128 * n).collect());
        // One that stands and trembles, then starts; one that starts slowly.
        none((0..40).map(|n| n % 2).chain((1..20).map(|n| n * 128)).collect());
        none((0..40).map(|n| n * n * 4).collect());
        none(vec![7; 20]);
    }

    #[test]
    fn a_belt_that_was_only_fast_is_mistaken_once() {
        let ways = |ways: &[(usize, i64)]| -> Vec<i64> {
            let steps = ways.iter().flat_map(|(blocks, counts)| std::iter::repeat_n(*counts, *blocks));
            let at = |count: &mut i64, step| {
                *count += step;
                Some(*count)
            };
            steps.scan(1_000_000, at).collect()
        };
        // Jogged back at a fifth of its speed, then forward.
        assert_eq!(anew(&clocks(ways(&[(30, -26), (100, 128)]))), [30]);
        // Creeps, and starts in three blocks.
        assert_eq!(anew(&clocks(ways(&[(30, 5), (1, 100), (1, 300), (100, 1000)]))), [30]);
        // What is set anew after that is seen again.
        assert_eq!(anew(&clocks(ways(&[(30, -26), (20, 128), (1, -900_000), (20, 128)]))), [30, 50]);
    }

    #[test]
    fn a_belt_goes_on_while_its_camera_waits_for_a_wafer() {
        // So many blocks of a wafer, then the way of forty without a line.
        for blocks in [4, 12] {
            let wafers = (0..60).map(|n| (n + n / blocks * 40) as u64).map(|ticks| (ticks as i64 * 128, ticks * 10));
            assert_eq!(anew(&timed_clocks(wafers.clone())), [0; 0], "{blocks}");
            let (count, ms) = wafers.clone().next_back().unwrap();
            for set in [64, count + 2_000_000] {
                assert_eq!(anew(&timed_clocks(wafers.clone().chain([(set, ms + 410)]))), [60], "{blocks}, from {count} to {set}");
            }
        }
    }
}
