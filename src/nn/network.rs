use super::layout::{DoubleConv, Half, LEVELS, Layout, Start};
use super::ops::{self, BatchNorm};
use super::{Checkpoint, NetworkShape, NnError};
use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Whether batch norm uses the batch's statistics or the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; the running ones are brought up to date.
    Train,
    /// Running statistics.
    Eval,
}

/// A convolution with batch norm and ReLU.
struct ConvNormRelu {
    weight: Var,
    norm: BatchNorm,
}

impl ConvNormRelu {
    fn forward(&self, x: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        ops::norm_relu(&ops::conv(x, &self.weight)?, &self.norm, mode == Mode::Train)
    }
}

struct UpStep {
    /// Weight and bias; absent where the size is doubled by interpolation.
    transposed: Option<(Var, Var)>,
    convolutions: [ConvNormRelu; 2],
}

/// A segmentation network that can be trained: pictures in, one logit a pixel out.
///
/// For inspection use [`super::engine()`], which is compiled from a checkpoint.
pub struct Network {
    shape: NetworkShape,
    /// In the order of the layout, with whether it is trained.
    parameters: Vec<(String, Var, bool)>,
    down: Vec<[ConvNormRelu; 2]>,
    up: Vec<UpStep>,
    head: (Var, Var),
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
                Start::Uniform(bound) => (0..count).map(|_| random.random_range(-bound..bound)).collect(),
            };
            Ok(Var::from_vec(values, parameter.shape.as_slice(), device)?)
        })
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

    fn build(shape: &NetworkShape, mut make: impl FnMut(&super::layout::Parameter) -> Result<Var, NnError>) -> Result<Self, NnError> {
        let layout = Layout::new(shape);
        let mut parameters = Vec::new();
        for parameter in layout.parameters() {
            parameters.push((parameter.name.clone(), make(&parameter)?, parameter.trainable));
        }
        let by_name: BTreeMap<&str, &Var> = parameters.iter().map(|(name, var, _)| (name.as_str(), var)).collect();
        let get = |name: String| {
            by_name
                .get(name.as_str())
                .map(|var| (*var).clone())
                .ok_or_else(|| NnError::Shape { found: format!("no tensor {name}"), expected: "one".into() })
        };
        let half = |half: &Half| -> Result<ConvNormRelu, NnError> {
            Ok(ConvNormRelu {
                weight: get(format!("{}.weight", half.convolution))?,
                norm: BatchNorm {
                    gain: get(format!("{}.weight", half.norm))?,
                    offset: get(format!("{}.bias", half.norm))?,
                    running_mean: get(format!("{}.running_mean", half.norm))?,
                    running_var: get(format!("{}.running_var", half.norm))?,
                },
            })
        };
        let double = |block: &DoubleConv| -> Result<[ConvNormRelu; 2], NnError> {
            let [first, second] = block.halves();
            Ok([half(&first)?, half(&second)?])
        };
        let down = layout.down.iter().map(double).collect::<Result<_, _>>()?;
        let up = layout
            .up
            .iter()
            .map(|up| {
                let transposed = match &up.transposed {
                    Some(name) => Some((get(format!("{name}.weight"))?, get(format!("{name}.bias"))?)),
                    None => None,
                };
                Ok(UpStep { transposed, convolutions: double(&up.convolutions)? })
            })
            .collect::<Result<_, NnError>>()?;
        let head = (get(format!("{}.weight", layout.head))?, get(format!("{}.bias", layout.head))?);
        Ok(Self { shape: *shape, parameters, down, up, head })
    }

    /// Logits `[n, 1, h, w]` of pictures `[n, 1, h, w]` (`f32`, normalised), sides divisible by 16.
    ///
    /// In [`Mode::Train`] the running statistics are brought up to date, and gradients can be taken.
    ///
    /// # Errors
    /// Pictures of another form, or a device that fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let unit = 1 << LEVELS;
        let fits = matches!(x.dims(), [_, 1, h, w] if h.is_multiple_of(unit) && w.is_multiple_of(unit) && *h > 0 && *w > 0);
        if !fits {
            return Err(NnError::Shape {
                found: format!("pictures of {:?}", x.dims()),
                expected: format!("[n, 1, h, w] with h and w divisible by {unit}"),
            });
        }
        let pair = |[first, second]: &[ConvNormRelu; 2], x: &Tensor| second.forward(&first.forward(x, mode)?, mode);
        let mut skips: Vec<Tensor> = Vec::new();
        for convolutions in &self.down {
            let input = match skips.last() {
                None => x.clone(),
                Some(above) => ops::max_pool(above)?,
            };
            skips.push(pair(convolutions, &input)?);
        }
        let mut deepest = skips.pop().unwrap_or_else(|| x.clone());
        for (step, skip) in self.up.iter().zip(skips.iter().rev()) {
            let raised = match &step.transposed {
                Some((weight, bias)) => ops::conv_transposed(&deepest, weight, bias)?,
                None => ops::upsample_bilinear(&deepest)?,
            };
            deepest = pair(&step.convolutions, &Tensor::cat(&[skip, &raised], 1)?)?;
        }
        Ok(ops::add_bias(&ops::conv(&deepest, &self.head.0)?, &self.head.1)?)
    }

    /// What training changes, in an order that depends on the shape alone.
    pub fn variables(&self) -> Vec<(String, Var)> {
        self.parameters.iter().filter(|(_, _, trainable)| *trainable).map(|(name, var, _)| (name.clone(), var.clone())).collect()
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
