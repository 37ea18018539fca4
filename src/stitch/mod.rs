//! Line blocks in, cells out: a pure state machine without threads or clocks.
//!
//! [`Stitcher`] looks at one line at a time, so that it makes no difference how the lines were cut
//! into blocks. A cell's leading edge tells its place and skew (`measure`); from then on the way
//! from the stitched frame to the camera's is fixed (`placement`) and every stitched line is
//! sampled as soon as the camera lines it reaches into are there (`rows`). The last lines wait for the
//! trailing edge, which validates what was assumed and tells where they end.
//!
//! Coordinates: camera column and line, the centre of pixel (0, 0) at (0, 0), lines counted from the
//! cell's first one; wafer millimetres `(across, along)` from the middle of the leading edge;
//! stitched pixels, pixel (0, 0) covering 0..1.

pub mod calibrate;
mod calibration;
mod correction;
mod cut_corners;
mod edges;
mod error;
mod levels;
mod light;
mod line_clock;
mod line_store;
mod measure;
mod open_cell;
mod outline;
mod placement;
mod row_buffers;
mod rows;
mod sampler;
mod shape;
mod stitcher;
mod view;

pub use calibration::{Calibration, CalibrationError};
pub use error::StitchError;
pub use stitcher::{BeltState, Stitcher};

#[cfg(test)]
mod drawing;
#[cfg(test)]
mod tests;
