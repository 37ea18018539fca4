//! From a configuration to a running station: everything is loaded, checked and bound before a lane starts. What has threads of its
//! own until then (network, album, publisher, HTTP) ends with [`Prepared`].

use super::empty::EmptyBelt;
use super::inspection::{Lanes, WarmThread};
use super::lane::{CellBudget, LaneWorker};
use super::long_loss::LongLoss;
use super::queue::{DeskEvent, InspectJob};
use super::recipes::{self, RecipeSlot, Use};
use super::recorder::Recorder;
use super::state::LaneState;
use super::supervisor::{LaneWatch, Running, STALL_AFTER, Stage};
use super::verdicts::{MARGIN, Office, VerdictWorker};
use super::{RunOptions, StationError};
use crate::album::Album;
use crate::camera::CameraLink;
use crate::cell::{CELL_PX, Moment};
use crate::config::{self, CameraKind, Lane, Precision, StationConfig};
use crate::inspect::{self, Inspectors};
use crate::ledger::Ledger;
use crate::nn::{Checkpoint, CheckpointMeta};
use crate::publish::wire::ModelInfo;
use crate::publish::{Bindings, Publisher, StationId};
use crate::review::Review;
use crate::stitch::{Calibration, CalibrationError, StitchError, Stitcher};
use crate::stop::Stop;
use crate::telemetry::{Health, Metrics, ModelLabels};
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

/// What a lane's verdict thread may have waiting: more than all rows and cells that can be on their way.
const DESK_QUEUE: usize = 256;
/// Carrier ids that may wait for their cells, for each lane.
const BINDINGS: usize = 4096;

/// Millimetres a stitched pixel stands for: the wafer's longer side is 1344 px.
pub(super) fn mm_per_px(lane: &Lane) -> f64 {
    lane.wafer.width_mm.max(lane.wafer.length_mm) / CELL_PX as f64
}

pub(super) fn calibration(lane: &Lane) -> Result<Option<Calibration>, CalibrationError> {
    let Some(file) = &lane.calibration else { return Ok(None) };
    let calibration = Calibration::load(file)?;
    let id = if let CameraKind::Gige(gige) = &lane.camera.kind { &gige.id } else { "" };
    calibration.fits(line_px(lane).unwrap_or(calibration.width_px), id)?;
    Ok(Some(calibration))
}

/// Pixels of the lane's lines, where its configuration tells.
fn line_px(lane: &Lane) -> Option<u32> {
    match &lane.camera.kind {
        CameraKind::Gige(gige) => gige.width_px,
        CameraKind::Files(files) => files.width_px,
        CameraKind::Simulated(simulated) => Some(simulated.width_px),
        CameraKind::Gstreamer(_) => None,
    }
}

pub(super) fn stitcher(lane: &Lane, calibration: Option<&Calibration>) -> Result<Stitcher, StitchError> {
    Stitcher::new(lane.name.clone(), &lane.wafer, &lane.belt, calibration)
}

/// A camera coarser than what the model was trained on: the key that tells its scale, and what is wrong. Stitched pixels are
/// as large as the model wants them all the same, but show no more than the camera's.
pub(super) fn coarse_camera(lane: &Lane, calibration: Option<&Calibration>, meta: &CheckpointMeta) -> Option<(&'static str, String)> {
    let belt = lane.belt.mm_per_px.zip(lane.belt.mm_per_line);
    let (mm_per_px, mm_per_line) = calibration.map(|c| (c.mm_per_px, c.mm_per_line)).or(belt)?;
    let (mm, of, key) =
        if mm_per_px >= mm_per_line { (mm_per_px, "pixel", "belt.mm_per_px") } else { (mm_per_line, "line", "belt.mm_per_line") };
    let what = format!(
        "gives {mm:.3} mm for a camera {of}, coarser than the {:.3} mm that the model {:?} is good for: fine cracks do not show",
        meta.mm_per_px_max, meta.name
    );
    (mm > meta.mm_per_px_max).then_some((if calibration.is_some() { "calibration" } else { key }, what))
}

/// What to do about a [`coarse_camera`].
pub(super) const COARSE_CAMERA: &str = "take a finer camera, lens or line rate, or a model trained on such pictures";

/// Lines too short to show gap on both sides of a wafer.
pub(super) struct ShortLines {
    /// The key that tells so.
    pub key: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// Whether every wafer is held, not only those that lie turned.
    pub every: bool,
}

