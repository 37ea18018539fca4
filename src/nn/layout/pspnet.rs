use super::{ConvNorm, DilatedEncoder, Head, Parameter, listed};

/// Parts along each side in the levels of the pyramid.
const BINS: [usize; 4] = [1, 2, 3, 6];

/// PSPNet (Zhao et al. 2017): the encoder's result beside its means over 1, 4, 9 and 36 parts of the picture.
#[derive(Debug, Clone)]
pub(in crate::nn) struct PspNet {
    pub encoder: DilatedEncoder,
    /// Parts along each side, and the 1×1 convolution of their means.
    pub pyramid: Vec<(usize, ConvNorm)>,
    /// Reads the encoder's result and the pyramid.
    pub merge: ConvNorm,
    pub head: Head,
}

impl PspNet {
    pub fn new(base_width: usize) -> Self {
        let encoder = DilatedEncoder::new(base_width);
        // As in the paper, the pyramid has as many channels as what it stands beside.
        let share = encoder.output / BINS.len();
        let level = |bins| (bins, ConvNorm::named(format!("pyramid.{bins}"), encoder.output, share, 1, 1));
        let pyramid = BINS.map(level).to_vec();
        let merge = ConvNorm::named("merge".into(), encoder.output + BINS.len() * share, share, 3, 1);
        Self { encoder, pyramid, merge, head: Head { name: "head".into(), input: share } }
    }

    /// All tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let pyramid = self.pyramid.iter().map(|(_, level)| level);
        listed(self.encoder.stages.iter().flatten().chain(pyramid).chain([&self.merge]), &self.head)
    }
}
