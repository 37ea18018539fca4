//! A U-Net of candle's operators with its batch norms folded into the weights, for devices other than the CPU.

use super::fold::{folded, read};
use crate::config::Precision;
use crate::nn::layout::{self, ConvNorm, DoubleConv, Pass};
use crate::nn::{Checkpoint, NnError, ops};
use candle_core::{DType, Device, Error, Result, Tensor};

/// See [`layout::UNet`].
pub(super) struct FoldedUNet {
    down: Vec<[Convolution; 2]>,
    up: Vec<Up>,
    head: Convolution,
    dtype: DType,
}

struct Up {
    /// Absent where the size is doubled by interpolation.
    transposed: Option<Convolution>,
    convolutions: [Convolution; 2],
}

/// Weight, and bias as `[1, outputs, 1, 1]`.
struct Convolution {
    name: String,
    weight: Tensor,
    bias: Tensor,
}

impl FoldedUNet {
    pub fn new(checkpoint: &Checkpoint, device: &Device, dtype: DType) -> std::result::Result<Self, NnError> {
        checkpoint.check()?;
        let layout = layout::UNet::new(&checkpoint.meta.shape);
        let convolution = |name: &str, weights: Vec<f32>, shape: (usize, usize, usize, usize), bias: Vec<f32>| -> Result<Convolution> {
            let bias_shape = (1, bias.len(), 1, 1);
            let on_device = |values, shape| Tensor::from_vec(values, shape, device)?.to_dtype(dtype);
            Ok(Convolution { name: name.into(), weight: on_device(weights, shape)?, bias: on_device(bias, bias_shape)? })
        };
        let half = |half: &ConvNorm| -> std::result::Result<Convolution, NnError> {
            let made = folded(checkpoint, half)?;
            Ok(convolution(&half.convolution, made.weights, (half.output, half.input, half.side, half.side), made.bias)?)
        };
        let double = |block: &DoubleConv| -> std::result::Result<[Convolution; 2], NnError> {
            let [first, second] = block.halves();
            Ok([half(&first)?, half(&second)?])
        };
        let named = |name: &str, shape| -> std::result::Result<Convolution, NnError> {
            Ok(convolution(name, read(checkpoint, &format!("{name}.weight"))?, shape, read(checkpoint, &format!("{name}.bias"))?)?)
        };
        let up = layout.up.iter().map(|step| {
            let transposed = step.transposed.as_ref().map(|name| named(name, (step.below, step.upsampled, 2, 2))).transpose()?;
            Ok(Up { transposed, convolutions: double(&step.convolutions)? })
        });
        Ok(Self {
            down: layout.down.iter().map(double).collect::<std::result::Result<_, NnError>>()?,
            up: up.collect::<std::result::Result<_, NnError>>()?,
            head: named(&layout.head.name, (1, layout.head.input, 1, 1))?,
            dtype,
        })
    }

    /// Logits `[n, 1, h, w]` in `f32` of tiles `[n, 1, h, w]`.
    pub fn forward(&self, tiles: &Tensor) -> Result<Tensor> {
        self.forward_seen(tiles, &mut |_, _| Ok(()))
    }

    /// As [`forward`](Self::forward), and shows the result of each convolution but the last to `see`, after its ReLU where it has
    /// one, by the convolution's name.
    pub fn forward_seen(&self, tiles: &Tensor, see: &mut dyn FnMut(&str, &Tensor) -> Result<()>) -> Result<Tensor> {
        OnTensors { net: self, see }.run(tiles.to_dtype(self.dtype)?)?.to_dtype(DType::F32)
    }
}

struct OnTensors<'a> {
    net: &'a FoldedUNet,
    see: &'a mut dyn FnMut(&str, &Tensor) -> Result<()>,
}

impl Pass for OnTensors<'_> {
    type Map = Tensor;
    type Error = Error;

    fn pool(&mut self, map: &Tensor) -> Result<Tensor> {
        ops::max_pool(map)
    }

    fn down(&mut self, level: usize, map: Tensor) -> Result<Tensor> {
        in_turn(&self.net.down[level], map, self.see)
    }

    fn raise(&mut self, step: usize, map: Tensor) -> Result<Tensor> {
        match &self.net.up[step].transposed {
            Some(Convolution { name, weight, bias }) => {
                let raised = ops::conv_transposed(&map, weight, &bias.flatten_all()?, Precision::F32)?;
                (self.see)(name, &raised)?;
                Ok(raised)
            }
            None => ops::upsample_bilinear(&map),
        }
    }

    fn up(&mut self, step: usize, skip: Tensor, raised: Tensor) -> Result<Tensor> {
        in_turn(&self.net.up[step].convolutions, Tensor::cat(&[skip, raised], 1)?, self.see)
    }

    fn head(&mut self, map: Tensor) -> Result<Tensor> {
        self.net.head.of(&map)
    }
}

impl Convolution {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        ops::conv(x, &self.weight, 1)?.broadcast_add(&self.bias)
    }
}

fn in_turn(convolutions: &[Convolution], mut x: Tensor, see: &mut dyn FnMut(&str, &Tensor) -> Result<()>) -> Result<Tensor> {
    for convolution in convolutions {
        x = convolution.of(&x)?.relu()?;
        see(&convolution.name, &x)?;
    }
    Ok(x)
}
