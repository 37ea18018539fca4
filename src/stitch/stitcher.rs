use super::correction::Correction;
use super::edges::Edges;
use super::levels::{Levels, Solid};
use super::line_clock::{LineClock, LineTime};
use super::line_store::LineStore;
use super::open_cell::{OpenCell, Progress};
use super::row_buffers::RowBuffers;
use super::shape::Shape;
use super::view::View;
use super::{Calibration, StitchError};
use crate::cell::{CameraEvent, CellId, HoldReason, LineBlock, Moment, StitchEvent, TrueMask};
use crate::config::{Belt, Wafer};
use std::collections::VecDeque;
use std::sync::Arc;

/// Truths that may wait for their cells; the oldest gives way.
const TRUTHS_MAX: usize = 64;

/// What lies under the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeltState {
    /// The belt, or nothing seen yet.
    Gap,
    /// A cell.
    InCell {
        /// Which.
        cell: CellId,
        /// Lines of it seen so far.
        lines: u64,
    },
    /// Something that did not end and was given up; cells are looked for after the next gap.
    Blocked,
}

/// Cuts cells out of a camera's lines.
///
/// Every cell that is seen gets one [`StitchEvent::Begun`], up to three [`StitchEvent::Row`]s in
/// order, and one [`StitchEvent::Ended`]. A cell that cannot be judged runs on to its trailing edge
/// and ends with its [`HoldReason`]; no row follows once the reason is known.
///
/// Where lines are missing, a cell is what was seen of one: a loss within the gap holds nothing;
/// wafer right after a loss (or at the start of the stream) is a cell whose leading edge was missed,
/// held for that; a cell that ends within a loss is held, its trailing edge reckoned from its nominal
/// length; a cell that no line was seen of is not counted.
#[derive(Debug)]
pub struct Stitcher {
    lane: Arc<str>,
    shape: Shape,
    levels: Levels,
    edge_lines: u32,
    correction: Correction,
    sensor: Option<Sensor>,
    state: State,
    cells: u64,
    next_line: Option<u64>,
    clock: Option<LineClock>,
    /// The last line before the belt's encoder began to count from anew, where nobody has asked yet.
    recount: Option<Moment>,
    truths: VecDeque<TrueMask>,
}

/// What depends on the width of a line.
#[derive(Debug)]
struct Sensor {
    /// From one grey level to the next, where 65535 is white.
    grey_step: f64,
    line: Vec<u16>,
    before: Vec<u16>,
    edges: Edges,
    store: LineStore,
    buffers: RowBuffers,
}

#[derive(Debug)]
enum State {
    Gap {
        /// Why a leading edge may have been missed, until a line of gap is seen.
        unseen: Option<HoldReason>,
        /// The lines that may be a leading edge.
        touch: Option<Touch>,
    },
    Cell(Box<OpenCell>),
    /// Given up; waiting for this many more lines of gap.
    Blocked {
        gap_lines: u32,
    },
}

/// Consecutive lines that may be a leading edge.
#[derive(Debug)]
struct Touch {
    first: LineTime,
    solid_px: u32,
    agreed: u32,
}

impl Sensor {
    fn new(width_px: usize, shape: &Shape, edge_lines: u32) -> Self {
        let mm = shape.stitched_mm_per_px();
        let finer = |camera_mm: f64| (mm / camera_mm).round().max(1.0) as usize;
        let settle = shape.settle_lines() + edge_lines as usize;
        // The last lines of a cell wait for its trailing edge.
        let waiting = (shape.trailing_zone_mm() + shape.tolerance_mm) / shape.mm_per_line + edge_lines as f64;
        let depth = settle.max(waiting as usize) + shape.reach_lines() as usize + 64;
        Self {
            grey_step: 1.0,
            line: vec![0; width_px],
            before: vec![0; width_px],
            edges: Edges::new(width_px, settle, shape.lines_max() as usize + settle),
            store: LineStore::new(width_px, depth, finer(shape.mm_per_px), finer(shape.mm_per_line)),
            buffers: RowBuffers::default(),
        }
    }
}

impl Sensor {
    fn view<'a>(&'a mut self, shape: &'a Shape, levels: &'a Levels, edge_lines: u32) -> View<'a> {
        let Self { grey_step, edges, store, buffers, .. } = self;
        View { shape, levels, edge_lines, grey_step: *grey_step, edges, store, buffers }
    }
}