/// Pixels that a line must have beyond a wafer's own and its gap: an outline is measured up to half a pixel farther out on each side, and
/// what lies in the middle of the belt may lie half a pixel off the middle of the line.
const MEASURED_WIDER_PX: u32 = 2;

/// Lines on which wafers would be held for want of gap beside them: all of them, or those turned as far as the belt allows.
pub(super) fn short_lines(lane: &Lane, calibration: Option<&Calibration>, stitcher: &Stitcher) -> Option<ShortLines> {
    let line_px = calibration.map(|c| c.width_px).or(line_px(lane))?;
    let on_belt = (lane.belt.skew_deg_max, "belt.skew_deg_max");
    let (skew_deg, skew_key) = match &lane.camera.kind {
        CameraKind::Simulated(drawn) if drawn.skew_deg_max < on_belt.0 => (drawn.skew_deg_max, "camera.skew_deg_max"),
        CameraKind::Files(files) if files.whole_cells => (0.0, on_belt.1),
        _ => on_belt,
    };
    let told = |takes_px: u32, held: &str| format!("takes {takes_px} px with a pixel of gap on both sides, the line has {line_px}: {held}");
    let [straight_px, turned_px] = [0.0, skew_deg].map(|skew_deg| stitcher.line_px_min(skew_deg) + MEASURED_WIDER_PX);
    if straight_px > line_px {
        let (key, mm_per_px) = match calibration {
            Some(calibration) => ("calibration", calibration.mm_per_px),
            None => ("belt.mm_per_px", lane.belt.mm_per_px?),
        };
        let what = format!(
            "gives {mm_per_px:.4} mm for a pixel: a wafer {} mm wide {}",
            lane.wafer.width_mm,
            told(straight_px, "every one of that size is held")
        );
        return Some(ShortLines { key, what, every: true });
    }
    let what = || format!("is {skew_deg}: a wafer turned so far {}", told(turned_px, "it is held"));
    (turned_px > line_px).then(|| ShortLines { key: skew_key, what: what(), every: false })
}

/// What to do about [`ShortLines`].
pub(super) const SHORT_LINES: &str = "correct it, or have the camera see more of the belt";

struct PreparedLane {
    lane: Lane,
    stitcher: Stitcher,
    empty: EmptyBelt,
    long_loss: LongLoss,
    recipe: Arc<RecipeSlot>,
}

/// Everything loaded and bound, and no lane running yet. Dropping it ends the threads that there are.
pub(super) struct Prepared {
    lanes: Vec<PreparedLane>,
    inspection: WarmThread,
    office: Office,
    ledger: Arc<Ledger>,
    album: Option<OpenAlbum>,
    health: Arc<Health>,
    runtime: tokio::runtime::Runtime,
    listener: tokio::net::TcpListener,
    status_every: Duration,
}

