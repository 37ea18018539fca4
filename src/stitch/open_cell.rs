use super::levels::Solid;
use super::line_clock::LineTime;
use super::measure::{self, broken};
use super::placement::Placement;
use super::rows::Rows;
use super::shape::Shape;
use super::view::View;
use crate::cell::{CellEnd, CellGeometry, CellId, HoldReason, Squeeze, StitchEvent, TrueMask};

/// From so many nominal lengths on it is several cells without a gap, not one that measures too long.
const STUCK_LENGTHS: f64 = 1.5;

/// The cell that is under the camera.
#[derive(Debug)]
pub(super) struct OpenCell {
    pub id: CellId,
    pub first_line: u64,
    /// Where wafer was last seen.
    pub last_seen: LineTime,
    hold: Option<HoldReason>,
    /// Gap lines in a row.
    gap_run: u32,
    /// End of the last loss, until wafer is seen after it.
    lost_until: Option<u64>,
    placement: Option<Placement>,
    rows: Option<Rows>,
    /// Last line that a cell of full length can reach.
    line_max: u64,
}

/// What a line did to the cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Open,
    /// The trailing edge has passed.
    Passed,
    /// It is longer than anything can be.
    NeverEnds,
}

impl OpenCell {
    /// A cell whose lines are in `edges` up to `now`. `hold` where its leading edge was not seen.
    pub fn new(id: CellId, first_line: u64, now: LineTime, hold: Option<HoldReason>, shape: &Shape) -> Self {
        let line_max = first_line + shape.lines_max();
        Self { id, first_line, last_seen: now, hold, gap_run: 0, lost_until: None, placement: None, rows: None, line_max }
    }

    /// Takes the next line, already in `view`'s edges and store.
    pub fn line(&mut self, solid: Solid, time: LineTime, view: &mut View, out: &mut Vec<StitchEvent>) -> Progress {
        if solid.edge_px > 0 {
            self.last_seen = time;
        }
        if solid.gap_px >= view.shape.solid_px_min() {
            self.gap_run = 0;
            self.lost_until = None;
        } else {
            self.gap_run += 1;
            if self.gap_run >= view.edge_lines {
                return Progress::Passed;
            }
        }
        if time.line >= self.first_line + view.shape.lines_never_ends() {
            if matches!(self.hold, None | Some(HoldReason::Stuck)) {
                self.hold = Some(HoldReason::NeverEnds);
            }
            return Progress::NeverEnds;
        }
        if time.line > self.line_max + u64::from(view.edge_lines) {
            self.hold_for(HoldReason::Stuck);
        }
        if self.hold.is_none() && self.placement.is_none() && view.edges.lines() >= view.shape.settle_lines() {
            self.settle(view);
        }
        if let Some(rows) = &mut self.rows {
            rows.advance(view.store, view.edges, view.buffers, out);
        }
        Progress::Open
    }

    /// Enough was seen to tell how the cell lies.
    fn settle(&mut self, view: &View) {
        let shape = view.shape;
        let placed = measure::place(view.edges, shape, shape.sides_from()..shape.settle_lines());
        match placed.and_then(|p| p.check(view.edges.width_px()).map(|()| p)) {
            Ok(placement) => {
                let last = placement.last_line(shape.length_mm + shape.tolerance_mm).ceil().max(0.0);
                self.line_max = self.first_line + last as u64;
                self.rows = Some(Rows::new(self.id.clone(), &placement, view, self.first_line));
                self.placement = Some(placement);
            }
            Err(reason) => self.hold_for(reason),
        }
    }

    /// The cell cannot be judged; the first reason stays. It runs on to its trailing edge.
    pub fn hold_for(&mut self, reason: HoldReason) {
        match (&mut self.hold, reason) {
            (Some(HoldReason::LinesLost { lines }), HoldReason::LinesLost { lines: more }) => *lines += more,
            (Some(_), _) => {}
            (hold, reason) => *hold = Some(reason),
        }
        self.rows = None;
    }

    /// The sensor's columns are no longer those the cell was seen with.
    pub fn tear(&mut self, reason: HoldReason) {
        self.hold_for(reason);
        self.placement = None;
    }

    /// Lines `from..end` never came. Returns whether the trailing edge must have passed before `end`.
    pub fn lost(&mut self, from: u64, end: u64, shape: &Shape) -> bool {
        let tolerance_lines = (shape.tolerance_mm / shape.mm_per_line) as u64;
        let passed_before = self.gap_run > 0 && self.last_seen.line + tolerance_lines >= self.nominal_last_line(shape);
        if !passed_before {
            self.hold_for(HoldReason::LinesLost { lines: end - from });
            self.lost_until = Some(end);
        }
        passed_before || end > self.line_max
    }

    /// The line of the trailing edge: where wafer was last seen, or, where a loss hides it, where it
    /// must have been.
    pub fn trailing_line(&self, shape: &Shape) -> u64 {
        match self.lost_until {
            Some(end) => self.nominal_last_line(shape).clamp(self.last_seen.line, end.max(self.last_seen.line + 1) - 1),
            None => self.last_seen.line,
        }
    }

