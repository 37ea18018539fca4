//! The lane thread: a camera's events through the stitcher, rows on to the network, cells to the desk.

use super::backlog::Allowance;
use super::empty::EmptyBelt;
use super::queue::{DeskEvent, InspectJob};
use super::recipes::RecipeSlot;
use super::state::LaneState;
use crate::camera::CameraLink;
use crate::cell::{CameraEvent, CellId, HoldReason, Moment, StitchEvent};
use crate::config::Precision;
use crate::publish::wire::CameraState;
use crate::stitch::{BeltState, Stitcher};
use crate::stop::Stop;
use crate::telemetry::Pulse;
use crossbeam_channel::{Sender, TrySendError, select};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the thread may sleep before it shows that it lives.
const TICK: Duration = Duration::from_millis(200);

/// How many cells the station shall still see; shared by its lanes.
pub(super) struct CellBudget(Option<AtomicU64>);

impl CellBudget {
    pub fn new(cells: Option<u64>) -> Self {
        Self(cells.map(AtomicU64::new))
    }

    /// Whether one more cell may be seen.
    fn take(&self) -> bool {
        self.0.as_ref().is_none_or(|left| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok())
    }
}

/// What holds while a cell passes.
#[derive(Default)]
struct Passing {
    /// The cell whose rows are not inspected any more.
    refused: Option<CellId>,
    /// How exactly its rows are.
    precision: Option<Precision>,
    allowance: Allowance,
}

/// One lane's way from the camera to the queues.
pub(super) struct LaneWorker {
    pub link: CameraLink,
    pub stitcher: Stitcher,
    pub empty: EmptyBelt,
    /// Sources that can wait block on full queues; live ones hold the cell.
    pub can_wait: bool,
    /// From the trailing edge until the network must be through.
    pub deadline: Option<Duration>,
    pub recipe: Arc<RecipeSlot>,
    pub jobs: Sender<InspectJob>,
    pub desk: Sender<DeskEvent>,
    pub state: Arc<LaneState>,
    pub budget: Arc<CellBudget>,
    pub stop: Stop,
    pub pulse: Pulse,
}

impl LaneWorker {
    /// Works until the stream ends or the station stops; then closes its queues.
    pub fn run(mut self) {
        let mut gone: Option<(Moment, String)> = None;
        let mut blocked: Option<Moment> = None;
        let mut passing = Passing::default();
        let mut stitched = Vec::new();
        let mut reason = HoldReason::Restart;
        let events = self.link.events().clone();
        loop {
            self.pulse.beat();
            let event = select! {
                recv(self.stop.signal()) -> _ => break,
                recv(events) -> event => match event {
                    Ok(CameraEvent::End) | Err(_) => {
                        reason = HoldReason::NeverEnds;
                        self.state.camera(CameraState::Ended);
                        if !self.can_wait {
                            tracing::error!(lane = %self.state.name, "the camera's stream has ended: the lane sees nothing any more");
                        }
                        break;
                    }
                    Ok(event) => event,
                },
                default(TICK) => continue,
            };
            self.note(&event, &mut gone);
            let cells = self.stitcher.cells();
            self.stitcher.push(&event, &mut stitched);
            if !stitched.drain(..).all(|e| self.deliver(e, &mut passing)) {
                break;
            }
            let belt = self.stitcher.state();
            self.note_blocked(&belt, &mut blocked);
            match &event {
                CameraEvent::Block(block) => {
                    let wafer_seen = belt != BeltState::Gap || self.stitcher.cells() > cells;
                    self.state.no_wafer_since(self.empty.note(block.lines, block.last_line_at, wafer_seen));
                }
                CameraEvent::Gone { .. } => self.state.no_wafer_since(self.empty.begin_anew()),
                _ => {}
            }
            self.state.belt(&belt);
        }
        self.state.no_wafer_since(self.empty.begin_anew());
        let now = Moment::now();
        self.stitcher.finish(reason, now, &mut stitched);
        stitched.drain(..).all(|e| self.deliver(e, &mut passing));
        if let Some((from, reason)) = gone {
            let _ = self.desk.send(DeskEvent::Blind { from, to: now, reason });
        }
        self.note_blocked(&BeltState::Gap, &mut blocked);
        let _ = self.desk.send(DeskEvent::LaneOver);
        // The network's queue closes first: a camera that is just being opened may take long to stop.
        let Self { link, jobs, .. } = self;
        drop(jobs);
        link.stop();
    }

