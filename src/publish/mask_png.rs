//! Masks as 1-bit grey PNG, written fast and read with care.

use super::PublishError;
use crate::cell::Mask;
use std::io::Cursor;

/// Largest side of a mask that is read, in pixels: many times a cell's, and small enough that no
/// picture from a socket can eat the memory.
const SIDE_MAX_PX: u32 = 8192;

/// Encodes `mask` as a grey PNG of one bit a pixel; set bits are white.
///
/// # Errors
/// [`PublishError::Mask`] for a mask without pixels.
pub fn encode_mask(mask: &Mask) -> Result<Vec<u8>, PublishError> {
    let side = |px: usize| u32::try_from(px).map_err(|_| PublishError::mask("a side is longer than a PNG can be"));
    let mut file = Vec::with_capacity(4096);
    let mut encoder = png::Encoder::new(&mut file, side(mask.width_px())?, side(mask.height_px())?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::Fast);
    // Most lines of a mask are empty or like the one above; unfiltered zeros pack best and fastest.
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().map_err(PublishError::mask)?;
    writer.write_image_data(mask.bits()).map_err(PublishError::mask)?;
    writer.finish().map_err(PublishError::mask)?;
    Ok(file)
}

/// Decodes a 1-bit grey PNG of at most 8192 × 8192 pixels.
///
/// # Errors
/// [`PublishError::Mask`] for what is no PNG, another kind of PNG, or larger.
pub fn decode_mask(file: &[u8]) -> Result<Mask, PublishError> {
    // The size stands in the header: a picture that is too large is refused before any memory is given to it.
    let (width_px, height_px) = mask_size_px(file)?;
    let limits = png::Limits { bytes: 2 * (SIDE_MAX_PX as usize / 8) * SIDE_MAX_PX as usize };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(file), limits).read_info().map_err(PublishError::mask)?;
    let kind = (reader.info().color_type, reader.info().bit_depth);
    if kind != (png::ColorType::Grayscale, png::BitDepth::One) {
        return Err(PublishError::mask(format!("expected a grey PNG of 1 bit a pixel, found {:?} of {:?}", kind.0, kind.1)));
    }
    let bytes = reader.output_buffer_size().ok_or_else(|| PublishError::mask("the picture is too large"))?;
    let mut bits = vec![0; bytes];
    reader.next_frame(&mut bits).map_err(PublishError::mask)?;
    Mask::from_bits(width_px as usize, height_px as usize, bits)
        .ok_or_else(|| PublishError::mask(format!("the picture does not hold {width_px} × {height_px} pixels")))
}

/// Width and height in pixels that a PNG's header tells.
///
/// # Errors
/// [`PublishError::Mask`] for what does not begin like a PNG, or tells a side of 0 or more than 8192.
pub fn mask_size_px(file: &[u8]) -> Result<(u32, u32), PublishError> {
    const HEADER: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let number = |at: usize| file.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    match (file.starts_with(HEADER), number(16), number(20)) {
        (true, Some(width), Some(height)) if (1..=SIDE_MAX_PX).contains(&width) && (1..=SIDE_MAX_PX).contains(&height) => {
            Ok((width, height))
        }
        (true, Some(width), Some(height)) => {
            Err(PublishError::mask(format!("{width} × {height} pixels, expected at most {SIDE_MAX_PX} × {SIDE_MAX_PX}")))
        }
        _ => Err(PublishError::mask("this is no PNG file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_mask_comes_back_bit_for_bit(width in 1usize..70, height in 1usize..40, seed in any::<u64>()) {
            let mut mask = Mask::new(width, height);
            for i in 0..width * height {
                mask.set(i % width, i / width, (seed.rotate_left(i as u32 % 64) ^ i as u64).is_multiple_of(3));
            }
            let file = encode_mask(&mask).unwrap();
            prop_assert_eq!(mask_size_px(&file).unwrap(), (width as u32, height as u32));
            prop_assert_eq!(decode_mask(&file).unwrap(), mask);
        }

        #[test]
        fn damaged_files_are_refused_not_panicked_over(at in 0usize..2000, value in any::<u8>(), cut in 0usize..2000) {
            let mut mask = Mask::new(64, 64);
            (0..64).for_each(|i| mask.set(i, i, true));
            let mut file = encode_mask(&mask).unwrap();
            let length = file.len();
            file[at % length] = value;
            file.truncate(cut % length + 1);
            let _ = decode_mask(&file);
        }
    }

    #[test]
    fn other_pictures_are_refused_with_the_reason() {
        let mut grey = Vec::new();
        image::GrayImage::new(8, 8).write_to(&mut Cursor::new(&mut grey), image::ImageFormat::Png).unwrap();
        assert!(decode_mask(&grey).unwrap_err().to_string().contains("1 bit a pixel"));
        assert!(decode_mask(b"GIF89a").unwrap_err().to_string().contains("no PNG"));
        let mut huge = encode_mask(&Mask::new(8, 8)).unwrap();
        huge[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        assert!(decode_mask(&huge).unwrap_err().to_string().contains("60000"));
    }
}
