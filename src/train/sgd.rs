use super::TrainError;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

/// Settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SgdSettings {
    /// Share of the last step that goes on into the next, 0 to below 1.
    pub momentum: f64,
    /// Pull of convolution kernels towards 0; norms and biases are spared.
    pub weight_decay: f64,
    /// Look ahead along the momentum (Nesterov).
    pub nesterov: bool,
    /// Gradients whose norm over all variables is larger are scaled down to it; 0: never.
    pub clip_norm: f64,
}

impl Default for SgdSettings {
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-4, nesterov: true, clip_norm: 5.0 }
    }
}

/// Stochastic gradient descent with momentum on candle's variables:
/// v ← μ v + g + λ w; w ← w − η v, or with Nesterov's look-ahead w ← w − η (g + λ w + μ v).
pub struct Sgd {
    settings: SgdSettings,
    slots: Vec<Slot>,
}

struct Slot {
    variable: Var,
    /// None until the first step.
    velocity: Option<Tensor>,
}

impl Sgd {
    /// An optimiser at rest.
    pub fn new(variables: impl IntoIterator<Item = Var>, settings: SgdSettings) -> Self {
        let slots = variables.into_iter().map(|variable| Slot { variable, velocity: None }).collect();
        Self { settings, slots }
    }

    /// One step along `gradients`; returns their norm over all variables, before clipping.
    ///
    /// A norm that is not finite changes nothing: the caller decides. Variables without a gradient stay.
    ///
    /// # Errors
    /// What the device says.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<f64, TrainError> {
        let SgdSettings { momentum, weight_decay, nesterov, clip_norm } = self.settings;
        let mut squares = 0.0;
        for slot in &self.slots {
            if let Some(gradient) = gradients.get(slot.variable.as_tensor()) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
            }
        }
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Ok(norm);
        }
        let scale = if clip_norm > 0.0 && norm > clip_norm { clip_norm / norm } else { 1.0 };
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.variable.as_tensor()) else { continue };
            let weight = slot.variable.as_detached_tensor();
            let mut pull = if scale == 1.0 { gradient.detach() } else { (gradient.detach() * scale)? };
            if weight_decay > 0.0 && weight.rank() > 1 {
                pull = (pull + (&weight * weight_decay)?)?;
            }
            let velocity = match &slot.velocity {
                Some(velocity) => ((velocity * momentum)? + &pull)?,
                None => pull.clone(),
            };
            let way = if nesterov { (pull + (&velocity * momentum)?)? } else { velocity.clone() };
            slot.variable.set(&(weight - (way * learning_rate)?)?)?;
            slot.velocity = Some(velocity);
        }
        Ok(norm)
    }
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// η (1 − t)^0.9.
    Poly,
}

impl Schedule {
    /// The learning rate at `progress` through training (0 to 1), from `first` at its start.
    pub fn at(self, first: f64, progress: f64) -> f64 {
        match self {
            Self::Poly => first * (1.0 - progress.clamp(0.0, 1.0)).powf(0.9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Steps down the slope w²/2 · c, whose gradient is c w.
    fn descend(settings: SgdSettings, shape: &[usize], slope: f64, learning_rate: f64, steps: usize) -> (f32, f64) {
        let w = Var::from_tensor(&Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        let mut sgd = Sgd::new([w.clone()], settings);
        let mut norm = 0.0;
        for _ in 0..steps {
            let loss = ((w.as_tensor().sqr().unwrap() * (slope / 2.0)).unwrap()).sum_all().unwrap();
            norm = sgd.step(&loss.backward().unwrap(), learning_rate).unwrap();
        }
        (w.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0], norm)
    }

    #[test]
    fn steps_are_those_of_the_formulas() {
        let plain = SgdSettings { momentum: 0.9, weight_decay: 0.0, nesterov: false, clip_norm: 0.0 };
        // w: 1; v = 1, w = 0.9; v = 0.9 + 0.9 = 1.8, w = 0.72.
        assert!((descend(plain, &[1], 1.0, 0.1, 2).0 - 0.72).abs() < 1e-6);
        // Nesterov: v = 1, w = 1 − 0.1 · 1.9 = 0.81; v = 0.9 + 0.81 = 1.71, w = 0.81 − 0.1 (0.81 + 1.539) = 0.5751.
        assert!((descend(SgdSettings { nesterov: true, ..plain }, &[1], 1.0, 0.1, 2).0 - 0.5751).abs() < 1e-6);
        // Decay on a kernel: 1 − 0.1 (1 + 0.5) = 0.85; on a bias none.
        let decaying = SgdSettings { weight_decay: 0.5, ..plain };
        assert!((descend(decaying, &[1, 1], 1.0, 0.1, 1).0 - 0.85).abs() < 1e-6);
        assert!((descend(decaying, &[1], 1.0, 0.1, 1).0 - 0.9).abs() < 1e-6);
    }

    #[test]
    fn long_gradients_are_cut_to_the_clip_norm_and_reported_as_they_were() {
        let clipped = SgdSettings { momentum: 0.0, weight_decay: 0.0, nesterov: false, clip_norm: 2.0 };
        // Four elements of gradient 10: norm 20, scaled by a tenth.
        let (w, norm) = descend(clipped, &[4], 10.0, 0.1, 1);
        assert!((norm - 20.0).abs() < 1e-4 && (w - 0.9).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_no_number_changes_nothing() {
        let (w, norm) = descend(SgdSettings::default(), &[1], f64::NAN, 0.1, 3);
        assert!(norm.is_nan() && w == 1.0);
    }

    #[test]
    fn poly_falls_from_the_first_rate_to_none() {
        assert_eq!(Schedule::Poly.at(0.02, 0.0), 0.02);
        assert!((Schedule::Poly.at(0.02, 0.5) - 0.02 * 0.5f64.powf(0.9)).abs() < 1e-12);
        assert_eq!(Schedule::Poly.at(0.02, 1.5), 0.0);
    }
}