    /// Keeps the lane's state and tells the desk what is not about a cell.
    fn note(&self, event: &CameraEvent, gone: &mut Option<(Moment, String)>) {
        match event {
            CameraEvent::Block(block) => {
                self.state.lines(u64::from(block.lines));
                self.state.camera(CameraState::Connected);
            }
            CameraEvent::Lost { lines, cause, .. } => {
                tracing::warn!(lane = %self.state.name, lines, ?cause, "lines lost");
                let _ = self.desk.send(DeskEvent::Lost { lines: *lines, cause: *cause });
            }
            CameraEvent::Idle { .. } => self.state.camera(CameraState::Idle),
            CameraEvent::Gone { at, reason } => {
                tracing::error!(lane = %self.state.name, reason, "camera gone; trying to get it back");
                self.state.camera(CameraState::Gone);
                gone.get_or_insert_with(|| (*at, reason.clone()));
            }
            CameraEvent::Back { at, attempts } => {
                tracing::info!(lane = %self.state.name, attempts, "camera back");
                self.state.reconnected();
                self.state.camera(CameraState::Connected);
                if let Some((from, reason)) = gone.take() {
                    let _ = self.desk.send(DeskEvent::Blind { from, to: *at, reason });
                }
            }
            CameraEvent::Truth(_) | CameraEvent::End => {}
        }
    }

    /// After a cell that never ended nothing is seen until there is a gap again: that time is told as blind.
    fn note_blocked(&self, belt: &BeltState, blocked: &mut Option<Moment>) {
        match (belt, *blocked) {
            (BeltState::Blocked, None) => {
                let lane = &self.state.name;
                tracing::error!(%lane, "no gap is seen between wafers: none is seen until there is one; check `belt.edge_level`, `belt.gap_level` and the light");
                *blocked = Some(Moment::now());
            }
            (BeltState::Blocked, Some(_)) | (_, None) => {}
            (_, Some(from)) => {
                *blocked = None;
                let reason = "no gap was seen between wafers".to_owned();
                let _ = self.desk.send(DeskEvent::Blind { from, to: Moment::now(), reason });
            }
        }
    }

    /// Hands on what the stitcher said; `false` once the station has seen enough cells.
    fn deliver(&self, event: StitchEvent, passing: &mut Passing) -> bool {
        match event {
            StitchEvent::Begun { cell } => {
                if !self.budget.take() {
                    return false;
                }
                passing.precision = self.recipe.get().precision;
                let _ = self.desk.send(DeskEvent::Begun { cell });
            }
            StitchEvent::Row(row) => {
                if passing.refused.as_ref() == Some(&row.cell) {
                    return true;
                }
                let (cell, sent) = (row.cell.clone(), Instant::now());
                let goes_by = !self.can_wait && row.row == 0 && {
                    let until = passing.allowance.begin(sent, self.deadline);
                    until.is_some_and(|until| self.state.backlog.is_too_late_for_one_more(until))
                };
                let job = InspectJob { row, precision: passing.precision, sent };
                let sent = if goes_by { Err(HoldReason::Overload) } else { self.enqueue(job) };
                if let Err(reason) = sent {
                    passing.refused = Some(cell.clone());
                    let _ = self.desk.send(DeskEvent::Refused { cell, reason });
                }
            }
            StitchEvent::Ended(end) => {
                passing.allowance.end(end.at.instant);
                let _ = self.desk.send(DeskEvent::Ended(end));
            }
        }
        true
    }

    fn enqueue(&self, job: InspectJob) -> Result<(), HoldReason> {
        self.state.backlog.row_sent(job.sent);
        self.queue(job).inspect_err(|_| self.state.backlog.row_refused())
    }

    fn queue(&self, job: InspectJob) -> Result<(), HoldReason> {
        let gone = || HoldReason::Network { detail: "the inspection has stopped".into() };
        if !self.can_wait {
            return self.jobs.try_send(job).map_err(|e| match e {
                TrySendError::Full(_) => HoldReason::Overload,
                TrySendError::Disconnected(_) => gone(),
            });
        }
        let mut job = job;
        loop {
            match self.jobs.send_timeout(job, TICK) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => return Err(gone()),
                Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => {
                    self.pulse.beat();
                    if self.stop.is_set() {
                        return Err(HoldReason::Restart);
                    }
                    job = back;
                }
            }
        }
    }
}
