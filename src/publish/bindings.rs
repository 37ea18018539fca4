use super::wire::BindRequest;
use crate::cell::Moment;
use crate::cell::encoder::travel;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest id in bytes.
const ID_MAX_BYTES: usize = 128;
/// Longest tolerance in milliseconds: an hour.
const TOLERANCE_MAX_MS: f64 = 3_600_000.0;

/// How long an id waits for its cell, which may stand on the belt for long, before a new one makes the lane forget it.
const WAIT: Duration = Duration::from_secs(8 * 3600);

/// Carrier and serial ids that wait for their cells.
///
/// A PLC binds an id to the encoder count or time at which the cell's trailing edge will pass; whoever
/// makes the verdict [`take`](Self::take)s it. Each lane keeps a bounded number, each for a shift of eight hours: an
/// encoder that starts anew must not find the id of a cell that never came.
#[derive(Debug)]
pub struct Bindings {
    lanes: BTreeMap<Arc<str>, Mutex<VecDeque<Binding>>>,
    capacity: usize,
}

#[derive(Debug)]
struct Binding {
    id: String,
    place: Place,
    since: Instant,
    /// For cells that passed until then.
    until: Option<Instant>,
}

#[derive(Debug)]
enum Place {
    Encoder { count: i64, tolerance_counts: u64 },
    Time { unix_ns: i64, tolerance_ns: u64 },
}

/// Why an id could not be bound.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BindError {
    /// No such lane.
    #[error("this station has no lane `{lane}`, it has {known}")]
    Lane {
        /// The lane that was asked for.
        lane: String,
        /// The lanes that there are.
        known: String,
    },
    /// The id is empty, too long, or not printable.
    #[error("`id` must be 1 to {ID_MAX_BYTES} bytes of printable text")]
    Id,
    /// Not exactly one of the two places, with its own tolerance.
    #[error("a bind needs either `encoder_count` with `tolerance_counts`, or `unix_ns` with `tolerance_ms` (0 to {TOLERANCE_MAX_MS})")]
    Place,
}

impl Bindings {
    /// Nothing bound yet on any of `lanes`; each keeps at most `capacity` ids.
    pub fn new(lanes: impl IntoIterator<Item = Arc<str>>, capacity: usize) -> Self {
        Self { lanes: lanes.into_iter().map(|lane| (lane, Mutex::default())).collect(), capacity: capacity.max(1) }
    }

    /// Binds an id. Bound again, it moves to its new place.
    ///
    /// # Errors
    /// The lane is unknown, the id unfit, or the place not told in one of the two ways.
    pub fn bind(&self, request: &BindRequest) -> Result<(), BindError> {
        let waiting = self.lanes.get(request.lane.as_str()).ok_or_else(|| BindError::Lane {
            lane: request.lane.chars().take(64).collect(),
            known: self.lanes.keys().map(|lane| format!("`{lane}`")).collect::<Vec<_>>().join(", "),
        })?;
        let id = &request.id;
        if id.trim().is_empty() || id.len() > ID_MAX_BYTES || id.chars().any(char::is_control) {
            return Err(BindError::Id);
        }
        let place = match *request {
            BindRequest {
                encoder_count: Some(count), tolerance_counts: Some(tolerance_counts), unix_ns: None, tolerance_ms: None, ..
            } => Place::Encoder { count, tolerance_counts },
            BindRequest { encoder_count: None, tolerance_counts: None, unix_ns: Some(unix_ns), tolerance_ms: Some(ms), .. }
                if (0.0..=TOLERANCE_MAX_MS).contains(&ms) =>
            {
                Place::Time { unix_ns, tolerance_ns: (ms * 1e6) as u64 }
            }
            _ => return Err(BindError::Place),
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        waiting.retain(|binding| binding.id != *id && !binding.is_stale(now));
        if waiting.len() >= self.capacity {
            waiting.pop_front();
        }
        waiting.push_back(Binding { id: id.clone(), place, since: now, until: None });
        Ok(())
    }

    /// The id of the cell whose trailing edge passed `lane` `at` that moment and, where there is one, at
    /// `encoder_count`: the nearest one within its tolerance, by encoder before by time. It is
    /// given once.
    pub fn take(&self, lane: &str, encoder_count: Option<i64>, at: Moment) -> Option<String> {
        let mut waiting = self.lanes.get(lane)?.lock().unwrap_or_else(PoisonError::into_inner);
        let by_encoder = |binding: &Binding| match (&binding.place, encoder_count) {
            (Place::Encoder { count, tolerance_counts }, Some(at)) => {
                u64::try_from(travel(*count, at).unsigned_abs()).ok().filter(|off| off <= tolerance_counts)
            }
            _ => None,
        };
        let by_encoder = |binding: &Binding| by_encoder(binding).filter(|_| binding.until.is_none_or(|until| at.instant <= until));
        let by_time = |binding: &Binding| match binding.place {
            Place::Time { unix_ns, tolerance_ns } => Some(unix_ns.abs_diff(at.unix_ns)).filter(|off| *off <= tolerance_ns),
            Place::Encoder { .. } => None,
        };
        let index = nearest(&waiting, by_encoder).or_else(|| nearest(&waiting, by_time))?;
        waiting.remove(index).map(|binding| binding.id)
    }

    /// Of `lane`, whose encoder may count from anew, the ids that were bound before `before` to counts are no more for cells that
    /// pass later. Those that had passed by then may still be on their way to their verdicts.
    pub fn forget_counts(&self, lane: &str, before: Instant) {
        let Some(waiting) = self.lanes.get(lane) else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for binding in waiting.iter_mut().filter(|b| matches!(b.place, Place::Encoder { .. }) && b.since < before) {
            binding.until.get_or_insert(before);
        }
    }
}

impl Binding {
    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > WAIT
    }
}

