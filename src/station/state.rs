use super::backlog::Backlog;
use crate::cell::{LossCause, Moment};
use crate::publish::wire::{BeltState, CameraState};
use crate::stitch;
use crate::telemetry::{Health, Metrics};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// How a lane is doing, for its status messages; keeps metrics and health in step.
pub(super) struct LaneState {
    pub name: Arc<str>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    now: Mutex<Now>,
    lines_lost: AtomicU64,
    cells: AtomicU64,
    pub backlog: Backlog,
}

/// Camera and belt, and since when they have been so.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub camera: CameraState,
    pub in_cell: bool,
    pub since_unix_ns: i64,
    /// Since when lines come and no wafer is seen, where that is for long.
    pub no_wafer_since_unix_ns: Option<i64>,
    /// Since when no gap between wafers, and so none of them, is seen.
    pub no_gap_since_unix_ns: Option<i64>,
    /// A wafer fits into the lines that are lost and are not told as blind time yet.
    pub losing: bool,
}

impl Now {
    /// What the belt does, as far as the lines tell.
    pub fn belt(&self) -> BeltState {
        match (self.camera, self.in_cell) {
            (CameraState::Connected, _) => BeltState::Moving,
            (_, true) => BeltState::StandsInCell,
            (_, false) => BeltState::StandsInGap,
        }
    }
}

impl LaneState {
    pub fn new(name: Arc<str>, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let now = Now {
            camera: CameraState::Starting,
            in_cell: false,
            since_unix_ns: Moment::now().unix_ns,
            no_wafer_since_unix_ns: None,
            no_gap_since_unix_ns: None,
            losing: false,
        };
        let (lines_lost, cells, backlog) = (AtomicU64::new(0), AtomicU64::new(0), Backlog::default());
        Self { name, metrics, health, now: Mutex::new(now), lines_lost, cells, backlog }
    }

    /// Lines came.
    pub fn lines(&self, lines: u64) {
        self.metrics.lines_seen(&self.name, lines);
    }

    /// Lines did not come.
    pub fn lost(&self, cause: LossCause, lines: u64) {
        self.lines_lost.fetch_add(lines, Ordering::Relaxed);
        self.metrics.lines_lost(&self.name, cause, lines);
    }

    /// The camera is in this state.
    pub fn camera(&self, camera: CameraState) {
        let mut now = self.lock();
        if now.camera == camera {
            return;
        }
        let is_there = matches!(camera, CameraState::Connected | CameraState::Idle);
        if is_there {
            self.health.camera_ready(&self.name);
        }
        self.metrics.camera_connected(&self.name, is_there);
        if camera == CameraState::Idle && now.in_cell {
            tracing::warn!(lane = %self.name, "the belt stands in the middle of a cell");
        }
        now.camera = camera;
        now.since_unix_ns = Moment::now().unix_ns;
    }

    /// The camera was got back after being lost.
    pub fn reconnected(&self) {
        self.metrics.reconnect(&self.name);
    }

    /// Where the stitcher stands.
    pub fn belt(&self, belt: &stitch::BeltState) {
        self.lock().in_cell = matches!(belt, stitch::BeltState::InCell { .. });
    }

    /// Since when lines have come without a wafer, where that is for long; `None`: one is seen. Logged once a spell.
    pub fn no_wafer_since(&self, since: Option<Moment>) {
        let mut now = self.lock();
        let before = std::mem::replace(&mut now.no_wafer_since_unix_ns, since.map(|since| since.unix_ns));
        match (before, since) {
            (None, Some(_)) => {
                tracing::warn!(lane = %self.name, "no wafer is seen: is the belt empty? Else check light, lens and `belt.edge_level`");
                self.metrics.no_wafer(&self.name, true);
            }
            (Some(_), None) => {
                self.metrics.no_wafer(&self.name, false);
            }
            _ => {}
        }
    }

    /// Since when no gap has been seen after a cell that never ended; `None`: there is one again.
    pub fn no_gap_since(&self, since: Option<Moment>) {
        self.lock().no_gap_since_unix_ns = since.map(|since| since.unix_ns);
        self.metrics.no_gap(&self.name, since.is_some());
    }

    /// Whether a wafer fits into the lines that are lost and are not told as blind time yet.
    pub fn losing(&self, losing: bool) {
        self.lock().losing = losing;
    }

    /// A verdict was given.
    pub fn cell(&self, number: u64) {
        self.cells.store(number, Ordering::Relaxed);
    }

    pub fn now(&self) -> Now {
        *self.lock()
    }

    pub fn cells(&self) -> u64 {
        self.cells.load(Ordering::Relaxed)
    }

    pub fn lines_lost(&self) -> u64 {
        self.lines_lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
