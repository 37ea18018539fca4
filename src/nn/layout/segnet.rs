use super::{ConvNorm, Head, LEVELS, Parameter, listed};

/// Convolutions of each stage of the encoder.
const CONVOLUTIONS: [usize; LEVELS] = [2, 2, 3, 3];

/// SegNet (Badrinarayanan, Kendall, Cipolla 2017) with four stages: the original has a fifth, for which sides would
/// have to be divisible by 32.
#[derive(Debug, Clone)]
pub(in crate::nn) struct SegNet {
    /// Stages from full size down, each followed by pooling.
    pub down: Vec<Vec<ConvNorm>>,
    /// Stages from the lowest level to full size, each preceded by unpooling.
    pub up: Vec<Vec<ConvNorm>>,
    pub head: Head,
}

impl SegNet {
    pub fn new(base_width: usize) -> Self {
        let width = |stage: usize| base_width << stage;
        let down = CONVOLUTIONS.iter().enumerate().map(|(stage, &count)| {
            let input = |i| {
                if i > 0 {
                    width(stage)
                } else if stage > 0 {
                    width(stage - 1)
                } else {
                    1
                }
            };
            (0..count).map(|i| ConvNorm::named(format!("encoder.{stage}.{i}"), input(i), width(stage), 3, 1)).collect()
        });
        let up = CONVOLUTIONS.iter().enumerate().rev().map(|(stage, &count)| {
            // The head is the last convolution of full size; elsewhere the last one has the next stage's width.
            let (count, last) = if stage == 0 { (count - 1, width(0)) } else { (count, width(stage - 1)) };
            let output = |i| if i + 1 == count { last } else { width(stage) };
            (0..count).map(|i| ConvNorm::named(format!("decoder.{stage}.{i}"), width(stage), output(i), 3, 1)).collect()
        });
        Self { down: down.collect(), up: up.collect(), head: Head { name: "head".into(), input: base_width } }
    }

    /// All tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        listed(self.down.iter().chain(&self.up).flatten(), &self.head)
    }
}
