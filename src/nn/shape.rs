use super::NnError;
use serde::{Deserialize, Serialize};

/// The family a network belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Architecture {
    /// U-Net: four levels down and up, each with what the level had on its way down (Ronneberger et al. 2015)
    UNet,
    /// SegNet: four levels down and up, maxima go back to where they came from (Badrinarayanan et al. 2017)
    SegNet,
    /// PSPNet: an eighth of the size, beside its means over 1, 4, 9 and 36 parts of the picture (Zhao et al. 2017)
    PspNet,
    /// DeepLabv3: an eighth of the size, looked at through convolutions of growing reach (Chen et al. 2017)
    DeepLabV3,
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UNet => "U-Net",
            Self::SegNet => "SegNet",
            Self::PspNet => "PSPNet",
            Self::DeepLabV3 => "DeepLabv3",
        })
    }
}

/// How the decoder of a U-Net doubles the size; the other networks have their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsampling {
    /// Bilinear interpolation with the corners aligned.
    Bilinear,
    /// 2×2 transposed convolution, stride 2.
    Transposed,
}

/// What has to be known to build a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkShape {
    /// The family.
    pub architecture: Architecture,
    /// Channels at full size; each level down has twice as many.
    pub base_width: usize,
    /// How the decoder doubles the size; [`Upsampling::Bilinear`] for all but U-Net.
    pub upsampling: Upsampling,
}

impl NetworkShape {
    /// The greatest base width that makes sense.
    pub const MAX_BASE_WIDTH: usize = 256;

    /// Refuses what no network can have.
    ///
    /// # Errors
    /// A width of zero, odd or above [`NetworkShape::MAX_BASE_WIDTH`]; transposed convolutions in another network
    /// than U-Net.
    pub fn check(&self) -> Result<(), NnError> {
        if self.base_width == 0 || !self.base_width.is_multiple_of(2) || self.base_width > Self::MAX_BASE_WIDTH {
            return Err(NnError::Shape {
                found: format!("a base width of {}", self.base_width),
                expected: format!("an even number from 2 to {}", Self::MAX_BASE_WIDTH),
            });
        }
        if self.upsampling == Upsampling::Transposed && self.architecture != Architecture::UNet {
            return Err(NnError::Shape {
                found: format!("transposed convolutions in a {}", self.architecture),
                expected: "bilinear upsampling; only U-Net has the choice".into(),
            });
        }
        Ok(())
    }
}

impl std::fmt::Display for NetworkShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, base width {}", self.architecture, self.base_width)?;
        match (self.architecture, self.upsampling) {
            (Architecture::UNet, Upsampling::Bilinear) => f.write_str(", bilinear upsampling"),
            (Architecture::UNet, Upsampling::Transposed) => f.write_str(", transposed convolution"),
            _ => Ok(()),
        }
    }
}
