use super::line_store::LineStore;
use super::outline::Outline;
use super::sampler::Sampler;

/// One pixel in so many, across and along, tells what a corner looks like.
const EVERY_PX: usize = 8;
/// How far a pixel of wafer is at least on the way from the level of a dark gap to the wafer's mean grey: behind the cut corners of
/// cells on a grey ground there is up to two thirds of their light.
const DARK_GAP_WAY_MIN: f64 = 0.7;
/// The same from a bright gap, which nothing but gap is near.
const BRIGHT_GAP_WAY_MIN: f64 = 0.5;
/// Share of a whole corner that is wafer: with an arc, and the same length for its legs, something of it is.
const WAFER_SHARE_MIN: f64 = 0.75;

/// What is seen where the product's corners are cut: nothing is looked for there, so that a wafer must not be there.
#[derive(Debug, Default)]
pub(super) struct CutCorners {
    /// Pixels of each corner, clockwise from leading left.
    pixels: [Vec<u16>; 4],
}

impl CutCorners {
    /// Takes what `outline` leaves out of stitched line `y`.
    pub fn add(&mut self, y: usize, outline: &Outline, sampler: &Sampler, store: &LineStore) {
        if y % EVERY_PX != EVERY_PX / 2 {
            return;
        }
        for (pixels, columns) in self.pixels.iter_mut().zip(outline.cut_columns(y)) {
            pixels.extend(columns.skip(EVERY_PX / 2).step_by(EVERY_PX).filter_map(|x| sampler.nearest(store, x, y)));
        }
    }

    /// The first corner that looks like a wafer of this mean grey, and not like a gap of that level, which is a bright one or not.
    /// None where the wafer itself looks like gap.
    pub fn uncut(&self, (bright_gap, gap_grey): (bool, u16), wafer_grey: u16) -> Option<usize> {
        if bright_gap != (gap_grey > wafer_grey) {
            return None;
        }
        let way = |grey: u16| f64::from(grey) - f64::from(gap_grey);
        let way_min = if bright_gap { BRIGHT_GAP_WAY_MIN } else { DARK_GAP_WAY_MIN };
        let is_wafer = |pixel: &&u16| way(**pixel) * way(wafer_grey) > way_min * way(wafer_grey).powi(2);
        let is_uncut = |pixels: &Vec<u16>| pixels.iter().filter(is_wafer).count() as f64 > WAFER_SHARE_MIN * pixels.len() as f64;
        self.pixels.iter().position(is_uncut)
    }
}
