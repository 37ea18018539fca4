use super::layer::{ConvNormRelu, Head, Variables, in_turn};
use super::{Body, Mode};
use crate::nn::layout::{self, DoubleConv, Pass};
use crate::nn::ops::{MapId, Tape};
use crate::nn::{NnError, ops};
use candle_core::{Error, Result, Tensor, Var};

/// See [`layout::UNet`].
pub(super) struct UNet {
    down: Vec<Vec<ConvNormRelu>>,
    up: Vec<UpStep>,
    head: Head,
}

struct UpStep {
    /// Weight and bias; absent where the size is doubled by interpolation.
    transposed: Option<(Var, Var)>,
    convolutions: Vec<ConvNormRelu>,
}

impl UNet {
    pub fn new(layout: &layout::UNet, variables: &Variables) -> std::result::Result<Self, NnError> {
        let double = |block: &DoubleConv| ConvNormRelu::stage(&block.halves(), variables);
        let up = layout.up.iter().map(|up| {
            let transposed = up.transposed.as_ref().map(|name| variables.affine(name)).transpose()?;
            Ok(UpStep { transposed, convolutions: double(&up.convolutions)? })
        });
        Ok(Self {
            down: layout.down.iter().map(double).collect::<std::result::Result<_, _>>()?,
            up: up.collect::<std::result::Result<_, NnError>>()?,
            head: Head::new(&layout.head, variables)?,
        })
    }
}

impl Body for UNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        OnTensors { net: self, mode }.run(x.clone())
    }

    fn record(&self, tape: &mut dyn Tape, x: &Tensor) -> Option<Result<MapId>> {
        Some(tape.pictures(x).and_then(|pictures| OnTape { net: self, tape }.run(pictures)))
    }
}

struct OnTensors<'a> {
    net: &'a UNet,
    mode: Mode,
}

impl Pass for OnTensors<'_> {
    type Map = Tensor;
    type Error = Error;

    fn pool(&mut self, map: &Tensor) -> Result<Tensor> {
        ops::max_pool(map)
    }

    fn down(&mut self, level: usize, map: Tensor) -> Result<Tensor> {
        in_turn(&self.net.down[level], &map, self.mode)
    }

    fn raise(&mut self, step: usize, map: Tensor) -> Result<Tensor> {
        match &self.net.up[step].transposed {
            Some((weight, bias)) => ops::conv_transposed(&map, weight, bias, self.mode.precision()),
            None => ops::upsample_bilinear(&map),
        }
    }

    fn up(&mut self, step: usize, skip: Tensor, raised: Tensor) -> Result<Tensor> {
        in_turn(&self.net.up[step].convolutions, &Tensor::cat(&[skip, raised], 1)?, self.mode)
    }

    fn head(&mut self, map: Tensor) -> Result<Tensor> {
        self.net.head.forward(&map)
    }
}

struct OnTape<'a> {
    net: &'a UNet,
    tape: &'a mut dyn Tape,
}

impl OnTape<'_> {
    fn in_turn(&mut self, convolutions: &[ConvNormRelu], from: &[MapId]) -> Result<MapId> {
        let (first, others) = convolutions.split_first().ok_or_else(|| Error::Msg("a level without convolutions".into()))?;
        let first = first.record(self.tape, from)?;
        others.iter().try_fold(first, |map, convolution| convolution.record(self.tape, &[map]))
    }
}

impl Pass for OnTape<'_> {
    type Map = MapId;
    type Error = Error;

    fn pool(&mut self, map: &MapId) -> Result<MapId> {
        self.tape.max_pool(*map)
    }

    fn down(&mut self, level: usize, map: MapId) -> Result<MapId> {
        self.in_turn(&self.net.down[level], &[map])
    }

    fn raise(&mut self, step: usize, map: MapId) -> Result<MapId> {
        match &self.net.up[step].transposed {
            Some((weight, bias)) => self.tape.conv_transposed(map, weight, bias),
            None => self.tape.upsample_bilinear(map),
        }
    }

    fn up(&mut self, step: usize, skip: MapId, raised: MapId) -> Result<MapId> {
        self.in_turn(&self.net.up[step].convolutions, &[skip, raised])
    }

    fn head(&mut self, map: MapId) -> Result<MapId> {
        self.net.head.record(self.tape, map)
    }
}
