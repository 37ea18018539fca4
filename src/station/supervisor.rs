//! Watches over a running station: signals, status messages, watchdog and the orderly end.

use super::queue::{DeskEvent, InspectJob};
use super::recipes::{RecipeSlot, told};
use super::recorder::Recorder;
use super::state::LaneState;
use super::verdicts::Office;
use super::{StationError, Summary};
use crate::cell::{CameraEvent, Moment};
use crate::publish::Statistics;
use crate::publish::wire::{BeltState, CameraState, QueueDepth, StatusMessage};
use crate::telemetry::{Health, Queue, Socket};
use crossbeam_channel::Receiver;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const TICK: Duration = Duration::from_millis(100);
/// How long the threads may take to end; longer than the verdict threads' own grace.
const END_GRACE: Duration = Duration::from_millis(4800);
/// What ledger and album have at least, each, however long the others took: only then are they told to end.
const WRITER_GRACE: Duration = Duration::from_secs(1);
/// A thread silent for this long has hung, an inspection whose network fails on every row included: longer than an inference
/// takes on a slow CPU. The unit and `deploy/README.md` tell it.
pub(super) const STALL_AFTER: Duration = Duration::from_secs(30);
/// The unit's `WatchdogSec`, where nobody tells.
const WATCHDOG: Duration = Duration::from_secs(15);
/// What ending a station takes once its watchdog has barked, and more.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The threads in the order in which they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Lanes,
    Inspection,
    Verdicts,
    Ledger,
    Album,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Lanes, Self::Inspection, Self::Verdicts, Self::Ledger, Self::Album];
}

/// What the supervisor sees of a lane.
pub(super) struct LaneWatch {
    pub state: Arc<LaneState>,
    pub recipe: Arc<RecipeSlot>,
    pub rows: Receiver<InspectJob>,
    pub events: Receiver<DeskEvent>,
    /// Its camera should never end by itself.
    pub live: bool,
    pub blocks: Receiver<CameraEvent>,
    pub recorder: Recorder,
    /// From the trailing edge to the verdict.
    pub deadline: Duration,
    pub told: Option<(CameraState, BeltState, Option<i64>, Option<i64>)>,
}

impl LaneWatch {
    /// Notes that the lane was seeing, up to so long before `at` that every cell has its verdict: where a thread hangs the camera may be
    /// there and no verdict come. Verdicts that are recorded count by themselves. While no gap is seen, no cell is, nor while the lines
    /// of a whole one are lost.
    fn note_seen(&self, at: Moment, before: Duration) {
        let now = self.state.now();
        let sees = now.no_gap_since_unix_ns.is_none() && !now.losing;
        if sees && matches!(now.camera, CameraState::Connected | CameraState::Idle) {
            let before_ns = i64::try_from(before.as_nanos()).unwrap_or(i64::MAX);
            self.recorder.seen(self.state.name.clone(), at.unix_ns.saturating_sub(before_ns));
        }
    }
}

/// A station whose threads run. Dropping it stops and joins them.
pub(super) struct Running {
    runtime: Option<tokio::runtime::Runtime>,
    listener: Option<tokio::net::TcpListener>,
    office: Arc<Office>,
    health: Arc<Health>,
    status_every: Duration,
    /// Within so long after the last sign of life systemd ends the station, where it does so.
    watchdog: Option<Duration>,
    lanes: Vec<LaneWatch>,
    stages: [Vec<JoinHandle<()>>; Stage::ALL.len()],
    /// The first thread that failed.
    failed: Option<String>,
    /// What the publisher had done when it was last asked.
    published: Statistics,
}

impl Running {
    pub fn new(
        runtime: tokio::runtime::Runtime,
        listener: tokio::net::TcpListener,
        office: Arc<Office>,
        health: Arc<Health>,
        status_every: Duration,
    ) -> Self {
        let stages = [const { Vec::new() }; 5];
        Self {
            runtime: Some(runtime),
            listener: Some(listener),
            office,
            health,
            status_every,
            watchdog: sd_notify::watchdog_enabled(),
            lanes: Vec::new(),
            stages,
            failed: None,
            published: Statistics::default(),
        }
    }

