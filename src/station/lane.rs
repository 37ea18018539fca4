//! The lane thread: a camera's events through the stitcher, rows on to the network, cells to the desk.

use super::backlog::Allowance;
use super::empty::EmptyBelt;
use super::long_loss::LongLoss;
use super::loss_log::LossLog;
use super::queue::{DeskEvent, InspectJob};
use super::recipes::RecipeSlot;
use super::state::LaneState;
use crate::camera::CameraLink;
use crate::cell::{CameraEvent, CellId, HoldReason, Moment, StitchEvent};
use crate::config::Precision;
use crate::publish::Bindings;
use crate::publish::wire::CameraState;
use crate::stitch::{BeltState, Stitcher};
use crate::stop::Stop;
use crate::telemetry::Pulse;
use crate::throttle::{TELL_EVERY, Throttle};
use crossbeam_channel::{Sender, TrySendError, select};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the thread may sleep before it shows that it lives.
const TICK: Duration = Duration::from_millis(200);
/// Why nothing was seen while so many lines were lost.
const LINES_LOST: &str = "the lines of a whole wafer or more were lost";

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
    pub long_loss: LongLoss,
    pub bindings: Arc<Bindings>,
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
        let (mut losses, mut recounts) = (LossLog::new(), Throttle::new(TELL_EVERY));
        let mut passing = Passing::default();
        let mut stitched = Vec::new();
        let mut reason = HoldReason::Restart;
        let events = self.link.events().clone();
        self.long_loss.begin(Moment::now());
        loop {
            self.pulse.beat();
            losses.tell_due(&self.state.name);
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
            self.note(&event, &mut losses, &mut gone);
            self.note_long_loss(&event, blocked.is_some());
            let cells = self.stitcher.cells();
            self.stitcher.push(&event, &mut stitched);
            // Before a cell that ends here takes its id.
            if let Some(until) = self.stitcher.take_recount() {
                self.forget_counts(until.instant, &mut recounts);
            }
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
        losses.tell(&self.state.name);
        self.state.no_wafer_since(self.empty.begin_anew());
        let now = Moment::now();
        self.stitcher.finish(reason, now, &mut stitched);
        stitched.drain(..).all(|e| self.deliver(e, &mut passing));
        self.state.losing(false);
        if let Some((from, to)) = self.long_loss.begin(now).filter(|_| gone.is_none() && blocked.is_none()) {
            let _ = self.desk.send(DeskEvent::Blind { from, to, reason: LINES_LOST.into() });
        }
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
    fn note(&self, event: &CameraEvent, losses: &mut LossLog, gone: &mut Option<(Moment, String)>) {
        match event {
            CameraEvent::Block(block) => {
                self.state.lines(u64::from(block.lines));
                self.state.camera(CameraState::Connected);
            }
            CameraEvent::Lost { first_line, lines, cause } => {
                losses.note(*first_line, *lines, *cause);
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
                    // A camera that had no power counts from anew: what was bound to its old counts would be given to later cells.
                    self.bindings.forget_counts(&self.state.name, at.instant);
                    let _ = self.desk.send(DeskEvent::Blind { from, to: *at, reason });
                }
            }
            CameraEvent::Truth(_) | CameraEvent::End => {}
        }
    }

    /// What was bound to counts before `until` is for cells that had passed by then.
    fn forget_counts(&self, until: Instant, recounts: &mut Throttle) {
        self.bindings.forget_counts(&self.state.name, until);
        if recounts.passes(Instant::now()) {
            tracing::warn!(
                lane = %self.state.name,
                "the encoder counts from anew, or the belt is much faster than before: carrier ids bound to counts are for cells that had \
                 passed; bind those of later ones again, or by time"
            );
        }
    }

    /// Where so many lines are missing that a wafer may have passed among them, unseen and without a verdict, that time is told as blind.
    fn note_long_loss(&mut self, event: &CameraEvent, is_blind: bool) {
        let unseen = match event {
            CameraEvent::Lost { lines, .. } => {
                self.long_loss.lose(*lines);
                None
            }
            CameraEvent::Block(block) => self.long_loss.see(block.lines, block.last_line_at),
            CameraEvent::Gone { at, .. } | CameraEvent::Back { at, .. } => self.long_loss.begin(*at),
            CameraEvent::Idle { .. } => {
                self.long_loss.stand();
                None
            }
            CameraEvent::Truth(_) | CameraEvent::End => None,
        };
        self.state.losing(self.long_loss.is_long());
        if let Some((from, to)) = unseen.filter(|_| !is_blind) {
            let _ = self.desk.send(DeskEvent::Blind { from, to, reason: LINES_LOST.into() });
        }
    }

    /// After a cell that never ended nothing is seen until there is a gap again: that time is told as blind.
    fn note_blocked(&self, belt: &BeltState, blocked: &mut Option<Moment>) {
        match (belt, *blocked) {
            (BeltState::Blocked, None) => {
                let lane = &self.state.name;
                tracing::error!(%lane, "no gap is seen between wafers: none is seen until there is one; check `belt.edge_level`, `belt.gap_level` and the light");
                *blocked = Some(Moment::now());
                self.state.no_gap_since(*blocked);
            }
            (BeltState::Blocked, Some(_)) | (_, None) => {}
            (_, Some(from)) => {
                *blocked = None;
                self.state.no_gap_since(None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Belt, Camera, CameraKind, GapKind, GstreamerCamera, SimulatedCamera, Wafer, WaferKind};
    use crate::station::recipes;
    use crate::stop::Stopper;
    use crate::telemetry::{Health, Metrics};
    use crossbeam_channel::{Receiver, bounded};
    use std::path::Path;
    use std::thread::JoinHandle;

    const NAME: &str = "test";

    struct Lane {
        thread: JoinHandle<()>,
        desk: Receiver<DeskEvent>,
        state: Arc<LaneState>,
        metrics: Arc<Metrics>,
        stopper: Stopper,
        _jobs: Receiver<InspectJob>,
    }

    /// A lane that sees M6 wafers at half a millimetre a line, and what it tells its desk.
    fn lane(kind: CameraKind) -> Lane {
        let wafer = Wafer::of_format("M6").unwrap();
        let belt = Belt {
            gap: GapKind::Dark,
            edge_level: 0.2,
            gap_level: 0.1,
            edge_lines: 4,
            skew_deg_max: 3.0,
            noise_share_max: 0.04,
            mm_per_px: Some(0.5),
            mm_per_line: Some(0.5),
        };
        let camera = Camera { kind, line_rate_hz: None, block_lines: 16, idle_after_s: 30.0 };
        let names = [Arc::from(NAME)];
        let (metrics, health) = (Arc::new(Metrics::new(&names).unwrap()), Health::new(&names, Duration::from_secs(3600)));
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/recipe.toml");
        let state = Arc::new(LaneState::new(NAME.into(), metrics.clone(), health.clone()));
        let ((jobs, jobs_out), (desk, desk_out)) = (bounded(64), bounded(1024));
        let (stopper, stop) = Stop::pair();
        let worker = LaneWorker {
            link: CameraLink::start(NAME, &camera, &wafer, &belt, 8).unwrap(),
            stitcher: Stitcher::new(NAME.into(), &wafer, &belt, None).unwrap(),
            empty: EmptyBelt::new(332.0),
            long_loss: LongLoss::new(328.0),
            bindings: Arc::new(Bindings::new(names, 8)),
            can_wait: true,
            deadline: None,
            recipe: Arc::new(RecipeSlot::new(recipe.clone(), recipes::read(&recipe).unwrap(), [].into())),
            jobs,
            desk,
            state: state.clone(),
            budget: Arc::new(CellBudget::new(None)),
            stop,
            pulse: health.pulse(NAME),
        };
        Lane { thread: std::thread::spawn(move || worker.run()), desk: desk_out, state, metrics, stopper, _jobs: jobs_out }
    }

    fn blind(events: &[DeskEvent]) -> Vec<(Moment, Moment, &str)> {
        let told = events.iter().filter_map(|event| match event {
            DeskEvent::Blind { from, to, reason } => Some((*from, *to, reason.as_str())),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn a_belt_without_a_gap_is_told_while_it_has_none_and_as_blind_time() {
        let fragment = "videotestsrc pattern=white ! video/x-raw,format=GRAY8,width=400,height=16,framerate=500/1".to_owned();
        let lane = lane(CameraKind::Gstreamer(GstreamerCamera { fragment, bits: 8 }));
        let started = Instant::now();
        while lane.state.now().no_gap_since_unix_ns.is_none() || !lane.metrics.totals(NAME).no_gap {
            assert!(started.elapsed() < Duration::from_secs(60), "it looks healthy");
            std::thread::sleep(Duration::from_millis(5));
        }
        lane.stopper.stop();
        lane.thread.join().unwrap();
        assert!(lane.state.now().no_gap_since_unix_ns.is_none() && !lane.metrics.totals(NAME).no_gap);
        let events: Vec<_> = lane.desk.try_iter().collect();
        assert!(matches!(blind(&events)[..], [(_, _, "no gap was seen between wafers")]));
    }

    #[test]
    fn a_wafer_whose_lines_were_all_lost_passed_in_blind_time() {
        let wafers = |lose_lines| SimulatedCamera {
            wafer: WaferKind::Electroluminescence,
            seed: 1,
            wafers: 3,
            cracked_share: 0.0,
            width_px: 400,
            gap_lines: 100,
            skew_deg_max: 0.0,
            lose_lines,
        };
        for (lose_lines, cells, unseen) in [(vec![(2, 10_000)], 2, 1), (vec![(2, 200)], 3, 0)] {
            let lane = lane(CameraKind::Simulated(wafers(lose_lines)));
            let events: Vec<_> = lane.desk.iter().collect();
            lane.thread.join().unwrap();
            assert_eq!(events.iter().filter(|event| matches!(event, DeskEvent::Ended(_))).count(), cells);
            let blind = blind(&events);
            assert_eq!(blind.len(), unseen);
            assert!(blind.iter().all(|(from, to, reason)| from.instant < to.instant && *reason == LINES_LOST));
        }
    }
}
