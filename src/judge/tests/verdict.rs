use super::draw::{Drawing, band, line};
use crate::cell::{CELL_PX, FiredRule, Judgement, Span, Verdict};
use crate::judge::{Limits, Recipe, judge};

const MM_PER_PX: f64 = 0.1;

fn judged(cell: &Drawing, recipe: &Recipe) -> Judgement {
    judge(&cell.map(), MM_PER_PX, &[], 0.5, recipe)
}

fn limits(set: impl FnOnce(&mut Limits)) -> Recipe {
    let mut recipe = Recipe::default();
    set(&mut recipe.limits);
    recipe
}

fn edge(set: impl FnOnce(&mut Limits)) -> Recipe {
    let mut recipe = Recipe::default();
    set(&mut recipe.edge);
    recipe
}

/// Two cracks in the middle, 100 and 50 px long, 4 px wide: 10 and 5 mm, 4 and 2 mm².
fn two_cracks() -> Drawing {
    let mut cell = Drawing::clean();
    band(&mut cell, [600.0, 400.0], 0.0, 100.0, 4.0);
    band(&mut cell, [600.0, 800.0], 0.0, 50.0, 4.0);
    cell
}

#[track_caller]
fn assert_fires(judgement: &Judgement, rule: &str, measured: f64, limit: f64) {
    assert_eq!(judgement.verdict, Verdict::Reject);
    let fired: &FiredRule = judgement.rule.as_ref().unwrap();
    assert_eq!((fired.rule.as_str(), fired.limit), (rule, limit));
    assert!((fired.measured / measured - 1.0).abs() < 0.04, "measured {}, expected {measured}", fired.measured);
}

#[track_caller]
fn assert_passes(judgement: &Judgement) {
    assert_eq!((&judgement.verdict, &judgement.rule), (&Verdict::Pass, &None));
}

#[test]
fn each_limit_rejects_above_itself_and_not_at_it() {
    let cell = two_cracks();
    let found = judged(&cell, &Recipe::default());
    assert_passes(&found);
    assert_eq!(found.defects.len(), 2);
    assert!(found.defects[0].length_mm > found.defects[1].length_mm);
    let (longest, total) = (found.longest_mm(), found.defects.iter().map(|d| d.length_mm).sum());

    assert_fires(&judged(&cell, &limits(|l| l.longest_crack_mm = Some(9.0))), "longest_crack_mm", 10.0, 9.0);
    assert_passes(&judged(&cell, &limits(|l| l.longest_crack_mm = Some(longest))));
    assert_fires(&judged(&cell, &limits(|l| l.total_length_mm = Some(14.0))), "total_length_mm", 15.0, 14.0);
    assert_passes(&judged(&cell, &limits(|l| l.total_length_mm = Some(total))));
    assert_fires(&judged(&cell, &limits(|l| l.area_mm2 = Some(5.9))), "area_mm2", 6.0, 5.9);
    assert_passes(&judged(&cell, &limits(|l| l.area_mm2 = Some(6.001))));
    assert_fires(&judged(&cell, &limits(|l| l.count = Some(1))), "count", 2.0, 1.0);
    assert_passes(&judged(&cell, &limits(|l| l.count = Some(2))));
}

#[test]
fn the_first_rule_in_the_recipe_s_order_is_the_one_told() {
    let mut recipe = limits(|l| (l.count, l.area_mm2) = (Some(0), Some(1.0)));
    recipe.edge.longest_crack_mm = Some(0.0);
    assert_fires(&judge(&two_cracks().map(), MM_PER_PX, &[2], 0.5, &recipe), "area_mm2", 6.0, 1.0);
}

#[test]
fn what_is_too_small_does_not_count_but_is_in_the_score() {
    let mut cell = Drawing::clean();
    for i in 0..40 {
        line(&mut cell, [100 + 20 * i, 500], [103 + 20 * i, 500]);
    }
    let recipe = limits(|l| (l.count, l.longest_crack_mm) = (Some(0), Some(0.0)));
    let specks = judged(&cell, &recipe);
    assert_passes(&specks);
    assert!(specks.defects.is_empty());
    assert!(specks.score > 0.0);
    assert_eq!(specks.mask.count(), 160);
    // Long enough, but too thin for a minimum area.
    line(&mut cell, [100, 700], [300, 700]);
    assert_fires(&judged(&cell, &recipe), "longest_crack_mm", 20.1, 0.0);
    assert_passes(&judged(&cell, &Recipe { minimum_area_mm2: 2.5, ..recipe }));
}

#[test]
fn the_edge_zone_has_its_own_limits() {
    let recipe = edge(|l| l.longest_crack_mm = Some(2.0));
    assert_passes(&judged(&two_cracks(), &recipe));
    let vertical = |x: i64| {
        let mut cell = Drawing::clean();
        line(&mut cell, [x, 600], [x, 650]);
        judged(&cell, &recipe)
    };
    // The zone is 3 mm, 30 px: pixels 0 to 29 are in it.
    assert_fires(&vertical(29), "edge.longest_crack_mm", 5.1, 2.0);
    assert_passes(&vertical(30));
    assert_fires(&vertical(CELL_PX as i64 - 30), "edge.longest_crack_mm", 5.1, 2.0);
    assert_passes(&vertical(CELL_PX as i64 - 31));
    let horizontal = |y: i64| {
        let mut cell = Drawing::clean();
        line(&mut cell, [600, y], [650, y]);
        judged(&cell, &recipe)
    };
    assert_fires(&horizontal(29), "edge.longest_crack_mm", 5.1, 2.0);
    assert_passes(&horizontal(30));
    assert_fires(&horizontal(CELL_PX as i64 - 30), "edge.longest_crack_mm", 5.1, 2.0);
    assert_passes(&horizontal(CELL_PX as i64 - 31));
    assert_fires(&judge_at_edge(edge(|l| l.total_length_mm = Some(3.0))), "edge.total_length_mm", 5.1, 3.0);
    assert_fires(&judge_at_edge(edge(|l| l.area_mm2 = Some(0.1))), "edge.area_mm2", 0.51, 0.1);
    assert_fires(&judge_at_edge(edge(|l| l.count = Some(0))), "edge.count", 1.0, 0.0);
}

