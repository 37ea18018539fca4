use super::*;
use crate::cell::{Span, VerdictKind};

const SIDE: usize = 16;

fn mask(pixels: &[(usize, usize)]) -> Arc<Mask> {
    let mut mask = Mask::new(SIDE, SIDE);
    for (x, y) in pixels {
        mask.set(*x, *y, true);
    }
    Arc::new(mask)
}

fn id(number: u64) -> CellId {
    CellId { lane: "a".into(), number }
}

/// What was found on a cell on all of which the network has looked but its last line, and the last pixel of each.
fn found(mask: Arc<Mask>) -> Found {
    let mut judged = vec![Span { start: 0, end: SIDE as u16 - 1 }; SIDE];
    judged[SIDE - 1] = Span::default();
    Found { mask, judged: judged.into() }
}

/// A review with `verdicts.len()` cells, each of whose masks has three crack pixels.
fn review(keep_cells: usize, window_cells: usize, verdicts: &[VerdictKind]) -> Review {
    let review = Review::new(&config::Review { keep_cells, window_cells });
    for (number, verdict) in (1..).zip(verdicts) {
        review.remember(id(number), found(mask(&[(1, 1), (2, 2), (3, 3)])), (*verdict).into());
    }
    review
}

use VerdictKind::{Hold, Pass, Reject};

#[test]
fn a_truth_is_counted_pixel_by_pixel() {
    let review = review(9, 9, &[Reject]);
    let reviewed = review.truth(&id(1), &Truth::Mask(mask(&[(1, 1), (9, 9), (9, 10)]))).unwrap();
    assert_eq!(reviewed.outcome.counts, Counts { tp: 1, fp: 2, fn_: 2 });
    let running = review.running("a");
    assert_eq!((running.cells, running.counts, running.iou, running.oii), (1, Counts { tp: 1, fp: 2, fn_: 2 }, 0.2, 0.0));
}

#[test]
fn truth_where_the_network_does_not_look_is_not_missed_but_makes_a_cell_cracked() {
    let review = review(9, 9, &[Reject, Pass]);
    let (last, beyond) = (SIDE - 2, SIDE - 1);
    let told = |number, pixels: &[(usize, usize)]| review.truth(&id(number), &Truth::Mask(mask(pixels))).unwrap().outcome;
    assert_eq!(told(1, &[(1, 1), (last, last), (beyond, 4), (4, beyond)]).counts, Counts { tp: 1, fp: 2, fn_: 1 });
    let outcome = told(2, &[(beyond, 4), (4, beyond)]);
    assert_eq!(outcome.counts, Counts { tp: 0, fp: 3, fn_: 0 });
    assert!(outcome.truly_cracked && outcome.is_escape());
}

