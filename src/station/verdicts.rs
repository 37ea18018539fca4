//! The verdict thread of a lane: judges the cells that the desk lets go, records, publishes and counts
//! them.

mod judged;
mod recorded;

use super::desk::{Desk, LATE_CELLS, ReadyCell, SeenRow};
use super::queue::DeskEvent;
use super::recipes::{RecipeSlot, told};
use super::recorder::Recorder;
use super::slow::TooSlow;
use super::state::LaneState;
use super::{CellOutcome, Observer};
use crate::album::{Album, Kept, Page};
use crate::cell::{
    CELL_PX, Disposition, Gate, HoldReason, Judgement, Moment, ProbabilityMap, Span, TILE_PX, TILES_PER_SIDE, TileRow, Verdict,
    VerdictKind, mask_png, without_rim,
};
use crate::judge::{Recipe, judge};
use crate::publish::wire::{BlindMessage, LatencyMs, ModelInfo, TrailingEdge, VerdictMessage};
use crate::publish::{Bindings, Publisher};
use crate::review::{Found, Review, Truth};
use crate::stop::{Stop, Stopper};
use crate::telemetry::{Metrics, Pulse, apply_truth};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use judged::{Judged, since_trailing_edge};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);
/// How long cells on their way may take once the station stops; the rest is held.
const GRACE: Duration = Duration::from_secs(4);
/// Kept free before the deadline for judging, recording and sending.
pub(super) const MARGIN: Duration = Duration::from_millis(8);

/// What every lane's verdict thread shares.
pub(super) struct Office {
    pub station: String,
    pub run: String,
    pub model: ModelInfo,
    pub model_threshold: f32,
    pub metrics: Arc<Metrics>,
    pub review: Arc<Review>,
    pub album: Option<Arc<Album>>,
    pub publisher: Arc<Publisher>,
    pub bindings: Arc<Bindings>,
    pub observer: Option<Arc<dyn Observer>>,
    /// Verdicts given by all lanes, and how many the station shall give.
    pub verdicts: AtomicU64,
    pub wanted: Option<u64>,
    pub stopper: Stopper,
    pub stop: Stop,
}

/// The verdict thread of one lane.
pub(super) struct VerdictWorker {
    pub office: Arc<Office>,
    pub recorder: Recorder,
    pub state: Arc<LaneState>,
    pub recipe: Arc<RecipeSlot>,
    pub mm_per_px: f64,
    pub deadline: Option<Duration>,
    pub events: Receiver<DeskEvent>,
    pub pulse: Pulse,
}

