use super::recipe::{Limits, Recipe};
use crate::cell::{Defect, FiredRule};

/// Name of a crack in [`Defect::kind`].
pub(super) const CRACK: &str = "crack";
/// Name of a missing corner in [`Defect::kind`].
pub(super) const MISSING_CORNER: &str = "missing_corner";

/// The first rule that fires on the defects that count, in the recipe's order: limits of the whole
/// cell, of the edge zone, then missing corners.
pub(super) fn first_fired(recipe: &Recipe, counted: &[Defect]) -> Option<FiredRule> {
    let cracks = || counted.iter().filter(|d| d.kind == CRACK);
    let missing = counted.iter().filter(|d| d.kind == MISSING_CORNER).count();
    exceeded("", &recipe.limits, cracks()).or_else(|| exceeded("edge.", &recipe.edge, cracks().filter(|d| d.in_edge_zone))).or_else(|| {
        let fires = recipe.reject_missing_corners && missing > 0;
        fires.then(|| FiredRule { rule: "corners.reject_missing".into(), measured: missing as f64, limit: 0.0 })
    })
}

fn exceeded<'a>(section: &str, limits: &Limits, cracks: impl Iterator<Item = &'a Defect>) -> Option<FiredRule> {
    let (mut longest_mm, mut total_mm, mut area_mm2, mut count) = (0.0f64, 0.0, 0.0, 0u32);
    for crack in cracks {
        longest_mm = longest_mm.max(crack.length_mm);
        total_mm += crack.length_mm;
        area_mm2 += crack.area_mm2;
        count += 1;
    }
    let rules = [
        ("longest_crack_mm", longest_mm, limits.longest_crack_mm),
        ("total_length_mm", total_mm, limits.total_length_mm),
        ("area_mm2", area_mm2, limits.area_mm2),
        ("count", f64::from(count), limits.count.map(f64::from)),
    ];
    rules.into_iter().find_map(|(key, measured, limit)| {
        let limit = limit.filter(|limit| measured > *limit)?;
        Some(FiredRule { rule: format!("{section}{key}"), measured, limit })
    })
}