#[test]
fn good_cells_rejected_are_overkill_cracked_ones_passed_escape_and_held_ones_neither() {
    let review = review(9, 9, &[Reject, Reject, Pass, Hold, Hold]);
    let missed = Truth::Mask(mask(&[(1, 1), (2, 2), (3, 3), (4, 4)]));
    let truths = [Truth::NoDefect, Truth::MaskIsRight, missed.clone(), Truth::NoDefect, missed];
    let outcomes: Vec<_> = (1..).zip(&truths).map(|(n, t)| review.truth(&id(n), t).unwrap().outcome).collect();
    assert_eq!(outcomes.iter().map(Outcome::is_overkill).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert_eq!(outcomes.iter().map(Outcome::is_escape).collect::<Vec<_>>(), [false, false, true, false, false]);
    let running = review.running("a");
    assert_eq!((running.overkill, running.escape, running.held, running.cells), (1, 1, 2, 5));
    assert_eq!(running.counts, Counts { tp: 9, fp: 6, fn_: 2 });
}

#[test]
fn what_the_recipe_decides_whatever_was_found_is_neither_overkill_nor_escape() {
    let review = review(9, 9, &[Pass, Pass, Pass]);
    // A wafer without a corner, in whose picture something was found that is no crack.
    review.remember(id(4), found(mask(&[(1, 1)])), Disposition { verdict: Reject, by_corner: true });
    // Cracks that were found and are allowed: as they are, as a mask, and fewer than were found.
    let drawn = [mask(&[(1, 1), (2, 2), (3, 3)]), mask(&[(2, 2)])].map(Truth::Mask);
    let truths = [Truth::MaskIsRight].into_iter().chain(drawn).chain([Truth::NoDefect]);
    for (number, truth) in (1..).zip(truths) {
        let outcome = review.truth(&id(number), &truth).unwrap().outcome;
        assert!(!outcome.is_escape() && !outcome.is_overkill(), "{number}");
        assert_eq!(outcome.truly_cracked, number < 4);
    }
    let running = review.running("a");
    // The pixels count as ever.
    assert_eq!((running.overkill, running.escape, running.counts), (0, 0, Counts { tp: 7, fp: 3, fn_: 0 }));
}

#[test]
fn a_second_truth_replaces_the_first_in_the_window_and_adds_only_what_is_new_to_counters() {
    let review = review(9, 9, &[Reject, Pass]);
    review.truth(&id(1), &Truth::MaskIsRight).unwrap();
    review.truth(&id(2), &Truth::NoDefect).unwrap();
    let corrected = review.truth(&id(1), &Truth::NoDefect).unwrap();
    assert_eq!(corrected.new_counts(), Counts { tp: 0, fp: 3, fn_: 0 });
    assert!(corrected.is_new_overkill());
    let again = review.truth(&id(1), &Truth::NoDefect).unwrap();
    assert_eq!((again.new_counts(), again.is_new_overkill()), (Counts::default(), false));
    let running = review.running("a");
    assert_eq!((running.cells, running.counts, running.overkill), (2, Counts { tp: 0, fp: 6, fn_: 0 }, 1));
}

#[test]
fn the_window_slides_and_a_cell_that_left_it_does_not_come_back() {
    let review = review(9, 2, &[Reject, Reject, Reject]);
    review.truth(&id(1), &Truth::NoDefect).unwrap();
    review.truth(&id(2), &Truth::MaskIsRight).unwrap();
    review.truth(&id(3), &Truth::MaskIsRight).unwrap();
    assert_eq!(review.running("a").counts, Counts { tp: 6, fp: 0, fn_: 0 });
    review.truth(&id(1), &Truth::NoDefect).unwrap();
    assert_eq!((review.running("a").cells, review.running("a").counts), (2, Counts { tp: 6, fp: 0, fn_: 0 }));
}

#[test]
fn a_cell_that_was_forgotten_since_is_corrected_in_its_place() {
    let review = review(1, 2, &[Reject]);
    review.truth(&id(1), &Truth::NoDefect).unwrap();
    let other = |number| review.remember(id(number), found(mask(&[(1, 1)])), Reject.into());
    let late = |truth: Truth| {
        review.recall(&id(1), found(mask(&[(1, 1), (2, 2), (3, 3)])), Reject.into());
        review.truth(&id(1), &truth).unwrap().replaced.is_some()
    };
    other(2);
    assert!(late(Truth::MaskIsRight));
    assert_eq!((review.running("a").cells, review.running("a").counts), (1, Counts { tp: 3, fp: 0, fn_: 0 }));
    // Others have taken its place in the window: it is corrected, and does not come back.
    for number in [3, 4] {
        other(number);
        review.truth(&id(number), &Truth::MaskIsRight).unwrap();
    }
    other(5);
    assert!(late(Truth::NoDefect));
    assert_eq!((review.running("a").cells, review.running("a").counts), (2, Counts { tp: 2, fp: 0, fn_: 0 }));
}

#[test]
fn forgotten_and_unknown_cells_are_refused_by_name() {
    let review = review(2, 9, &[Pass, Pass, Pass]);
    let forgotten = review.truth(&id(1), &Truth::NoDefect).unwrap_err();
    assert_eq!(forgotten, ReviewError::UnknownCell { cell: id(1), oldest: 2, newest: 3 });
    let elsewhere = CellId { lane: "b".into(), number: 1 };
    assert!(matches!(review.mask(&elsewhere).unwrap_err(), ReviewError::UnknownLane { .. }));
    assert_eq!(review.recent("a").iter().map(|c| c.number).collect::<Vec<_>>(), [3, 2]);
    assert!(review.recent("b").is_empty());
}

#[test]
fn a_mask_of_another_size_changes_nothing() {
    let review = review(9, 9, &[Pass]);
    let refused = review.truth(&id(1), &Truth::Mask(Arc::new(Mask::new(SIDE, SIDE + 1)))).unwrap_err();
    assert!(matches!(refused, ReviewError::SizeDiffers { height_px: 17, cell_height_px: SIDE, .. }));
    assert_eq!((review.running("a").cells, review.recent("a")[0].outcome), (0, None));
}