fn nearest(waiting: &VecDeque<Binding>, distance: impl Fn(&Binding) -> Option<u64>) -> Option<usize> {
    // Of two that are as near, the one told last.
    let near = waiting.iter().enumerate().rev().filter_map(|(index, binding)| Some((distance(binding)?, index)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::tests::samples::at;

    fn by_encoder(id: &str, count: i64, tolerance: u64) -> BindRequest {
        BindRequest {
            lane: "a".into(),
            id: id.into(),
            encoder_count: Some(count),
            tolerance_counts: Some(tolerance),
            unix_ns: None,
            tolerance_ms: None,
        }
    }

    fn by_time(id: &str, unix_ns: i64, tolerance_ms: f64) -> BindRequest {
        BindRequest {
            lane: "a".into(),
            id: id.into(),
            encoder_count: None,
            tolerance_counts: None,
            unix_ns: Some(unix_ns),
            tolerance_ms: Some(tolerance_ms),
        }
    }

    fn bindings() -> Bindings {
        Bindings::new(["a".into(), "b".into()], 3)
    }

    #[test]
    fn an_encoder_that_starts_anew_after_32_bits_finds_its_ids() {
        let bindings = bindings();
        bindings.bind(&by_encoder("beyond", (1 << 32) - 5, 20)).unwrap();
        assert_eq!(bindings.take("a", Some(6), at(0)).as_deref(), Some("beyond"));
        bindings.bind(&by_encoder("negative", -5, 20)).unwrap();
        // The same count, read with and without its sign.
        assert_eq!(bindings.take("a", Some((1 << 32) - 5), at(0)).as_deref(), Some("negative"));
    }

    #[test]
    fn of_two_ids_as_near_the_one_told_last_is_given() {
        let bindings = bindings();
        bindings.bind(&by_encoder("of a cell that never came", 1000, 50)).unwrap();
        bindings.bind(&by_encoder("now", 1000, 50)).unwrap();
        assert_eq!(bindings.take("a", Some(1000), at(0)).as_deref(), Some("now"));
    }

    #[test]
    fn counts_of_a_camera_that_went_are_for_cells_that_had_passed_and_times_and_what_was_bound_since_for_all() {
        let bindings = bindings();
        let passed = Moment::now();
        bindings.bind(&by_encoder("before", 1000, 50)).unwrap();
        bindings.bind(&by_time("by time", 7, 1.0)).unwrap();
        let back = Instant::now();
        bindings.bind(&by_encoder("since", 2000, 50)).unwrap();
        bindings.forget_counts("b", back);
        bindings.forget_counts("a", back);
        assert_eq!(bindings.take("a", Some(1000), at(i64::MAX)), None);
        assert_eq!(bindings.take("a", Some(2000), at(i64::MAX)).as_deref(), Some("since"));
        assert_eq!(bindings.take("a", None, at(7)).as_deref(), Some("by time"));
        assert_eq!(bindings.take("a", Some(1000), passed).as_deref(), Some("before"));
    }

    #[test]
    fn an_id_whose_cell_never_came_is_forgotten() {
        let binding =
            Binding { id: "old".into(), place: Place::Encoder { count: 1, tolerance_counts: 1 }, since: Instant::now(), until: None };
        assert!(!binding.is_stale(Instant::now()));
        assert!(binding.is_stale(Instant::now() + WAIT + Duration::from_secs(1)));
    }

    #[test]
    fn the_nearest_id_within_its_tolerance_is_given_once() {
        let bindings = bindings();
        bindings.bind(&by_encoder("near", 1000, 50)).unwrap();
        bindings.bind(&by_encoder("far", 1040, 50)).unwrap();
        assert_eq!(bindings.take("a", Some(1010), at(0)).as_deref(), Some("near"));
        assert_eq!(bindings.take("a", Some(1010), at(0)).as_deref(), Some("far"));
        assert_eq!(bindings.take("a", Some(1010), at(0)), None);
    }

    #[test]
    fn outside_the_tolerance_or_on_another_lane_nothing_is_given() {
        let bindings = bindings();
        bindings.bind(&by_time("t", 1_000_000_000, 5.0)).unwrap();
        assert_eq!(bindings.take("a", None, at(1_005_000_001)), None);
        assert_eq!(bindings.take("b", None, at(1_000_000_000)), None);
        assert_eq!(bindings.take("a", None, at(1_005_000_000)).as_deref(), Some("t"));
    }

    #[test]
    fn the_encoder_is_believed_before_the_clock() {
        let bindings = bindings();
        bindings.bind(&by_time("clock", 0, 10.0)).unwrap();
        bindings.bind(&by_encoder("encoder", 7, 10)).unwrap();
        assert_eq!(bindings.take("a", Some(10), at(0)).as_deref(), Some("encoder"));
        assert_eq!(bindings.take("a", Some(10), at(0)).as_deref(), Some("clock"));
    }

    #[test]
    fn the_oldest_is_forgotten_for_a_new_one_and_a_rebound_id_moves() {
        let bindings = bindings();
        for (i, id) in ["1", "2", "3", "4"].iter().enumerate() {
            bindings.bind(&by_encoder(id, i as i64 * 100, 1)).unwrap();
        }
        assert_eq!(bindings.take("a", Some(0), at(0)), None);
        bindings.bind(&by_encoder("2", 900, 1)).unwrap();
        assert_eq!(bindings.take("a", Some(100), at(0)), None);
        assert_eq!(bindings.take("a", Some(900), at(0)).as_deref(), Some("2"));
        assert_eq!(bindings.take("a", Some(300), at(0)).as_deref(), Some("4"));
    }

    #[test]
    fn unfit_requests_are_refused_with_what_was_expected() {
        let bindings = bindings();
        let refused = |request: BindRequest| bindings.bind(&request).unwrap_err();
        assert!(refused(BindRequest { lane: "c".into(), ..by_encoder("x", 0, 0) }).to_string().contains("`a`, `b`"));
        assert_eq!(refused(by_encoder(" ", 0, 0)), BindError::Id);
        assert_eq!(refused(by_encoder("a\nb", 0, 0)), BindError::Id);
        assert_eq!(refused(by_encoder(&"x".repeat(129), 0, 0)), BindError::Id);
        assert_eq!(refused(BindRequest { tolerance_counts: None, ..by_encoder("x", 0, 0) }), BindError::Place);
        assert_eq!(refused(BindRequest { unix_ns: Some(1), ..by_encoder("x", 0, 0) }), BindError::Place);
        assert_eq!(refused(by_time("x", 0, f64::NAN)), BindError::Place);
        assert_eq!(refused(by_time("x", 0, -1.0)), BindError::Place);
        assert_eq!(bindings.take("a", Some(0), at(0)), None);
    }

    #[test]
    fn counts_at_the_ends_of_their_range_do_not_overflow() {
        let bindings = bindings();
        bindings.bind(&by_encoder("x", i64::MIN, 10)).unwrap();
        assert_eq!(bindings.take("a", Some(i64::MAX), at(i64::MAX)), None);
    }
}
