//! Training's convolutions on the tiles of AMX, from `f32` in NCHW order to the same.
//!
//! A tile of sums has 16 output channels for rows and 16 pixels for columns: it comes out plane by plane, as it must
//! lie. Its left factor are weights, its right factor pixels whose channels lie in pairs, so that a plane of pairs is
//! made of two planes of `f32` without moving a pixel. What a weight's gradient sums are pixels: there the left factor
//! are planes of the input, from any pixel on, and the right one is the output's gradient, turned to pairs of pixels.
//!
//! `PARTS` is 1 where a number becomes one bf16, and 2 where it becomes the sum of two.

mod conv;
mod pack;
mod step;
mod weight_gradient;

pub(super) use conv::convolve;
pub(super) use weight_gradient::weight_gradient;

use super::tiles::{ROWS, TILE_BYTES};

/// Numbers of bf16 in a tile.
const TILE_VALUES: usize = TILE_BYTES / 2;
/// Sums in a tile.
const SUMS: usize = ROWS * ROWS;
