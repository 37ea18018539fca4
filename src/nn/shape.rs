use super::NnError;
use serde::{Deserialize, Serialize};

/// The family a network belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// U-Net (Ronneberger, Fischer, Brox 2015), four levels down, batch norm, padded convolutions.
    #[serde(rename = "unet")]
    UNet,
}

/// How the decoder doubles the size.
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
    /// How the decoder doubles the size.
    pub upsampling: Upsampling,
}

impl NetworkShape {
    /// The greatest base width that makes sense.
    pub const MAX_BASE_WIDTH: usize = 256;

    /// Refuses widths that no network can have.
    ///
    /// # Errors
    /// A width of zero, odd or above [`NetworkShape::MAX_BASE_WIDTH`].
    pub fn check(&self) -> Result<(), NnError> {
        if self.base_width == 0 || !self.base_width.is_multiple_of(2) || self.base_width > Self::MAX_BASE_WIDTH {
            return Err(NnError::Shape {
                found: format!("a base width of {}", self.base_width),
                expected: format!("an even number from 2 to {}", Self::MAX_BASE_WIDTH),
            });
        }
        Ok(())
    }
}

impl std::fmt::Display for NetworkShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let up = match self.upsampling {
            Upsampling::Bilinear => "bilinear upsampling",
            Upsampling::Transposed => "transposed convolution",
        };
        match self.architecture {
            Architecture::UNet => write!(f, "U-Net, base width {}, {up}", self.base_width),
        }
    }
}
