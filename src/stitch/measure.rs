//! Robust fits: edges are straight, but for dark areas, chips and dust.

use super::edges::Edges;
use super::placement::Placement;
use super::shape::Shape;
use crate::cell::{HoldReason, RIM_PX};
use std::ops::Range;

/// Share of an edge that must lie within the tolerance of a straight line.
const STRAIGHT_SHARE: f64 = 0.75;
/// Share of an edge, around its middle, that corners surely do not reach into.
const MIDDLE_SHARE: f64 = 0.6;
/// How far from a straight edge its pixels may be seen, lines or pixels.
const NEAR: f64 = 2.0;
/// Pairs of places that a straight edge is looked for through.
const PAIRS: usize = 64;

/// Measures how a cell lies, from its leading edge and the side edges in `side_lines`.
///
/// The skew is the slope of the leading edge: the line that most of it lies on, found by trial (Fischler and Bolles 1981), then
/// least squares over what lies within two lines of it.
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
/// [`HoldReason::Broken`] where the trailing edge is not straight.
pub(super) fn length_mm(edges: &Edges, shape: &Shape, placement: &Placement) -> Result<f64, HoldReason> {
    let half_px = 0.5 * MIDDLE_SHARE * shape.width_mm / shape.mm_per_px;
    let middle = placement.to_camera(0.0, shape.length_mm).0;
    let columns = (middle - half_px).max(0.0) as usize..(middle + half_px).max(0.0) as usize;
    let ends: Vec<f64> = columns.filter_map(|c| edges.last_line(c).map(|l| placement.to_wafer(c as f64, f64::from(l) + 0.5).1)).collect();
    let at = outer(ends.clone(), 0.8, shape.mm_per_line).ok_or_else(|| broken("no trailing edge was seen"))?;
    straight("trailing", &ends, at, shape)?;
    Ok(at)
}

/// Looks at the side edges of a cell of this length.
///
/// # Errors
/// [`HoldReason::Geometry`] where they lean off the square to the leading edge, [`HoldReason::Broken`] where one is not straight.
pub(super) fn check_sides(edges: &Edges, shape: &Shape, placement: &Placement, length_mm: f64) -> Result<(), HoldReason> {
    let zone = shape.corner_zone_mm();
    let sides = [-1.0, 1.0].map(|sign| side(edges, placement, sign, zone..length_mm - zone));
    square(&sides, shape, length_mm)?;
    for (name, sign, side) in [("left", -1.0, &sides[0]), ("right", 1.0, &sides[1])] {
        let offsets: Vec<f64> = side.iter().map(|(_, across)| -sign * across).collect();
        straight(name, &offsets, sign * 0.5 * placement.width_mm, shape)?;
    }
    Ok(())
}

/// Places of the left (`sign` is -1) or right side edge: mm along, mm across counted inwards.
fn side(edges: &Edges, placement: &Placement, sign: f64, along_mm: Range<f64>) -> Vec<(f64, f64)> {
    let place = |line: usize| {
        let (left, right) = edges.ends(line)?;
        let column = if sign < 0.0 { f64::from(left) - 0.5 } else { f64::from(right) + 0.5 };
        let (across, along) = placement.to_wafer(column, line as f64);
        Some((along, -sign * across))
    };
    (0..edges.lines()).filter_map(place).filter(|(along, _)| along_mm.contains(along)).collect()
}

/// # Errors
/// [`HoldReason::Geometry`] where both sides are straight and lean the same way off the square to the leading edge, so far that one
/// of them leaves the outline by more than its rim before the trailing edge.
fn square(sides: &[Vec<(f64, f64)>; 2], shape: &Shape, length_mm: f64) -> Result<(), HoldReason> {
    let slope = |side: &[(f64, f64)]| {
        let pixels: Vec<(f64, f64)> = side.iter().map(|(along, across)| (*along, across / shape.mm_per_px)).collect();
        let line = edge(&pixels).filter(|line| {
            let near = pixels.iter().filter(|p| (p.1 - line.0 - line.1 * p.0).abs() <= NEAR).count();
            near as f64 >= STRAIGHT_SHARE * pixels.len() as f64
        });
        line.map_or(0.0, |line| line.1 * shape.mm_per_px)
    };
    let (left, right) = (slope(&sides[0]), -slope(&sides[1]));
    let lean = if left * right > 0.0 { left.abs().min(right.abs()) } else { 0.0 };
    // A wide tolerance says that edges are not to be relied on, such as those of pictures that were cut by hand.
    let allowed_mm = (f64::from(RIM_PX) * shape.stitched_mm_per_px()).max(0.25 * shape.tolerance_mm);
    let measured_mm = shape.sides_from() as f64 * shape.mm_per_line;
    if lean * (length_mm - measured_mm) <= allowed_mm {
        return Ok(());
    }
    let detail = format!(
        "its sides lie {:.2}° off the square to its leading edge, which draws false cracks along them; turn the camera until its line \
         lies square to the belt, or see whether wafers drift sideways",
        lean.atan().to_degrees()
    );
    Err(HoldReason::Geometry { detail })
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
    let middle = columns.start + spare..columns.end.saturating_sub(spare).max(columns.start + spare);
    let points: Vec<(f64, f64)> = columns.filter_map(|c| edges.leading(c).map(|at| (c as f64, at))).collect();
    let line = edge(&points).ok_or_else(|| broken("no leading edge was seen"))?;
    let in_middle = points.iter().filter(|p| middle.contains(&(p.0 as usize)));
    let off_mm: Vec<f64> = in_middle.map(|p| (p.1 - line.0 - line.1 * p.0) * shape.mm_per_line).collect();
    straight("leading", &off_mm, 0.0, shape)?;
    Ok(line)
}

/// The straight edge, as `.0` and slope, that these places `(along it, across it)` lie on; the wafer is where `across` is greater.
///
/// Of lines through pairs of them the one that most lie on, and the fewest in front of: what is dark or broken off pulls an
/// edge inwards only, and the floor of a wide chip is straight as well.
fn edge(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let half = points.len() / 2;
    let through = |(a, b): (&(f64, f64), &(f64, f64))| {
        let slope = (b.1 - a.1) / (b.0 - a.0).max(1.0);
        (a.1 - slope * a.0, slope)
    };
    let worth = |line: &(f64, f64)| -> i64 {
        let one = |p: &(f64, f64)| {
            let off = p.1 - line.0 - line.1 * p.0;
            i64::from(off <= NEAR) - 2 * i64::from(off < -NEAR)
        };
        points.iter().map(one).sum()
    };
    let pairs = points.iter().zip(&points[half..]).step_by((half / PAIRS).max(1));
    let best = pairs.map(through).max_by_key(worth)?;
    least_squares(points.iter().filter(|p| (p.1 - best.0 - best.1 * p.0).abs() <= NEAR))
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
