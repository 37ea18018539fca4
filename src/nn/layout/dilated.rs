use super::ConvNorm;

/// Width (in base widths) and dilation of each stage.
const STAGES: [(usize, usize); 6] = [(1, 1), (2, 1), (4, 1), (8, 1), (8, 2), (8, 4)];
/// Convolutions of a stage.
const CONVOLUTIONS: usize = 2;

/// The encoder of PSPNet and DeepLabv3: three poolings, then dilated convolutions, so that an eighth of the size
/// is kept (Yu and Koltun 2016).
///
/// Plain stages of convolutions as in U-Net and SegNet, where the papers have a ResNet of 50 layers or more.
#[derive(Debug, Clone)]
pub(in crate::nn) struct DilatedEncoder {
    /// From full size down.
    pub stages: Vec<Vec<ConvNorm>>,
    /// Channels that come out.
    pub output: usize,
}

impl DilatedEncoder {
    /// Poolings, one before each of the stages 1 to this.
    pub const POOLINGS: usize = 3;

    pub fn new(base_width: usize) -> Self {
        let mut channels = 1;
        let mut stages = Vec::new();
        for (stage, (width, dilation)) in STAGES.into_iter().enumerate() {
            let output = width * base_width;
            let mut convolution = |i: usize| {
                let input = std::mem::replace(&mut channels, output);
                ConvNorm::named(format!("encoder.{stage}.{i}"), input, output, 3, dilation)
            };
            stages.push((0..CONVOLUTIONS).map(&mut convolution).collect());
        }
        Self { stages, output: channels }
    }
}
