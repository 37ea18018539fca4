//! Masks as PNG pictures: written with one bit a pixel, read with one or eight.

use crate::cell::Mask;
use ::png::{BitDepth, ColorType, Decoder, Encoder, EncodingError, Limits};
use std::io::Cursor;

/// What a decoder may allocate: a mask of eight bits a pixel with room to spare.
const DECODER_BYTES: usize = 16 << 20;

/// Why bytes are no mask.
#[derive(Debug, thiserror::Error)]
pub enum MaskPngError {
    /// No readable PNG.
    #[error("the picture is no readable PNG ({0}); save the mask as PNG")]
    Unreadable(#[from] ::png::DecodingError),
    /// Another size than a cell's mask.
    #[error("the mask is {width_px}×{height_px} px, but a cell's is {expected_px}×{expected_px}; draw it over the cell's own mask")]
    Size {
        /// Width found.
        width_px: u32,
        /// Height found.
        height_px: u32,
        /// Side expected.
        expected_px: usize,
    },
    /// Colours, transparency or a depth that masks do not have.
    #[error("the picture is {found}; save the mask as greyscale with 1 or 8 bits a pixel, without transparency")]
    Format {
        /// Colour type and depth found.
        found: String,
    },
    /// A grey level that is neither crack nor background.
    #[error("pixel ({x}, {y}) is {value}; a mask knows only 0 (no crack) and 255 (crack): save it without smoothing")]
    Grey {
        /// Column of the first such pixel.
        x: usize,
        /// Line of the first such pixel.
        y: usize,
        /// Its value.
        value: u8,
    },
}

/// A mask as a greyscale PNG of one bit a pixel; white is crack.
pub fn encode(mask: &Mask) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, mask.width_px() as u32, mask.height_px() as u32);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(mask.bits())?;
    writer.finish()?;
    Ok(bytes)
}

/// Reads a square mask with sides of `side_px` from a greyscale PNG of 1 bit or of 8 bits (0 and 255) a pixel.
///
/// The size is checked before a pixel is unpacked, so that a small file cannot claim much memory.
pub fn decode(bytes: &[u8], side_px: usize) -> Result<Mask, MaskPngError> {
    let decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: DECODER_BYTES });
    let mut reader = decoder.read_info()?;
    let info = reader.info();
    let (width_px, height_px, color, depth) = (info.width, info.height, info.color_type, info.bit_depth);
    let size = MaskPngError::Size { width_px, height_px, expected_px: side_px };
    if (width_px as usize, height_px as usize) != (side_px, side_px) {
        return Err(size);
    }
    if color != ColorType::Grayscale || !matches!(depth, BitDepth::One | BitDepth::Eight) || info.trns.is_some() {
        let transparent = if info.trns.is_some() { " with transparency" } else { "" };
        return Err(MaskPngError::Format { found: format!("{color:?} with {} bits a channel{transparent}", depth as u8) });
    }
    let stride = if depth == BitDepth::One { side_px.div_ceil(8) } else { side_px };
    let mut pixels = vec![0; stride * side_px];
    // An animation's first frame may be smaller than the picture: it leaves the size unmet.
    let frame = reader.next_frame(&mut pixels)?;
    if (frame.width, frame.height) != (width_px, height_px) {
        return Err(size);
    }
    match depth {
        BitDepth::One => Mask::from_bits(side_px, side_px, pixels).ok_or(size),
        _ => from_grey(&pixels, side_px),
    }
}

fn from_grey(pixels: &[u8], side_px: usize) -> Result<Mask, MaskPngError> {
    let mut mask = Mask::new(side_px, side_px);
    for (y, line) in pixels.chunks(side_px).enumerate() {
        for (x, value) in line.iter().enumerate() {
            match *value {
                0 => {}
                255 => mask.set(x, y, true),
                value => return Err(MaskPngError::Grey { x, y, value }),
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(side_px: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, side_px, side_px);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(side in 1usize..40, seed in proptest::collection::vec(proptest::num::u8::ANY, 200)) {
            let bits = seed.into_iter().cycle().take(side.div_ceil(8) * side).collect();
            let mask = Mask::from_bits(side, side, bits).unwrap();
            proptest::prop_assert_eq!(decode(&encode(&mask).unwrap(), side).unwrap(), mask);
        }

        #[test]
        fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), cut in 0usize..60) {
            proptest::prop_assert!(decode(&bytes, 8).is_err());
            let mut png = encode(&Mask::new(8, 8)).unwrap();
            png.truncate(cut.min(png.len() - 13));
            proptest::prop_assert!(decode(&png, 8).is_err());
        }
    }

    #[test]
    fn eight_bits_of_0_and_255_are_a_mask() {
        let mut pixels = [0; 64];
        pixels[8 * 3 + 5] = 255;
        let mask = decode(&grey(8, ColorType::Grayscale, BitDepth::Eight, &pixels), 8).unwrap();
        assert_eq!((mask.count(), mask.get(5, 3)), (1, true));
    }

    #[test]
    fn what_is_no_mask_is_refused_by_name() {
        let mut pixels = [0; 64];
        pixels[8 * 3 + 5] = 37;
        let smoothed = decode(&grey(8, ColorType::Grayscale, BitDepth::Eight, &pixels), 8).unwrap_err();
        assert!(matches!(smoothed, MaskPngError::Grey { x: 5, y: 3, value: 37 }), "{smoothed}");
        let colour = decode(&grey(8, ColorType::Rgb, BitDepth::Eight, &[0; 192]), 8).unwrap_err();
        assert!(matches!(colour, MaskPngError::Format { .. }), "{colour}");
        let large = decode(&grey(16, ColorType::Grayscale, BitDepth::Eight, &[0; 256]), 8).unwrap_err();
        assert!(matches!(large, MaskPngError::Size { width_px: 16, height_px: 16, expected_px: 8 }), "{large}");
    }
}
