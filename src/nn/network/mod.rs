//! Networks that can be trained, built of the layers that [`super::layout`] lists.

mod deeplab;
mod dilated;
mod layer;
mod pspnet;
mod segnet;
#[cfg(test)]
mod tests;
mod unet;

use super::kernels::products_in_words;
use super::layout::{self, LEVELS, Parameter, Start};
use super::ops::{MapId, Tape, tape};
use super::{Architecture, Checkpoint, NetworkShape, NnError};
use crate::config::Precision;
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Whether batch norm uses the batch's statistics or the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; the running ones are brought up to date. On the CPU the products of convolutions with
    /// batch norm are of that precision where it has AMX, else in `f32`.
    Train(Precision),
    /// Running statistics, exact products.
    Eval,
}

impl Mode {
    /// Whether gradients will be asked for.
    fn trains(self) -> bool {
        matches!(self, Self::Train(_))
    }

    /// How products are made.
    fn precision(self) -> Precision {
        match self {
            Self::Train(precision) => precision,
            Self::Eval => Precision::F32,
        }
    }
}

/// How products are really made in a training on the CPU that asks for `precision`, for the log.
pub fn trained_in(precision: Precision) -> String {
    products_in_words(precision)
}

/// The layers between pictures and logits.
trait Body: Send + Sync {
    /// Logits of pictures whose form has been checked.
    fn forward(&self, x: &Tensor, mode: Mode) -> candle_core::Result<Tensor>;

    /// Logits in training, where this network can be recorded on a tape.
    fn record(&self, _tape: &mut dyn Tape, _x: &Tensor) -> Option<candle_core::Result<MapId>> {
        None
    }
}

/// A segmentation network that can be trained: pictures in, one logit a pixel out.
///
/// For inspection use [`super::engine()`], which is compiled from a checkpoint.
pub struct Network {
    shape: NetworkShape,
    /// In the order of the layout, with whether it is trained.
    parameters: Vec<(String, Var, bool)>,
    body: Box<dyn Body>,
}

impl Network {
    /// A network with random weights (He et al. 2015, uniform); the same seed gives the same weights.
    ///
    /// # Errors
    /// A shape that no network can have, or a device that fails.
    pub fn new(shape: &NetworkShape, seed: u64, device: &Device) -> Result<Self, NnError> {
        shape.check()?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Self::build(shape, |parameter| {
            let count = parameter.shape.iter().product();
            let values: Vec<f32> = match parameter.start {
                Start::Constant(value) => vec![value; count],
                Start::Variance => vec![1.0; count],
                Start::Uniform(bound) => (0..count).map(|_| random.random_range(-bound..bound)).collect(),
            };
            Ok(Var::from_vec(values, parameter.shape.as_slice(), device)?)
        })
    }

