use super::draw::{Drawing, band, curve, line};
use crate::cell::{CELL_PX, Defect, Mask, Squeeze, TILE_PX};
use crate::judge::defects;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::{PI, TAU};

const SIDE: usize = 400;
const MIDDLE: f64 = 200.5;

/// The defects of what `draw` draws, in pixels, nothing joined.
fn drawn(draw: impl FnOnce(&mut Mask)) -> Vec<Defect> {
    let mut mask = Mask::new(SIDE, SIDE);
    draw(&mut mask);
    defects(&mask, None, 1.0, 0.0, 0.0)
}

/// The length of the one crack that `draw` draws.
fn length(draw: impl FnOnce(&mut Mask)) -> f64 {
    let found = drawn(draw);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].length_mm
}

#[track_caller]
fn assert_near(measured: f64, expected: f64, share: f64) {
    assert!((measured / expected - 1.0).abs() <= share, "measured {measured}, expected {expected}");
}

#[test]
fn lines_along_the_grid_and_its_diagonals_are_exact() {
    assert_near(length(|m| line(m, [50, 70], [149, 70])), 100.0, 1e-9);
    assert_near(length(|m| line(m, [50, 70], [50, 169])), 100.0, 1e-9);
    assert_near(length(|m| line(m, [50, 70], [149, 169])), 99.0 * 2f64.sqrt() + 1.0, 1e-9);
    assert_near(length(|m| line(m, [149, 70], [50, 169])), 99.0 * 2f64.sqrt() + 1.0, 1e-9);
}

#[test]
fn a_thin_line_is_as_long_at_any_angle() {
    for degrees in 0..180 {
        let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
        let to = [200 + (99.0 * cos).round() as i64, 200 + (99.0 * sin).round() as i64];
        let ends_apart = ((to[0] - 200) as f64).hypot((to[1] - 200) as f64);
        assert_near(length(|m| line(m, [200, 200], to)), ends_apart + 1.0, 0.01);
    }
}

#[test]
fn a_thick_band_is_not_shortened_by_its_width() {
    assert_near(length(|m| band(m, [100.0, 100.0], 0.0, 100.0, 6.0)), 100.0, 0.02);
    assert_near(length(|m| band(m, [100.0, 100.0], PI / 4.0, 100.0, 6.0)), 100.0, 0.03);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// A straight crack of any angle, width and place is measured to 1 % and half its width.
    #[test]
    fn straight_bands_keep_their_length(
        degrees in 0.0..180.0f64, size in 40.0..180.0f64, width in 1.0..8.0f64, dx in 0.0..1.0f64, dy in 0.0..1.0f64,
    ) {
        let measured = length(|m| band(m, [MIDDLE + dx, MIDDLE + dy], degrees.to_radians(), size, width));
        prop_assert!((measured - size).abs() < 0.01 * size + 0.4 * width + 1.0, "measured {}, expected {}", measured, size);
    }

    /// Frayed borders add hardly any length: the network's masks are never smooth.
    #[test]
    fn frayed_borders_add_hardly_any_length(degrees in 0.0..180.0f64, width in 2.0..10.0f64, frayed in 0.1..0.5f64, seed in any::<u64>()) {
        let measured = length(|m| {
            band(m, [MIDDLE, MIDDLE], degrees.to_radians(), 150.0, width);
            let smooth = m.clone();
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            for (x, y) in (1..SIDE - 1).flat_map(|y| (1..SIDE - 1).map(move |x| (x, y))) {
                let beside = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)].iter().any(|(x, y)| smooth.get(*x, *y));
                if beside && random.random_bool(frayed) {
                    m.set(x, y, true);
                }
            }
        });
        prop_assert!((measured / 150.0 - 1.0).abs() < 0.1, "measured {}", measured);
    }
}

proptest! {
    #[test]
    fn small_holes_add_no_length(degrees in 0.0..180.0f64, width in 3.5..7.0f64, along in 3.0..10.0f64, size in 0usize..3) {
        let angle = degrees.to_radians();
        let whole = |m: &mut Mask| band(m, [MIDDLE, MIDDLE], angle, 13.0, width);
        let (sin, cos) = angle.sin_cos();
        let hole = [[1, 1], [2, 1], [2, 2]][size];
        let holed = length(|m| {
            whole(m);
            let [x, y] = [MIDDLE + along * cos, MIDDLE + along * sin].map(|at| at as usize);
            // A hole: crack lies around it.
            if (y - 1..=y + hole[1]).all(|y| (x - 1..=x + hole[0]).all(|x| m.get(x, y))) {
                (y..y + hole[1]).for_each(|y| (x..x + hole[0]).for_each(|x| m.set(x, y, false)));
            }
        });
        prop_assert!((holed - length(whole)).abs() < 1e-9, "{holed} px with a hole of {hole:?}");
    }
}

