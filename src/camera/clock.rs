use crate::cell::Moment;
use std::collections::VecDeque;

/// How far two ordinary clocks drift apart at most: 200 ns in a millisecond.
const DRIFT: f64 = 200e-6;
/// A frame this much later than any delay explains: the camera's clock was set anew.
const RESET_NS: i64 = 2_000_000_000;
/// Frames are looked back on in so many slots of this length each: 2 s where frames come all the time.
const SLOT_NS: i64 = 250_000_000;
const SLOTS: usize = 8;

/// Maps a camera's own clock to the host's by a minimum-offset filter.
///
/// A frame arrives some time after its exposure, and that delay varies but is never negative. The
/// smallest difference lately seen between arrival and camera time is therefore nearest to the true
/// offset of the clocks. It counts for less from frame to frame, by the most that two quartz clocks
/// drift apart, so the map follows a drifting camera without following single late frames. After
/// two seconds of frames it is forgotten: a camera's clock that was set back a little looks like a
/// delay of all frames from then on.
///
/// What the camera stamps within a frame (its begin or its end) does not matter while frames take
/// the same time: the constant becomes part of the offset. Where an encoder triggers the lines of a frame that is stamped at its begin,
/// a belt that stops within it for less than two seconds looks like a delay of the frame, and its lines seem older by that.
#[derive(Debug, Clone, Default)]
pub(super) struct ClockMap {
    /// The newest last.
    slots: VecDeque<Slot>,
}

/// The smallest offset of the frames that arrived within [`SLOT_NS`]; all in ns of [`steady_ns`].
#[derive(Debug, Clone)]
struct Slot {
    begun_ns: i64,
    offset_ns: i64,
    seen_ns: i64,
}

impl Slot {
    /// What the offset may have become by `now_ns`.
    fn offset_at(&self, now_ns: i64) -> i64 {
        let passed = now_ns.saturating_sub(self.seen_ns).max(0);
        self.offset_ns.saturating_add((passed as f64 * DRIFT) as i64)
    }
}

