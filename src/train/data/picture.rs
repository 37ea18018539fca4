use crate::cell::{CELL_PX, MARGIN_PX, Mask, SEEN_PX, Span, without_rim};

/// A picture of a cell with its outline and the truth about its cracks.
#[derive(Debug, Clone)]
pub struct Picture {
    /// File stem, or kind and number of a simulated wafer.
    pub name: String,
    /// Width in pixels.
    pub width_px: usize,
    /// Height in pixels.
    pub height_px: usize,
    /// Grey values line by line, 65535 = white.
    pub pixels: Vec<u16>,
    /// The outline: one span for each line.
    pub spans: Vec<Span>,
    /// The crack mask, of the same size.
    pub truth: Mask,
    /// Length of its longest crack, all branches together, in pixels; 0 without any. Known of simulated wafers.
    pub longest_crack_px: Option<f64>,
}

impl Picture {
    /// A picture whose outline is told by its pixels: 0 lies outside, so a line's span goes from its
    /// first to its last other pixel.
    ///
    /// Returns `None` where the sizes do not fit each other, or the picture is empty or wider than 65535 px.
    pub fn new(name: String, width_px: usize, pixels: Vec<u16>, truth: Mask) -> Option<Self> {
        let height_px = truth.height_px();
        if width_px == 0 || height_px == 0 || width_px > usize::from(u16::MAX) {
            return None;
        }
        if truth.width_px() != width_px || pixels.len() != width_px.checked_mul(height_px)? {
            return None;
        }
        let spans = pixels.chunks_exact(width_px).map(Span::of_line).collect();
        Some(Self { name, width_px, height_px, pixels, spans, truth, longest_crack_px: None })
    }

    /// Whether it is as large as cells are stitched: its longer side is a cell's.
    pub fn is_cell(&self) -> bool {
        self.width_px.max(self.height_px) == CELL_PX
    }

    /// Moves the rim outside the outline, and forgets the cracks on it, as inspection does with a cell.
    pub fn leave_rim(&mut self) {
        self.spans = without_rim(&self.spans);
        self.forget_outside();
    }

    /// Forgets the cracks outside the outline, where nothing is looked for: they would count as missed for ever.
    pub fn forget_outside(&mut self) {
        for (x, y) in self.crack_pixels() {
            if !self.spans[y].contains(x) {
                self.truth.set(x, y, false);
            }
        }
    }

    /// A square of `side` pixels with its upper left corner at (`left`, `top`), and its outline.
    /// Pixels beyond the picture are 0 and lie outside.
    pub fn cut(&self, left: isize, top: isize, side: usize) -> (Vec<u16>, Vec<Span>) {
        let mut pixels = vec![0; side * side];
        let mut spans = vec![Span::default(); side];
        let within = |x: usize| x.saturating_add_signed(-left).min(side);
        // What the picture has of the square's columns.
        let (start, end) = (within(0), within(self.width_px));
        let skipped = (start as isize + left).max(0) as usize;
        for (y, (line, span)) in pixels.chunks_exact_mut(side).zip(&mut spans).enumerate() {
            let Some(y) = top.checked_add_unsigned(y).and_then(|y| usize::try_from(y).ok()).filter(|y| *y < self.height_px) else {
                continue;
            };
            if start < end {
                line[start..end].copy_from_slice(&self.pixels[y * self.width_px + skipped..][..end - start]);
            }
            let Span { start, end } = self.spans[y];
            *span = Span { start: within(start.into()) as u16, end: within(end.into()) as u16 };
        }
        (pixels, spans)
    }

    /// What the network sees of the tile with its upper left corner at (`left`, `top`): a square of [`SEEN_PX`], and its outline.
    pub fn tile_seen(&self, left: usize, top: usize) -> (Vec<u16>, Vec<Span>) {
        let around = |at: usize| at as isize - MARGIN_PX as isize;
        self.cut(around(left), around(top), SEEN_PX)
    }

    /// The part of a square of `side` pixels at (`left`, `top`), which must lie within, that the picture has, as one of its own.
    pub fn window(&self, left: usize, top: usize, side: usize) -> Self {
        let (width_px, height_px) = (side.min(self.width_px - left), side.min(self.height_px - top));
        let mut truth = Mask::new(width_px, height_px);
        let (mut pixels, mut spans) = (Vec::with_capacity(width_px * height_px), Vec::with_capacity(height_px));
        for y in 0..height_px {
            let from = (top + y) * self.width_px + left;
            pixels.extend_from_slice(&self.pixels[from..from + width_px]);
            let within = |x: u16| usize::from(x).saturating_sub(left).min(width_px) as u16;
            let span = self.spans[top + y];
            spans.push(Span { start: within(span.start), end: within(span.end) });
            (0..width_px).filter(|x| self.truth.get(left + x, top + y)).for_each(|x| truth.set(x, y, true));
        }
        let name = format!("{} from {left}, {top}", self.name);
        Self { name, width_px, height_px, pixels, spans, truth, longest_crack_px: None }
    }

    /// 1 where the same square shows a crack, else 0.
    pub fn truth_within(&self, left: usize, top: usize, side: usize) -> Vec<f32> {
        let mut truth = vec![0.0; side * side];
        for y in 0..side.min(self.height_px.saturating_sub(top)) {
            for x in 0..side.min(self.width_px.saturating_sub(left)) {
                truth[y * side + x] = f32::from(u8::from(self.truth.get(left + x, top + y)));
            }
        }
        truth
    }

    /// Positions (x, y) of all crack pixels, line by line.
    pub fn crack_pixels(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for y in 0..self.height_px {
            for (byte, bits) in self.truth.line_bits(y).iter().enumerate() {
                found.extend((0..8).filter(|bit| bits & (0x80 >> bit) != 0).map(|bit| (byte * 8 + bit, y)));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_follows_from_pixels_that_are_not_zero() {
        let pixels = vec![0, 5, 0, 7, 0, 0, 0, 0, 9, 9, 9, 9];
        let picture = Picture::new("p".into(), 4, pixels, Mask::new(4, 3)).unwrap();
        let want = [(1, 4), (0, 0), (0, 4)].map(|(start, end)| Span { start, end });
        assert_eq!(picture.spans, want);
    }

    #[test]
    fn a_cut_over_the_border_is_padded_and_its_outline_moves_along() {
        let pixels = (1..=12).collect();
        let picture = Picture::new("p".into(), 4, pixels, Mask::new(4, 3)).unwrap();
        let (pixels, spans) = picture.cut(2, 1, 3);
        assert_eq!(pixels, [7, 8, 0, 11, 12, 0, 0, 0, 0]);
        assert_eq!(spans, [Span { start: 0, end: 2 }, Span { start: 0, end: 2 }, Span::default()]);
    }

    #[test]
    fn crack_pixels_are_those_of_the_mask() {
        let mut truth = Mask::new(11, 2);
        truth.set(9, 0, true);
        truth.set(0, 1, true);
        let picture = Picture::new("p".into(), 11, vec![1; 22], truth).unwrap();
        assert_eq!(picture.crack_pixels(), [(9, 0), (0, 1)]);
    }
}
