//! A lane that is behind its belt, and the cells that it lets go by to catch up.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a lane's network is behind; the lane and its verdict desk share it.
#[derive(Default)]
pub(super) struct Backlog {
    rows_out: AtomicU64,
    newest_missed: AtomicU64,
}

impl Backlog {
    /// A row goes to the network.
    pub fn row_sent(&self) {
        self.rows_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A row has come back.
    pub fn row_back(&self) {
        self.rows_out.fetch_sub(1, Ordering::Relaxed);
    }

    /// A cell has missed its deadline.
    pub fn missed(&self, number: u64) {
        self.newest_missed.fetch_max(number, Ordering::Relaxed);
    }

    fn rows_out(&self) -> u64 {
        self.rows_out.load(Ordering::Relaxed)
    }

    fn newest_missed(&self) -> u64 {
        self.newest_missed.load(Ordering::Relaxed)
    }
}

/// Which cells are let go by.
///
/// A network that takes a little longer for a cell than the belt does falls behind until every cell misses its deadline, and
/// stays there: each cell waits for those before it, which are late already. So after a miss the next cell to begin goes by, where
/// rows of those before it are still out; the time it would have taken makes up for what has gathered.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// No cell up to this one is a reason any more.
    answered: u64,
}

impl CatchUp {
    /// Whether the cell that begins shall go by without the network.
    pub fn lets_go_by(&mut self, number: u64, backlog: &Backlog) -> bool {
        let missed = backlog.newest_missed();
        if missed <= self.answered {
            return false;
        }
        let behind = backlog.rows_out() > 0;
        // Cells between the one that missed and this one may miss as well: it makes room for them, too.
        self.answered = if behind { number } else { missed };
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// How many of 1000 cells are judged in time, at one cell a second with a deadline of 0.6 s, where a row takes the network so long.
    fn in_time(row_ms: u64, stall_at: Option<u64>, mut lets_go_by: impl FnMut(u64, &Backlog) -> bool) -> u64 {
        const TAKT_MS: u64 = 1000;
        const DEADLINE_MS: u64 = 600;
        let backlog = Backlog::default();
        let (mut free_at, mut judged) = (0, 0);
        // When rows come back, and when cells turn out to be late, in order.
        let (mut rows, mut misses) = (VecDeque::new(), VecDeque::new());
        for number in 1..=1000_u64 {
            for row in 1..=3 {
                let now = number * TAKT_MS + row * TAKT_MS / 3;
                while rows.front().is_some_and(|at| *at <= now) {
                    rows.pop_front();
                    backlog.row_back();
                }
                while misses.front().is_some_and(|(at, _)| *at <= now) {
                    misses.pop_front().into_iter().for_each(|(_, missed)| backlog.missed(missed));
                }
                if row == 1 && lets_go_by(number, &backlog) {
                    break;
                }
                backlog.row_sent();
                let stall_ms = if stall_at == Some(number) && row == 1 { 5 * TAKT_MS } else { 0 };
                free_at = now.max(free_at) + row_ms + stall_ms;
                rows.push_back(free_at);
                if row == 3 && free_at <= now + DEADLINE_MS {
                    judged += 1;
                } else if row == 3 {
                    misses.push_back((now + DEADLINE_MS, number));
                }
            }
        }
        judged
    }

    #[test]
    fn a_network_a_little_too_slow_judges_most_cells_instead_of_next_to_none() {
        let never = |_, _: &Backlog| false;
        assert!(in_time(340, None, never) < 20);
        let mut catch_up = CatchUp::default();
        let judged = in_time(340, None, |number, backlog| catch_up.lets_go_by(number, backlog));
        assert!(judged > 750, "{judged}");
    }

    #[test]
    fn a_network_that_is_fast_enough_loses_no_cell_and_catches_up_after_a_stall() {
        let mut gone = Vec::new();
        let mut catch_up = CatchUp::default();
        let judged = in_time(320, None, |number, backlog| {
            let goes = catch_up.lets_go_by(number, backlog);
            gone.extend(goes.then_some(number));
            goes
        });
        assert_eq!((judged, gone.len()), (1000, 0));
        let never = in_time(320, Some(100), |_, _| false);
        let mut catch_up = CatchUp::default();
        let judged = in_time(320, Some(100), |number, backlog| catch_up.lets_go_by(number, backlog));
        assert!(judged > 970 && judged > never + 50, "{judged} instead of {never}");
    }

    #[test]
    fn one_miss_of_an_idle_network_costs_no_other_cell() {
        let (backlog, mut catch_up) = (Backlog::default(), CatchUp::default());
        backlog.missed(7);
        assert!(!catch_up.lets_go_by(8, &backlog));
        backlog.row_sent();
        assert!(!catch_up.lets_go_by(9, &backlog), "the miss is answered");
        backlog.missed(8);
        assert!(catch_up.lets_go_by(10, &backlog));
        backlog.missed(9);
        assert!(!catch_up.lets_go_by(11, &backlog), "the ninth gathered before the tenth made room");
    }
}
