//! How data are told to people.

/// The first of some names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    const NAMED: usize = 5;
    let more = if names.len() > NAMED { format!("; and {} more", names.len() - NAMED) } else { String::new() };
    names[..names.len().min(NAMED)].join("; ") + &more
}

/// Pixels of crack to pixels of background, as the paper's Table 2 tells it: `1:2228`, below 1:10 with two decimals. `None`
/// without a crack.
pub(super) fn crack_to_background(crack_px: u64, all_px: u64) -> Option<String> {
    (crack_px > 0).then(|| {
        let background = (all_px - crack_px) as f64 / crack_px as f64;
        format!("1:{background:.*}", if background < 10.0 { 2 } else { 0 })
    })
}
