//! From crack probabilities to a verdict: the mask's connected defects, measured in millimetres, held
//! against the rules of a [`Recipe`], with one score for the whole cell.

mod components;
mod defects;
mod length;
mod outline;
mod recipe;
mod rules;
mod score;
mod skeleton;
#[cfg(test)]
mod tests;

pub use defects::defects;
pub use recipe::{Limits, Recipe};
pub use rules::RULES;

use crate::cell::{Judgement, ProbabilityMap, Verdict};

/// Judges one cell.
///
/// `map` is 1344 × 1344 probabilities with the wafer's outline, `mm_per_px` its scale and
/// `missing_corners` the corners (0 to 3, clockwise from leading left) that the stitcher missed.
/// Pixels from `model_threshold` on, or from the recipe's own threshold, are crack.
///
/// The judgement's defects are those that count: cracks of at least the recipe's minimum length and
/// area, longest first, then the missing corners. The rule is the first that fires in the order
/// `longest_crack_mm`, `total_length_mm`, `area_mm2`, `count`, the same with `edge.` before it, and
/// `corners.reject_missing`. The score:
///
/// ```text
/// E = Σ_cracks p̄ ℓ · ℓ / (ℓ + 1 mm)   +   Σ_faint p² a / 0.5 mm          score = E / (E + 2.25 mm)
/// ```
///
/// with length ℓ and mean probability p̄ of every crack, those too small to count included, and
/// probability p and area a of the pixels from 0.1 up to the threshold. A certain crack of 3 mm alone
/// scores 0.5; the recipe's limits have no part in it.
pub fn judge(map: &ProbabilityMap, mm_per_px: f64, missing_corners: &[u8], model_threshold: f32, recipe: &Recipe) -> Judgement {
    let threshold = recipe.threshold.unwrap_or(model_threshold);
    let mask = map.mask(threshold);
    let mut counted = defects(&mask, Some(map), mm_per_px, recipe.join_gap_mm, recipe.edge_zone_mm);
    let score = score::score(&counted, map, threshold, mm_per_px);
    counted.retain(|d| d.length_mm >= recipe.minimum_length_mm && d.area_mm2 >= recipe.minimum_area_mm2);
    counted.extend(defects::missing_corners(map, mm_per_px, missing_corners));
    let rule = rules::first_fired(recipe, &counted);
    let verdict = if rule.is_some() { Verdict::Reject } else { Verdict::Pass };
    Judgement { verdict, rule, defects: counted, score, mask }
}
