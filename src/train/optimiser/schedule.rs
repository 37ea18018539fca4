/// How the learning rate falls over a training.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// η (1 − t)^0.9.
    Poly,
    /// η (1 + cos πt) / 2.
    Cosine,
    /// η f^k in the k-th of `falls` + 1 equal parts of the training, k from 0.
    Step {
        /// How often it falls.
        falls: u32,
        /// To which share of itself it falls each time.
        factor: f64,
    },
    /// η throughout.
    Constant,
}

/// The learning rate of every step: a warm-up, then a decay.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    /// How it falls.
    pub decay: Decay,
    /// Steps in which the rate rises evenly to what the decay says; 0: none.
    pub warmup_steps: u64,
}

impl Schedule {
    /// The rate of step `step` (from 1), `progress` through training (0 to 1), `first` without decay and warm-up.
    pub fn at(&self, first: f64, step: u64, progress: f64) -> f64 {
        let t = progress.clamp(0.0, 1.0);
        let decayed = match self.decay {
            Decay::Poly => first * (1.0 - t).powf(0.9),
            Decay::Cosine => first * (1.0 + (std::f64::consts::PI * t).cos()) / 2.0,
            Decay::Step { falls, factor } => first * factor.powf((t * f64::from(falls + 1)).floor().min(f64::from(falls))),
            Decay::Constant => first,
        };
        if step < self.warmup_steps { decayed * step as f64 / self.warmup_steps as f64 } else { decayed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(decay: Decay, at: &[f64]) -> Vec<f64> {
        at.iter().map(|t| Schedule { decay, warmup_steps: 0 }.at(0.02, 100, *t)).collect()
    }

    #[test]
    fn decays_are_those_of_their_formulas() {
        let near = |got: Vec<f64>, want: [f64; 3]| got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-12, "{got:?}"));
        near(rates(Decay::Poly, &[0.0, 0.5, 1.5]), [0.02, 0.02 * 0.5f64.powf(0.9), 0.0]);
        near(rates(Decay::Cosine, &[0.0, 0.5, 1.0]), [0.02, 0.01, 0.0]);
        near(rates(Decay::Step { falls: 1, factor: 0.1 }, &[0.49, 0.5, 1.0]), [0.02, 0.002, 0.002]);
        near(rates(Decay::Constant, &[0.0, 0.5, 1.0]), [0.02; 3]);
    }

    #[test]
    fn warm_up_rises_evenly_and_ends() {
        let schedule = Schedule { decay: Decay::Constant, warmup_steps: 4 };
        assert_eq!([1, 2, 4, 5].map(|step| schedule.at(1.0, step, 0.0)), [0.25, 0.5, 1.0, 1.0]);
    }
}
