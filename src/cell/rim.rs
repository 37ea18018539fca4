use super::Span;

/// Pixels along the outline that are neither shown to the network nor judged: there the sensor mixes
/// wafer and gap, and the mix looks like a crack as long as the wafer.
pub const RIM_PX: u16 = 5;

/// The part of consecutive lines that lies inside the outline and not on its rim: the pixels whose
/// neighbourhood of [`RIM_PX`] to each side lies inside the outline. Along a cut corner that is a broader
/// rim than along a side, and there it has to be: the corner is round, the outline straight.
///
/// The outline has `before` more lines ahead of the first and `after` more behind the last, which look as those two do.
pub fn without_rim(spans: &[Span], before: usize, after: usize) -> Vec<Span> {
    let rim = usize::from(RIM_PX);
    let beyond = |lines: usize, there: usize, end: Option<&Span>| end.filter(|_| lines <= there).copied().unwrap_or_default();
    let one = |(y, span): (usize, &Span)| {
        let above = y.checked_sub(rim).map_or_else(|| beyond(rim - y, before, spans.first()), |above| spans[above]);
        let below = spans.get(y + rim).copied().unwrap_or_else(|| beyond(y + rim + 1 - spans.len(), after, spans.last()));
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
        for (before, first) in [(0, 5), (2, 3), (5, 0), (448, 0)] {
            let found = without_rim(&spans, before, 448);
            let lines: Vec<usize> = (0..30).filter(|y| found[*y] == inner).collect();
            assert_eq!(lines, (first..19).collect::<Vec<_>>(), "{before} lines before");
            assert!(found.iter().all(|span| *span == inner || *span == Span::default()));
        }
        spans.fill(Span { start: 20, end: 80 });
        for (after, expected) in [(0, 25), (2, 27), (5, 30)] {
            assert_eq!(without_rim(&spans, 448, after).iter().filter(|span| **span == inner).count(), expected, "{after} lines after");
        }
    }

    #[test]
    fn the_rim_runs_along_an_edge_just_within_the_first_line() {
        let mut spans = vec![Span { start: 20, end: 80 }; 30];
        spans[..3].fill(Span::default());
        let found = without_rim(&spans, 448, 448);
        assert!(found[..8].iter().all(|span| *span == Span::default()), "{found:?}");
        assert!(found[8..].iter().all(|span| *span == Span { start: 25, end: 75 }), "{found:?}");
    }

    #[test]
    fn the_rim_follows_a_cut_corner() {
        let spans: Vec<Span> = (0..40).map(|y| Span { start: 20_u16.saturating_sub(y), end: 100 }).collect();
        let found = without_rim(&spans, 0, 448);
        assert_eq!(found[10], Span { start: 20, end: 95 });
        assert_eq!(found[30], Span { start: 5, end: 95 });
    }
}