impl Stitcher {
    /// A stitcher for one lane. The scale comes from the calibration, else from the belt.
    ///
    /// # Errors
    /// The scale is unknown or absurd, or the belt's levels contradict its gap.
    pub fn new(lane: Arc<str>, wafer: &Wafer, belt: &Belt, calibration: Option<&Calibration>) -> Result<Self, StitchError> {
        Ok(Self {
            shape: Shape::new(&lane, wafer, belt, calibration)?,
            levels: Levels::new(&lane, belt)?,
            edge_lines: belt.edge_lines.max(1),
            correction: Correction::new(calibration),
            sensor: None,
            state: State::Gap { unseen: Some(HoldReason::Restart), touch: None },
            cells: 0,
            next_line: None,
            clock: None,
            recount: None,
            truths: VecDeque::new(),
            lane,
        })
    }

    /// Takes what the camera says and appends what follows from it to `out`, in order.
    pub fn push(&mut self, event: &CameraEvent, out: &mut Vec<StitchEvent>) {
        match event {
            CameraEvent::Block(block) => self.block(block, out),
            CameraEvent::Lost { first_line, lines, .. } => {
                let from = self.next_line.unwrap_or(*first_line).max(*first_line);
                let end = first_line.saturating_add(*lines);
                if end > from {
                    self.lost(self.next_line.unwrap_or(*first_line), end, out);
                }
            }
            CameraEvent::Gone { at, .. } => {
                self.finish(HoldReason::CameraGone, *at, out);
                // The belt may have gone any way in between, which says nothing about counts in a line.
                self.clock = None;
                self.state = State::Gap { unseen: Some(HoldReason::CameraGone), touch: None };
            }
            CameraEvent::Truth(truth) => {
                if self.truths.len() == TRUTHS_MAX {
                    self.truths.pop_front();
                }
                self.truths.push_back(truth.clone());
            }
            CameraEvent::Idle { .. } | CameraEvent::Back { .. } | CameraEvent::End => {}
        }
    }

    /// Ends the cell that is open, if any, with this reason (the end of the stream, a shutdown).
    pub fn finish(&mut self, hold: HoldReason, at: Moment, out: &mut Vec<StitchEvent>) {
        let state = std::mem::replace(&mut self.state, State::Gap { unseen: Some(hold.clone()), touch: None });
        if let State::Cell(mut cell) = state {
            cell.hold_for(hold);
            let end = LineTime { at, ..cell.last_seen };
            self.end_cell(*cell, end, out);
        }
    }

    /// What lies under the camera now.
    pub fn state(&self) -> BeltState {
        match &self.state {
            State::Gap { .. } => BeltState::Gap,
            State::Cell(cell) => BeltState::InCell { cell: cell.id.clone(), lines: cell.lines() },
            State::Blocked { .. } => BeltState::Blocked,
        }
    }

    /// Where the belt's encoder began to count from anew though the camera stayed: when the last line before that passed. Told once.
    pub fn take_recount(&mut self) -> Option<Moment> {
        self.recount.take()
    }

    /// Pixels that a line must have so that a wafer of nominal size, turned by so many degrees, is not held for want of gap beside it.
    pub fn line_px_min(&self, skew_deg: f64) -> u32 {
        self.shape.line_px_min(skew_deg.to_radians())
    }

    /// Cells begun so far.
    pub fn cells(&self) -> u64 {
        self.cells
    }

    fn block(&mut self, block: &LineBlock, out: &mut Vec<StitchEvent>) {
        let width = block.width_px as usize;
        if self.sensor.as_ref().is_none_or(|s| s.line.len() != width) {
            self.change_width(width);
        }
        if let Some(next) = self.next_line.filter(|next| block.first_line > *next) {
            self.lost(next, block.first_line, out);
        }
        if let Some(sensor) = &mut self.sensor {
            sensor.grey_step = 65535.0 / f64::from(block.format.white());
        }
        let before = self.clock.take();
        let clock = LineClock::new(block, before.as_ref());
        self.clock = Some(clock);
        if clock.counts_from_anew() {
            self.recount = before.map(|before| before.end_at());
        }
        for index in 0..block.lines {
            let number = block.first_line + u64::from(index);
            if self.next_line.is_some_and(|next| number < next) {
                continue;
            }
            let bytes = block.line(index);
            if bytes.is_empty() {
                self.lost(number, number + 1, out);
                continue;
            }
            self.next_line = Some(number + 1);
            let Some(sensor) = &mut self.sensor else { return };
            std::mem::swap(&mut sensor.line, &mut sensor.before);
            self.correction.apply(bytes, block.format, &mut sensor.line);
            sensor.store.push(number, &sensor.line);
            let solid = self.levels.solid(&sensor.line);
            self.line(solid, clock.time_of(number), out);
        }
    }

