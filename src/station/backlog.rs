//! A lane that is behind its belt, and the cells that it lets go by to catch up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Rows of a cell.
const ROWS: u32 = crate::cell::TILES_PER_SIDE as u32;

/// How far a lane's network is behind; the lane and its verdict desk share it.
#[derive(Default)]
pub(super) struct Backlog(Mutex<Out>);

#[derive(Default)]
struct Out {
    rows: u32,
    /// Since when the network has had the oldest of them and nothing of this lane before it.
    since: Option<Instant>,
    /// Rows still to come of those that came back together.
    others: u32,
    /// How long a row and those that go with it take, other lanes' rows in between included; smoothed.
    takes: Option<Takes>,
}

#[derive(Clone, Copy)]
struct Takes {
    row: Duration,
    batch: Duration,
}

impl Takes {
    fn then(self, now: Self) -> Self {
        Self { row: (self.row * 3 + now.row) / 4, batch: (self.batch * 3 + now.batch) / 4 }
    }
}

impl Backlog {
    /// A row goes to the network.
    pub fn row_sent(&self, now: Instant) {
        let mut out = self.lock();
        if out.rows == 0 {
            out.since = Some(now);
        }
        out.rows += 1;
    }

    /// The newest row has not gone to the network.
    pub fn row_refused(&self) {
        let mut out = self.lock();
        out.rows = out.rows.saturating_sub(1);
    }

    /// A row has come back, one of so many that the network took together.
    pub fn row_back(&self, together: u32, now: Instant) {
        let mut out = self.lock();
        out.rows = out.rows.saturating_sub(1);
        if out.others > 0 {
            out.others -= 1;
            return;
        }
        out.others = together.saturating_sub(1);
        if let Some(since) = out.since.replace(now) {
            let batch = now.saturating_duration_since(since);
            let took = Takes { row: batch / together.max(1), batch };
            out.takes = Some(out.takes.map_or(took, |usual| usual.then(took)));
        }
    }

    /// Whether one more cell, whose last row must be back by `until`, would come too late behind the rows that are out. That row comes
    /// back with the whole batch that it goes in, of which it may be the first.
    ///
    /// A network that takes a little longer for a cell than the belt does falls behind until every cell misses its deadline, and
    /// stays there: each cell waits for those before it, which are late already. A cell that goes by makes up for what has
    /// gathered. Where no rows are out nothing has gathered, and no cell goes by, however slow the network.
    pub fn is_too_late_for_one_more(&self, until: Instant) -> bool {
        let out = self.lock();
        let (Some(since), Some(takes)) = (out.since, out.takes) else { return false };
        out.rows > 0 && since.checked_add(takes.row * (out.rows + ROWS - 1) + takes.batch).is_none_or(|back_at| back_at > until)
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long after its first row a cell's last one may come back: known from the cell before.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    first_row_at: Option<Instant>,
    /// From the first row to the trailing edge.
    rest: Option<Duration>,
}

impl Allowance {
    /// A cell's first row is there; until when the last one must be back, if the belt goes on as before.
    pub fn begin(&mut self, now: Instant, deadline: Option<Duration>) -> Option<Instant> {
        self.first_row_at = Some(now);
        now.checked_add(self.rest? + deadline?)
    }

