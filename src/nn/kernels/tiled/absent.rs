//! What stands for the tiles where no processor has them; never called.

use super::picture::{Apart, Pictures};
use super::split::Kernel;
use super::weights::Weights;

pub(super) fn convolve<const PARTS: usize>(_: &Pictures, _: &Weights, _: usize, _: &Apart) {
    unreachable!("no instruction set with tiles")
}

pub(super) fn weight_gradient<const PARTS: usize>(_: &Pictures, _: &Pictures, _: Kernel) -> Vec<f32> {
    unreachable!("no instruction set with tiles")
}
