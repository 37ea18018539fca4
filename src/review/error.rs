use crate::cell::CellId;
use std::sync::Arc;

/// Why a truth or a mask has no cell to go with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// No cell of such a lane has been seen.
    #[error("no cell of a lane named {lane:?} is remembered; lanes with cells: {known}")]
    UnknownLane {
        /// The name that was asked for.
        lane: Arc<str>,
        /// The names there are.
        known: String,
    },
    /// The cell has not come yet, had no mask, or has been forgotten.
    #[error(
        "cell {cell} is not remembered: only the last cells with a mask are, on this lane {oldest} to {newest}; \
         raise `review.keep_cells` to keep more"
    )]
    UnknownCell {
        /// The cell that was asked for.
        cell: CellId,
        /// Smallest number remembered.
        oldest: u64,
        /// Largest number remembered.
        newest: u64,
    },
    /// The true mask is no mask of such a cell.
    #[error("the mask is {width_px}×{height_px} px and the cell {cell_width_px}×{cell_height_px}; draw it over the cell's own mask")]
    SizeDiffers {
        /// Width of the mask that came.
        width_px: usize,
        /// Height of the mask that came.
        height_px: usize,
        /// Width of the cell's mask.
        cell_width_px: usize,
        /// Height of the cell's mask.
        cell_height_px: usize,
    },
}

impl ReviewError {
    pub(super) fn unknown_lane(cell: &CellId, known: &[Arc<str>]) -> Self {
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        Self::UnknownLane { lane: cell.lane.clone(), known }
    }
}