impl VerdictWorker {
    /// Works until the lane is over and every cell has its verdict.
    pub fn run(self) {
        let mut desk = Desk::new(self.deadline.map(|d| d.saturating_sub(MARGIN)));
        let mut stop_waiting_at: Option<Instant> = None;
        // A cell's id is given once: what was said with its hold is said with its late result again.
        let mut carriers: VecDeque<(u64, Option<String>)> = VecDeque::new();
        let mut too_slow = TooSlow::new();
        while !desk.is_done() {
            self.pulse.beat();
            let now = Instant::now();
            // Asked anew for each cell: while one is judged, the next one's time may run out.
            while let Some(cell) = desk.take_ready(Instant::now()) {
                let carrier_id = self.carrier_id(&cell);
                self.give_verdict(&cell, carrier_id.clone(), &mut too_slow);
                if cell.hold == Some(HoldReason::Deadline) {
                    carriers.truncate(LATE_CELLS - 1);
                    carriers.push_front((cell.id.number, carrier_id));
                }
            }
            while let Some(cell) = desk.take_late() {
                let carrier_id = carriers.iter().find(|(number, _)| *number == cell.id.number).and_then(|(_, id)| id.clone());
                let recipe = self.recipe.get();
                let (judgement, hold) = self.judge_cell(&cell, &recipe);
                self.keep_late(&cell, judgement.as_ref(), hold, &recipe, carrier_id);
            }
            if self.office.stop.is_set() {
                let until = *stop_waiting_at.get_or_insert(now + GRACE);
                if now >= until && desk.waiting() > 0 {
                    desk.hold_rest(&HoldReason::Restart, Moment::now());
                    continue;
                }
            }
            let wait = desk.next_deadline().map_or(TICK, |at| at.saturating_duration_since(Instant::now()).min(TICK));
            match self.events.recv_timeout(wait) {
                Ok(event) => {
                    self.note(&event);
                    desk.push(event, Instant::now());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    desk.push(DeskEvent::LaneOver, now);
                    desk.hold_rest(&HoldReason::Restart, Moment::now());
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// What concerns the lane rather than one of its cells.
    fn note(&self, event: &DeskEvent) {
        match event {
            DeskEvent::Inspected(row) => self.state.backlog.row_back(row.together, Instant::now()),
            DeskEvent::Lost { lines, cause } => self.state.lost(*cause, *lines),
            DeskEvent::Blind { from, to, reason } => self.tell_blind(from.unix_ns, to.unix_ns, reason),
            _ => {}
        }
    }

    /// Records and publishes a time in which the lane could not see. Where the wall clock was set back in between, only its end is
    /// known.
    pub fn tell_blind(&self, from_unix_ns: i64, to_unix_ns: i64, reason: &str) {
        let office = &self.office;
        let from_unix_ns = from_unix_ns.min(to_unix_ns);
        let message = BlindMessage {
            schema: Default::default(),
            station: office.station.clone(),
            run: office.run.clone(),
            lane: self.state.name.to_string(),
            from_unix_ns,
            to_unix_ns,
            reason: reason.to_owned(),
        };
        office.metrics.blind_seconds(&self.state.name, (to_unix_ns - from_unix_ns) as f64 / 1e9);
        let header = serde_json::to_vec(&message).unwrap_or_default();
        self.recorder.blind(self.state.name.clone(), from_unix_ns, to_unix_ns, reason.to_owned(), header);
        if let Err(e) = office.publisher.blind(&message) {
            office.metrics.publish_failures(1);
            tracing::error!(lane = %self.state.name, "a blind record was not published: {e}");
        }
    }

    /// The id that was bound to where the cell's trailing edge passed.
    fn carrier_id(&self, cell: &ReadyCell) -> Option<String> {
        self.office.bindings.take(&self.state.name, cell.end.encoder_count, cell.end.at)
    }

    fn give_verdict(&self, cell: &ReadyCell, carrier_id: Option<String>, too_slow: &mut TooSlow) {
        let office = &self.office;
        let recipe = self.recipe.get();
        let deadline_at = self.deadline.and_then(|d| cell.end.at.instant.checked_add(d));
        let judged = self.judge_in_time(cell, &recipe, deadline_at, too_slow);
        let mut message = self.message(cell, judged.verdict(), judged.judgement.as_ref(), &recipe, carrier_id.clone());
        if let Some(found) = judged.cracked_on_hold() {
            message = VerdictMessage { gate: Gate::Eject, defects: found.defects.clone(), longest_mm: found.longest_mm(), ..message };
        }
        let png = mask_of(cell, judged.judgement.as_ref());
        let made_at = Instant::now();
        message.latency_ms = judged.latency_ms(cell, made_at);
        let message = self.record(cell, message, &png, &recipe, deadline_at, &mut too_slow.disk_late);
        let recorded_at = Instant::now();
        if let Err(e) = office.publisher.verdict(&message, &png) {
            office.metrics.publish_failures(1);
            tracing::error!(cell = %cell.id, "the verdict was not published: {e}; subscribers get it by replay");
        }
        let published_at = Instant::now();
        self.count(cell, &message, judged.judgement.as_ref(), &recipe);
        for (stage, spent) in judged.spent(cell, [made_at, recorded_at, published_at]) {
            office.metrics.latency(&self.state.name, stage, spent.as_secs_f64());
        }
        if let Some(judgement) = &judged.late {
            self.keep_late(cell, Some(judgement), None, &recipe, carrier_id);
        }
        if let Some(observer) = &office.observer {
            observer.cell(&CellOutcome {
                message: &message,
                rows: cell.whole().map(|rows| rows.map(|r| &*r.pixels)),
                mask: judged.judgement.as_ref().map(|j| &j.mask),
                truth: cell.end.truth.as_ref().map(|t| &*t.mask),
                total_ms: since_trailing_edge(cell, published_at).as_secs_f64() * 1000.0,
            });
        }
        if office.verdicts.fetch_add(1, Ordering::AcqRel) + 1 == office.wanted.unwrap_or(u64::MAX) {
            office.stopper.stop();
        }
    }

    /// Judges a cell; a mask that is hard to judge may take longer than there was time.
    fn judge_in_time(&self, cell: &ReadyCell, recipe: &Recipe, deadline_at: Option<Instant>, too_slow: &mut TooSlow) -> Judged {
        let taken_at = Instant::now();
        let (mut judgement, mut hold) = self.judge_cell(cell, recipe);
        // Where it would be let through, what there is of it may tell better.
        let partial = (judgement.is_none() && recipe.hold_gate == Gate::Open).then(|| self.judge_rows(cell, recipe)).flatten();
        let judged_at = Instant::now();
        let late = judgement.take_if(|_| deadline_at.is_some_and(|at| judged_at >= at));
        if late.is_some() {
            hold = Some(HoldReason::Deadline);
        }
        let judging = late.is_some().then(|| judged_at - taken_at);
        if let Some(told) = hold.as_ref().and_then(|reason| too_slow.note(reason, cell, judging, judged_at)) {
            tracing::warn!(lane = %self.state.name, "{told}");
        }
        Judged { judgement, hold, late, partial, taken_at, judged_at }
    }

    /// Keeps the mask of a cell that the network has seen for its truth, and its picture where it is worth learning from.
    fn keep(&self, cell: &ReadyCell, verdict: VerdictKind, judgement: &Judgement, recipe: &Recipe) {
        let mask = Arc::new(judgement.mask.clone());
        let Some(rows) = cell.whole() else { return };
        let outline = rows.map(|row| &*row.spans).concat();
        let found = Found { mask: mask.clone(), judged: without_rim(&outline).into() };
        let disposition = Disposition { verdict, by_corner: recipe.reject_missing_corners && !cell.end.missing_corners.is_empty() };
        self.office.review.remember(cell.id.clone(), found, disposition);
        let Some(album) = &self.office.album else { return };
        let kept = album.keep(Page {
            cell: cell.id.clone(),
            unix_ns: cell.end.at.unix_ns,
            disposition,
            rows: rows.map(|row| (row.pixels.clone(), row.spans.clone())),
            found: mask,
        });
        // What is on its way is counted by the album, once the disk has it.
        if kept == Kept::Lost {
            self.office.metrics.picture_lost(&self.state.name);
        }
    }

    /// The judgement where there is something to judge, and the reason where the cell is held.
    fn judge_cell(&self, cell: &ReadyCell, recipe: &Recipe) -> (Option<Judgement>, Option<HoldReason>) {
        if let Some(reason) = &cell.hold {
            return (None, Some(reason.clone()));
        }
        let Some(judgement) = cell.whole().and_then(|_| self.judge_rows(cell, recipe)) else {
            return (None, Some(HoldReason::Network { detail: "a row has a wrong size".into() }));
        };
        let doubt = cell.end.doubt.clone().filter(|_| judgement.verdict != Verdict::Reject);
        (Some(judgement), doubt)
    }

    /// Judges the rows that are there; `None` where one has a wrong size.
    fn judge_rows(&self, cell: &ReadyCell, recipe: &Recipe) -> Option<Judgement> {
        let map = probability_map(&cell.rows)?.squeezed(cell.end.squeeze);
        Some(judge(&map, self.mm_per_px, &cell.end.missing_corners, self.office.model_threshold, recipe))
    }

    fn message(
        &self,
        cell: &ReadyCell,
        verdict: Verdict,
        judgement: Option<&Judgement>,
        recipe: &Recipe,
        carrier_id: Option<String>,
    ) -> VerdictMessage {
        let office = &self.office;
        let end = &cell.end;
        let gate_by_unix_ns = self.deadline.map(|d| end.at.unix_ns.saturating_add(d.as_nanos() as i64));
        let hold = match &verdict {
            Verdict::Hold(reason) => Some(reason.clone()),
            _ => None,
        };
        VerdictMessage {
            schema: Default::default(),
            station: office.station.clone(),
            run: office.run.clone(),
            lane: self.state.name.to_string(),
            number: cell.id.number,
            trailing_edge: TrailingEdge::from(end),
            verdict: verdict.kind(),
            hold,
            rule: judgement.and_then(|j| j.rule.clone()),
            defects: judgement.map(|j| j.defects.clone()).unwrap_or_default(),
            score: judgement.map(|j| j.score),
            longest_mm: judgement.map_or(0.0, Judgement::longest_mm),
            gate: gate(&verdict, recipe),
            gate_by_unix_ns,
            recorded: true,
            resent: false,
            carrier_id,
            model: office.model.clone(),
            recipe: Some(told(recipe)),
            mm_per_px: self.mm_per_px,
            missing_corners: end.missing_corners.clone(),
            geometry: end.geometry,
            latency_ms: LatencyMs::default(),
        }
    }

    fn count(&self, cell: &ReadyCell, message: &VerdictMessage, judgement: Option<&Judgement>, recipe: &Recipe) {
        let (office, lane) = (&self.office, &*self.state.name);
        self.state.cell(cell.id.number);
        if let Some(verdict) = message.full_verdict() {
            office.metrics.verdict(lane, &verdict, message.rule.as_ref().map(|r| r.rule.as_str()), message.defects.len());
        }
        let Some(judgement) = judgement else { return };
        self.keep(cell, message.verdict, judgement, recipe);
        if let Some(truth) = &cell.end.truth
            && let Err(e) = apply_truth(&office.review, &office.metrics, &cell.id, &Truth::Mask(truth.mask.clone()))
        {
            tracing::warn!(cell = %cell.id, "the truth could not be held against the mask: {e}");
        }
    }

    /// The network has seen a cell whose verdict is out already: kept with the cell, by the `recipe` that judged, not published.
    fn keep_late(
        &self,
        cell: &ReadyCell,
        judgement: Option<&Judgement>,
        hold: Option<HoldReason>,
        recipe: &Recipe,
        carrier_id: Option<String>,
    ) {
        let verdict = match (judgement, hold) {
            (Some(j), None) => j.verdict.clone(),
            (_, reason) => Verdict::Hold(reason.unwrap_or(HoldReason::Deadline)),
        };
        let message = VerdictMessage { resent: true, ..self.message(cell, verdict, judgement, recipe, carrier_id) };
        self.office.metrics.late_result(&self.state.name);
        if let Some(judgement) = judgement {
            self.keep(cell, VerdictKind::Hold, judgement, recipe);
        }
        self.recorder.late(self.state.name.clone(), cell.id.number, message.to_json().unwrap_or_default());
    }
}

/// The mask as PNG; empty where there is none.
fn mask_of(cell: &ReadyCell, judgement: Option<&Judgement>) -> Vec<u8> {
    let png = judgement.map(|j| mask_png::encode(&j.mask)).transpose();
    let png = png.inspect_err(|e| tracing::error!(cell = %cell.id, "the mask could not be encoded: {e}"));
    png.ok().flatten().unwrap_or_default()
}

fn gate(verdict: &Verdict, recipe: &Recipe) -> Gate {
    match verdict {
        Verdict::Pass => Gate::Open,
        Verdict::Reject => Gate::Eject,
        Verdict::Hold(_) => recipe.hold_gate,
    }
}

/// What the network said; nothing of a row that is missing, through which the outline goes on, so that what lies beside it is not in
/// the edge zone for that.
fn probability_map(rows: &[Option<SeenRow>; TILES_PER_SIDE]) -> Option<ProbabilityMap> {
    let values = |row: &Option<SeenRow>| row.as_ref().map_or_else(|| vec![0; TileRow::PIXELS].into(), |r| r.probabilities.clone());
    let whole = Span { start: 0, end: CELL_PX as u16 };
    let spans = |row: &Option<SeenRow>| row.as_ref().map_or_else(|| vec![whole; TILE_PX].into(), |r| r.spans.clone());
    ProbabilityMap::new(rows.each_ref().map(values), rows.each_ref().map(spans))
}

#[cfg(test)]
mod tests;
