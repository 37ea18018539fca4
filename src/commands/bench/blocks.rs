//! What each block of the network takes, and how near that is to what the machine's multipliers give.

use crate::nn::{BlockCost, Roofline};

/// The table that `--blocks` prints.
pub(super) fn table(roofline: &Roofline) -> String {
    let Roofline { blocks, tiles, threads, peak_a_second } = roofline;
    let mut table = format!(
        "{:<16} {:>13} {:>9} {:>8} {:>8} {:>13} {:>8}\n",
        "block", "10⁹ mult.-adds", "done", "MB", "ms", "10⁹/s and core", "of peak"
    );
    let row = |BlockCost { name, multiply_adds, done, bytes, spent }: &BlockCost| {
        let seconds = spent.as_secs_f64() / f64::from((*tiles).max(1));
        let a_second = *done as f64 / seconds / *threads as f64;
        let share = peak_a_second.filter(|_| *done > 0).map_or_else(|| "–".into(), |peak| format!("{:.0} %", 100.0 * a_second / peak));
        let [multiply_adds, done] = [multiply_adds, done].map(|count| *count as f64 / 1e9);
        let (mb, ms) = (*bytes as f64 / 1e6, 1000.0 * seconds);
        format!("{name:<16} {multiply_adds:>14.2} {done:>9.2} {mb:>8.1} {ms:>8.2} {:>14.1} {share:>8}\n", a_second / 1e9)
    };
    table.extend(blocks.iter().map(row));
    let sum = |of: fn(&BlockCost) -> u64| blocks.iter().map(of).sum();
    let all = BlockCost {
        name: "all".into(),
        multiply_adds: sum(|block| block.multiply_adds),
        done: sum(|block| block.done),
        bytes: sum(|block| block.bytes),
        spent: blocks.iter().map(|block| block.spent).sum(),
    };
    table.push_str(&row(&all));
    match peak_a_second {
        Some(peak) => table.push_str(&format!("peak: {:.1} · 10⁹ a second and core, from registers alone", peak / 1e9)),
        None => table.push_str("peak: not known for these numbers on this processor"),
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_block_is_held_against_the_peak_of_all_threads() {
        let block = |name: &str, ms| BlockCost {
            name: name.into(),
            multiply_adds: 4_000_000_000,
            done: 1_000_000_000,
            bytes: 2_500_000,
            spent: Duration::from_millis(ms),
        };
        let roofline =
            Roofline { blocks: vec![block("down 464²", 250), block("up 464²", 150)], tiles: 10, threads: 2, peak_a_second: Some(50e9) };
        let told = table(&roofline);
        let words = |line: usize| told.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1), ["down", "464²", "4.00", "1.00", "2.5", "25.00", "20.0", "40", "%"]);
        assert_eq!(words(3), ["all", "8.00", "2.00", "5.0", "40.00", "25.0", "50", "%"]);
        let nothing = BlockCost { multiply_adds: 0, done: 0, ..block("raise 6² to 58²", 10) };
        let told_of_nothing = table(&Roofline { blocks: vec![nothing], ..roofline.clone() });
        let lines: Vec<&str> = told_of_nothing.lines().collect();
        assert!(lines[1].ends_with('–') && lines[0].chars().count() == lines[1].chars().count(), "{told_of_nothing}");
        assert!(table(&Roofline { peak_a_second: None, ..roofline }).ends_with("not known for these numbers on this processor"));
    }
}