    fn change_width(&mut self, width_px: usize) {
        let first = self.sensor.is_none();
        self.sensor = Some(Sensor::new(width_px, &self.shape, self.edge_lines));
        match &mut self.state {
            State::Gap { unseen, touch } if !first => {
                *touch = None;
                *unseen = Some(HoldReason::WidthChanged);
            }
            State::Cell(cell) => cell.tear(HoldReason::WidthChanged),
            _ => {}
        }
    }

    /// Lines `from..end` never came.
    fn lost(&mut self, from: u64, end: u64, out: &mut Vec<StitchEvent>) {
        self.next_line = Some(end);
        let reason = HoldReason::LinesLost { lines: end - from };
        match &mut self.state {
            State::Gap { unseen, touch } => {
                *touch = None;
                *unseen = Some(reason);
            }
            State::Cell(cell) => {
                if cell.lost(from, end, &self.shape) {
                    self.leave_cell(State::Gap { unseen: Some(reason), touch: None }, out);
                }
            }
            State::Blocked { .. } => {}
        }
    }

    fn line(&mut self, solid: Solid, time: LineTime, out: &mut Vec<StitchEvent>) {
        let solid_min = self.shape.solid_px_min();
        let Some(sensor) = &mut self.sensor else { return };
        match &mut self.state {
            State::Blocked { gap_lines } => {
                let left = if solid.gap_px < solid_min { gap_lines.saturating_sub(1) } else { self.edge_lines };
                *gap_lines = left;
                if left == 0 {
                    self.state = State::Gap { unseen: None, touch: None };
                }
            }
            State::Gap { unseen, touch } => {
                if solid.edge_px < solid_min {
                    *unseen = None;
                }
                if solid.edge_px == 0 {
                    *touch = None;
                    return;
                }
                // A speck on the belt stays as it is; a leading edge grows.
                let grows = touch.as_ref().is_some_and(|t| solid.edge_px >= solid_min || solid.edge_px > t.solid_px);
                if !grows {
                    sensor.edges.clear();
                    *touch = None;
                }
                let touch = touch.get_or_insert(Touch { first: time, solid_px: 0, agreed: 0 });
                sensor.edges.add(&sensor.before, &sensor.line, &self.levels);
                touch.solid_px = solid.edge_px;
                touch.agreed = if solid.edge_px >= solid_min { touch.agreed + 1 } else { 0 };
                if touch.agreed >= self.edge_lines {
                    let (first, hold) = (touch.first, unseen.take());
                    self.begin(first, time, hold, out);
                }
            }
            State::Cell(cell) => {
                sensor.edges.add(&sensor.before, &sensor.line, &self.levels);
                let mut view = sensor.view(&self.shape, &self.levels, self.edge_lines);
                let next = match cell.line(solid, time, &mut view, out) {
                    Progress::Open => return,
                    Progress::Passed => State::Gap { unseen: None, touch: None },
                    Progress::NeverEnds => State::Blocked { gap_lines: self.edge_lines },
                };
                self.leave_cell(next, out);
            }
        }
    }

    fn begin(&mut self, first: LineTime, now: LineTime, hold: Option<HoldReason>, out: &mut Vec<StitchEvent>) {
        self.cells += 1;
        let id = CellId { lane: self.lane.clone(), number: self.cells };
        out.push(StitchEvent::Begun { cell: id.clone() });
        let width = self.sensor.as_ref().map_or(0, |s| s.line.len());
        let misfit = self.correction.width_px().filter(|calibrated| *calibrated != width).map(|calibrated| HoldReason::Geometry {
            detail: format!("lines of {width} px, the calibration is for {calibrated}; run `hairline calibrate` again"),
        });
        self.state = State::Cell(Box::new(OpenCell::new(id, first.line, now, misfit.or(hold), &self.shape)));
    }

    /// Ends the open cell at its trailing edge.
    fn leave_cell(&mut self, next: State, out: &mut Vec<StitchEvent>) {
        if let State::Cell(cell) = std::mem::replace(&mut self.state, next) {
            let line = cell.trailing_line(&self.shape);
            let reckoned = self.clock.filter(|_| line != cell.last_seen.line).map(|c| c.time_of(line));
            let end = reckoned.unwrap_or(cell.last_seen);
            self.end_cell(*cell, end, out);
        }
    }

    fn end_cell(&mut self, cell: OpenCell, end: LineTime, out: &mut Vec<StitchEvent>) {
        let lines = cell.first_line..=end.line;
        let mut truth = None;
        while let Some(next) = self.truths.pop_front_if(|t| t.middle_line <= *lines.end()) {
            truth = Some(next).filter(|t| lines.contains(&t.middle_line)).or(truth);
        }
        let Some(sensor) = &mut self.sensor else { return };
        let mut view = sensor.view(&self.shape, &self.levels, self.edge_lines);
        cell.end(end, truth, &mut view, out);
    }
}
