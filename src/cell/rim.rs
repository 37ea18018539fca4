use super::Span;

/// Pixels along the outline that are neither shown to the network nor judged: there the sensor mixes
/// wafer and gap, and the mix looks like a crack as long as the wafer.
pub const RIM_PX: u16 = 5;

/// The part of consecutive lines that lies inside the outline and not on its rim: the pixels whose
/// neighbourhood of [`RIM_PX`] to each side lies inside the outline. Along a cut corner that is a broader
/// rim than along a side, and there it has to be: the corner is round, the outline straight. Beyond the
/// first and the last line lies the gap.
pub fn without_rim(spans: &[Span]) -> Vec<Span> {
    let rim = usize::from(RIM_PX);
    let at = |y: Option<usize>| y.and_then(|y| spans.get(y)).copied().unwrap_or_default();
    let one = |(y, span): (usize, &Span)| {
        let (above, below) = (at(y.checked_sub(rim)), at(y.checked_add(rim)));
        let start = span.start.max(above.start).max(below.start).saturating_add(RIM_PX);
        let end = span.end.min(above.end).min(below.end).saturating_sub(RIM_PX);
        if start < end { Span { start, end } } else { Span::default() }
    };
    spans.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rim_runs_along_every_edge_and_the_lines_beyond_are_gap() {
        let mut spans = vec![Span { start: 20, end: 80 }; 30];
        spans[24..].fill(Span::default());
        let (found, inner) = (without_rim(&spans), Span { start: 25, end: 75 });
        let lines: Vec<usize> = (0..30).filter(|y| found[*y] == inner).collect();
        assert_eq!(lines, (5..19).collect::<Vec<_>>());
        assert!(found.iter().all(|span| *span == inner || *span == Span::default()));
        assert!(without_rim(&[Span { start: 20, end: 80 }; 10]).iter().all(|span| *span == Span::default()));
    }

    #[test]
    fn the_rim_follows_a_cut_corner() {
        let spans: Vec<Span> = (0..40).map(|y| Span { start: 20_u16.saturating_sub(y), end: 100 }).collect();
        let found = without_rim(&spans);
        assert_eq!(found[10], Span { start: 20, end: 95 });
        assert_eq!(found[30], Span { start: 5, end: 95 });
    }
}