impl Prepared {
    pub fn new(config: &StationConfig, mut options: RunOptions) -> Result<Self, StationError> {
        crate::nn::keep_off(&config.network.threads);
        let checkpoint = match options.checkpoint.take() {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::load(&config.network.model)?,
        };
        let threshold = Some(checkpoint.meta.threshold);
        let with = |lane: &Lane| Use { lane: lane.name.clone(), mm_per_px: mm_per_px(lane), threshold };
        let read = |(i, lane)| recipes::of_lane(config, i, lane, &with(lane)).map(recipes::warned);
        let recipes = config.lanes.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>().map_err(StationError::Recipe)?;
        let asked = recipes.iter().filter_map(|recipe| recipe.precision);
        let precisions: Arc<[Precision]> = asked.chain([config.network.precision]).collect();
        let (model, network, others) = (checkpoint.clone(), config.network.clone(), precisions.clone());
        let inspection = WarmThread::start(move || Inspectors::new(&model, &network, others.iter().copied()))?;
        let mut lanes = Vec::new();
        for (lane, recipe) in config.lanes.iter().zip(recipes) {
            inspect::check_pitch(&checkpoint.meta, &lane.name, mm_per_px(lane))?;
            let unfit = |source| StationError::Calibration { lane: lane.name.to_string(), source };
            let calibration = calibration(lane).map_err(unfit)?;
            let stitcher = stitcher(lane, calibration.as_ref())?;
            if let Some((key, what)) = coarse_camera(lane, calibration.as_ref(), &checkpoint.meta) {
                tracing::warn!(lane = %lane.name, "`{key}` {what}; {COARSE_CAMERA}");
            }
            if let Some(ShortLines { key, what, .. }) = short_lines(lane, calibration.as_ref(), &stitcher) {
                tracing::warn!(lane = %lane.name, "`{key}` {what}; {SHORT_LINES}");
            }
            let mm_per_line = calibration.map(|c| c.mm_per_line).or(lane.belt.mm_per_line);
            let lines = |mm: f64| mm_per_line.map_or(f64::INFINITY, |mm_per_line| mm / mm_per_line);
            let empty = EmptyBelt::new(lines(lane.wafer.length_mm));
            let long_loss = LongLoss::new(lines(lane.wafer.length_mm - lane.wafer.tolerance_mm));
            let recipe = Arc::new(RecipeSlot::new(lane.recipe.clone(), recipe, precisions.clone()).used(with(lane)));
            lanes.push(PreparedLane { lane: lane.clone(), stitcher, empty, long_loss, recipe });
        }
        let names: Vec<Arc<str>> = config.lanes.iter().map(|l| l.name.clone()).collect();
        let metrics = Arc::new(Metrics::new(&names)?);
        metrics.built_from(&options.commit)?;
        let health = Health::new(&names, STALL_AFTER);
        let ledger = Arc::new(Ledger::open(&config.station.data_dir, config.station.keep_days)?);
        let album = config.album.as_ref().map(|settings| OpenAlbum::open(settings, &metrics)).transpose()?;
        let run = uuid::Uuid::now_v7().to_string();
        let bindings = Arc::new(Bindings::new(names.iter().cloned(), BINDINGS));
        let id = StationId { station: config.station.name.clone(), run: run.clone(), lanes: names };
        let publishes = health.pulse("publish");
        let publisher = Arc::new(Publisher::start(id, &config.publish, ledger.clone(), bindings.clone(), move || publishes.beat())?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("service").enable_all().build();
        let runtime = runtime.map_err(StationError::system("start the HTTP server's runtime"))?;
        let listener = runtime.block_on(crate::http::bind(config.http.listen))?;
        let http = listener.local_addr().map_err(StationError::system("tell where the HTTP server listens"))?;
        tracing::info!(%http, "serving");
        if let Some(told) = options.on_start.take() {
            let (feed, requests) = publisher.endpoints();
            told(super::Endpoints { feed: feed.to_owned(), requests: requests.to_owned(), http });
        }
        let info = inspection.info();
        health.warmed_up();
        tracing::info!(run, model = info.name, engine = info.engine, "warm");
        metrics.model_in_use(&ModelLabels {
            name: info.name.clone(),
            digest: info.digest.clone(),
            device: info.engine.clone(),
            shape: checkpoint.meta.shape.to_string(),
        });
        let (stopper, stop) = Stop::pair();
        let office = Office {
            station: config.station.name.clone(),
            run,
            model: ModelInfo { name: info.name.clone(), digest: info.digest.clone() },
            model_threshold: info.threshold,
            metrics,
            review: Arc::new(Review::new(&config.review)),
            album: album.as_ref().map(|open| open.album.clone()),
            publisher,
            bindings,
            observer: options.observer,
            verdicts: AtomicU64::new(0),
            wanted: options.cells,
            stopper,
            stop,
        };
        let status_every = Duration::from_secs_f64(config.publish.status_every_s);
        Ok(Self { lanes, inspection, office, ledger, album, health, runtime, listener, status_every })
    }

    /// Starts every thread that does not run yet. Where a camera cannot be started, what was started before is stopped again.
    pub fn start(self) -> Result<Running, StationError> {
        let office = Arc::new(self.office);
        let mut running = Running::new(self.runtime, self.listener, office.clone(), self.health.clone(), self.status_every);
        let (recorder, thread) =
            Recorder::start(self.ledger.clone(), office.run.clone(), office.metrics.clone(), self.health.pulse("ledger"))
                .map_err(StationError::thread("ledger"))?;
        running.thread(Stage::Ledger, thread);
        if let Some(thread) = self.album.and_then(OpenAlbum::into_thread) {
            running.thread(Stage::Album, thread);
        }
        let budget = Arc::new(CellBudget::new(office.wanted));
        let (mut jobs, mut desks) = (Vec::new(), Vec::new());
        for prepared in self.lanes {
            let name = prepared.lane.name.clone();
            let state = Arc::new(LaneState::new(name.clone(), office.metrics.clone(), self.health.clone()));
            let (rows, rows_out) = bounded::<InspectJob>(prepared.lane.queue_rows);
            let (desk, events) = bounded::<DeskEvent>(DESK_QUEUE);
            let deadline = prepared.lane.deadline_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0));
            let verdicts = VerdictWorker {
                office: office.clone(),
                recorder: recorder.clone(),
                state: state.clone(),
                recipe: prepared.recipe.clone(),
                mm_per_px: mm_per_px(&prepared.lane),
                deadline,
                events: events.clone(),
                pulse: self.health.pulse(format!("verdicts {name}")),
            };
            tell_downtime(&verdicts, &self.ledger, &name);
            let lane = &prepared.lane;
            let link = CameraLink::start(&lane.name, &lane.camera, &lane.wafer, &lane.belt, lane.queue_blocks)
                .map_err(|source| StationError::Camera { lane: name.to_string(), source })?;
            let blocks = link.events().clone();
            let worker = LaneWorker {
                link,
                stitcher: prepared.stitcher,
                empty: prepared.empty,
                long_loss: prepared.long_loss,
                bindings: office.bindings.clone(),
                can_wait: lane.camera.can_wait(),
                deadline: deadline.map(|d| d.saturating_sub(MARGIN)),
                recipe: prepared.recipe.clone(),
                jobs: rows.clone(),
                desk: desk.clone(),
                state: state.clone(),
                budget: budget.clone(),
                stop: office.stop.clone(),
                pulse: self.health.pulse(format!("lane {name}")),
            };
            running.watch(LaneWatch {
                state,
                recipe: prepared.recipe,
                rows: rows_out.clone(),
                events,
                live: !lane.camera.can_wait(),
                blocks,
                recorder: recorder.clone(),
                deadline: deadline.unwrap_or_default(),
                told: None,
            });
            running.thread(Stage::Lanes, spawn(format!("lane-{name}"), move || worker.run())?);
            running.thread(Stage::Verdicts, spawn(format!("verdicts-{name}"), move || verdicts.run())?);
            jobs.push(rows_out);
            desks.push(desk);
        }
        let lanes = Lanes { jobs, desks, pulse: self.health.pulse("inspection") };
        let thread = self.inspection.serve(lanes).ok_or_else(|| StationError::Failed("inspection".into()))?;
        running.thread(Stage::Inspection, thread);
        Ok(running)
    }
}

