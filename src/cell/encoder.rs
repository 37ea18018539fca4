//! Counts of a belt's encoder, which may start anew after 32 bits.

/// Values of an encoder of 32 bits.
const TURN: i64 = 1 << 32;
/// The least count of one whose counts have a sign.
const LEAST: i64 = -TURN / 2;

/// Whether an encoder of 32 bits can tell this count, with or without a sign.
fn fits(count: i64) -> bool {
    (LEAST..TURN).contains(&count)
}

/// How far the belt went between two counts. What would be more than half a turn of 32 bits is an encoder that started
/// anew, where both counts fit into them.
pub fn travel(from: i64, to: i64) -> i128 {
    let apart = i128::from(to) - i128::from(from);
    let turn = i128::from(TURN);
    match apart {
        _ if !(fits(from) && fits(to)) || apart.abs() <= turn / 2 => apart,
        1.. => apart - turn,
        _ => apart + turn,
    }
}

/// The count `counts` before `count`, on the other side of a turn where it would not fit.
pub fn gone_back(count: i64, counts: i64) -> i64 {
    let back = count.saturating_sub(counts);
    match count {
        0..TURN => back.rem_euclid(TURN),
        LEAST..0 if back < LEAST => back.saturating_add(TURN),
        _ => back,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_of_32_bits_may_start_anew_in_a_block() {
        assert_eq!(travel(1000, 1128), 128);
        assert_eq!(travel(TURN - 64, 64), 128);
        assert_eq!(travel(64, TURN - 64), -128, "a belt that goes back");
        assert_eq!(travel(-64, 64), 128, "a count with a sign");
        assert_eq!(travel(-LEAST - 64, LEAST + 64), 128, "a count with a sign that starts anew");
        assert_eq!(travel(LEAST + 64, -LEAST - 64), -128, "and back");
        assert_eq!(travel(LEAST - 1, -LEAST), 1 + i128::from(TURN), "one of more bits");
        assert_eq!(gone_back(LEAST + 5, 64), -LEAST - 59);
        assert_eq!(gone_back(5, 64), TURN - 59);
        assert_eq!(gone_back(TURN - 1, -2), 1);
        assert_eq!(gone_back(-5, 64), -69);
    }
}
