use super::levels::Levels;

/// Where the outline of one cell was seen: every column's first and last wafer line, every line's
/// first and last wafer column. Lines count from the cell's first one.
#[derive(Debug)]
pub(super) struct Edges {
    /// First wafer line of each column, `u16::MAX` where none was seen.
    first: Vec<u16>,
    /// Where between lines each column's edge lies.
    leading: Vec<f32>,
    /// The last gap pixel ahead of each column's edge.
    foot: Vec<u16>,
    /// One more than the last wafer line of each column, 0 where none was seen.
    end: Vec<u16>,
    ends: Vec<Option<(u16, u16)>>,
    leading_lines: usize,
    lines_max: usize,
}

impl Edges {
    /// For lines of `width_px`: the leading edge is looked for in the first `leading_lines`,
    /// nothing is noted after `lines_max`.
    pub fn new(width_px: usize, leading_lines: usize, lines_max: usize) -> Self {
        let lines_max = lines_max.min(usize::from(u16::MAX) - 1);
        Self {
            first: vec![u16::MAX; width_px],
            leading: vec![0.0; width_px],
            foot: vec![0; width_px],
            end: vec![0; width_px],
            ends: Vec::with_capacity(lines_max),
            leading_lines,
            lines_max,
        }
    }

    /// Forgets everything, for the next cell.
    pub fn clear(&mut self) {
        self.first.fill(u16::MAX);
        self.end.fill(0);
        self.ends.clear();
    }

    /// Notes the next line; `before` is the one before it.
    pub fn add(&mut self, before: &[u16], line: &[u16], levels: &Levels) {
        if self.ends.len() >= self.lines_max {
            return;
        }
        let here = self.ends.len() as u16;
        if self.ends.len() < self.leading_lines {
            let columns = self.first.iter_mut().zip(&mut self.leading).zip(&mut self.foot).zip(before.iter().zip(line));
            for (((first, leading), foot), (before, pixel)) in columns {
                if *first == u16::MAX && levels.is_wafer(*pixel) {
                    *first = here;
                    *foot = *before;
                    *leading = f32::from(here) - 0.5;
                } else if first.checked_add(1) == Some(here) {
                    *leading = f32::from(here) - 2.0 + levels.halfway([*foot, *before, *pixel]);
                }
            }
        }
        for (end, pixel) in self.end.iter_mut().zip(line) {
            *end = if levels.is_wafer(*pixel) { here + 1 } else { *end };
        }
        self.ends.push(levels.ends(line).map(|(a, b)| (a as u16, b as u16)));
    }

    /// Lines noted.
    pub fn lines(&self) -> usize {
        self.ends.len()
    }

    /// Pixels in a line.
    pub fn width_px(&self) -> usize {
        self.first.len()
    }

    /// The column's first wafer line.
    pub fn first_line(&self, column: usize) -> Option<u16> {
        self.first.get(column).copied().filter(|l| *l != u16::MAX)
    }

    /// Where between lines the column's leading edge lies: told in whole lines it would be a staircase,
    /// and its slope would depend on where the steps happen to fall.
    pub fn leading(&self, column: usize) -> Option<f64> {
        self.first_line(column).and(self.leading.get(column)).map(|at| f64::from(*at))
    }

    /// The column's last wafer line so far.
    pub fn last_line(&self, column: usize) -> Option<u16> {
        self.end.get(column).and_then(|l| l.checked_sub(1))
    }

    /// First and last wafer column of a line.
    pub fn ends(&self, line: usize) -> Option<(u16, u16)> {
        self.ends.get(line).copied().flatten()
    }

    /// Whether the camera saw gap, not wafer, at this place: outside the lines between the column's
    /// first and last wafer line, give or take `slack` lines.
    pub fn is_gap(&self, column: f64, line: f64, slack: f64) -> bool {
        if column < -0.5 {
            return true;
        }
        let column = column.round() as usize;
        let Some(last) = self.last_line(column) else { return true };
        // A column that a side edge reaches only after the leading edge has no first line.
        let first = self.first_line(column).map_or(self.leading_lines as f64, f64::from);
        line + slack < first || line - slack > f64::from(last)
    }
}
