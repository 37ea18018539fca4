use super::Span;

/// Pixels along the outline that are neither shown to the network nor judged: there the sensor mixes
/// wafer and gap, and the mix looks like a crack as long as the wafer.
pub const RIM_PX: u16 = 5;

/// The part of consecutive lines that lies inside the outline and not on its rim: what no square of
/// [`RIM_PX`] to each side of a pixel reaches beyond. Along a cut corner that is a broader rim than along
/// a side, and there it has to be: the corner is round, the outline straight.
///
/// Beyond the first line lies the gap if it `leads` the cell, and beyond the last one if it `trails`;
/// elsewhere the cell goes on as it ends.
pub fn without_rim(spans: &[Span], leads: bool, trails: bool) -> Vec<Span> {
    let rim = usize::from(RIM_PX);
    let beyond = |gap: bool, here: &Span| if gap { Span::default() } else { *here };
    let one = |(y, span): (usize, &Span)| {
        let above = y.checked_sub(rim).map_or(beyond(leads, span), |above| spans[above]);
        let below = spans.get(y + rim).copied().unwrap_or(beyond(trails, span));
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
    fn the_rim_runs_along_all_sides_of_a_cell_and_of_one_that_ends_early() {
        let mut spans = vec![Span { start: 20, end: 80 }; 30];
        spans[24..].fill(Span::default());
        let inner = Span { start: 25, end: 75 };
        for (leads, first) in [(true, 5), (false, 0)] {
            let found = without_rim(&spans, leads, false);
            let lines: Vec<usize> = (0..30).filter(|y| found[*y] == inner).collect();
            assert_eq!(lines, (first..19).collect::<Vec<_>>(), "leads: {leads}");
            assert!(found.iter().all(|span| *span == inner || *span == Span::default()));
        }
        spans.fill(Span { start: 20, end: 80 });
        assert_eq!(without_rim(&spans, false, true).iter().filter(|span| **span == inner).count(), 25);
    }

    #[test]
    fn the_rim_follows_a_cut_corner() {
        let spans: Vec<Span> = (0..40).map(|y| Span { start: 20_u16.saturating_sub(y), end: 100 }).collect();
        let found = without_rim(&spans, true, false);
        assert_eq!(found[10], Span { start: 20, end: 95 });
        assert_eq!(found[30], Span { start: 5, end: 95 });
    }
}
