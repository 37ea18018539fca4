use super::{ConvNorm, Head, LEVELS, Parameter, Start};
use crate::nn::{NetworkShape, Upsampling};

/// Two convolutions 3×3, each with batch norm and ReLU.
#[derive(Debug, Clone)]
pub(in crate::nn) struct DoubleConv {
    /// Name of the module that holds `double_conv`.
    pub name: String,
    pub input: usize,
    pub middle: usize,
    pub output: usize,
}

impl DoubleConv {
    /// The two convolutions.
    pub fn halves(&self) -> [ConvNorm; 2] {
        let half = |index: usize, input, output| ConvNorm {
            convolution: format!("{}.double_conv.{index}", self.name),
            norm: format!("{}.double_conv.{}", self.name, index + 1),
            input,
            output,
            side: 3,
            dilation: 1,
        };
        [half(0, self.input, self.middle), half(3, self.middle, self.output)]
    }
}

/// One step up: twice the size, the skip connection, two convolutions.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Up {
    /// Name of the transposed convolution, if this network has them.
    pub transposed: Option<String>,
    /// Channels that come from below.
    pub below: usize,
    /// Channels that the upsampling puts out.
    pub upsampled: usize,
    pub convolutions: DoubleConv,
}

/// U-Net (Ronneberger, Fischer, Brox 2015) as PyTorch's most used one names its parts.
#[derive(Debug, Clone)]
pub(in crate::nn) struct UNet {
    /// Full size first, then each level down.
    pub down: Vec<DoubleConv>,
    /// From the lowest level to full size.
    pub up: Vec<Up>,
    /// The last convolution.
    pub head: Head,
}

/// What a pass through a U-Net consists of, on whatever kind of map it goes.
pub(in crate::nn) trait Pass {
    /// Pictures, or what has become of them.
    type Map;
    /// What may go wrong.
    type Error;

    /// Half the size, by maxima.
    fn pool(&mut self, map: &Self::Map) -> Result<Self::Map, Self::Error>;
    /// The two convolutions of a level of the way down.
    fn down(&mut self, level: usize, map: Self::Map) -> Result<Self::Map, Self::Error>;
    /// Twice the size, before the convolutions of a step up.
    fn raise(&mut self, step: usize, map: Self::Map) -> Result<Self::Map, Self::Error>;
    /// The two convolutions of a step up.
    fn up(&mut self, step: usize, skip: Self::Map, raised: Self::Map) -> Result<Self::Map, Self::Error>;
    /// The last convolution.
    fn head(&mut self, map: Self::Map) -> Result<Self::Map, Self::Error>;

    /// From pictures to logits.
    fn run(&mut self, pictures: Self::Map) -> Result<Self::Map, Self::Error> {
        let mut skips = Vec::with_capacity(LEVELS);
        let mut deepest = self.down(0, pictures)?;
        for level in 1..=LEVELS {
            let pooled = self.pool(&deepest)?;
            skips.push(std::mem::replace(&mut deepest, self.down(level, pooled)?));
        }
        for (step, skip) in skips.into_iter().rev().enumerate() {
            let raised = self.raise(step, deepest)?;
            deepest = self.up(step, skip, raised)?;
        }
        self.head(deepest)
    }
}

impl UNet {
    pub fn new(shape: &NetworkShape) -> Self {
        let w = shape.base_width;
        let bilinear = shape.upsampling == Upsampling::Bilinear;
        // Interpolation keeps the channels, so that the layers around it have half as many.
        let half = if bilinear { 2 } else { 1 };
        let block = |name: String, input, middle, output| DoubleConv { name, input, middle, output };
        let mut down = vec![block("inc".into(), 1, w, w)];
        for level in 1..=LEVELS {
            let output = (w << level) / if level == LEVELS { half } else { 1 };
            down.push(block(format!("down{level}.maxpool_conv.1"), w << (level - 1), output, output));
        }
        let mut up = Vec::new();
        for step in 1..=LEVELS {
            let input = w << (LEVELS + 1 - step);
            let output = if step == LEVELS { w } else { input / 2 / half };
            up.push(Up {
                transposed: (!bilinear).then(|| format!("up{step}.up")),
                below: input / half,
                upsampled: input / 2,
                convolutions: block(format!("up{step}.conv"), input, if bilinear { input / 2 } else { output }, output),
            });
        }
        Self { down, up, head: Head { name: "outc.conv".into(), input: w } }
    }

    /// All tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let double = |block: &DoubleConv| block.halves().iter().flat_map(ConvNorm::parameters).collect::<Vec<_>>();
        let mut list: Vec<Parameter> = self.down.iter().flat_map(double).collect();
        for up in &self.up {
            if let Some(name) = &up.transposed {
                let start = Start::Uniform((3.0 / up.below as f32).sqrt());
                let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
                list.push(Parameter { name: weight, shape: vec![up.below, up.upsampled, 2, 2], start, trainable: true });
                list.push(Parameter { name: bias, shape: vec![up.upsampled], start: Start::Constant(0.0), trainable: true });
            }
            list.extend(double(&up.convolutions));
        }
        list.extend(self.head.parameters());
        list
    }
}
