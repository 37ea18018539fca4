use super::{LaneTotals, ModelLabels, Queue, Socket, Stage, TelemetryError};
use crate::cell::{HoldReason, LossCause, Verdict, VerdictKind};
use crate::judge::RULES;
use crate::review::{Reviewed, Running};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::Arc;

/// Latency buckets in seconds: from a stage's share to the longest deadline that can be set.
const LATENCY_BUCKETS_S: [f64; 19] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// The `reason` of a pass, and of a reject without a rule.
const NO_REASON: &str = "none";

/// Every metric of the station, each named here and nowhere else. Cheap to clone; clones share values.
///
/// Counters of known labels start at 0, so that a first hold shows in `increase()`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    lanes: Arc<[Arc<str>]>,
    cells: IntCounterVec,
    defects: IntCounterVec,
    latency: HistogramVec,
    lines: IntCounterVec,
    lines_lost: IntCounterVec,
    camera_connected: IntGaugeVec,
    belt_standing: IntGaugeVec,
    no_wafer: IntGaugeVec,
    no_gap: IntGaugeVec,
    reconnects: IntCounterVec,
    blind: CounterVec,
    queue_depth: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    late_results: IntCounterVec,
    ledger_failures: IntCounterVec,
    pictures_kept: IntCounterVec,
    pictures_lost: IntCounterVec,
    model: IntGaugeVec,
    recipe_reloads: IntCounterVec,
    recipe_refused: IntGaugeVec,
    bad_requests: IntCounterVec,
    publish_failures: IntCounter,
    truth_pixels: IntCounterVec,
    reviewed: IntCounterVec,
    corrections: IntCounterVec,
    overkill: IntCounterVec,
    escape: IntCounterVec,
    running_iou: GaugeVec,
    running_pa: GaugeVec,
    running_oii: GaugeVec,
    running_cells: IntGaugeVec,
}

impl Metrics {
    /// The metrics of a station with these lanes, in a registry of their own, with those of the process
    /// (`hairline_process_…`) and of the build.
    pub fn new(lanes: &[Arc<str>]) -> Result<Self, TelemetryError> {
        let new = Maker { registry: Registry::new() };
        let metrics = Self {
            cells: new.counters(
                "cells_total",
                "Cells by verdict and reason: the hold's reason or the recipe's rule",
                &["lane", "verdict", "reason"],
            )?,
            defects: new.counters("defects_total", "Defects that counted on judged cells (held ones were not)", &["lane"])?,
            latency: new.latencies("latency_seconds", "Time a cell spent in each stage from its trailing edge on (wait, inspect: its last row); total: from its trailing edge to its published verdict")?,
            lines: new.counters("lines_total", "Lines that the camera delivered", &["lane"])?,
            lines_lost: new.counters(
                "lines_lost_total",
                "Lines that the camera exposed and that never arrived whole",
                &["lane", "cause"],
            )?,
            camera_connected: new.gauges("camera_connected", "1 while the camera is there", &["lane"])?,
            belt_standing: new.gauges("belt_standing", "1 while the camera is there and sends nothing", &["lane"])?,
            no_wafer: new.gauges("no_wafer", "1 while lines come and no wafer has been seen for ten cells: empty belt, or no light", &["lane"])?,
            no_gap: new.gauges("no_gap", "1 while no gap is seen between wafers, and so none of them: they have no verdicts", &["lane"])?,
            reconnects: new.counters("camera_reconnects_total", "Times the camera came back after it was lost", &["lane"])?,
            blind: new.float_counters("blind_seconds_total", "Time in which the lane saw nothing: no camera, no gap between wafers, lines of a wafer or more lost, station down", &["lane"])?,
            queue_depth: new.gauges("queue_depth", "Entries waiting in a queue", &["lane", "queue"])?,
            queue_capacity: new.gauges("queue_capacity", "Entries that a queue can hold", &["lane", "queue"])?,
            late_results: new.counters("late_results_total", "Results of the network that came after their cell's deadline", &["lane"])?,
            ledger_failures: new.counters("ledger_failures_total", "Writes that the ledger did not confirm", &["lane"])?,
            pictures_kept: new.counters("album_pictures_total", "Pictures of cells that the album has written", &["lane"])?,
            pictures_lost: new.counters("album_pictures_lost_total", "Pictures that the disk did not take (in time)", &["lane"])?,
            model: new.gauges("model_info", "The model in use; always 1", &["name", "digest", "device", "shape"])?,
            recipe_reloads: new.counters("recipe_reloads_total", "Recipes read again, by result", &["lane", "result"])?,
            recipe_refused: new.gauges("recipe_refused", "1 from a recipe that was refused until one is accepted", &["lane"])?,
            bad_requests: new.counters("bad_requests_total", "Requests that were refused", &["socket"])?,
            publish_failures: new.counter("publish_failures_total", "Messages that could not be put on the feed")?,
            truth_pixels: new.counters(
                "truth_pixels_total",
                "Pixels of judged cells: tp found, fp false alarm, fn missed",
                &["lane", "outcome"],
            )?,
            reviewed: new.counters(
                "reviewed_cells_total",
                "Cells about which the truth was told, by verdict and truth",
                &["lane", "verdict", "truth"],
            )?,
            corrections: new.counters("truth_corrections_total", "Truths that replaced an earlier one", &["lane"])?,
            overkill: new.counters("overkill_cells_total", "Cells without a crack that were rejected, and not for a missing corner", &["lane"])?,
            escape: new.counters("escape_cells_total", "Cells that passed with a crack that was missed", &["lane"])?,
            running_iou: new.float_gauges("running_iou", "Intersection over union over the last judged cells", &["lane"])?,
            running_pa: new.float_gauges("running_pa", "Pixel accuracy (recall of crack pixels) over the last judged cells", &["lane"])?,
            running_oii: new.float_gauges(
                "running_oii",
                "Output imbalance index over the last judged cells: above 0 overkill, below 0 escape",
                &["lane"],
            )?,
            running_cells: new.gauges("running_cells", "Judged cells that the running values are taken over", &["lane"])?,
            lanes: lanes.into(),
            registry: new.registry,
        };
        metrics.process()?;
        lanes.iter().for_each(|lane| metrics.start_at_zero(lane));
        for socket in [Socket::Http, Socket::Requests] {
            metrics.bad_requests.with_label_values(&[socket.name()]);
        }
        Ok(metrics)
    }

