//! Masks as PNG pictures: written with one bit a pixel; read as they are written, or as people draw them.

use super::Mask;
use png::{BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, EncodingError, Filter, Limits, Reader};
use std::io::Cursor;

/// Largest side of a mask whose size is not known before, in pixels: many times a cell's, and small enough that no
/// picture from a socket can eat the memory.
const SIDE_MAX_PX: u32 = 8192;
/// What a decoder may allocate: twice the largest mask.
const DECODER_BYTES: usize = 2 * (SIDE_MAX_PX as usize / 8) * SIDE_MAX_PX as usize;

/// Why a file is no mask as [`encode`] writes them.
#[derive(Debug, thiserror::Error)]
pub enum MaskPngError {
    /// It does not begin as a PNG does.
    #[error("this is no PNG file")]
    NoPng,
    /// A side of 0 pixels, or of too many.
    #[error("{width_px} × {height_px} pixels, expected at most {SIDE_MAX_PX} × {SIDE_MAX_PX}")]
    Size {
        /// Width that the header tells.
        width_px: u32,
        /// Height that the header tells.
        height_px: u32,
    },
    /// Colours or a depth that masks do not have.
    #[error("expected a grey PNG of 1 bit a pixel, found {color:?} of {depth:?}")]
    Format {
        /// Colour type found.
        color: ColorType,
        /// Bits a channel found.
        depth: BitDepth,
    },
    /// Fewer pixels than the header tells.
    #[error("the picture does not hold {width_px} × {height_px} pixels")]
    Incomplete {
        /// Width that the header tells.
        width_px: u32,
        /// Height that the header tells.
        height_px: u32,
    },
    /// No readable PNG.
    #[error(transparent)]
    Unreadable(#[from] DecodingError),
}

/// Why a picture is not the mask of a cell, and what to do about it, for whoever has drawn it.
#[derive(Debug, thiserror::Error)]
pub enum DrawnMaskError {
    /// No readable PNG.
    #[error("the picture is no readable PNG ({0}); save the mask as PNG")]
    Unreadable(#[from] DecodingError),
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

/// A mask as a grey PNG of one bit a pixel; white is crack.
///
/// # Errors
/// A mask without pixels, or with a side that no PNG can have.
pub fn encode(mask: &Mask) -> Result<Vec<u8>, EncodingError> {
    let side = |px: usize| u32::try_from(px).map_err(|_| EncodingError::LimitsExceeded);
    let mut file = Vec::with_capacity(4096);
    let mut encoder = Encoder::new(&mut file, side(mask.width_px())?, side(mask.height_px())?);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Fast);
    // Most lines of a mask are empty or like the one above; unfiltered zeros pack best and fastest.
    encoder.set_filter(Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(mask.bits())?;
    writer.finish()?;
    Ok(file)
}

/// Width and height in pixels that a PNG's header tells.
///
/// # Errors
/// What does not begin like a PNG, or tells a side of 0 or more than 8192.
pub fn size_px(file: &[u8]) -> Result<(u32, u32), MaskPngError> {
    const HEADER: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let number = |at: usize| file.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let (true, Some(width_px), Some(height_px)) = (file.starts_with(HEADER), number(16), number(20)) else {
        return Err(MaskPngError::NoPng);
    };
    let fits = |px| (1..=SIDE_MAX_PX).contains(&px);
    if fits(width_px) && fits(height_px) { Ok((width_px, height_px)) } else { Err(MaskPngError::Size { width_px, height_px }) }
}

/// Reads a mask as [`encode`] writes it: a grey PNG of 1 bit a pixel, of at most 8192 × 8192 pixels.
///
/// # Errors
/// What is no PNG, another kind of PNG, or larger.
pub fn decode(file: &[u8]) -> Result<Mask, MaskPngError> {
    // The size stands in the header: a picture that is too large is refused before any memory is given to it.
    let (width_px, height_px) = size_px(file)?;
    let reader = open(file)?;
    let (color, depth) = (reader.info().color_type, reader.info().bit_depth);
    if (color, depth) != (ColorType::Grayscale, BitDepth::One) {
        return Err(MaskPngError::Format { color, depth });
    }
    let mask = Mask::from_bits(width_px as usize, height_px as usize, pixels(reader)?);
    mask.ok_or(MaskPngError::Incomplete { width_px, height_px })
}

/// Reads a mask as people draw it: square, with sides of `side_px`, grey with 1 bit or with 8 bits (0 and 255) a pixel.
///
/// # Errors
/// Anything else, each with what to do about it; the size is checked before a pixel is unpacked, so that a small file
/// cannot claim much memory.
pub fn decode_drawn(file: &[u8], side_px: usize) -> Result<Mask, DrawnMaskError> {
    let reader = open(file)?;
    let info = reader.info();
    let (width_px, height_px, color, depth) = (info.width, info.height, info.color_type, info.bit_depth);
    let size = DrawnMaskError::Size { width_px, height_px, expected_px: side_px };
    if (width_px as usize, height_px as usize) != (side_px, side_px) {
        return Err(size);
    }
    if color != ColorType::Grayscale || !matches!(depth, BitDepth::One | BitDepth::Eight) || info.trns.is_some() {
        let transparent = if info.trns.is_some() { " with transparency" } else { "" };
        return Err(DrawnMaskError::Format { found: format!("{color:?} with {} bits a channel{transparent}", depth as u8) });
    }
    let pixels = pixels(reader)?;
    if depth == BitDepth::One { Mask::from_bits(side_px, side_px, pixels).ok_or(size) } else { from_grey(&pixels, side_px) }
}

/// A PNG up to its pixels, read with as much memory as masks need.
fn open(file: &[u8]) -> Result<Reader<Cursor<&[u8]>>, DecodingError> {
    Decoder::new_with_limits(Cursor::new(file), Limits { bytes: DECODER_BYTES }).read_info()
}

/// The packed lines of a picture; an animation's first one.
fn pixels(mut reader: Reader<Cursor<&[u8]>>) -> Result<Vec<u8>, DecodingError> {
    let mut pixels = vec![0; reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?];
    reader.next_frame(&mut pixels)?;
    Ok(pixels)
}

fn from_grey(pixels: &[u8], side_px: usize) -> Result<Mask, DrawnMaskError> {
    let mut mask = Mask::new(side_px, side_px);
    for (y, line) in pixels.chunks(side_px).enumerate() {
        for (x, value) in line.iter().enumerate() {
            match *value {
                0 => {}
                255 => mask.set(x, y, true),
                value => return Err(DrawnMaskError::Grey { x, y, value }),
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picture(side_px: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, side_px, side_px);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    /// A file whose header tells 8 × 8 pixels, and whose only frame has 8 × 4.
    fn smaller_frame() -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 8, 8);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        encoder.set_animated(1, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.set_frame_dimension(8, 4).unwrap();
        writer.write_image_data(&[0; 4]).unwrap();
        writer.finish().unwrap();
        file
    }

    proptest! {
        #[test]
        fn a_mask_comes_back_bit_for_bit(width in 1usize..70, height in 1usize..40, seed in proptest::collection::vec(any::<u8>(), 200)) {
            let bits = |height: usize| seed.iter().copied().cycle().take(width.div_ceil(8) * height).collect();
            let mask = Mask::from_bits(width, height, bits(height)).unwrap();
            let file = encode(&mask).unwrap();
            prop_assert_eq!(size_px(&file).unwrap(), (width as u32, height as u32));
            prop_assert_eq!(decode(&file).unwrap(), mask);
            let square = Mask::from_bits(width, width, bits(width)).unwrap();
            prop_assert_eq!(decode_drawn(&encode(&square).unwrap(), width).unwrap(), square);
        }

        #[test]
        fn damaged_files_are_refused_not_panicked_over(at in 0usize..2000, value in any::<u8>(), cut in 0usize..2000) {
            let mut mask = Mask::new(64, 64);
            (0..64).for_each(|i| mask.set(i, i, true));
            let mut file = encode(&mask).unwrap();
            let length = file.len();
            file[at % length] = value;
            file.truncate(cut % length + 1);
            let _ = decode(&file);
            let _ = decode_drawn(&file, 64);
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..60) {
            prop_assert!(decode(&bytes).is_err() && decode_drawn(&bytes, 8).is_err());
            let mut file = encode(&Mask::new(8, 8)).unwrap();
            file.truncate(cut.min(file.len() - 13));
            prop_assert!(decode(&file).is_err() && decode_drawn(&file, 8).is_err());
        }
    }

    #[test]
    fn other_pictures_are_refused_with_the_reason() {
        let grey = picture(8, ColorType::Grayscale, BitDepth::Eight, &[0; 64]);
        assert!(decode(&grey).unwrap_err().to_string().contains("1 bit a pixel"));
        assert!(decode(b"GIF89a").unwrap_err().to_string().contains("no PNG"));
        let mut huge = encode(&Mask::new(8, 8)).unwrap();
        huge[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        assert!(decode(&huge).unwrap_err().to_string().contains("60000"));
    }

    #[test]
    fn a_first_frame_that_does_not_fill_the_picture_is_no_mask() {
        let file = smaller_frame();
        assert!(decode(&file).is_err() && decode_drawn(&file, 8).is_err());
    }

    #[test]
    fn a_mask_without_pixels_is_not_written() {
        assert!(encode(&Mask::new(0, 8)).is_err());
    }

    #[test]
    fn eight_bits_of_0_and_255_are_a_mask() {
        let mut pixels = [0; 64];
        pixels[8 * 3 + 5] = 255;
        let mask = decode_drawn(&picture(8, ColorType::Grayscale, BitDepth::Eight, &pixels), 8).unwrap();
        assert_eq!((mask.count(), mask.get(5, 3)), (1, true));
    }

    #[test]
    fn what_is_no_mask_is_refused_by_name() {
        let mut pixels = [0; 64];
        pixels[8 * 3 + 5] = 37;
        let smoothed = decode_drawn(&picture(8, ColorType::Grayscale, BitDepth::Eight, &pixels), 8).unwrap_err();
        assert!(matches!(smoothed, DrawnMaskError::Grey { x: 5, y: 3, value: 37 }), "{smoothed}");
        let colour = decode_drawn(&picture(8, ColorType::Rgb, BitDepth::Eight, &[0; 192]), 8).unwrap_err();
        assert!(matches!(colour, DrawnMaskError::Format { .. }), "{colour}");
        let large = decode_drawn(&picture(16, ColorType::Grayscale, BitDepth::Eight, &[0; 256]), 8).unwrap_err();
        assert!(matches!(large, DrawnMaskError::Size { width_px: 16, height_px: 16, expected_px: 8 }), "{large}");
    }
}
