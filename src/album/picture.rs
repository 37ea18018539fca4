//! Stitched cells as PNG.

use crate::cell::{CELL_PX, Span, Spans};
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
    let side = CELL_PX as u32;
    let mut file = Vec::with_capacity(bytes.len());
    let mut encoder = Encoder::new(&mut file, side, side);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Sixteen);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(file)
}

/// The outline on each line of a cell, read off its picture; `None` where that is no picture any more.
pub(super) fn outline(png: &[u8]) -> Option<Vec<Span>> {
    let picture = image::load_from_memory_with_format(png, image::ImageFormat::Png).ok()?.into_luma16();
    Some(picture.chunks_exact((picture.width() as usize).max(1)).map(Span::of_line).collect())
}
