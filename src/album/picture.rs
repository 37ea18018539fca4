//! Stitched cells as PNG.

use crate::cell::{CELL_PX, Span, Spans, Stretch};
use image::{ImageBuffer, Luma};
use png::{BitDepth, ColorType, Compression, Encoder, EncodingError};
use std::sync::Arc;

/// A cell's rows of tiles as a grey PNG of 16 bits a pixel, 1344 × 1344. What lies outside the outline is 0, and nothing else is: so
/// `train` knows the wafer by it.
pub(super) fn encode(rows: &[(Arc<[u16]>, Spans); 3]) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::with_capacity(2 * CELL_PX * CELL_PX);
    for (pixels, spans) in rows {
        for (line, span) in pixels.chunks_exact(CELL_PX).zip(spans.iter()) {
            bytes.extend(line.iter().enumerate().flat_map(|(x, grey)| if span.contains(x) { *grey.max(&1) } else { 0 }.to_be_bytes()));
        }
    }
    grey(CELL_PX as u32, CELL_PX as u32, BitDepth::Sixteen, &bytes)
}

/// A picture of 8 bits a pixel for the eye, which sees of 16 the upper 8: its own values, but for a hundredth at both ends, are spread
/// over them. `None` where that is no picture any more.
pub(super) fn view(png: &[u8]) -> Option<Vec<u8>> {
    let picture = decode(png)?;
    let stretch = Stretch::of(picture.iter().copied());
    let bytes: Vec<u8> = picture.iter().map(|value| stretch.shown(*value)).collect();
    grey(picture.width(), picture.height(), BitDepth::Eight, &bytes).ok()
}

fn decode(png: &[u8]) -> Option<ImageBuffer<Luma<u16>, Vec<u16>>> {
    Some(image::load_from_memory_with_format(png, image::ImageFormat::Png).ok()?.into_luma16())
}

fn grey(width_px: u32, height_px: u32, depth: BitDepth, bytes: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let mut file = Vec::with_capacity(bytes.len());
    let mut encoder = Encoder::new(&mut file, width_px, height_px);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(file)
}

/// The outline on each line of a cell, read off its picture; `None` where that is no picture any more.
pub(super) fn outline(png: &[u8]) -> Option<Vec<Span>> {
    let picture = decode(png)?;
    Some(picture.chunks_exact((picture.width() as usize).max(1)).map(Span::of_line).collect())
}
