use super::Calibration;
use crate::cell::PixelFormat;

/// Gains are fixed-point numbers with this many binary places.
const GAIN_BITS: u32 = 13;

/// From here on a pixel is at full white (65535 is the most): many sensors end a little below, such as one of 12 bit in
/// Mono16 at 65520, or one of 10 bit in Mono12 at 65487.
pub(super) const FULL_WHITE: u16 = 65_200;

/// Brings a camera's line to 16 bit (65535 is white) and takes dark signal and flat field out. What is at full
/// white stays so: how bright it was is not known.
#[derive(Debug)]
pub(super) struct Correction {
    columns: Option<Columns>,
}

#[derive(Debug)]
struct Columns {
    dark: Vec<u16>,
    gain: Vec<u16>,
}

impl Correction {
    /// Without a calibration, lines are only brought to 16 bit.
    pub fn new(calibration: Option<&Calibration>) -> Self {
        let columns = calibration.map(|c| Columns {
            dark: c.dark.iter().map(|d| (d * 65535.0).round() as u16).collect(),
            gain: c.flat.iter().map(|f| (f32::from(1u16 << GAIN_BITS) / f).round() as u16).collect(),
        });
        Self { columns }
    }

    /// The line width it was made for, if it depends on it.
    pub fn width_px(&self) -> Option<usize> {
        self.columns.as_ref().map(|c| c.dark.len())
    }

    /// Corrects the bytes of one line into `out`, whose length is the line's width in pixels.
    pub fn apply(&self, bytes: &[u8], format: PixelFormat, out: &mut [u16]) {
        expand(bytes, format, out);
        self.take_out(out);
    }

    /// Takes dark signal and flat field out of a line that is in 16 bit already.
    pub fn take_out(&self, out: &mut [u16]) {
        if let Some(columns) = &self.columns {
            for ((pixel, dark), gain) in out.iter_mut().zip(&columns.dark).zip(&columns.gain) {
                let light = u32::from(pixel.saturating_sub(*dark));
                let even = ((light * u32::from(*gain)) >> GAIN_BITS).min(65535) as u16;
                *pixel = if *pixel >= FULL_WHITE { u16::MAX } else { even };
            }
        }
    }
}

fn expand(bytes: &[u8], format: PixelFormat, out: &mut [u16]) {
    match format {
        PixelFormat::Gray8 => {
            for (out, byte) in out.iter_mut().zip(bytes) {
                *out = u16::from(*byte) * 257;
            }
        }
        PixelFormat::Gray16Le { bits } => {
            let white = format.white();
            let bits = u32::from(bits.clamp(1, 16));
            for (out, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                let value = u16::from_le_bytes([pair[0], pair[1]]).min(white);
                *out = if bits >= 8 {
                    (value << (16 - bits)) | (u32::from(value) >> (2 * bits - 16)) as u16
                } else {
                    (u32::from(value) * 65535 / u32::from(white)) as u16
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_white_in_every_format() {
        for bits in [4, 8, 10, 12, 16] {
            let format = PixelFormat::Gray16Le { bits };
            let (mut out, white) = ([0; 2], format.white().to_le_bytes());
            expand(&[white[0], white[1], 0, 0], format, &mut out);
            assert_eq!(out, [65535, 0], "{bits} bits");
        }
        let mut out = [0; 2];
        expand(&[255, 128], PixelFormat::Gray8, &mut out);
        assert_eq!(out, [65535, 128 * 257]);
    }

    #[test]
    fn dark_and_flat_field_are_taken_out() {
        let calibration = Calibration {
            camera_id: String::new(),
            width_px: 4,
            mm_per_px: 0.1,
            mm_per_line: 0.1,
            made: String::new(),
            dark: vec![0.0, 0.1, 0.1, 0.1],
            flat: vec![1.0, 0.5, 0.5, 1.4],
        };
        let mut out = [0; 4];
        Correction::new(Some(&calibration)).apply(&[51, 51, 254, 255], PixelFormat::Gray8, &mut out);
        let share = out.map(|v| f64::from(v) / 65535.0);
        assert!((share[0] - 0.2).abs() < 1e-3 && (share[1] - 0.2).abs() < 1e-3, "{share:?}");
        assert_eq!(out[2], 65535, "nothing is brighter than white");
        assert_eq!(out[3], 65535, "what is at full white stays so");
        for white in [65_487, 65_520] {
            out.fill(white);
            Correction::new(Some(&calibration)).take_out(&mut out);
            assert_eq!(out[3], 65535, "a sensor that ends at {white}");
        }
    }
}
