use super::super::calibration::FLAT_RANGE;
use super::super::correction::FULL_WHITE;
use super::{CalibrateError, Picture};

/// Lines that a field must at least be averaged over.
const LINES_MIN: usize = 16;

/// Dark signal of each column, share of white: the mean over pictures taken without light.
///
/// # Errors
/// Too few lines, widths that differ, or light in the pictures.
pub fn dark_field(pictures: &[Picture]) -> Result<Vec<f32>, CalibrateError> {
    let dark = column_means("dark", pictures)?;
    if let Some((column, level)) = dark.iter().enumerate().find(|(_, level)| **level > 0.3) {
        return Err(CalibrateError::Implausible {
            what: "dark",
            found: format!("column {column} is at {:.0} % of white, expected under 30 %", 100.0 * level),
            remedy: "cover the lens and switch the light off",
        });
    }
    Ok(dark)
}

/// Response of each column to even light, 1 on average: the mean over pictures of an even target,
/// less the dark signal.
///
/// # Errors
/// Too few lines, widths that differ, saturated or too dark pictures, or dead columns.
pub fn flat_field(pictures: &[Picture], dark: &[f32]) -> Result<Vec<f32>, CalibrateError> {
    let implausible = |found, remedy| Err(CalibrateError::Implausible { what: "flat", found, remedy });
    let level = column_means("flat", pictures)?;
    if level.len() != dark.len() {
        return Err(CalibrateError::Widths { what: "flat", found: level.len(), expected: dark.len() });
    }
    let pixels = pictures.iter().map(|p| p.pixels.len()).sum::<usize>().max(1);
    let white = pictures.iter().flat_map(|p| &p.pixels).filter(|v| **v >= FULL_WHITE).count();
    if white * 100 > pixels {
        return implausible(
            format!("{:.1} % of the pixels are saturated, expected under 1 %", 100.0 * white as f64 / pixels as f64),
            "shorten the exposure until the target is at 50 to 80 % of white",
        );
    }
    let light: Vec<f32> = level.iter().zip(dark).map(|(level, dark)| level - dark).collect();
    let mean = light.iter().sum::<f32>() / light.len() as f32;
    if mean < 0.1 {
        return implausible(
            format!("the target is at {:.1} % of white above the dark signal, expected at least 10 %", 100.0 * mean),
            "give more light or a longer exposure",
        );
    }
    let flat: Vec<f32> = light.iter().map(|light| light / mean).collect();
    let dead: Vec<String> =
        flat.iter().enumerate().filter(|(_, f)| !FLAT_RANGE.contains(*f)).map(|(column, _)| column.to_string()).collect();
    if !dead.is_empty() {
        let named = dead.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        return implausible(
            format!(
                "{} columns answer less than {} or more than {} times the mean: {named}",
                dead.len(),
                FLAT_RANGE.start(),
                FLAT_RANGE.end()
            ),
            "clean the target and the sensor; let the target cover the whole line; if they stay, narrow the camera's region of interest",
        );
    }
    Ok(flat)
}

fn column_means(what: &'static str, pictures: &[Picture]) -> Result<Vec<f32>, CalibrateError> {
    let width = pictures.first().map_or(0, |p| p.width_px);
    let mut sums = vec![0u64; width];
    let mut lines = 0;
    for picture in pictures {
        if picture.width_px != width {
            return Err(CalibrateError::Widths { what, found: picture.width_px, expected: width });
        }
        for line in picture.lines() {
            sums.iter_mut().zip(line).for_each(|(sum, pixel)| *sum += u64::from(*pixel));
            lines += 1;
        }
    }
    if lines < LINES_MIN {
        return Err(CalibrateError::Implausible {
            what,
            found: format!("{lines} lines in all, expected at least {LINES_MIN}"),
            remedy: "take some hundred lines",
        });
    }
    Ok(sums.into_iter().map(|sum| (sum as f64 / lines as f64 / 65535.0) as f32).collect())
}
