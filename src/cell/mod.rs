//! The words of the domain, used by every other room and using none of them.
//!
//! A camera delivers [`LineBlock`]s; the stitcher cuts whole cells out of them and hands on
//! [`TileRow`]s and a [`CellEnd`]; the network turns tile rows into [`ProbabilityRow`]s; the judge
//! reads a [`ProbabilityMap`], finds [`Defect`]s in its [`Mask`] and gives a [`Verdict`]. On the disk and on the wire a mask is a
//! PNG ([`mask_png`]).

mod block;
pub mod encoder;
mod mask;
pub mod mask_png;
mod moment;
mod rim;
mod squeeze;
mod stretch;
mod tile;
mod verdict;

pub use block::{CameraEvent, LineBlock, LossCause, PixelFormat, TrueMask};
pub use mask::{Mask, ProbabilityMap, ProbabilityRow};
pub use moment::Moment;
pub use rim::{RIM_PX, without_rim};
pub use squeeze::Squeeze;
pub use stretch::Stretch;
pub use tile::{CellEnd, CellGeometry, Neighbour, Span, Spans, StitchEvent, TileRow};
pub use verdict::{Defect, Disposition, FiredRule, Gate, HoldReason, Judgement, RectMm, Verdict, VerdictKind};

use serde::{Deserialize, Serialize};

/// Side of a stitched cell in pixels: three tiles of 448.
pub const CELL_PX: usize = 1344;
/// Side of a tile in pixels.
pub const TILE_PX: usize = 448;
/// What the network sees of a tile's neighbours, to each side: at the border of its picture it is blind to cracks along it.
pub const MARGIN_PX: usize = 8;
/// Side of what the network sees of a tile, in pixels: its input.
pub const SEEN_PX: usize = TILE_PX + 2 * MARGIN_PX;
/// Tiles along one side of a cell.
pub const TILES_PER_SIDE: usize = 3;

/// Which cell: the lane's name and the cell's number on it.
///
/// Numbers start at 1 with each run and have no gaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CellId {
    /// The lane's name from the configuration.
    pub lane: std::sync::Arc<str>,
    /// The cell's number on this lane within this run, from 1.
    pub number: u64,
}

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.lane, self.number)
    }
}
