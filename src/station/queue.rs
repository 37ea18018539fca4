//! What travels between the threads of a station.

use crate::cell::{CellEnd, CellId, HoldReason, LossCause, Moment, ProbabilityRow, TileRow};
use crate::config::Precision;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A row of tiles on its way to the network.
pub(super) struct InspectJob {
    pub row: TileRow,
    /// As the lane's recipe asks for it.
    pub precision: Option<Precision>,
    pub sent: Instant,
}

/// What the network said of a row, with the pixels it saw.
pub(super) struct InspectedRow {
    pub cell: CellId,
    pub row: u8,
    pub pixels: Arc<[u16]>,
    pub result: Result<ProbabilityRow, String>,
    /// Rows of its lane that the network took together, this one among them.
    pub together: u32,
    /// How long the row waited for the network.
    pub waited: Duration,
    /// How long the network took.
    pub took: Duration,
}

/// What a lane's verdict desk is told.
pub(super) enum DeskEvent {
    /// A leading edge.
    Begun { cell: CellId },
    /// A row came back from the network.
    Inspected(InspectedRow),
    /// The row could not be handed to the network: the cell will be held.
    Refused { cell: CellId, reason: HoldReason },
    /// The cell has passed.
    Ended(CellEnd),
    /// Lines are missing.
    Lost { lines: u64, cause: LossCause },
    /// Nothing was seen from `from` to `to`.
    Blind { from: Moment, to: Moment, reason: String },
    /// The lane's stream is over: nothing but inspected rows will come.
    LaneOver,
}
