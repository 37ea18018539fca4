//! The choice of α: guided by the output imbalance index (the paper's Appendix C), or by a grid.

mod bisection;
mod table;

pub use bisection::{Goal, Guide, centroids, guide, most_trainings};
pub use table::{SearchRow, search_table, trainings_table};
