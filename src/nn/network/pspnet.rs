use super::dilated::DilatedEncoder;
use super::layer::{ConvNormRelu, Head, Variables};
use super::{Body, Mode};
use crate::nn::{NnError, layout, ops};
use candle_core::{Result, Tensor};

/// See [`layout::PspNet`].
pub(super) struct PspNet {
    encoder: DilatedEncoder,
    pyramid: Vec<(usize, ConvNormRelu)>,
    merge: ConvNormRelu,
    head: Head,
}

impl PspNet {
    pub fn new(layout: &layout::PspNet, variables: &Variables) -> std::result::Result<Self, NnError> {
        let level = |(bins, level): &(usize, layout::ConvNorm)| Ok((*bins, ConvNormRelu::new(level, variables)?));
        Ok(Self {
            encoder: DilatedEncoder::new(&layout.encoder, variables)?,
            pyramid: layout.pyramid.iter().map(level).collect::<std::result::Result<_, NnError>>()?,
            merge: ConvNormRelu::new(&layout.merge, variables)?,
            head: Head::new(&layout.head, variables)?,
        })
    }
}

impl Body for PspNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, _, full_h, full_w) = x.dims4()?;
        let features = self.encoder.forward(x, mode)?;
        let (_, _, h, w) = features.dims4()?;
        let mut parts = vec![features.clone()];
        for (bins, level) in &self.pyramid {
            let means = level.forward(&ops::average_pool(&features, *bins)?, mode)?;
            parts.push(ops::resize_bilinear(&means, h, w)?);
        }
        let merged = self.merge.forward(&Tensor::cat(&parts, 1)?, mode)?;
        ops::resize_bilinear(&self.head.forward(&merged)?, full_h, full_w)
    }
}
