use super::dilated::DilatedEncoder;
use super::layer::{ConvNormRelu, Head, Variables};
use super::{Body, Mode};
use crate::nn::{NnError, layout, ops};
use candle_core::{Result, Tensor};

/// See [`layout::DeepLab`].
pub(super) struct DeepLab {
    encoder: DilatedEncoder,
    atrous: Vec<ConvNormRelu>,
    image: ConvNormRelu,
    merge: ConvNormRelu,
    head: Head,
}

impl DeepLab {
    pub fn new(layout: &layout::DeepLab, variables: &Variables) -> std::result::Result<Self, NnError> {
        Ok(Self {
            encoder: DilatedEncoder::new(&layout.encoder, variables)?,
            atrous: ConvNormRelu::stage(&layout.atrous, variables)?,
            image: ConvNormRelu::new(&layout.image, variables)?,
            merge: ConvNormRelu::new(&layout.merge, variables)?,
            head: Head::new(&layout.head, variables)?,
        })
    }
}

impl Body for DeepLab {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, _, full_h, full_w) = x.dims4()?;
        let features = self.encoder.forward(x, mode)?;
        let (_, _, h, w) = features.dims4()?;
        let mut parts = self.atrous.iter().map(|branch| branch.forward(&features, mode)).collect::<Result<Vec<_>>>()?;
        let mean = self.image.forward(&ops::average_pool(&features, 1)?, mode)?;
        parts.push(ops::resize_bilinear(&mean, h, w)?);
        let merged = self.merge.forward(&Tensor::cat(&parts, 1)?, mode)?;
        ops::resize_bilinear(&self.head.forward(&merged)?, full_h, full_w)
    }
}
