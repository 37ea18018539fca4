//! In which turns the units of a line are computed.

/// Where each turn of `units` units begins and how many it computes: `long` or, towards the end of the line, `short` of them; the last
/// ones overlap those before where units do not come out even. Fewer than `short` are computed one by one.
pub(super) fn turns(units: usize, long: usize, short: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = units - done;
        // Short ones, one or two of them, where those do no more than a long one.
        let count = if units < short {
            1
        } else if units >= long && (left > 2 * short || (left > short && left <= long)) {
            long
        } else {
            short
        };
        let first = done.min(units.saturating_sub(count));
        done = (done + count).min(units);
        (left > 0).then_some((first, count))
    })
}

#[cfg(test)]
mod tests {
    use super::turns;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_unit_is_computed_and_none_beyond_them(units in 0_usize..600, short in 1_usize..9, more in 0_usize..9) {
            let long = short + more;
            let mut done = 0;
            for (first, count) in turns(units, long, short) {
                prop_assert!(first <= done && first + count > done && first + count <= units);
                prop_assert!(count == long || count == short || (count == 1 && units < short));
                done = first + count;
            }
            prop_assert_eq!(done, units);
        }
    }

    #[test]
    fn short_turns_end_the_lines_of_a_tile() {
        let computed = |units| turns(units, 14, 8).map(|(_, count)| count).sum::<usize>();
        assert_eq!([464, 232, 116, 58, 29].map(computed), [464, 232, 120, 58, 30]);
    }
}
