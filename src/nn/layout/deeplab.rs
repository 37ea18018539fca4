use super::{ConvNorm, DilatedEncoder, Head, Parameter, listed};

/// Dilations of atrous spatial pyramid pooling. The paper's for an output of a sixteenth: they reach as far
/// beyond our pictures of 56² at an eighth as they do beyond the paper's of 33².
const RATES: [usize; 3] = [6, 12, 18];

/// DeepLabv3 (Chen et al. 2017): atrous spatial pyramid pooling with image pooling.
#[derive(Debug, Clone)]
pub(in crate::nn) struct DeepLab {
    pub encoder: DilatedEncoder,
    /// 1×1, and 3×3 with each dilation, all reading the encoder's result.
    pub atrous: Vec<ConvNorm>,
    /// 1×1 of the mean over the picture.
    pub image: ConvNorm,
    /// 1×1, reads all of these.
    pub merge: ConvNorm,
    pub head: Head,
}

impl DeepLab {
    pub fn new(base_width: usize) -> Self {
        let encoder = DilatedEncoder::new(base_width);
        let (input, branch) = (encoder.output, encoder.output / 4);
        let mut atrous = vec![ConvNorm::named("aspp.1".into(), input, branch, 1, 1)];
        atrous.extend(RATES.map(|rate| ConvNorm::named(format!("aspp.{rate}"), input, branch, 3, rate)));
        let image = ConvNorm::named("aspp.image".into(), input, branch, 1, 1);
        let merge = ConvNorm::named("merge".into(), (atrous.len() + 1) * branch, branch, 1, 1);
        Self { encoder, atrous, image, merge, head: Head { name: "head".into(), input: branch } }
    }

    /// All tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        listed(self.encoder.stages.iter().flatten().chain(&self.atrous).chain([&self.image, &self.merge]), &self.head)
    }
}
