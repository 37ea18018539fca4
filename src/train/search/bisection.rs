/// The interval in which the output imbalance index is wanted, ends included.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Goal {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Goal {
    /// How far an index lies outside.
    pub fn distance(&self, oii: f64) -> f64 {
        (self.low - oii).max(oii - self.high).max(0.0)
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Guide {
    /// Train with this α.
    Train(f64),
    /// The index of this α lies in the goal interval.
    Reached(f64),
    /// No candidate is left; this α's index came nearest to the goal.
    Nearest(f64),
}

/// The centroids of `parts` equal parts of (0, 1): what α is chosen from.
pub fn centroids(parts: usize) -> Vec<f64> {
    (0..parts).map(|i| (2 * i + 1) as f64 / (2 * parts) as f64).collect()
}

/// The most trainings that a search among `parts` [`centroids`] takes.
pub fn most_trainings(parts: usize) -> usize {
    parts.max(1).ilog2() as usize + 1
}

/// The next step of the bisection over `candidates`, in rising order, after the trainings `tried`, (α, OII) in their order.
/// Candidates whose training failed are left out of both.
///
/// It starts at the middle candidate, which is ½ where the number of [`centroids`] is odd. An index above the goal (too many false alarms) asks for a larger α, one
/// below for a smaller one: the middle candidate of those left, of two the one nearer ½. So at most
/// [`most_trainings`] are needed. A function of its arguments alone: an interrupted search asks again.
pub fn guide(candidates: &[f64], goal: &Goal, tried: &[(f64, f64)]) -> Guide {
    let mut left = 0..candidates.len();
    for (alpha, oii) in tried {
        if goal.distance(*oii) == 0.0 {
            return Guide::Reached(*alpha);
        }
        let (smaller, larger) = (candidates.partition_point(|c| *c < alpha - 1e-9), candidates.partition_point(|c| *c <= alpha + 1e-9));
        if *oii > goal.high {
            left.start = left.start.max(larger);
        } else {
            left.end = left.end.min(smaller);
        }
    }
    if left.is_empty() {
        let distance = |t: &&(f64, f64)| goal.distance(t.1);
        let nearest = tried.iter().min_by(|one, other| distance(one).total_cmp(&distance(other)));
        return Guide::Nearest(nearest.map_or(0.5, |(alpha, _)| *alpha));
    }
    let middles = [left.start + (left.len() - 1) / 2, left.start + left.len() / 2].map(|i| candidates[i]);
    let off = |alpha: f64| (alpha - 0.5).abs();
    Guide::Train(if off(middles[1]) < off(middles[0]) - 1e-9 { middles[1] } else { middles[0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the guide where each α has an index of its own.
    fn follow(parts: usize, goal: Goal, oii: impl Fn(f64) -> f64) -> (Vec<f64>, Guide) {
        let mut tried = Vec::new();
        loop {
            match guide(&centroids(parts), &goal, &tried) {
                Guide::Train(alpha) => tried.push((alpha, oii(alpha))),
                end => return (tried.into_iter().map(|(alpha, _)| alpha).collect(), end),
            }
        }
    }

    const PAPER: Goal = Goal { low: 0.2, high: 0.4 };

    #[test]
    fn the_papers_examples_come_out() {
        assert_eq!(centroids(5), [0.1, 0.3, 0.5, 0.7, 0.9]);
        // DIBEDis with SegNet: 0.5 lies above the goal, 0.7 within.
        assert_eq!(follow(5, PAPER, |alpha| 0.8 - 0.7 * alpha), (vec![0.5, 0.7], Guide::Reached(0.7)));
        // Tversky with U-Net: 0.5 and 0.3 lie below, 0.1 within.
        assert_eq!(follow(5, PAPER, |alpha| 0.35 - alpha), (vec![0.5, 0.3, 0.1], Guide::Reached(0.1)));
        assert_eq!(follow(5, PAPER, |_| 0.3), (vec![0.5], Guide::Reached(0.5)));
    }

    #[test]
    fn no_search_takes_more_trainings_than_promised() {
        for parts in 1..200usize {
            let most = most_trainings(parts);
            for threshold in (0..=100).map(|t| f64::from(t) / 100.0) {
                // No index is ever within the goal: above it up to the threshold, below beyond.
                let (tried, end) = follow(parts, PAPER, |alpha| if alpha < threshold { 0.9 } else { -0.9 });
                assert!(tried.len() <= most, "{parts} parts: {tried:?}");
                assert!(matches!(end, Guide::Nearest(_)));
            }
        }
    }

    #[test]
    fn a_goal_that_one_candidate_meets_is_reached() {
        for parts in 1..60 {
            for wanted in centroids(parts) {
                let half = 0.4 / parts as f64;
                let (_, end) = follow(parts, Goal { low: -half, high: half }, |alpha| wanted - alpha);
                assert!(matches!(end, Guide::Reached(alpha) if (alpha - wanted).abs() < 1e-9), "{parts} {wanted} {end:?}");
            }
        }
    }

    #[test]
    fn a_candidate_that_is_left_out_is_gone_round() {
        assert_eq!(guide(&[0.1, 0.3, 0.7, 0.9], &PAPER, &[]), Guide::Train(0.3));
        assert_eq!(guide(&[0.1, 0.3, 0.9], &PAPER, &[(0.3, 0.8)]), Guide::Train(0.9));
        assert_eq!(guide(&[], &PAPER, &[(0.3, 0.8), (0.9, -0.5)]), Guide::Nearest(0.3));
    }

    #[test]
    fn without_a_candidate_left_the_nearest_is_told() {
        let (tried, end) = follow(3, PAPER, |alpha| if alpha < 0.6 { 0.5 } else { -0.9 });
        assert_eq!((tried.len(), end), (2, Guide::Nearest(0.5)));
    }
}
