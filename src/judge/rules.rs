use super::recipe::{Limits, Recipe};
use crate::cell::{Defect, FiredRule};

/// Name of a crack in [`Defect::kind`].
pub(super) const CRACK: &str = "crack";
/// Name of a missing corner in [`Defect::kind`].
pub(super) const MISSING_CORNER: &str = "missing_corner";

/// Every rule that can fire, as [`FiredRule::rule`] names them.
pub const RULES: [&str; 9] = [
    "longest_crack_mm",
    "total_length_mm",
    "area_mm2",
    "count",
    "edge.longest_crack_mm",
    "edge.total_length_mm",
    "edge.area_mm2",
    "edge.count",
    "corners.reject_missing",
];

/// The first rule that fires on the defects that count, in the recipe's order: limits of the whole
/// cell, of the edge zone, then missing corners.
pub(super) fn first_fired(recipe: &Recipe, counted: &[Defect]) -> Option<FiredRule> {
    let cracks = || counted.iter().filter(|d| d.kind == CRACK);
    let missing = counted.iter().filter(|d| d.kind == MISSING_CORNER).count();
    let [longest, total, area, count] = exceeded(&recipe.limits, cracks());
    let [edge_longest, edge_total, edge_area, edge_count] = exceeded(&recipe.edge, cracks().filter(|d| d.in_edge_zone));
    let corners = (recipe.reject_missing_corners && missing > 0).then_some((missing as f64, 0.0));
    let fired: [_; RULES.len()] = [longest, total, area, count, edge_longest, edge_total, edge_area, edge_count, corners];
    RULES.iter().zip(fired).find_map(|(rule, fired)| fired.map(|(measured, limit)| FiredRule { rule: (*rule).into(), measured, limit }))
}

/// What was measured and its limit for each limit that is exceeded, in the order of [`RULES`].
fn exceeded<'a>(limits: &Limits, cracks: impl Iterator<Item = &'a Defect>) -> [Option<(f64, f64)>; 4] {
    let (mut longest_mm, mut total_mm, mut area_mm2, mut count) = (0.0f64, 0.0, 0.0, 0u32);
    for crack in cracks {
        longest_mm = longest_mm.max(crack.length_mm);
        total_mm += crack.length_mm;
        area_mm2 += crack.area_mm2;
        count += 1;
    }
    let measured = [
        (longest_mm, limits.longest_crack_mm),
        (total_mm, limits.total_length_mm),
        (area_mm2, limits.area_mm2),
        (f64::from(count), limits.count.map(f64::from)),
    ];
    measured.map(|(measured, limit)| limit.filter(|limit| measured > *limit).map(|limit| (measured, limit)))
}