/// Nanoseconds of a clock that nobody sets and that no time service speeds up or slows down: a correction of the wall
/// clock must not look like a delay of frames.
pub(super) fn steady_ns() -> i64 {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }
    #[cfg(not(target_os = "linux"))]
    {
        static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        i64::try_from(START.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

impl ClockMap {
    /// The host's moment of camera time `camera_ns` of a frame that arrived at `arrival`, which is `arrived_ns` of
    /// [`steady_ns`].
    ///
    /// Never later than `arrival`.
    pub(super) fn map(&mut self, camera_ns: u64, arrival: Moment, arrived_ns: i64) -> Moment {
        let offset = arrived_ns.wrapping_sub_unsigned(camera_ns);
        if self.smallest_at(arrived_ns).is_some_and(|smallest| offset.saturating_sub(smallest) > RESET_NS) {
            self.reset();
        }
        self.note(offset, arrived_ns);
        let best = self.smallest_at(arrived_ns).unwrap_or(offset);
        arrival.earlier_by_ns(offset.saturating_sub(best))
    }

    /// Forgets all, for a camera that came back.
    pub(super) fn reset(&mut self) {
        self.slots.clear();
    }

    fn smallest_at(&self, now_ns: i64) -> Option<i64> {
        self.slots.iter().map(|slot| slot.offset_at(now_ns)).min()
    }

    fn note(&mut self, offset_ns: i64, seen_ns: i64) {
        match self.slots.back_mut().filter(|slot| seen_ns.saturating_sub(slot.begun_ns) < SLOT_NS) {
            Some(slot) if slot.offset_at(seen_ns) < offset_ns => {}
            Some(slot) => (slot.offset_ns, slot.seen_ns) = (offset_ns, seen_ns),
            None => {
                if self.slots.len() == SLOTS {
                    self.slots.pop_front();
                }
                self.slots.push_back(Slot { begun_ns: seen_ns, offset_ns, seen_ns });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Feeds frames of `period_ms` whose delays are given; returns the errors of the map in ns.
    fn errors(delays_ms: &[f64], drift: f64) -> Vec<i64> {
        let (start, mut map) = (Moment::now(), ClockMap::default());
        let mut errors = Vec::new();
        for (n, delay) in delays_ms.iter().enumerate() {
            let exposed = n as i64 * 10 * MS;
            let arrival = start.earlier_by_ns(-(exposed + (delay * MS as f64) as i64));
            let camera_ns = (7_000.0 * MS as f64 + exposed as f64 * (1.0 + drift)) as u64;
            let arrived_ns = arrival.unix_ns - start.unix_ns;
            errors.push(map.map(camera_ns, arrival, arrived_ns).unix_ns - start.unix_ns - exposed);
        }
        errors
    }

    #[test]
    fn late_frames_do_not_move_the_map() {
        let delays: Vec<f64> = (0..500).map(|n| if n % 7 == 3 { 9.0 } else { 1.0 + f64::from(n % 3) }).collect();
        // Only the smallest delay, 1 ms, cannot be told from the offset of the clocks.
        assert!(errors(&delays, 0.0).iter().skip(1).all(|e| (MS..=MS + MS / 20).contains(e)), "{:?}", errors(&delays, 0.0));
    }

    #[test]
    fn a_drifting_camera_is_followed_both_ways() {
        let delays: Vec<f64> = (0..3000).map(|n| 1.0 + f64::from(n % 5) / 10.0).collect();
        for drift in [-100e-6, 100e-6] {
            let worst = errors(&delays, drift).into_iter().map(|e| (e - MS).abs()).max();
            assert!(worst.is_some_and(|w| w < MS / 2), "drift {drift}: off by {worst:?} ns");
        }
    }

    #[test]
    fn a_camera_clock_that_was_set_back_starts_a_new_map() {
        let (start, mut map) = (Moment::now(), ClockMap::default());
        map.map(60_000 * MS as u64, start, 0);
        let later = start.earlier_by_ns(-10 * MS);
        assert_eq!(map.map(1, later, 10 * MS), later, "a clock 60 s back must not put the frame 60 s into the past");
        let later = start.earlier_by_ns(-20 * MS);
        assert_eq!(map.map(1 + 10 * MS as u64, later, 20 * MS), later);
    }

    #[test]
    fn a_camera_clock_that_was_set_back_a_little_delays_frames_for_two_seconds_at_most() {
        // Frames that are 1 s late from then on look the same.
        let delays: Vec<f64> = (0..500).map(|n| if n < 200 { 1.0 } else { 1001.0 }).collect();
        let errors = errors(&delays, 0.0);
        let late = |errors: &[i64]| errors.iter().filter(|e| **e < 1000 * MS).count();
        assert_eq!(late(&errors[200..375]), 175, "single late frames, and some in a row, do not move the map");
        assert_eq!(late(&errors[400..]), 0, "{:?}", &errors[400..]);
    }

    #[test]
    fn what_was_seen_before_a_pause_counts_after_it() {
        let (start, mut map) = (Moment::now(), ClockMap::default());
        map.map(7_000, start, 0);
        let late = start.earlier_by_ns(-10_009 * MS);
        let mapped = map.map(7_000 + 10_000 * MS as u64, late, 10_009 * MS);
        assert!((late.unix_ns - mapped.unix_ns - 7 * MS).abs() < MS / 10, "9 ms late, of which 2 may be drift");
    }

    #[test]
    fn setting_the_wall_clock_does_not_make_frames_late() {
        let (start, mut map) = (Moment::now(), ClockMap::default());
        for n in 0..10 {
            let passed = n * 10 * MS;
            let mut arrival = start.earlier_by_ns(-passed);
            if n >= 5 {
                arrival.unix_ns += 1_000 * MS;
            }
            assert_eq!(map.map(7_000 + passed as u64, arrival, passed), arrival, "frame {n}");
        }
    }
}
