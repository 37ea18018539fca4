/// The last lines of a cell, corrected, in a ring. Where a stitched pixel is larger than a camera
/// pixel, `columns` × `lines` of these are averaged into one, as many as make a stored pixel about as large
/// as a stitched one, so that no thin crack falls between two samples.
#[derive(Debug)]
pub(super) struct LineStore {
    columns: usize,
    lines: u64,
    width: usize,
    ring: Vec<u16>,
    capacity: u64,
    sums: Vec<u32>,
    summed: u64,
    /// Stored lines `begin..end`, counted in `lines`.
    begin: u64,
    end: u64,
}

impl LineStore {
    /// A store of the last `depth` camera lines of `width_px` each.
    pub fn new(width_px: usize, depth: usize, columns: usize, lines: usize) -> Self {
        let width = width_px / columns;
        let capacity = depth.div_ceil(lines) + 2;
        Self {
            columns,
            lines: lines as u64,
            width,
            ring: vec![0; width * capacity],
            capacity: capacity as u64,
            sums: vec![0; width],
            summed: 0,
            begin: 0,
            end: 0,
        }
    }

    /// Puts camera line `number` in. A line that does not follow the one before starts anew.
    pub fn push(&mut self, number: u64, line: &[u16]) {
        let index = number / self.lines;
        if index > self.end || index < self.begin {
            (self.begin, self.end, self.summed) = (index, index, 0);
        }
        let start = (index % self.capacity) as usize * self.width;
        let Some(slot) = self.ring.get_mut(start..start + self.width) else { return };
        if self.columns == 1 && self.lines == 1 {
            slot.copy_from_slice(&line[..slot.len()]);
        } else {
            if self.summed == 0 {
                self.sums.fill(0);
            }
            for (sum, pixels) in self.sums.iter_mut().zip(line.chunks_exact(self.columns)) {
                *sum += pixels.iter().map(|p| u32::from(*p)).sum::<u32>();
            }
            self.summed += 1;
            if number % self.lines != self.lines - 1 {
                return;
            }
            let count = self.summed as u32 * self.columns as u32;
            for (pixel, sum) in slot.iter_mut().zip(&self.sums) {
                *pixel = ((sum + count / 2) / count) as u16;
            }
            self.summed = 0;
        }
        self.end = index + 1;
        self.begin = self.begin.max(self.end.saturating_sub(self.capacity));
    }

    /// Pixels in a stored line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Stored lines, counted in stored lines since the stream began.
    pub fn stored(&self) -> std::ops::Range<u64> {
        self.begin..self.end
    }

    /// A stored line, or the nearest one that is stored.
    pub fn line(&self, index: i64) -> &[u16] {
        let index = index.clamp(self.begin as i64, self.end.saturating_sub(1).max(self.begin) as i64) as u64;
        let start = (index % self.capacity) as usize * self.width;
        self.ring.get(start..start + self.width).unwrap_or(&[])
    }

    /// A place in camera columns and lines (stream numbers) as one in stored columns and lines.
    pub fn place(&self, column: f64, line: f64) -> (f64, f64) {
        let centred = |at: f64, size: f64| (at - 0.5 * (size - 1.0)) / size;
        (centred(column, self.columns as f64), centred(line, self.lines as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines() {
        let mut store = LineStore::new(4, 8, 1, 1);
        for n in 0..100u64 {
            store.push(n, &[n as u16; 4]);
        }
        assert_eq!(store.stored(), 90..100);
        assert_eq!(store.line(95), &[95; 4]);
        assert_eq!(store.line(3), &[90; 4], "too old: the oldest");
    }

    #[test]
    fn averages_what_is_finer_than_the_stitched_frame() {
        let mut store = LineStore::new(5, 8, 2, 3);
        for n in 0..7u64 {
            store.push(n, &[n as u16 * 10, n as u16 * 10 + 2, 0, 0, 9]);
        }
        assert_eq!(store.stored(), 0..2);
        assert_eq!(store.line(1), &[41, 0]);
        assert_eq!(store.place(0.5, 4.0), (0.0, 1.0), "centre of columns 0 and 1, lines 3 to 5");
    }
}
