//! Stochastic gradient descent with momentum, and AdamW, on candle's variables; learning rates.

mod schedule;
#[cfg(test)]
mod tests;

pub use schedule::{Decay, Schedule};

use super::TrainError;
#[cfg(feature = "cudnn")]
use crate::nn::learning::{self, Descent};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;

/// The rule by which a gradient g becomes a change of a weight w.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// g ← g + λ w; v ← μ v + g; w ← w − η v, or with Nesterov's look-ahead w ← w − η (g + μ v).
    Sgd {
        /// μ, the share of the last step that goes on into the next, 0 to below 1.
        momentum: f64,
        /// Look ahead along the momentum (Nesterov).
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), β 0.9 and 0.999, ε 1e-8:
    /// w ← w − η (m̂ / (√v̂ + ε) + λ w).
    AdamW,
}

/// Settings of an [`Optimiser`].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OptimiserSettings {
    /// How weights move.
    pub rule: Rule,
    /// λ, the pull of convolution kernels towards 0; norms and biases are spared.
    pub weight_decay: f64,
    /// Gradients whose norm over all variables is larger are scaled down to it; 0: never.
    pub clip_norm: f64,
}

impl OptimiserSettings {
    /// Momentum of [`Rule::Sgd`] unless told otherwise.
    pub const MOMENTUM: f64 = 0.9;
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self { rule: Rule::Sgd { momentum: Self::MOMENTUM, nesterov: true }, weight_decay: 1e-4, clip_norm: 5.0 }
    }
}

/// Moves variables along their gradients.
pub struct Optimiser {
    settings: OptimiserSettings,
    slots: Vec<Slot>,
    steps: i32,
}

struct Slot {
    name: String,
    variable: Var,
    /// Running means of the gradient (SGD: the velocity; AdamW: mean and mean of squares); none before the first step.
    moments: Vec<Tensor>,
}

#[cfg(feature = "cudnn")]
impl Slot {
    /// Moves weights and velocity where they are; `false` where kernels of our own do not take them.
    fn descend_on_cuda(&mut self, gradient: &Tensor, descent: Descent) -> candle_core::Result<bool> {
        let weight = self.variable.as_tensor();
        if !learning::takes(&[weight, gradient]) {
            return Ok(false);
        }
        if self.moments.is_empty() {
            self.moments.push(Tensor::zeros(weight.shape(), weight.dtype(), weight.device())?);
        }
        learning::descend(weight, &self.moments[0], gradient, descent)?;
        Ok(true)
    }
}

const BETA: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

impl Optimiser {
    /// An optimiser at rest; names tell the variables apart in [`tensors`](Self::tensors).
    pub fn new(variables: impl IntoIterator<Item = (String, Var)>, settings: OptimiserSettings) -> Self {
        let slots = variables.into_iter().map(|(name, variable)| Slot { name, variable, moments: Vec::new() }).collect();
        Self { settings, slots, steps: 0 }
    }