    pub fn watch(&mut self, lane: LaneWatch) {
        self.lanes.push(lane);
    }

    /// Joins `thread` when its stage ends.
    pub fn thread(&mut self, stage: Stage, thread: JoinHandle<()>) {
        self.stages[stage as usize].push(thread);
    }

    /// Watches until `shutdown`, until enough verdicts are given, or until every lane has ended.
    pub fn supervise(mut self, shutdown: impl Future<Output = ()>) -> Result<Summary, StationError> {
        let Some(runtime) = self.runtime.take() else { return Ok(self.summary()) };
        let (close_http, closing) = oneshot::channel::<()>();
        let http = self.listener.take().map(|listener| {
            let office = &self.office;
            let rooms = crate::http::Rooms {
                run: office.run.as_str().into(),
                metrics: office.metrics.clone(),
                health: self.health.clone(),
                review: office.review.clone(),
                album: office.album.clone(),
            };
            let closed = async move {
                let _ = closing.await;
            };
            runtime.spawn(crate::http::serve(listener, rooms, closed))
        });
        let watched = runtime.block_on(self.watch_over(shutdown));
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        self.end();
        let _ = close_http.send(());
        if let Some(http) = http
            && let Err(e) = runtime.block_on(http)
        {
            tracing::error!("the HTTP server: {e}");
        }
        watched?;
        match self.failed.take() {
            Some(thread) => Err(StationError::Failed(thread)),
            None => Ok(self.summary()),
        }
    }

    fn summary(&self) -> Summary {
        Summary { verdicts: self.office.verdicts.load(Ordering::Acquire) }
    }

