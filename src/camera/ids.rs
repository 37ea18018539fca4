//! Frame ids: what they say about lost frames.

/// Ids of GigE Vision 1.x run from 1 to 65535 and begin again at 1; 0 is never sent.
const WRAP: u64 = 65_535;

/// What the id of a frame says about the frames before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// No frame is missing.
    Next,
    /// So many frames never came.
    Missing(u64),
    /// The counter went back or did not move: the camera began anew, and how much is missing
    /// cannot be known.
    Restarted,
}

/// Follows a camera's frame ids, 16 bit that wrap or 64 bit that do not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameIds {
    last: Option<u64>,
}

impl FrameIds {
    /// Takes the id of the next frame that came, damaged or not.
    pub(super) fn step(&mut self, id: u64) -> Step {
        let Some(last) = self.last.replace(id) else { return Step::Next };
        let narrow = id <= WRAP && last <= WRAP;
        let ahead = match id.checked_sub(last) {
            Some(ahead) if ahead > 0 => ahead,
            _ if narrow => (id + WRAP).saturating_sub(last),
            _ => return Step::Restarted,
        };
        match ahead {
            1 => Step::Next,
            // More than half the way round is a step back.
            _ if narrow && ahead > WRAP / 2 => Step::Restarted,
            _ => Step::Missing(ahead - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(ids: &[u64]) -> Vec<Step> {
        let mut counter = FrameIds::default();
        ids.iter().map(|id| counter.step(*id)).collect()
    }

    #[test]
    fn sixteen_bit_ids_wrap_from_65535_to_1() {
        assert_eq!(steps(&[65_534, 65_535, 1, 2]), [Step::Next; 4]);
        assert_eq!(steps(&[65_534, 2])[1], Step::Missing(2));
        assert_eq!(steps(&[65_535, 2])[1], Step::Missing(1));
    }

    #[test]
    fn gaps_are_counted_exactly() {
        assert_eq!(steps(&[10, 11, 14, 15]), [Step::Next, Step::Next, Step::Missing(2), Step::Next]);
    }

    #[test]
    fn a_counter_that_goes_back_or_stands_is_no_gap() {
        assert_eq!(steps(&[500, 1])[1], Step::Restarted);
        assert_eq!(steps(&[500, 500])[1], Step::Restarted);
        assert_eq!(steps(&[70_000, 3])[1], Step::Restarted);
    }

    #[test]
    fn wide_ids_do_not_wrap() {
        assert_eq!(steps(&[65_535, 65_536, 65_537, 65_540])[1..], [Step::Next, Step::Next, Step::Missing(2)]);
    }
}