    fn nominal_last_line(&self, shape: &Shape) -> u64 {
        match &self.placement {
            Some(placement) => self.first_line + placement.last_line(shape.length_mm).round().max(0.0) as u64,
            None => self.first_line + shape.lines_nominal(),
        }
    }

    /// Ends the cell at `end`, the time of its trailing edge: emits the rows that are still due, then the end.
    pub fn end(mut self, end: LineTime, truth: Option<TrueMask>, view: &mut View, out: &mut Vec<StitchEvent>) {
        let shape = view.shape;
        let mut geometry = None;
        let (mut missing_corners, mut doubt, mut squeeze) = (Vec::new(), None, Squeeze::default());
        if self.hold == Some(HoldReason::Stuck) && self.trailing_edge_seen() {
            self.hold = Some(too_long(self.seen_length_mm(shape), shape));
        }
        if self.hold.is_none() {
            match self.validate(view) {
                Ok((placement, length_mm)) => {
                    geometry = Some(self.geometry(&placement, length_mm, shape));
                    if let Some(reason) = wrong_length(length_mm, shape) {
                        self.hold_for(reason);
                    } else if let Some(rows) = &mut self.rows {
                        rows.finish(length_mm, view, out);
                        missing_corners = rows.outline.missing_corners(view.edges);
                        squeeze = rows.outline.placement().squeezed();
                        let light = rows.light.check(view.grey_step, shape.noise_share_max);
                        doubt = light.err().or_else(|| rows.uncut_corner().map(|number| uncut(number, shape)));
                    }
                }
                Err(reason) => self.hold_for(reason),
            }
        }
        out.push(StitchEvent::Ended(CellEnd {
            cell: self.id,
            at: end.at,
            camera_time_ns: end.camera_time_ns,
            encoder_count: end.encoder_count,
            geometry,
            squeeze,
            missing_corners,
            hold: self.hold,
            doubt,
            truth,
        }));
    }

    fn validate(&self, view: &View) -> Result<(Placement, f64), HoldReason> {
        let Some(placement) = self.placement else {
            let mm = (self.last_seen.line + 1 - self.first_line) as f64 * view.shape.mm_per_line;
            return Err(broken(&format!("{mm:.1} mm long, expected {:.1} mm", view.shape.length_mm)));
        };
        let length_mm = measure::length_mm(view.edges, view.shape, &placement)?;
        measure::check_sides(view.edges, view.shape, &placement, length_mm)?;
        Ok((placement, length_mm))
    }

    fn geometry(&self, placement: &Placement, length_mm: f64, shape: &Shape) -> CellGeometry {
        CellGeometry {
            first_line: self.first_line,
            lines: (self.last_seen.line + 1 - self.first_line) as u32,
            left_px: placement.to_camera(-0.5 * placement.width_mm, 0.5 * length_mm).0,
            skew_deg: placement.skew.to_degrees(),
            width_mm: placement.width_mm,
            length_mm,
            mm_per_px: shape.stitched_mm_per_px(),
        }
    }

    fn trailing_edge_seen(&self) -> bool {
        self.gap_run > 0 && self.lost_until.is_none()
    }

    /// Length up to where wafer was last seen, of one whose edges are not noted as far, mm.
    fn seen_length_mm(&self, shape: &Shape) -> f64 {
        let over = self.last_seen.line as f64 - self.nominal_last_line(shape) as f64;
        shape.length_mm + over * shape.mm_per_line
    }

    /// Lines of the cell so far.
    pub fn lines(&self) -> u64 {
        self.last_seen.line + 1 - self.first_line
    }
}

fn uncut(number: usize, shape: &Shape) -> HoldReason {
    let corner = ["leading left", "leading right", "trailing right", "trailing left"][number];
    HoldReason::Geometry {
        detail: format!(
            "its {corner} corner is there, where `corner_mm` has {} mm cut off and no crack is looked for; correct `corner_mm`, or look \
             for a wafer of another product",
            shape.corners_mm[number]
        ),
    }
}

fn wrong_length(length_mm: f64, shape: &Shape) -> Option<HoldReason> {
    if length_mm < shape.length_mm - shape.tolerance_mm {
        return Some(broken(&format!("{length_mm:.1} mm long, expected {:.1} mm", shape.length_mm)));
    }
    (length_mm > shape.length_mm + shape.tolerance_mm).then(|| too_long(length_mm, shape))
}

fn too_long(length_mm: f64, shape: &Shape) -> HoldReason {
    if length_mm >= STUCK_LENGTHS * shape.length_mm {
        return HoldReason::Stuck;
    }
    let expected_mm = shape.length_mm;
    HoldReason::Geometry {
        detail: format!(
            "{length_mm:.1} mm long, expected {expected_mm:.1} mm; look at belt speed, `mm_per_line`, or two wafers overlapping"
        ),
    }
}