    /// The trailing edge has passed.
    pub fn end(&mut self, now: Instant) {
        self.rest = self.first_row_at.take().map(|at| now.saturating_duration_since(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const TAKT_MS: u64 = 1000;
    const DEADLINE_MS: u64 = 600;

    /// How long a network takes for the row of this cell.
    type RowTakes<'a> = &'a dyn Fn(u64, u64) -> u64;

    /// Row `row` of cell `number`.
    #[derive(Clone, Copy)]
    struct Row {
        number: u64,
        row: u64,
        due: u64,
    }

    /// A network that takes up to `most` of the rows that wait at a time.
    struct Network<'a> {
        row_takes_ms: RowTakes<'a>,
        most: usize,
        waiting: VecDeque<Row>,
        works_on: Vec<Row>,
        back_at: u64,
    }

    impl Network<'_> {
        fn take(&mut self, row: Row, now: u64) {
            self.waiting.push_back(row);
            if self.works_on.is_empty() {
                self.begin(now);
            }
        }

        fn begin(&mut self, now: u64) {
            self.works_on = self.waiting.drain(..self.waiting.len().min(self.most)).collect();
            self.back_at = now + self.works_on.iter().map(|row| (self.row_takes_ms)(row.number, row.row)).sum::<u64>();
        }

        /// Tells each row that is back by `now`, how many came with it, and when.
        fn work_until(&mut self, now: u64, mut back: impl FnMut(Row, u32, u64)) {
            while !self.works_on.is_empty() && self.back_at <= now {
                let (rows, at) = (std::mem::take(&mut self.works_on), self.back_at);
                rows.iter().for_each(|row| back(*row, rows.len() as u32, at));
                self.begin(at);
            }
        }
    }

    /// Of 1000 cells, one a second with a deadline of 0.6 s, those that go by and those that are judged in time.
    fn run(row_takes_ms: RowTakes, catches_up: bool) -> (Vec<u64>, Vec<u64>) {
        run_in_batches(row_takes_ms, 1, DEADLINE_MS, catches_up)
    }

    fn run_in_batches(row_takes_ms: RowTakes, most: usize, deadline_ms: u64, catches_up: bool) -> (Vec<u64>, Vec<u64>) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (backlog, mut allowance) = (Backlog::default(), Allowance::default());
        let mut network = Network { row_takes_ms, most, waiting: VecDeque::new(), works_on: Vec::new(), back_at: 0 };
        let (mut gone, mut judged) = (Vec::new(), Vec::new());
        let mut back = |row: Row, together: u32, back_at: u64| {
            backlog.row_back(together, at(back_at));
            if row.row == 3 && back_at <= row.due {
                judged.push(row.number);
            }
        };
        for number in 1..=1000_u64 {
            for row in 1..=3 {
                let now = number * TAKT_MS + row * TAKT_MS / 3;
                network.work_until(now, &mut back);
                if row == 1 {
                    let until = allowance.begin(at(now), Some(Duration::from_millis(deadline_ms)));
                    if catches_up && until.is_some_and(|until| backlog.is_too_late_for_one_more(until)) {
                        gone.push(number);
                        allowance.end(at(now + 2 * TAKT_MS / 3));
                        break;
                    }
                }
                backlog.row_sent(at(now));
                network.take(Row { number, row, due: now + deadline_ms }, now);
                if row == 3 {
                    allowance.end(at(now));
                }
            }
        }
        network.work_until(u64::MAX, &mut back);
        (gone, judged)
    }

    #[test]
    fn a_network_too_slow_for_its_belt_judges_nearly_as_many_cells_as_it_has_time_for() {
        assert!(run(&|_, _| 340, false).1.len() < 20);
        // So many cells until the lag has used up what the deadline leaves, then one that goes by.
        for (row_ms, possible) in [(340, 928), (360, 750), (400, 500)] {
            let (_, judged) = run(&|_, _| row_ms, true);
            assert!(judged.len() > possible - 10, "{row_ms} ms a row: {} of {possible}", judged.len());
        }
    }

    #[test]
    fn a_row_comes_back_with_its_whole_batch() {
        for (most, deadline_ms) in [(2, 1300), (3, 1300), (3, 2500), (6, 2500)] {
            let (gone, judged) = run_in_batches(&|_, _| 340, most, deadline_ms, true);
            let told = format!("{most} rows at a time, {deadline_ms} ms: {} go by, {} are in time", gone.len(), judged.len());
            assert!(judged.len() > 950 && judged.len() + gone.len() > 980, "{told}");
        }
    }

    #[test]
    fn a_network_that_is_fast_enough_loses_no_cell() {
        let swings = |number: u64, row: u64| 250 + (number * 37 + row * 53) % 100; // 300 ms in the mean
        for takes in [&|_, _| 330, &swings] as [RowTakes; 2] {
            for most in [1, 3] {
                let (gone, judged) = run_in_batches(takes, most, DEADLINE_MS, true);
                assert_eq!((judged.len(), gone.len()), (1000, 0));
            }
        }
    }

    #[test]
    fn rows_that_the_network_takes_together_share_its_time_and_come_back_together() {
        let (backlog, start) = (Backlog::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        (0..6).for_each(|_| backlog.row_sent(start));
        (0..6).for_each(|_| backlog.row_back(6, at(600)));
        backlog.row_sent(at(700));
        // 100 ms for the one that is out and for each of two more, 600 ms for the batch that the third one goes in.
        assert!(!backlog.is_too_late_for_one_more(at(1601)) && backlog.is_too_late_for_one_more(at(1599)));
    }

    #[test]
    fn a_stall_costs_a_few_cells_and_no_more() {
        let stalls = |number, row| 320 + if (number, row) == (100, 1) { 5 * TAKT_MS } else { 0 };
        let (never, judged) = (run(&stalls, false).1.len(), run(&stalls, true).1.len());
        assert!(judged > 980 && judged > never + 50, "{judged} instead of {never}");
    }
}
