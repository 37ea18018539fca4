use super::edges::Edges;
use super::placement::Placement;
use super::shape::Shape;
use crate::cell::{CELL_PX, RIM_PX, Span};
use std::ops::Range;

/// Leg of the triangle of which more than half must be there at a whole corner, mm; `configs/recipe.toml` tells it.
const CORNER_LEG_MM: f64 = 5.0;

/// The wafer in the stitched frame: the outline that was measured, less what is seen to be missing at the corners.
#[derive(Debug)]
pub(super) struct Outline {
    placement: Placement,
    /// In stitched pixels; the bottom is the nominal one until the trailing edge has passed.
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Legs of the product's cut corners, clockwise from leading left: 0 where one is whole.
    legs: [f64; 4],
    /// Of the triangle that must be there at a whole corner.
    leg: f64,
    zone: f64,
    /// Where the trailing edge may lie.
    trailing_zone: f64,
    /// How far a seen edge may lie inside of the nominal one, camera lines.
    slack_lines: f64,
}

impl Outline {
    /// Of the wafer that lies as `placement` says.
    pub fn new(placement: &Placement, shape: &Shape) -> Self {
        let mm = shape.stitched_mm_per_px();
        let (side, width, length) = (CELL_PX as f64, placement.width_px(), shape.length_mm / mm);
        Self {
            placement: *placement,
            left: 0.5 * (side - width),
            right: 0.5 * (side + width),
            top: 0.5 * (side - length),
            bottom: 0.5 * (side + length),
            legs: shape.corners_mm.map(|leg_mm| leg_mm / mm),
            leg: CORNER_LEG_MM / mm,
            zone: shape.corner_zone_mm() / mm,
            trailing_zone: shape.trailing_zone_mm() / mm,
            slack_lines: 1.5 + 0.5 * mm / shape.mm_per_line,
        }
    }

    /// Stitched lines ahead of where the trailing edge may lie.
    pub fn lines_before_the_end(&self) -> usize {
        (self.bottom - self.trailing_zone).max(0.0) as usize
    }

    /// Ends the outline at the trailing edge that was seen, the stitched lines before `line` being done.
    pub fn end_at(&mut self, length_mm: f64, line: usize, shape: &Shape) {
        self.placement.squeeze(length_mm, line);
        self.bottom = (self.top + length_mm / shape.stitched_mm_per_px()).min(CELL_PX as f64);
    }

    /// The way to the camera, as the trailing edge has it.
    pub fn placement(&self) -> &Placement {
        &self.placement
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

    /// The outline on stitched line `y` where no corner is broken off.
    fn nominal_span(&self, y: usize) -> Span {
        let middle = y as f64 + 0.5;
        if !(self.top..=self.bottom).contains(&middle) {
            return Span::default();
        }
        let cut = |leading: usize, trailing: usize| {
            (self.legs[leading] - (middle - self.top)).max(self.legs[trailing] - (self.bottom - middle)).max(0.0)
        };
        let start = (self.left + cut(0, 3) - 0.5).ceil().max(0.0) as u16;
        let end = (self.right - cut(1, 2) + 0.5).floor().min(CELL_PX as f64) as u16;
        Span { start, end: end.max(start) }
    }

    fn is_gap(&self, x: f64, y: f64, edges: &Edges) -> bool {
        let (column, line) = self.placement.stitched_to_camera(x, y);
        edges.is_gap(column, line, self.slack_lines)
    }

    /// Whether most of what lies so far from a corner, along both its edges together, is gap.
    fn is_mostly_gap(&self, number: usize, band: Range<f64>, edges: &Edges) -> bool {
        let (x0, inward_x) = if is_left(number) { (self.left, 1.0) } else { (self.right, -1.0) };
        let (y0, inward_y) = if is_leading(number) { (self.top, 1.0) } else { (self.bottom, -1.0) };
        let steps = band.end.ceil() as usize;
        let (mut all, mut gaps) = (0u32, 0u32);
        for (dx, dy) in (0..steps).flat_map(|dx| (0..steps).map(move |dy| (dx as f64 + 0.5, dy as f64 + 0.5))) {
            if band.contains(&(dx + dy)) {
                all += 1;
                gaps += u32::from(self.is_gap(x0 + inward_x * dx - 0.5, y0 + inward_y * dy - 0.5, edges));
            }
        }
        2 * gaps > all
    }

    /// Corners that should be there and are mostly gap, clockwise from leading left.
    pub fn missing_corners(&self, edges: &Edges) -> Vec<u8> {
        let is_missing = |number: &usize| self.is_mostly_gap(*number, self.legs[*number]..self.legs[*number] + self.leg, edges);
        (0..self.legs.len()).filter(is_missing).map(|number| number as u8).collect()
    }

    /// The stitched columns of line `y` that each of the product's cut corners takes away, less a margin for the cut's own blur and
    /// rounding.
    pub fn cut_columns(&self, y: usize) -> [Range<usize>; 4] {
        let middle = y as f64 + 0.5;
        std::array::from_fn(|number| {
            let depth = if is_leading(number) { middle - self.top } else { self.bottom - middle };
            let leg = if depth < 0.0 { 0.0 } else { (self.legs[number] - 2.0 * f64::from(RIM_PX) - depth).max(0.0) };
            if is_left(number) { self.left as usize..(self.left + leg) as usize } else { (self.right - leg) as usize..self.right as usize }
        })
    }
}

/// Whether the corner, counted clockwise from leading left, is one of the left ones.
fn is_left(number: usize) -> bool {
    matches!(number, 0 | 3)
}

fn is_leading(number: usize) -> bool {
    number < 2
}
