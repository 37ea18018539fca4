//! Pictures of cells with what was found drawn over them.

use crate::cell::{CELL_PX, Mask, Stretch};
use image::{Rgb, RgbImage};

const CRACK: [f32; 3] = [255.0, 40.0, 20.0];
/// How far around a crack pixel the colour reaches, so that a hair line is seen in a small picture.
const HALO_PX: usize = 2;

/// A stitched cell, three rows of 448 × 1344, as an 8-bit picture stretched to its own range, cracks in
/// red with the crack itself left visible inside a halo.
pub(super) fn cell_with_mask(rows: &[&[u16]; 3], mask: Option<&Mask>) -> RgbImage {
    let stretch = Stretch::of(rows.iter().flat_map(|row| row.iter()).copied());
    let mut picture = RgbImage::new(CELL_PX as u32, CELL_PX as u32);
    let values = rows.iter().flat_map(|row| row.iter());
    for (i, (pixel, value)) in picture.pixels_mut().zip(values).enumerate() {
        let grey = f32::from(stretch.shown(*value));
        let (x, y) = (i % CELL_PX, i / CELL_PX);
        let mix = match mask {
            Some(mask) if mask.get(x, y) => 0.35,
            Some(mask) if near(mask, x, y) => 0.8,
            _ => 0.0,
        };
        *pixel = Rgb(CRACK.map(|c| (grey + (c - grey) * mix).clamp(0.0, 255.0) as u8));
    }
    picture
}

/// What is shown for a cell that was never seen whole.
pub(super) fn no_picture() -> RgbImage {
    RgbImage::from_fn(CELL_PX as u32, CELL_PX as u32, |x, y| {
        let stripe = (x + y) / 48 % 2 == 0;
        Rgb(if stripe { [58, 58, 64] } else { [38, 38, 44] })
    })
}

fn near(mask: &Mask, x: usize, y: usize) -> bool {
    let rows = y.saturating_sub(HALO_PX)..=(y + HALO_PX).min(mask.height_px() - 1);
    let columns = x.saturating_sub(HALO_PX)..=(x + HALO_PX).min(mask.width_px() - 1);
    rows.into_iter().any(|y| columns.clone().any(|x| mask.get(x, y)))
}