#[test]
fn larger_holes_are_gone_around() {
    let ring = length(|m| {
        band(m, [MIDDLE, MIDDLE], 0.0, 60.0, 20.0);
        (195..206).for_each(|y| (210..250).for_each(|x| m.set(x, y, false)));
    });
    assert!(ring > 90.0, "{ring}");
}

/// Every other line shifted, as a camera whose odd and even lines do not fit makes them: combs, of which nothing may be eaten.
#[test]
fn cracks_with_teeth_are_no_shorter_than_they_are() {
    for (width, shift) in [(1, 3), (4, 3), (8, 5), (10, 6)] {
        let comb = |m: &mut Mask| {
            for y in 100..300 {
                let left = 200 + y % 2 * shift;
                line(m, [left, y], [left + width - 1, y]);
            }
        };
        let long = drawn(comb).iter().map(|crack| crack.length_mm).sum::<f64>();
        assert!(long >= 180.0, "{width} px wide, shifted by {shift} px: {long}");
    }
}

#[test]
fn curves_are_measured_along_themselves() {
    for radius in [15.0, 40.0, 120.0] {
        let at = |angle: f64| [MIDDLE + radius * angle.cos(), MIDDLE + radius * angle.sin()];
        assert_near(length(|m| curve(m, 9999, |t| at(4.0 * t))), 4.0 * radius + 1.0, 0.015);
        assert_near(length(|m| curve(m, 9999, |t| at(TAU * t))), TAU * radius, 0.015);
    }
}

#[test]
fn branches_are_added() {
    let y_shape = |m: &mut Mask| {
        line(m, [200, 200], [200, 280]);
        line(m, [200, 200], [143, 143]);
        line(m, [200, 200], [257, 143]);
    };
    assert_near(length(y_shape), 80.0 + 2.0 * 57.0 * 2f64.sqrt() + 1.5, 0.02);
    let thick = |m: &mut Mask| [0.5, 2.6, 4.7].iter().for_each(|angle| band(m, [MIDDLE, MIDDLE], *angle, 90.0, 4.0));
    assert_near(length(thick), 270.0, 0.03);
    let slight = |m: &mut Mask| {
        line(m, [100, 200], [300, 200]);
        line(m, [200, 200], [208, 208]);
    };
    assert_near(length(slight), 201.0 + 8.0 * 2f64.sqrt(), 0.01);
    let at_a_low_angle = |m: &mut Mask| {
        band(m, [100.0, 200.0], 0.0, 200.0, 3.0);
        band(m, [180.0, 200.0], 0.26, 70.0, 3.0);
    };
    assert_near(length(at_a_low_angle), 270.0, 0.05);
}

#[test]
fn crossing_cracks_are_one_with_both_lengths() {
    let cross = |m: &mut Mask| {
        line(m, [150, 200], [250, 200]);
        line(m, [200, 150], [200, 250]);
    };
    assert_near(length(cross), 202.0, 0.01);
    let slanted = |m: &mut Mask| {
        line(m, [100, 180], [300, 220]);
        line(m, [110, 290], [290, 110]);
    };
    assert_near(length(slanted), 200f64.hypot(40.0) + 180f64.hypot(180.0) + 2.0, 0.02);
}

#[test]
fn a_crack_across_the_borders_of_tiles_is_one() {
    let mut cell = Drawing::clean();
    let border = TILE_PX as i64;
    line(&mut cell, [border - 60, border - 30], [border + 60, border + 30]);
    let map = cell.map();
    let found = defects(&map.mask(0.5), Some(&map), 0.1, 0.4, 3.0);
    assert_eq!(found.len(), 1);
    assert_near(found[0].length_mm, 0.1 * (120f64.hypot(60.0) + 1.0), 0.01);
}

#[test]
fn fragments_join_up_to_the_gap_and_no_farther() {
    let mut mask = Mask::new(SIDE, SIDE);
    line(&mut mask, [50, 50], [99, 50]);
    line(&mut mask, [104, 50], [153, 50]);
    let joined = defects(&mask, None, 0.1, 0.4, 0.0);
    assert_eq!(joined.len(), 1);
    assert_near(joined[0].length_mm, 10.4, 1e-6);
    assert_eq!(joined[0].area_px, 100);
    let apart = defects(&mask, None, 0.1, 0.39, 0.0);
    assert_eq!(apart.len(), 2);
    assert_near(apart[0].length_mm, 5.0, 1e-6);
}

#[test]
fn cracks_side_by_side_stay_two() {
    let mut mask = Mask::new(SIDE, SIDE);
    line(&mut mask, [50, 50], [199, 50]);
    line(&mut mask, [80, 53], [170, 53]);
    assert_eq!(defects(&mask, None, 0.1, 0.15, 0.0).len(), 2);
}