fn judge_at_edge(recipe: Recipe) -> Judgement {
    let mut cell = two_cracks();
    line(&mut cell, [600, 5], [650, 5]);
    judged(&cell, &recipe)
}

#[test]
fn the_edge_is_the_wafer_s_outline_not_the_picture_s() {
    let mut cell = Drawing::clean();
    for (y, span) in cell.spans.iter_mut().enumerate() {
        *span = if (200..1100).contains(&y) { Span { start: 300, end: 1000 } } else { Span::default() };
    }
    let recipe = edge(|l| l.count = Some(0));
    line(&mut cell, [330, 600], [330, 650]);
    line(&mut cell, [600, 230], [650, 230]);
    assert_passes(&judged(&cell, &recipe));
    line(&mut cell, [600, 1070], [650, 1070]);
    assert_fires(&judged(&cell, &recipe), "edge.count", 1.0, 0.0);
    // Outside the outline nothing is a crack.
    line(&mut cell, [10, 10], [10, 1300]);
    assert_eq!(judged(&cell, &recipe).defects.len(), 3);
}

#[test]
fn a_missing_corner_rejects_unless_the_recipe_says_otherwise() {
    let mut cell = Drawing::clean();
    cell.spans.fill(Span { start: 100, end: 1200 });
    let recipe = Recipe::default();
    let found = judge(&cell.map(), MM_PER_PX, &[1, 3], 0.5, &recipe);
    assert_fires(&found, "corners.reject_missing", 2.0, 0.0);
    assert!(found.defects.iter().all(|d| d.kind == "missing_corner" && d.in_edge_zone));
    assert_eq!(found.defects[0].centre_mm, [120.0, 0.0]);
    assert_eq!(found.defects[1].centre_mm, [10.0, CELL_PX as f64 * MM_PER_PX]);
    let lenient = Recipe { reject_missing_corners: false, ..recipe };
    let found = judge(&cell.map(), MM_PER_PX, &[1, 3], 0.5, &lenient);
    assert_passes(&found);
    assert_eq!(found.defects.len(), 2);
    // A corner is no crack: the crack rules do not see it.
    let strict = Recipe { reject_missing_corners: false, ..limits(|l| l.count = Some(0)) };
    assert_passes(&judge(&cell.map(), MM_PER_PX, &[0], 0.5, &strict));
}

#[test]
fn the_recipe_s_threshold_goes_before_the_model_s() {
    let mut cell = Drawing::clean();
    cell.value = 100;
    line(&mut cell, [600, 600], [700, 600]);
    let recipe = limits(|l| l.count = Some(0));
    assert_passes(&judge(&cell.map(), MM_PER_PX, &[], 0.5, &recipe));
    assert_fires(&judge(&cell.map(), MM_PER_PX, &[], 0.3, &recipe), "count", 1.0, 0.0);
    assert_fires(&judge(&cell.map(), MM_PER_PX, &[], 0.5, &Recipe { threshold: Some(0.3), ..recipe }), "count", 1.0, 0.0);
}

#[test]
fn the_score_orders_cells_by_what_speaks_for_a_crack() {
    let score = |value: u8, pixels: i64| {
        let mut cell = Drawing::clean();
        cell.value = value;
        line(&mut cell, [500, 500], [499 + pixels, 500]);
        judged(&cell, &Recipe::default()).score
    };
    assert_eq!(judged(&Drawing::clean(), &Recipe::default()).score, 0.0);
    assert_eq!(score(20, 300), 0.0, "below a tenth a pixel tells nothing");
    let rising = [score(40, 50), score(100, 50), score(100, 300), score(200, 300), score(255, 300), score(255, 800)];
    assert!(rising.is_sorted_by(|a, b| a < b) && rising[0] > 0.0 && rising[5] < 1.0, "{rising:?}");
    assert!((score(255, 30) - 0.5).abs() < 0.001, "a certain crack of 3 mm: {}", score(255, 30));
}

#[test]
fn specks_weigh_less_than_a_crack_of_their_length() {
    let (mut specks, mut crack) = (Drawing::clean(), Drawing::clean());
    for i in 0..50 {
        line(&mut specks, [100 + 20 * i, 400], [101 + 20 * i, 400]);
    }
    line(&mut crack, [100, 400], [199, 400]);
    let recipe = Recipe::default();
    assert!(judged(&specks, &recipe).score < 0.7 * judged(&crack, &recipe).score);
}

#[test]
fn the_score_does_not_depend_on_the_limits() {
    let strict = Recipe { minimum_length_mm: 50.0, edge_zone_mm: 40.0, ..limits(|l| l.count = Some(0)) };
    assert_eq!(judged(&two_cracks(), &strict).score, judged(&two_cracks(), &Recipe::default()).score);
}
