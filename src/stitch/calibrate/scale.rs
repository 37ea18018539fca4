use super::super::correction::Correction;
use super::super::edges::Edges;
use super::super::levels::Levels;
use super::super::measure;
use super::super::shape::Shape;
use super::{CalibrateError, Picture};
use crate::cell::HoldReason;
use crate::config::GapKind;
use crate::stitch::Calibration;

/// What a picture of a wafer of known size tells.
#[derive(Debug, Clone, PartialEq)]
pub struct WaferScale {
    /// Camera pixel across the belt, mm.
    pub mm_per_px: f64,
    /// Camera line along the belt, mm.
    pub mm_per_line: f64,
    /// How the wafer lay, degrees.
    pub skew_deg: f64,
    /// Its corners in the picture (column, line), clockwise from leading left.
    pub corners: [(f64, f64); 4],
    /// Whether the gap is darker or brighter than the wafer.
    pub gap: GapKind,
    /// Levels that would tell wafer from gap here, shares of white: edge and gap level.
    pub levels: (f32, f32),
    /// Whether the levels that hold where the belt tells none would do, too.
    pub usual_levels_do: bool,
}

/// Measures the scale from a picture of one whole wafer with gap around it. `field` holds the dark
/// signal and flat field to be taken out first (its scale is not looked at).
///
/// # Errors
/// The picture's width is another one, no wafer stands out, it is cut off, or its edges are not straight.
pub fn scale(picture: &Picture, field: &Calibration, width_mm: f64, length_mm: f64) -> Result<WaferScale, CalibrateError> {
    if picture.width_px != field.width_px as usize {
        return Err(CalibrateError::Widths { what: "wafer", found: picture.width_px, expected: field.width_px as usize });
    }
    let mut corrected = picture.clone();
    let correction = Correction::new(Some(field));
    corrected.pixels.chunks_exact_mut(picture.width_px).for_each(|line| correction.take_out(line));

    let (levels, gap) = levels(&corrected)?;
    let (first, edges, rough_width) = edges(&corrected, &levels)?;
    let rough = (width_mm / rough_width, length_mm / edges.lines() as f64);
    let mut shape = Shape {
        mm_per_px: rough.0,
        mm_per_line: rough.1,
        width_mm,
        length_mm,
        corners_mm: [0.0; 4],
        tolerance_mm: 0.02 * width_mm.min(length_mm),
        skew_max: 5f64.to_radians(),
        noise_share_max: 1.0,
    };
    let told = |reason| match reason {
        HoldReason::Broken { detail } | HoldReason::Geometry { detail } => none(detail),
        other => none(other.to_string()),
    };
    let measure = |shape: &Shape| {
        let sides = shape.sides_from()..edges.lines() * 3 / 4;
        measure::place(&edges, shape, sides).and_then(|p| Ok((p, measure::length_mm(&edges, shape, &p)?))).map_err(told)
    };
    // The size depends on the skew, and the skew on the scale: a few rounds settle both.
    for _ in 0..6 {
        let (placement, length) = measure(&shape)?;
        shape.mm_per_px *= width_mm / placement.width_mm;
        shape.mm_per_line *= length_mm / length;
    }
    let (placement, length) = measure(&shape)?;
    measure::check_sides(&edges, &shape, &placement, length).map_err(told)?;
    let half = 0.5 * placement.width_mm;
    let corner = |across, along| {
        let (column, line) = placement.to_camera(across, along);
        (column, line + first as f64)
    };
    Ok(WaferScale {
        mm_per_px: shape.mm_per_px,
        mm_per_line: shape.mm_per_line,
        skew_deg: placement.skew.to_degrees(),
        corners: [corner(-half, 0.0), corner(half, 0.0), corner(half, length), corner(-half, length)],
        gap,
        levels: levels.shares(),
        usual_levels_do: tells(&Levels::usual(gap), &corrected),
    })
}

fn none(found: String) -> CalibrateError {
    CalibrateError::Implausible {
        what: "wafer",
        found,
        remedy: "show one whole wafer with straight edges and some gap on all four sides, turned by less than 3°",
    }
}

/// The gap is what the first and last lines show, the wafer what the middle shows.
fn levels(picture: &Picture) -> Result<(Levels, GapKind), CalibrateError> {
    let count = picture.lines().len();
    let median = |mut values: Vec<u16>| {
        let middle = values.len() / 2;
        if values.is_empty() { 0 } else { *values.select_nth_unstable(middle).1 }
    };
    let gap = median(picture.lines().take(4).chain(picture.lines().rev().take(4)).flatten().copied().collect());
    let quarter = picture.width_px / 4;
    let centre = |line: &'_ [u16]| line[quarter..picture.width_px - quarter].iter().step_by(4).copied().collect::<Vec<_>>();
    let wafer = median(picture.lines().skip(count / 4).take(count / 2).flat_map(centre).collect());
    if gap.abs_diff(wafer) < 1000 {
        let share = |level: u16| 100.0 * f64::from(level) / 65535.0;
        return Err(none(format!(
            "no wafer stands out: the middle is at {:.1} % of white, the border at {:.1} %",
            share(wafer),
            share(gap)
        )));
    }
    let kind = if gap > wafer { GapKind::Bright } else { GapKind::Dark };
    Ok((Levels::between(gap, wafer), kind))
}

/// Whether these levels see gap on the first and last lines, and wafer on the middle one.
fn tells(levels: &Levels, picture: &Picture) -> bool {
    let solid_min = solid_px_min(picture);
    let mut gap = picture.lines().take(4).chain(picture.lines().rev().take(4));
    let middle = picture.lines().nth(picture.lines().len() / 2);
    gap.all(|line| levels.solid(line).gap_px < solid_min) && middle.is_some_and(|line| levels.solid(line).edge_px >= solid_min)
}

fn solid_px_min(picture: &Picture) -> u32 {
    (picture.width_px / 50).max(8) as u32
}

/// The wafer's first line in the picture, its outline, and its width somewhere in the middle.
fn edges(picture: &Picture, levels: &Levels) -> Result<(usize, Edges, f64), CalibrateError> {
    let solid_min = solid_px_min(picture);
    let is_wafer: Vec<bool> = picture.lines().map(|line| levels.solid(line).edge_px >= solid_min).collect();
    let (Some(first), Some(last)) = (is_wafer.iter().position(|w| *w), is_wafer.iter().rposition(|w| *w)) else {
        return Err(none("no line shows a wafer".into()));
    };
    if first < 4 || last + 4 >= is_wafer.len() {
        return Err(none(format!("the wafer reaches over the picture's border (lines {first} to {last} of {})", is_wafer.len())));
    }
    let first = first - 3;
    let mut edges = Edges::new(picture.width_px, is_wafer.len(), is_wafer.len());
    let lines = picture.lines().skip(first).take(last + 4 - first);
    picture.lines().skip(first.saturating_sub(1)).zip(lines).for_each(|(before, line)| edges.add(before, line, levels));
    let (left, right) = edges.ends(edges.lines() / 2).unwrap_or_default();
    if left == 0 || usize::from(right) + 1 >= picture.width_px || right <= left {
        return Err(none(format!("the wafer reaches over the line's ends (columns {left} to {right} of {})", picture.width_px)));
    }
    Ok((first, edges, f64::from(right - left) + 1.0))
}