    fn process(&self) -> Result<(), TelemetryError> {
        let pid = i32::try_from(std::process::id()).map_err(|e| prometheus::Error::Msg(e.to_string()))?;
        Ok(self.registry.register(Box::new(ProcessCollector::new(pid, "hairline")))?)
    }

    /// Tells what the program is: its version, the commit that it is built from (empty where that is not known), and its features.
    ///
    /// # Errors
    /// It was told before.
    pub fn built_from(&self, commit: &str) -> Result<(), TelemetryError> {
        let features = [("cuda", cfg!(feature = "cuda")), ("cudnn", cfg!(feature = "cudnn"))];
        let features: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        let told = options("build_info", "Version, commit and features of this build; always 1");
        let build = IntGaugeVec::new(told, &["version", "commit", "features"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), commit, &features.join(",")]).set(1);
        Ok(self.registry.register(Box::new(build))?)
    }

    fn start_at_zero(&self, lane: &str) {
        for kind in [VerdictKind::Pass, VerdictKind::Reject] {
            self.cells.with_label_values(&[lane, kind.name(), NO_REASON]);
        }
        for rule in RULES {
            self.cells.with_label_values(&[lane, VerdictKind::Reject.name(), rule]);
        }
        for reason in HoldReason::NAMES {
            self.cells.with_label_values(&[lane, VerdictKind::Hold.name(), reason]);
        }
        for cause in [LossCause::FramesMissing, LossCause::FrameDamaged, LossCause::Overload] {
            self.lines_lost.with_label_values(&[lane, cause_name(cause)]);
        }
        for stage in Stage::ALL {
            self.latency.with_label_values(&[lane, stage.name()]);
        }
        for outcome in ["tp", "fp", "fn"] {
            self.truth_pixels.with_label_values(&[lane, outcome]);
        }
        for verdict in [VerdictKind::Pass, VerdictKind::Reject, VerdictKind::Hold] {
            for truth in ["good", "cracked"] {
                self.reviewed.with_label_values(&[lane, verdict.name(), truth]);
            }
        }
        for result in ["accepted", "refused"] {
            self.recipe_reloads.with_label_values(&[lane, result]);
        }
        let by_lane = [&self.defects, &self.lines, &self.reconnects, &self.late_results, &self.ledger_failures];
        let of_people = [&self.corrections, &self.overkill, &self.escape, &self.pictures_kept, &self.pictures_lost];
        for counter in by_lane.into_iter().chain(of_people) {
            counter.with_label_values(&[lane]);
        }
        self.blind.with_label_values(&[lane]);
        self.camera_connected.with_label_values(&[lane]);
        self.belt_standing.with_label_values(&[lane]);
        self.no_wafer.with_label_values(&[lane]);
        self.no_gap.with_label_values(&[lane]);
        self.recipe_refused.with_label_values(&[lane]);
        self.running_cells.with_label_values(&[lane]);
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> Result<String, TelemetryError> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(TelemetryError::Render)
    }

    /// The lanes of the station.
    pub fn lanes(&self) -> &[Arc<str>] {
        &self.lanes
    }

    /// A verdict was given, whether it could be published or not; `rule` is the recipe's rule that rejected the cell,
    /// `defects` how many counted on it, left out where it is held.
    pub fn verdict(&self, lane: &str, verdict: &Verdict, rule: Option<&str>, defects: usize) {
        let reason = match verdict {
            Verdict::Hold(reason) => reason.name(),
            Verdict::Reject => rule.unwrap_or(NO_REASON),
            Verdict::Pass => NO_REASON,
        };
        self.cells.with_label_values(&[lane, verdict.kind().name(), reason]).inc();
        if !matches!(verdict, Verdict::Hold(_)) {
            self.defects.with_label_values(&[lane]).inc_by(defects as u64);
        }
    }

    /// A cell spent `seconds` in a stage.
    pub fn latency(&self, lane: &str, stage: Stage, seconds: f64) {
        self.latency.with_label_values(&[lane, stage.name()]).observe(seconds);
    }

    /// The camera delivered `lines`.
    pub fn lines_seen(&self, lane: &str, lines: u64) {
        self.lines.with_label_values(&[lane]).inc_by(lines);
    }

    /// `lines` are missing.
    pub fn lines_lost(&self, lane: &str, cause: LossCause, lines: u64) {
        self.lines_lost.with_label_values(&[lane, cause_name(cause)]).inc_by(lines);
    }

    /// The camera is there, or gone.
    pub fn camera_connected(&self, lane: &str, connected: bool) {
        self.camera_connected.with_label_values(&[lane]).set(connected.into());
    }

    /// The belt stands (the camera sends nothing), or moves again.
    pub fn belt_standing(&self, lane: &str, standing: bool) {
        self.belt_standing.with_label_values(&[lane]).set(standing.into());
    }

    /// Lines come and no wafer has been seen for long, or one is seen again.
    pub fn no_wafer(&self, lane: &str, none: bool) {
        self.no_wafer.with_label_values(&[lane]).set(none.into());
    }

    /// No gap is seen between wafers, or there is one again.
    pub fn no_gap(&self, lane: &str, none: bool) {
        self.no_gap.with_label_values(&[lane]).set(none.into());
    }

    /// The camera came back after it was lost.
    pub fn reconnect(&self, lane: &str) {
        self.reconnects.with_label_values(&[lane]).inc();
    }

    /// The lane saw nothing for another `seconds`.
    pub fn blind_seconds(&self, lane: &str, seconds: f64) {
        self.blind.with_label_values(&[lane]).inc_by(seconds.max(0.0));
    }

    /// `depth` of `capacity` entries wait in a queue.
    pub fn queue_depth(&self, lane: &str, queue: Queue, depth: usize, capacity: usize) {
        self.queue_depth.with_label_values(&[lane, queue.name()]).set(depth as i64);
        self.queue_capacity.with_label_values(&[lane, queue.name()]).set(capacity as i64);
    }

    /// The network finished a cell whose deadline had passed.
    pub fn late_result(&self, lane: &str) {
        self.late_results.with_label_values(&[lane]).inc();
    }

    /// The ledger did not confirm a write.
    pub fn ledger_failure(&self, lane: &str) {
        self.ledger_failures.with_label_values(&[lane]).inc();
    }

    /// A picture is on the album's disk.
    pub fn picture_kept(&self, lane: &str) {
        self.pictures_kept.with_label_values(&[lane]).inc();
    }

    /// The disk did not take a picture of the album, or was too slow for it.
    pub fn picture_lost(&self, lane: &str) {
        self.pictures_lost.with_label_values(&[lane]).inc();
    }

    /// This model is in use from now on, and no other.
    pub fn model_in_use(&self, model: &ModelLabels) {
        self.model.reset();
        self.model.with_label_values(&[&model.name, &model.digest, &model.device, &model.shape]).set(1);
    }

    /// A recipe was read again and taken over, or refused.
    pub fn recipe_reload(&self, lane: &str, accepted: bool) {
        self.recipe_reloads.with_label_values(&[lane, if accepted { "accepted" } else { "refused" }]).inc();
        self.recipe_refused.with_label_values(&[lane]).set((!accepted).into());
    }

    /// So many more things that came on a socket were refused.
    pub fn bad_requests(&self, socket: Socket, more: u64) {
        self.bad_requests.with_label_values(&[socket.name()]).inc_by(more);
    }

    /// So many more messages were not put on the feed.
    pub fn publish_failures(&self, more: u64) {
        self.publish_failures.inc_by(more);
    }

    /// The truth about a cell was told. A correction adds only what it shows beyond the truth it
    /// replaces (see [`Reviewed::new_counts`]): counters never shrink.
    pub fn reviewed(&self, lane: &str, reviewed: &Reviewed) {
        let counts = reviewed.new_counts();
        for (outcome, pixels) in [("tp", counts.tp), ("fp", counts.fp), ("fn", counts.fn_)] {
            self.truth_pixels.with_label_values(&[lane, outcome]).inc_by(pixels);
        }
        self.overkill.with_label_values(&[lane]).inc_by(reviewed.is_new_overkill().into());
        self.escape.with_label_values(&[lane]).inc_by(reviewed.is_new_escape().into());
        if reviewed.replaced.is_some() {
            self.corrections.with_label_values(&[lane]).inc();
        } else {
            let truth = if reviewed.outcome.truly_cracked { "cracked" } else { "good" };
            self.reviewed.with_label_values(&[lane, reviewed.outcome.disposition.verdict.name(), truth]).inc();
        }
    }

    /// IoU, PA and OII over the last judged cells; their series appear with the first one.
    pub fn running(&self, lane: &str, running: &Running) {
        self.running_cells.with_label_values(&[lane]).set(running.cells as i64);
        if running.cells > 0 {
            self.running_iou.with_label_values(&[lane]).set(running.iou);
            self.running_pa.with_label_values(&[lane]).set(running.pa);
            self.running_oii.with_label_values(&[lane]).set(running.oii);
        }
    }

    /// Sums of a lane since the start.
    pub fn totals(&self, lane: &str) -> LaneTotals {
        let held = |reason| (reason, self.cells.with_label_values(&[lane, VerdictKind::Hold.name(), reason]).get());
        LaneTotals {
            pass: sum(&self.cells, &[("lane", lane), ("verdict", "pass")]),
            reject: sum(&self.cells, &[("lane", lane), ("verdict", "reject")]),
            hold: sum(&self.cells, &[("lane", lane), ("verdict", "hold")]),
            holds: HoldReason::NAMES.into_iter().map(held).filter(|(_, cells)| *cells > 0).collect(),
            lines_lost: sum(&self.lines_lost, &[("lane", lane)]),
            camera_connected: self.camera_connected.with_label_values(&[lane]).get() == 1,
            no_wafer: self.no_wafer.with_label_values(&[lane]).get() == 1,
            no_gap: self.no_gap.with_label_values(&[lane]).get() == 1,
        }
    }
}

