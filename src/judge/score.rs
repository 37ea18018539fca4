use crate::cell::{CELL_PX, Defect, ProbabilityMap};

/// Length at which a crack weighs half of what a long one does, mm.
const HALF_WEIGHT_LENGTH_MM: f64 = 1.0;
/// Width that turns the area of faint pixels into a length, mm.
const FAINT_WIDTH_MM: f64 = 0.5;
/// Probability below which a pixel tells nothing: 0.1.
const FAINT_LEVEL: u8 = 26;
/// Evidence that gives a score of one half, mm: a certain crack of 3 mm.
const HALF_SCORE_MM: f64 = 2.25;

/// The score of a cell, by the formula given with [`judge`](super::judge), from all `cracks` of the mask
/// that `threshold` cut out of `map`.
///
/// The factor ℓ / (ℓ + 1 mm) keeps many specks from weighing like one crack; the faint sum orders cells
/// whose mask is empty; and as the score never saturates, ranks have no ties.
pub(super) fn score(cracks: &[Defect], map: &ProbabilityMap, threshold: f32, mm_per_px: f64) -> f64 {
    let weight = |d: &Defect| d.probability * d.length_mm * d.length_mm / (d.length_mm + HALF_WEIGHT_LENGTH_MM);
    let faint_mm2 = faint_mass_px(map, threshold) * mm_per_px * mm_per_px;
    let evidence_mm = cracks.iter().map(weight).sum::<f64>() + faint_mm2 / FAINT_WIDTH_MM;
    evidence_mm / (evidence_mm + HALF_SCORE_MM)
}

/// Σ p² over the pixels inside the outline from the faint level up to the mask's threshold.
fn faint_mass_px(map: &ProbabilityMap, threshold: f32) -> f64 {
    let faint = FAINT_LEVEL..ProbabilityMap::level(threshold);
    let mut sum = 0;
    for y in 0..CELL_PX {
        let span = map.span(y);
        let Some(line) = map.line(y).get(span.start.into()..span.end.into()) else { continue };
        // Nearly all of a good cell is below the level: whole chunks are passed over by their maximum.
        for chunk in line.chunks(64).filter(|chunk| chunk.iter().fold(0, |max, v| *v.max(&max)) >= FAINT_LEVEL) {
            let squares = chunk.iter().filter(|v| faint.contains(v)).map(|v| u64::from(*v) * u64::from(*v));
            sum += squares.sum::<u64>();
        }
    }
    sum as f64 / (255.0 * 255.0)
}
