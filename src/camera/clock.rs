use crate::cell::Moment;

/// How far two ordinary clocks drift apart at most: 200 ns in a millisecond.
const DRIFT: f64 = 200e-6;
/// A frame this much later than any delay explains: the camera's clock was set anew.
const RESET_NS: i64 = 2_000_000_000;

/// Maps a camera's own clock to the host's by a minimum-offset filter.
///
/// A frame arrives some time after its exposure, and that delay varies but is never negative. The
/// smallest difference seen between arrival and camera time is therefore nearest to the true offset
/// of the clocks. It is slowly forgotten, by the most that two quartz clocks drift apart, so the map
/// follows a drifting camera without following single late frames.
///
/// What the camera stamps within a frame (its begin or its end) does not matter while frames take
/// the same time: the constant becomes part of the offset.
#[derive(Debug, Clone, Default)]
pub(super) struct ClockMap {
    /// Offset of the clocks and the last arrival, both in ns of the host's wall clock.
    estimate: Option<(i64, Moment)>,
}

impl ClockMap {
    /// The host's moment of camera time `camera_ns` of a frame that arrived at `arrival`.
    ///
    /// Never later than `arrival`.
    pub(super) fn map(&mut self, camera_ns: u64, arrival: Moment) -> Moment {
        let offset = arrival.unix_ns.wrapping_sub_unsigned(camera_ns);
        let best = match self.estimate {
            Some((best, last)) => {
                let passed = arrival.instant.saturating_duration_since(last.instant);
                let forgiven = best.saturating_add((passed.as_nanos() as f64 * DRIFT) as i64);
                if offset.saturating_sub(forgiven) > RESET_NS { offset } else { offset.min(forgiven) }
            }
            None => offset,
        };
        self.estimate = Some((best, arrival));
        arrival.earlier_by_ns(offset.saturating_sub(best))
    }

    /// Forgets all, for a camera that came back.
    pub(super) fn reset(&mut self) {
        self.estimate = None;
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
            errors.push(map.map(camera_ns, arrival).unix_ns - start.unix_ns - exposed);
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
        map.map(60_000 * MS as u64, start);
        let later = start.earlier_by_ns(-10 * MS);
        assert_eq!(map.map(1, later), later, "a clock 60 s back must not put the frame 60 s into the past");
        let later = start.earlier_by_ns(-20 * MS);
        assert_eq!(map.map(1 + 10 * MS as u64, later), later);
    }
}