/// Sum of the counters that carry all these labels.
fn sum(counters: &IntCounterVec, labels: &[(&str, &str)]) -> u64 {
    let families = counters.collect();
    let all = families.iter().flat_map(|family| family.get_metric());
    let fits = |metric: &&prometheus::proto::Metric| {
        labels.iter().all(|(name, value)| metric.get_label().iter().any(|l| l.name() == *name && l.value() == *value))
    };
    all.filter(fits).map(|metric| metric.get_counter().get_value() as u64).sum()
}

fn cause_name(cause: LossCause) -> &'static str {
    match cause {
        LossCause::FramesMissing => "frames_missing",
        LossCause::FrameDamaged => "frame_damaged",
        LossCause::Overload => "overload",
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("hairline")
}

/// Makes metrics and registers them.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> Result<M, TelemetryError> {
        let metric = metric?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, TelemetryError> {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, TelemetryError> {
        self.register(IntCounter::with_opts(options(name, help)))
    }

    fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, TelemetryError> {
        self.register(CounterVec::new(options(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, TelemetryError> {
        self.register(IntGaugeVec::new(options(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, TelemetryError> {
        self.register(GaugeVec::new(options(name, help), labels))
    }

    fn latencies(&self, name: &str, help: &str) -> Result<HistogramVec, TelemetryError> {
        let options = HistogramOpts::new(name, help).namespace("hairline").buckets(LATENCY_BUCKETS_S.to_vec());
        self.register(HistogramVec::new(options, &["lane", "stage"]))
    }
}