    /// One step along `gradients`; returns their norm over all variables, before clipping.
    ///
    /// A norm that is not finite changes nothing: the caller decides. Variables without a gradient stay.
    ///
    /// # Errors
    /// What the device says.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<f64, TrainError> {
        let OptimiserSettings { rule, weight_decay, clip_norm } = self.settings;
        let found: Vec<&Tensor> = self.slots.iter().filter_map(|slot| gradients.get(slot.variable.as_tensor())).collect();
        let norm = squared_norm(&found)?.sqrt();
        if !norm.is_finite() {
            return Ok(norm);
        }
        self.steps = self.steps.saturating_add(1);
        let scale = if clip_norm > 0.0 && norm > clip_norm { clip_norm / norm } else { 1.0 };
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.variable.as_tensor()) else { continue };
            let decay = if slot.variable.rank() > 1 { weight_decay } else { 0.0 };
            #[cfg(feature = "cudnn")]
            if let Rule::Sgd { momentum, nesterov } = rule
                && slot.descend_on_cuda(gradient, Descent::new(learning_rate, (momentum, nesterov), decay, scale))?
            {
                continue;
            }
            let weight = slot.variable.as_detached_tensor();
            let gradient = if scale == 1.0 { gradient.detach() } else { (gradient.detach() * scale)? };
            let moved = match rule {
                Rule::Sgd { momentum, nesterov } => sgd(&mut slot.moments, &weight, gradient, decay, momentum, nesterov, learning_rate)?,
                Rule::AdamW => adamw(&mut slot.moments, &weight, &gradient, decay, self.steps, learning_rate)?,
            };
            slot.variable.set(&moved)?;
        }
        Ok(norm)
    }

    /// Everything that the next step depends on beside weights and gradients, until that step: it may change them where they are.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let named =
            |slot: &Slot| slot.moments.iter().enumerate().map(|(i, t)| (format!("{i}.{}", slot.name), t.clone())).collect::<Vec<_>>();
        self.slots.iter().flat_map(named).collect()
    }

    /// Goes on where another optimiser of the same variables and rule stood after `steps` steps.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where the tensors are those of another network or rule.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, steps: u64, device: &Device) -> Result<(), TrainError> {
        let unfit = |name: &str| TrainError::Setting {
            name: "resume",
            problem: format!(
                "the optimiser's state does not fit the network at {name}; begin a new training with --init from its last checkpoint"
            ),
        };
        let count = match self.settings.rule {
            Rule::Sgd { .. } => 1,
            Rule::AdamW => 2,
        };
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
        for slot in &mut self.slots {
            let moments = (0..count).map_while(|i| tensors.get(&format!("{i}.{}", slot.name)));
            // Of its own: kernels change moments where they are.
            let moments = moments.map(|t| t.to_device(device)?.copy()).collect::<Result<Vec<_>, _>>()?;
            // None at all: the variable had no gradient yet.
            let fits = (moments.is_empty() || moments.len() == count) && moments.iter().all(|t| t.dims() == slot.variable.dims());
            if !fits {
                return Err(unfit(&slot.name));
            }
            slot.moments = moments;
        }
        let known: usize = self.slots.iter().map(|slot| slot.moments.len()).sum();
        if known != tensors.len() {
            let foreign = |name: &&String| !self.slots.iter().any(|slot| name.split_once('.').is_some_and(|(_, n)| n == slot.name));
            return Err(unfit(tensors.keys().find(foreign).map_or("a tensor of another rule", String::as_str)));
        }
        Ok(())
    }
}

/// The sum of all squares. Read back at once: a device stands still for each reading.
fn squared_norm(gradients: &[&Tensor]) -> candle_core::Result<f64> {
    if gradients.is_empty() {
        return Ok(0.0);
    }
    #[cfg(feature = "cudnn")]
    if learning::takes(gradients) {
        return learning::squared_norm(gradients);
    }
    let squares = gradients.iter().map(|gradient| gradient.sqr()?.sum_all()?.to_dtype(DType::F32));
    let squares = Tensor::stack(&squares.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
    Ok(squares.to_vec1::<f32>()?.into_iter().map(f64::from).sum())
}

fn sgd(
    moments: &mut Vec<Tensor>,
    weight: &Tensor,
    gradient: Tensor,
    decay: f64,
    momentum: f64,
    nesterov: bool,
    rate: f64,
) -> candle_core::Result<Tensor> {
    let pull = if decay > 0.0 { (gradient + (weight * decay)?)? } else { gradient };
    let velocity = match moments.first() {
        Some(velocity) => ((velocity * momentum)? + &pull)?,
        None => pull.clone(),
    };
    let way = if nesterov { (pull + (&velocity * momentum)?)? } else { velocity.clone() };
    *moments = vec![velocity];
    weight - (way * rate)?
}

fn adamw(moments: &mut Vec<Tensor>, weight: &Tensor, gradient: &Tensor, decay: f64, step: i32, rate: f64) -> candle_core::Result<Tensor> {
    let fresh = [gradient.clone(), gradient.sqr()?];
    let mut means = Vec::with_capacity(2);
    for (i, (fresh, beta)) in fresh.into_iter().zip(BETA).enumerate() {
        let fresh = (fresh * (1.0 - beta))?;
        means.push(match moments.get(i) {
            Some(mean) => ((mean * beta)? + fresh)?,
            None => fresh,
        });
    }
    // The means begin at 0; this takes the bias out again.
    let unbiased = |i: usize| &means[i] / (1.0 - BETA[i].powi(step));
    let way = (unbiased(0)? / (unbiased(1)?.sqrt()? + EPSILON)?)?;
    let way = if decay > 0.0 { (way + (weight * decay)?)? } else { way };
    *moments = means;
    weight - (way * rate)?
}
