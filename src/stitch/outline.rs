use super::edges::Edges;
use super::placement::Placement;
use super::shape::Shape;
use crate::cell::{CELL_PX, Span};

/// Leg of the triangle that must be there at a whole corner, mm.
const CORNER_LEG_MM: f64 = 5.0;

/// The wafer in the stitched frame: the nominal outline, less what is seen to be missing at the corners.
#[derive(Debug)]
pub(super) struct Outline {
    placement: Placement,
    /// Nominal outline in stitched pixels.
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    corner: f64,
    /// Of the triangle that must be there at a whole corner.
    leg: f64,
    zone: f64,
    /// How far a seen edge may lie inside of the nominal one, camera lines.
    slack_lines: f64,
}

impl Outline {
    pub fn new(placement: &Placement, shape: &Shape) -> Self {
        let mm = shape.stitched_mm_per_px();
        let (side, width, length) = (CELL_PX as f64, placement.width_mm / mm, shape.length_mm / mm);
        Self {
            placement: *placement,
            left: (0.5 * (side - width)).max(0.0),
            right: (0.5 * (side + width)).min(side),
            top: 0.5 * (side - length),
            bottom: 0.5 * (side + length),
            corner: shape.corner_mm / mm,
            leg: CORNER_LEG_MM / mm,
            zone: shape.corner_zone_mm() / mm,
            slack_lines: 1.5 + 0.5 * mm / shape.mm_per_line,
        }
    }

    /// Ends the outline at the trailing edge that was seen.
    pub fn end_at(&mut self, length_mm: f64, shape: &Shape) {
        self.bottom = self.bottom.min(self.top + length_mm / shape.stitched_mm_per_px());
    }

    /// The outline on stitched line `y` as far as `edges` were seen.
    pub fn span(&self, y: usize, edges: &Edges) -> Span {
        let nominal = self.nominal_span(y);
        let middle = y as f64 + 0.5;
        if middle - self.top > self.zone && self.bottom - middle > self.zone {
            return nominal;
        }
        let gap = |x: u16| self.is_gap(f64::from(x), y as f64, edges);
        let zone = self.zone as u16;
        let start = (nominal.start..nominal.end).take(zone.into()).take_while(|x| gap(*x)).count() as u16;
        let end = (nominal.start..nominal.end).rev().take(zone.into()).take_while(|x| gap(*x)).count() as u16;
        let start = nominal.start + start;
        Span { start, end: (nominal.end - end).max(start) }
    }

    /// Whether `span` is cut from the nominal one by more than an edge may be off: by a missing corner, by the trailing edge, or by
    /// something dark across the wafer that has not passed yet. The next lines tell which.
    pub fn is_cut_deep(&self, span: Span, nominal: Span) -> bool {
        let (left, right) = (span.start.saturating_sub(nominal.start), nominal.end.saturating_sub(span.end));
        f64::from(left.max(right)) > self.leg
    }

    /// The outline of a whole wafer on stitched line `y`.
    pub fn nominal_span(&self, y: usize) -> Span {
        let middle = y as f64 + 0.5;
        if !(self.top..=self.bottom).contains(&middle) {
            return Span::default();
        }
        let cut = (self.corner - (middle - self.top).min(self.bottom - middle)).max(0.0);
        let start = (self.left + cut - 0.5).ceil().max(0.0) as u16;
        let end = (self.right - cut + 0.5).floor().min(CELL_PX as f64) as u16;
        Span { start, end: end.max(start) }
    }

    fn is_gap(&self, x: f64, y: f64, edges: &Edges) -> bool {
        let (column, line) = self.placement.stitched_to_camera(x, y);
        edges.is_gap(column, line, self.slack_lines)
    }

    /// Corners that should be there and are mostly gap, clockwise from leading left.
    pub fn missing_corners(&self, edges: &Edges) -> Vec<u8> {
        let corners = [(self.left, self.top), (self.right, self.top), (self.right, self.bottom), (self.left, self.bottom)];
        let is_missing = |(x0, y0): (f64, f64)| {
            let (inward_x, inward_y) = (if x0 == self.left { 1.0 } else { -1.0 }, if y0 == self.top { 1.0 } else { -1.0 });
            let steps = (self.corner + self.leg).ceil() as usize;
            let (mut all, mut gaps) = (0u32, 0u32);
            for (dx, dy) in (0..steps).flat_map(|dx| (0..steps).map(move |dy| (dx as f64 + 0.5, dy as f64 + 0.5))) {
                if (self.corner..self.corner + self.leg).contains(&(dx + dy)) {
                    all += 1;
                    gaps += u32::from(self.is_gap(x0 + inward_x * dx - 0.5, y0 + inward_y * dy - 0.5, edges));
                }
            }
            2 * gaps > all
        };
        corners.into_iter().zip(0..).filter(|(corner, _)| is_missing(*corner)).map(|(_, number)| number).collect()
    }
}