#[test]
fn a_branch_that_ends_just_before_a_crack_belongs_to_it() {
    let mut mask = Mask::new(SIDE, SIDE);
    line(&mut mask, [50, 50], [249, 50]);
    line(&mut mask, [120, 53], [120, 152]);
    let found = defects(&mask, None, 1.0, 2.0, 0.0);
    assert_eq!(found.len(), 1);
    assert_near(found[0].length_mm, 302.0, 1e-6);
}

#[test]
fn specks_and_blobs_have_about_their_diameter() {
    assert_near(length(|m| m.set(200, 200, true)), 1.0, 1e-9);
    let disc = |m: &mut Mask| {
        for (x, y) in (180..221).flat_map(|y| (180..221).map(move |x| (x, y))) {
            m.set(x, y, (x as f64 - 200.0).hypot(y as f64 - 200.0) <= 12.0);
        }
    };
    assert_near(length(disc), 25.0, 0.1);
    let star = |m: &mut Mask| [[200, 198], [202, 200], [200, 202], [198, 200]].iter().for_each(|to| line(m, [200, 200], *to));
    assert!((2.0..=5.0).contains(&length(star)), "{}", length(star));
}

#[test]
fn place_size_and_probability_are_told_in_millimetres() {
    let mut cell = Drawing::clean();
    cell.value = 204;
    band(&mut cell, [100.0, 300.0], 0.0, 40.0, 10.0);
    let map = cell.map();
    let found = defects(&map.mask(0.5), Some(&map), 0.5, 0.0, 3.0);
    let crack = &found[0];
    assert_eq!((found.len(), crack.area_px, crack.area_mm2), (1, 400, 100.0));
    let bounds = crack.bounds;
    assert_eq!((bounds.left_mm, bounds.top_mm, bounds.width_mm, bounds.height_mm), (50.0, 147.5, 20.0, 5.0));
    assert_eq!(crack.centre_mm, [60.0, 150.0]);
    assert_near(crack.probability, 0.8, 1e-9);
    assert!(!crack.in_edge_zone);
}

#[test]
fn what_is_squeezed_counts_as_much_as_it_was() {
    let squeeze = Squeeze { across: 1.02, along: 1.1, from_line: 300.0 };
    let measured = |length_px: f64, width_px: f64, angle: f64| {
        let mut cell = Drawing::clean();
        band(&mut cell, [100.0, 300.0], angle, length_px, width_px);
        let map = cell.map().squeezed(squeeze);
        defects(&map.mask(0.5), Some(&map), 0.5, 0.0, 3.0).remove(0)
    };
    let across = measured(40.0, 10.0, 0.0);
    // Five of its ten lines are squeezed.
    assert_near(across.area_mm2, 100.0 * 1.02 * 1.05, 1e-9);
    assert_near(across.length_mm, 20.0 * 1.02, 0.03);
    assert_eq!((across.bounds.left_mm, across.bounds.width_mm), (50.0, 20.0), "places are the picture's");
    let along = measured(200.0, 4.0, PI / 2.0);
    assert_near(along.length_mm, 100.0 * 1.1, 0.01);
    // 15 mm are 30 lines, of which the picture has 27.
    let ends = |line: f64| {
        let mut cell = Drawing::clean();
        band(&mut cell, [100.0, line], 0.0, 40.0, 2.0);
        let map = cell.map().squeezed(squeeze);
        defects(&map.mask(0.5), Some(&map), 0.5, 0.0, 15.0).remove(0).in_edge_zone
    };
    assert_eq!([CELL_PX as f64 - 25.0, CELL_PX as f64 - 29.0].map(ends), [true, false]);
}

#[test]
fn a_mask_gone_mad_is_still_measured() {
    let full = Mask::from_bits(SIDE, SIDE, vec![0xff; SIDE * SIDE / 8]).unwrap();
    assert_eq!(defects(&full, None, 0.1, 0.4, 3.0)[0].area_px, (SIDE * SIDE) as u64);
    let noise = (0..SIDE * SIDE / 8).map(|i| (i as u32).wrapping_mul(2654435761).to_be_bytes()[1]).collect();
    let noise = Mask::from_bits(SIDE, SIDE, noise).unwrap();
    let found = defects(&noise, None, 0.1, 0.4, 3.0);
    assert_eq!(found.iter().map(|d| d.area_px).sum::<u64>(), noise.count());
    for hopeless in [f64::NAN, 0.0, -1.0] {
        defects(&noise, None, hopeless, 0.4, 3.0);
    }
    assert!(defects(&Mask::new(0, 0), None, 0.1, 0.4, 3.0).is_empty());
}