/// The album that the configuration asks for, and its thread, which no watchdog waits for: the line can do without it. Dropping it
/// closes the album and joins the thread.
struct OpenAlbum {
    album: Arc<Album>,
    thread: Option<JoinHandle<()>>,
}

impl OpenAlbum {
    fn open(settings: &config::Album, metrics: &Arc<Metrics>) -> Result<Self, StationError> {
        let (kept, lost) = (metrics.clone(), metrics.clone());
        let (album, thread) = Album::open(settings, move |lane| kept.picture_kept(lane), move |lane| lost.picture_lost(lane))?;
        Ok(Self { album: Arc::new(album), thread: Some(thread) })
    }

    /// Hands the thread over to whoever closes the album and joins it.
    fn into_thread(mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }
}

impl Drop for OpenAlbum {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.album.close();
        if thread.join().is_err() {
            tracing::error!("the thread `album` has failed");
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StationError> {
    std::thread::Builder::new().name(name.clone()).spawn(work).map_err(StationError::thread(&name))
}

/// The time since the ledger last saw this lane was blind.
fn tell_downtime(verdicts: &VerdictWorker, ledger: &Ledger, lane: &str) {
    let now = Moment::now().unix_ns;
    match ledger.last_seen_unix_ns(lane, now) {
        Ok(Some(seen)) => verdicts.tell_blind(seen, now, "the station was not running"),
        Ok(None) => {}
        Err(e) => tracing::error!(lane, "when the lane was last seen is not known: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_to_be_too_short_up_to_the_width_on_which_a_measured_wafer_has_gap() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("station.toml");
        let told = |width_px: u32| {
            let lane = format!("path = \"p\"\ncell_px = 1300\nwidth_px = {width_px}\n[lane.wafer]\nformat = \"M2\"\n");
            let text = format!("[network]\nmodel = \"m\"\n[[lane]]\nname = \"a\"\nrecipe = \"r\"\n[lane.camera]\nkind = \"files\"\n{lane}");
            std::fs::write(&file, text).unwrap();
            let (config, _) = StationConfig::load(&file).unwrap();
            let lane = &config.lanes[0];
            short_lines(lane, None, &stitcher(lane, None).unwrap()).map(|short| (short.every, short.what))
        };
        for width_px in [1302, 1303] {
            let (every, what) = told(width_px).unwrap();
            assert!(every && what.contains("takes 1304 px"), "{what}");
        }
        assert_eq!(told(1304), None);
    }
}