    /// The same network, whose probabilities begin around `share` instead of a half: the bias of its last convolution
    /// becomes ln(share / (1 − share)) (Lin et al. 2017, section 4.1).
    ///
    /// Where few pixels are crack, the overlap losses have next to no gradient at a half: nearly everything is a false alarm,
    /// and thousands of steps can go by before that has been learnt.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or a device that fails.
    pub fn expecting(self, share: f64) -> Result<Self, NnError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(NnError::Shape { found: format!("a prior of {share}"), expected: "one above 0 and below 1".into() });
        }
        let name = layout::head(&self.shape).bias();
        for (_, bias, _) in self.parameters.iter().filter(|(parameter, _, _)| *parameter == name) {
            bias.set(&bias.as_detached_tensor().zeros_like()?.affine(1.0, (share / (1.0 - share)).ln())?)?;
        }
        Ok(self)
    }

    /// The network of a checkpoint.
    ///
    /// # Errors
    /// A tensor that is missing or of another size, or a device that fails.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self, NnError> {
        checkpoint.check()?;
        Self::build(&checkpoint.meta.shape, |parameter| {
            let tensor = checkpoint.tensor(&parameter.name)?.to_device(device)?;
            Ok(Var::from_tensor(&tensor.copy()?)?)
        })
    }

    fn build(shape: &NetworkShape, mut make: impl FnMut(&Parameter) -> Result<Var, NnError>) -> Result<Self, NnError> {
        let mut parameters = Vec::new();
        for parameter in layout::parameters(shape) {
            let var = make(&parameter)?;
            parameters.push((parameter.name, var, parameter.trainable));
        }
        let variables = layer::Variables(parameters.iter().map(|(name, var, _)| (name.as_str(), var)).collect());
        let width = shape.base_width;
        let body: Box<dyn Body> = match shape.architecture {
            Architecture::UNet => Box::new(unet::UNet::new(&layout::UNet::new(shape), &variables)?),
            Architecture::SegNet => Box::new(segnet::SegNet::new(&layout::SegNet::new(width), &variables)?),
            Architecture::PspNet => Box::new(pspnet::PspNet::new(&layout::PspNet::new(width), &variables)?),
            Architecture::DeepLabV3 => Box::new(deeplab::DeepLab::new(&layout::DeepLab::new(width), &variables)?),
        };
        Ok(Self { shape: *shape, parameters, body })
    }

    /// Logits `[n, 1, h, w]` of pictures `[n, 1, h, w]` (`f32`, normalised), sides divisible by 16.
    ///
    /// In [`Mode::Train`] the running statistics are brought up to date, and gradients can be taken; in
    /// the other modes none can, and what only they need is not kept.
    ///
    /// # Errors
    /// Pictures of another form, or a device that fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        self.check_pictures(x)?;
        Ok(self.body.forward(x, mode)?)
    }

    fn check_pictures(&self, x: &Tensor) -> Result<(), NnError> {
        let unit = 1 << LEVELS;
        let fits = matches!(x.dims(), [n, 1, h, w] if *n > 0 && h.is_multiple_of(unit) && w.is_multiple_of(unit) && *h > 0 && *w > 0);
        if !fits {
            return Err(NnError::Shape {
                found: format!("pictures of {:?}", x.dims()),
                expected: format!("[n, 1, h, w] with n from 1, h and w divisible by {unit}"),
            });
        }
        Ok(())
    }

    /// The loss that `objective` finds in the logits of pictures, and its gradients by the network's
    /// [`variables`](Self::variables).
    ///
    /// The same as [`forward`](Self::forward) in [`Mode::Train`] and candle's way back; a U-Net does it on a tape of its own
    /// on the CPU, and in bf16 on CUDA, which spares most of the memory's work.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn learn(
        &self,
        x: &Tensor,
        precision: Precision,
        objective: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<(Tensor, GradStore), NnError> {
        self.check_pictures(x)?;
        if let Some(mut tape) = tape(x.device(), precision, self.shape.base_width)
            && let Some(recorded) = self.body.record(tape.as_mut(), x)
        {
            let map = recorded?;
            let logits = Var::from_tensor(&tape.tensor(map)?)?;
            let loss = objective(&logits)?;
            let mut gradients = loss.backward()?;
            if let Some(gradient) = gradients.remove(&logits) {
                for (variable, gradient) in tape.backward(map, &gradient)? {
                    gradients.insert(&variable, gradient);
                }
            }
            return Ok((loss, gradients));
        }
        let loss = objective(&self.body.forward(x, Mode::Train(precision))?)?;
        let gradients = loss.backward()?;
        Ok((loss, gradients))
    }

    /// What training changes, in an order that depends on the shape alone.
    pub fn variables(&self) -> Vec<(String, Var)> {
        self.parameters.iter().filter(|(_, _, trainable)| *trainable).map(|(name, var, _)| (name.clone(), var.clone())).collect()
    }

    /// How much larger the weights are than those of a training that begins (root of the mean square).
    ///
    /// # Errors
    /// A device that fails.
    pub fn growth(&self) -> Result<f64, NnError> {
        let (mut now, mut start) = (0.0, 0.0);
        for (parameter, (_, var, trainable)) in layout::parameters(&self.shape).iter().zip(&self.parameters) {
            if *trainable {
                now += f64::from(var.as_detached_tensor().sqr()?.sum_all()?.to_scalar::<f32>()?);
                start += var.elem_count() as f64 * parameter.start.mean_square();
            }
        }
        Ok((now / start.max(f64::MIN_POSITIVE)).sqrt())
    }

    /// Everything that a checkpoint holds, running statistics included; copies, on the network's device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, NnError> {
        self.parameters.iter().map(|(name, var, _)| Ok((name.clone(), var.as_detached_tensor().copy()?))).collect()
    }

    /// What was built.
    pub fn shape(&self) -> &NetworkShape {
        &self.shape
    }
}