    async fn watch_over(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), StationError> {
        tokio::pin!(shutdown);
        let mut hangup = signal(SignalKind::hangup()).map_err(StationError::system("listen for SIGHUP"))?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut status = tokio::time::interval(self.status_every);
        let watchdog_every = self.watchdog.map(|timeout| timeout / 3);
        let mut last_pet = Instant::now();
        // The network is ready and every thread runs. A camera that is not there yet, or a belt that stands, is no reason
        // for systemd to start anew; whether cells are seen is told by `/ready`, the metrics and the status messages.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let mut ready_told = false;
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                _ = hangup.recv() => self.reload_recipes(),
                _ = status.tick() => self.tell_status(true),
                _ = tick.tick() => {
                    if self.office.stop.is_set() {
                        return Ok(());
                    }
                    if self.stages[Stage::Verdicts as usize].iter().all(JoinHandle::is_finished) {
                        return self.ended_by_themselves();
                    }
                    if self.inspection_failed() {
                        return Err(StationError::Failed("inspection".into()));
                    }
                    if !self.office.publisher.is_running() {
                        return Err(StationError::Failed("publish".into()));
                    }
                    self.tell_status(false);
                    self.count_published();
                    if !ready_told && self.health.ready().is_ok() {
                        ready_told = true;
                        tracing::info!("ready");
                    }
                    if watchdog_every.is_some_and(|every| last_pet.elapsed() >= every) {
                        last_pet = Instant::now();
                        self.pet_watchdog();
                    }
                }
            }
        }
    }

    /// Without the inspection lanes that can wait would do so for ever.
    fn inspection_failed(&mut self) -> bool {
        let ended: Vec<_> = self.stages[Stage::Inspection as usize].extract_if(.., |thread| thread.is_finished()).collect();
        ended.into_iter().any(|thread| thread.join().is_err())
    }

    /// Every lane is over though nobody asked for it: as it should be after the last picture of a folder, not with a camera.
    fn ended_by_themselves(&self) -> Result<(), StationError> {
        match self.lanes.iter().find(|lane| lane.live && lane.state.now().camera == CameraState::Ended) {
            Some(lane) => Err(StationError::StreamEnded { lane: lane.state.name.to_string() }),
            None => Ok(()),
        }
    }

    fn count_published(&mut self) {
        let now = self.office.publisher.statistics();
        let before = std::mem::replace(&mut self.published, now);
        self.office.metrics.bad_requests(Socket::Requests, now.bad_requests - before.bad_requests);
        self.office.metrics.publish_failures(now.failed - before.failed);
    }

    /// Only progress feeds the watchdog: a corridor that hangs is restarted.
    fn pet_watchdog(&self) {
        let live = self.health.live();
        if live.is_ok() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the watchdog is not fed: {}", live.reasons.join("; "));
        }
    }

    fn reload_recipes(&self) {
        for lane in &self.lanes {
            let reloaded = lane.recipe.reload();
            self.office.metrics.recipe_reload(&lane.state.name, reloaded.is_ok());
            match reloaded {
                Ok(recipe) => tracing::info!(lane = %lane.state.name, recipe = recipe.name, "recipe reloaded"),
                Err(problems) => tracing::error!(lane = %lane.state.name, "the old recipe stays; the new one is refused:\n{problems}"),
            }
        }
    }

    /// Tells how each lane is doing: always where it is `due`, else only what has changed.
    fn tell_status(&mut self, due: bool) {
        let office = &self.office;
        for lane in &mut self.lanes {
            let now = lane.state.now();
            let state = (now.camera, now.belt(), now.no_wafer_since_unix_ns, now.no_gap_since_unix_ns);
            if !due && lane.told == Some(state) {
                continue;
            }
            lane.told = Some(state);
            let depth =
                |waiting: usize, capacity: Option<usize>| QueueDepth { waiting: waiting as u64, capacity: capacity.unwrap_or(0) as u64 };
            let rows = depth(lane.rows.len(), lane.rows.capacity());
            let events = depth(lane.events.len(), lane.events.capacity());
            let name = &lane.state.name;
            office.metrics.queue_depth(name, Queue::Blocks, lane.blocks.len(), lane.blocks.capacity().unwrap_or(0));
            office.metrics.queue_depth(name, Queue::Rows, lane.rows.len(), lane.rows.capacity().unwrap_or(0));
            office.metrics.queue_depth(name, Queue::Masks, lane.events.len(), lane.events.capacity().unwrap_or(0));
            office.metrics.belt_standing(name, now.camera == CameraState::Idle);
            let moment = Moment::now();
            let unix_ns = moment.unix_ns;
            if due {
                lane.note_seen(moment, hangs_at_most(self.watchdog) + lane.deadline);
            }
            let message = StatusMessage {
                schema: Default::default(),
                station: office.station.clone(),
                run: office.run.clone(),
                lane: name.to_string(),
                unix_ns,
                camera: now.camera,
                belt: state.1,
                since_unix_ns: now.since_unix_ns,
                no_wafer_since_unix_ns: now.no_wafer_since_unix_ns,
                no_gap_since_unix_ns: now.no_gap_since_unix_ns,
                cells: lane.state.cells(),
                lines_lost: lane.state.lines_lost(),
                queues: [("rows".to_owned(), rows), ("masks".to_owned(), events)].into(),
                model: office.model.clone(),
                recipe: Some(told(&lane.recipe.get())),
            };
            if let Err(e) = office.publisher.status(&message) {
                office.metrics.publish_failures(1);
                tracing::warn!(lane = %name, "a status message was not published: {e}");
            }
        }
    }

    /// Stops the threads in the order of the corridor. One that does not end is told and left behind.
    fn end(&mut self) {
        self.health.stopping();
        let stopped_at = Moment::now();
        self.office.stopper.stop();
        let all_until = Instant::now() + END_GRACE;
        let mut all_ended = true;
        for stage in Stage::ALL {
            // What writes ends when nobody can hand it anything any more.
            match (stage, &self.office.album) {
                (Stage::Ledger, _) => {
                    for lane in self.lanes.drain(..).filter(|_| all_ended) {
                        lane.note_seen(stopped_at, Duration::ZERO);
                    }
                }
                (Stage::Album, Some(album)) => album.close(),
                _ => {}
            }
            let until = stage_until(stage, all_until, Instant::now());
            for thread in std::mem::take(&mut self.stages[stage as usize]) {
                let name = thread.thread().name().unwrap_or("a thread").to_owned();
                while !thread.is_finished() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(2));
                }
                let waits_for_camera = !thread.is_finished() && self.waits_for_camera(&name);
                all_ended &= thread.is_finished() || waits_for_camera;
                if waits_for_camera {
                    tracing::info!("{name} still waits for its camera and is left behind");
                } else if !thread.is_finished() {
                    tracing::error!("{name} does not end and is left behind");
                } else if thread.join().is_err() {
                    tracing::error!("{name} has failed");
                    self.failed.get_or_insert(name);
                }
            }
        }
    }

    /// Whether `thread` is a lane's whose camera does not answer, which may hold it for longer than a station takes to end.
    fn waits_for_camera(&self, thread: &str) -> bool {
        let away = |camera| matches!(camera, CameraState::Starting | CameraState::Gone);
        self.lanes.iter().any(|lane| thread.strip_prefix("lane-") == Some(&*lane.state.name) && away(lane.state.now().camera))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Within so long a thread that hangs has been noticed and the station ended, by a watchdog that waits so long.
fn hangs_at_most(watchdog: Option<Duration>) -> Duration {
    STALL_AFTER + watchdog.unwrap_or(WATCHDOG).max(WATCHDOG) + ENDS_WITHIN
}

/// Until when the threads of `stage`, which is told to end `now`, are waited for, where all are until `all_until`.
fn stage_until(stage: Stage, all_until: Instant, now: Instant) -> Instant {
    let writes = matches!(stage, Stage::Ledger | Stage::Album);
    if writes { all_until.max(now + WRITER_GRACE) } else { all_until }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_has_time_of_its_own_after_a_lane_that_used_all_of_it() {
        let start = Instant::now();
        let (all_until, late) = (start + END_GRACE, start + END_GRACE + Duration::from_millis(3));
        assert_eq!([Stage::Ledger, Stage::Album].map(|stage| stage_until(stage, all_until, late)), [late + WRITER_GRACE; 2]);
        assert_eq!([Stage::Ledger, Stage::Album].map(|stage| stage_until(stage, all_until, start)), [all_until; 2]);
        assert_eq!([Stage::Lanes, Stage::Inspection, Stage::Verdicts].map(|stage| stage_until(stage, all_until, late)), [all_until; 3]);
    }

    /// A time of the unit's.
    fn of_unit(key: &str) -> Duration {
        let unit = include_str!("../../systemd/hairline@.service");
        let seconds = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.strip_suffix('s')?.parse().ok());
        Duration::from_secs(seconds.unwrap())
    }

    #[test]
    fn all_stages_end_before_the_unit_kills() {
        let (kills_after, second) = (of_unit("TimeoutStopSec"), Duration::from_secs(1));
        assert!(END_GRACE + 2 * WRITER_GRACE + 2 * second <= kills_after, "{kills_after:?}, two seconds of them for the sockets");
    }

    #[test]
    fn blind_time_covers_a_thread_that_hangs_however_long_the_watchdog_waits() {
        assert_eq!(WATCHDOG, of_unit("WatchdogSec"));
        let seconds = |watchdog: Option<u64>| hangs_at_most(watchdog.map(Duration::from_secs)).as_secs();
        assert_eq!([None, Some(5), Some(15), Some(60)].map(seconds), [50, 50, 50, 95]);
    }
}
