use super::Metrics;
use crate::cell::CellId;
use crate::review::{Review, ReviewError, Reviewed, Truth};

/// Tells the truth about a recent cell and brings the metrics up to date; the one way in for
/// operators and simulated cameras alike.
///
/// Fails, changing nothing, where the cell is not remembered or the mask has another size.
pub fn apply_truth(review: &Review, metrics: &Metrics, cell: &CellId, truth: &Truth) -> Result<Reviewed, ReviewError> {
    let reviewed = review.truth(cell, truth)?;
    metrics.reviewed(&cell.lane, &reviewed);
    metrics.running(&cell.lane, &review.running(&cell.lane));
    Ok(reviewed)
}
