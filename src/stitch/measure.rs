//! Robust fits: edges are straight, but for dark areas, chips and dust.

use super::edges::Edges;
use super::placement::Placement;
use super::shape::Shape;
use crate::cell::HoldReason;
use std::ops::Range;

/// Share of an edge that must lie within the tolerance of a straight line.
const STRAIGHT_SHARE: f64 = 0.75;
/// Share of an edge, around its middle, that corners surely do not reach into.
const MIDDLE_SHARE: f64 = 0.6;

/// Measures how a cell lies, from its leading edge and the side edges in `side_lines`.
///
/// The skew is the slope of the leading edge, fitted by a median of slopes and then least squares
/// over what lies within two lines of it (Theil 1950; Rousseeuw and Leroy 1987).
///
/// # Errors
/// [`HoldReason::Broken`] where there is no straight leading edge or no side edge.
pub(super) fn place(edges: &Edges, shape: &Shape, side_lines: Range<usize>) -> Result<Placement, HoldReason> {
    let seen: Vec<(f64, f64, f64)> =
        side_lines.filter_map(|l| edges.ends(l).map(|(left, right)| (l as f64, f64::from(left) - 0.5, f64::from(right) + 0.5))).collect();
    let side = |at: &dyn Fn(&(f64, f64, f64)) -> f64, quantile: f64| outer(seen.iter().map(at).collect(), quantile, 1.0);
    let (Some(left), Some(right)) = (side(&|s| s.1, 0.2), side(&|s| s.2, 0.8)) else {
        return Err(broken("no side edges were seen"));
    };
    let columns = left.max(0.0).ceil() as usize..(right.floor() as usize).min(edges.width_px());
    let (at, slope) = leading(edges, columns, shape)?;
    let aspect = shape.mm_per_line / shape.mm_per_px;
    let skew = (slope * aspect).atan();
    let slant = skew.tan() * aspect;
    let (Some(left), Some(right)) = (side(&|s| s.1 + slant * s.0, 0.2), side(&|s| s.2 + slant * s.0, 0.8)) else {
        return Err(broken("no side edges were seen"));
    };
    let corner = |side: f64| (side - slant * at) / (1.0 + slant * slope);
    let (left, right) = (corner(left), corner(right));
    let middle = 0.5 * (left + right);
    let width_mm = (right - left) * shape.mm_per_px / skew.cos();
    Ok(Placement::new(shape, skew, (middle, at + slope * middle), width_mm))
}

/// Length from leading to trailing edge in mm, once the trailing edge has passed.
///
/// # Errors
/// [`HoldReason::Broken`] where the trailing edge or a side edge is not straight.
pub(super) fn length_mm(edges: &Edges, shape: &Shape, placement: &Placement) -> Result<f64, HoldReason> {
    let half_px = 0.5 * MIDDLE_SHARE * shape.width_mm / shape.mm_per_px;
    let middle = placement.to_camera(0.0, shape.length_mm).0;
    let columns = (middle - half_px).max(0.0) as usize..(middle + half_px).max(0.0) as usize;
    let ends: Vec<f64> = columns.filter_map(|c| edges.last_line(c).map(|l| placement.to_wafer(c as f64, f64::from(l) + 0.5).1)).collect();
    let at = outer(ends.clone(), 0.8, shape.mm_per_line).ok_or_else(|| broken("no trailing edge was seen"))?;
    straight("trailing", &ends, at, shape)?;
    let zone = shape.corner_zone_mm();
    for (name, sign) in [("left", -1.0), ("right", 1.0)] {
        let offsets: Vec<f64> = (0..edges.lines())
            .filter_map(|l| {
                let (left, right) = edges.ends(l)?;
                let column = if sign < 0.0 { f64::from(left) - 0.5 } else { f64::from(right) + 0.5 };
                Some(placement.to_wafer(column, l as f64))
            })
            .filter(|(_, along)| (zone..at - zone).contains(along))
            .map(|(across, _)| across)
            .collect();
        straight(name, &offsets, sign * 0.5 * placement.width_mm, shape)?;
    }
    Ok(at)
}

fn straight(name: &str, places_mm: &[f64], at_mm: f64, shape: &Shape) -> Result<(), HoldReason> {
    let near = places_mm.iter().filter(|p| (**p - at_mm).abs() <= shape.tolerance_mm).count();
    let share = near as f64 / places_mm.len().max(1) as f64;
    if share >= STRAIGHT_SHARE || places_mm.is_empty() {
        return Ok(());
    }
    Err(broken(&format!(
        "the {name} edge is not straight: {:.0} % of it is within {} mm of a line, expected {:.0} %",
        100.0 * share,
        shape.tolerance_mm,
        100.0 * STRAIGHT_SHARE
    )))
}

/// The leading edge as a line through (column 0, `.0`) with `.1` lines a column.
fn leading(edges: &Edges, columns: Range<usize>, shape: &Shape) -> Result<(f64, f64), HoldReason> {
    let spare = ((1.0 - MIDDLE_SHARE) / 2.0 * columns.len() as f64) as usize;
    let points = |columns: Range<usize>| -> Vec<(f64, f64)> { columns.filter_map(|c| edges.leading(c).map(|at| (c as f64, at))).collect() };
    let middle = points(columns.start + spare..columns.end.saturating_sub(spare).max(columns.start + spare));
    let half = middle.len() / 2;
    let slopes = middle.iter().zip(&middle[half..]).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0).max(1.0)).collect();
    let Some(slope) = median(slopes) else { return Err(broken("no leading edge was seen")) };
    let at = median(middle.iter().map(|p| p.1 - slope * p.0).collect()).unwrap_or_default();
    let mut line = (at, slope);
    for columns in [&middle, &points(columns)] {
        let near = columns.iter().filter(|p| (p.1 - line.0 - line.1 * p.0).abs() <= 2.0);
        line = least_squares(near).unwrap_or(line);
    }
    let off_mm: Vec<f64> = middle.iter().map(|p| (p.1 - line.0 - line.1 * p.0) * shape.mm_per_line).collect();
    straight("leading", &off_mm, 0.0, shape)?;
    Ok(line)
}

fn least_squares<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<(f64, f64)> {
    let (mut n, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for p in points {
        n += 1.0;
        x += p.0;
        y += p.1;
        xx += p.0 * p.0;
        xy += p.0 * p.1;
    }
    let spread = n * xx - x * x;
    (n >= 2.0 && spread > 0.0).then(|| {
        let slope = (n * xy - x * y) / spread;
        ((y - slope * x) / n, slope)
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Where most of the outermost values lie: the mean of those within `window` of the quantile.
/// Dark areas pull an edge inward only, so the outer part tells the truth.
fn outer(mut values: Vec<f64>, quantile: f64, window: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let pivot = *values.get(((values.len().max(1) - 1) as f64 * quantile) as usize)?;
    let near: Vec<f64> = values.into_iter().filter(|v| (v - pivot).abs() <= window).collect();
    Some(near.iter().sum::<f64>() / near.len() as f64)
}

pub(super) fn broken(detail: &str) -> HoldReason {
    HoldReason::Broken { detail: detail.to_owned() }
}
