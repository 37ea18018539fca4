use super::FitSettings;
use std::time::{Duration, Instant};

/// When to evaluate next, as it follows from the last evaluation.
pub(super) struct Pace {
    /// Share of the training that was over after it.
    progress: f64,
    ended: Instant,
    took: Duration,
}

impl Pace {
    /// Of a training that begins, or goes on, at `progress`.
    pub fn from(progress: f64) -> Self {
        Self::after(progress, Duration::ZERO)
    }

    /// After an evaluation that has just ended at `progress` and `took` so long.
    pub fn after(progress: f64, took: Duration) -> Self {
        Self { progress, ended: Instant::now(), took }
    }

    /// Whether an evaluation is due after `step`, at `progress`.
    ///
    /// Where time is limited and nothing says how often, evaluating takes half of it at most, however slow it is; the last
    /// one is due in any case.
    pub fn evaluation_due(&self, settings: &FitSettings, step: u64, progress: f64) -> bool {
        let spread = || {
            let share = |progress: f64| (progress * FitSettings::EVALUATIONS as f64) as u64;
            share(progress) > share(self.progress) && (settings.time.is_none() || self.ended.elapsed() >= self.took)
        };
        progress >= 1.0 || settings.eval_every.map_or_else(spread, |every| step.is_multiple_of(every))
    }
}
