//! A lane's verdict thread between a lane that feeds it by hand, a disk that takes or refuses, and an observer.

use super::recorded::{held_for, patience};
use super::*;
use crate::cell::{CELL_PX, CellEnd, CellId, Mask, ProbabilityRow, Span, TILE_PX, TileRow, TrueMask};
use crate::config;
use crate::ledger::Ledger;
use crate::publish::StationId;
use crate::station::queue::InspectedRow;
use crate::telemetry::Health;
use std::sync::Mutex;

#[derive(Default)]
struct Heard(Mutex<Vec<VerdictMessage>>);

impl Observer for Heard {
    fn cell(&self, outcome: &CellOutcome<'_>) {
        self.0.lock().unwrap().push(outcome.message.clone());
    }
}

/// As [`published`], where there is much time.
fn verdict(cracked: bool, hold: Option<HoldReason>, disk_takes: bool) -> VerdictMessage {
    let disk = if disk_takes { Disk::Takes } else { Disk::Refuses };
    published(cracked, hold, disk, Duration::from_secs(60))
}

/// What a disk does with verdicts.
enum Disk {
    Takes,
    Refuses,
    Hangs,
}

/// What comes of one cell, cracked or sound, held by the lane or not; the recipe lets through what could not be judged.
fn published(cracked: bool, hold: Option<HoldReason>, disk: Disk, deadline: Duration) -> VerdictMessage {
    worked(disk, deadline, |desk| feed(desk, cracked, hold, &[], None)).0
}

/// What comes of one cell that is fed to the thread, and what was counted.
fn worked(disk: Disk, deadline: Duration, feed: impl FnOnce(&crossbeam_channel::Sender<DeskEvent>)) -> (VerdictMessage, Arc<Metrics>) {
    let heard = Arc::<Heard>::default();
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "hold_gate = \"open\"\nthreshold = 0.5\n[limits]\nlongest_crack_mm = 2.0\n[edge]\ncount = 0\n").unwrap();
    let lanes = [Arc::<str>::from("a")];
    let (metrics, health) = (Arc::new(Metrics::new(&lanes).unwrap()), Health::new(&lanes, Duration::from_secs(60)));
    let ledger = Arc::new(Ledger::open(folder.path(), 1).unwrap());
    let (recorder, thread) = Recorder::start(ledger.clone(), "r".into(), metrics.clone(), health.pulse("ledger")).unwrap();
    // The real one's thread ends when nobody has it any more.
    let recorder = match (disk, recorder) {
        (Disk::Takes, recorder) => recorder,
        (Disk::Refuses, _) => Recorder::refusing(metrics.clone()),
        (Disk::Hangs, _) => Recorder::hanging(metrics.clone()),
    };
    let bindings = Arc::new(Bindings::new(lanes.iter().cloned(), 1));
    let any = "tcp://127.0.0.1:*".to_owned();
    let settings = config::Publish { feed: any.clone(), requests: any, high_water_mark: 10, status_every_s: 1.0 };
    let id = StationId { station: "s".into(), run: "r".into(), lanes: lanes.to_vec() };
    let (stopper, stop) = Stop::pair();
    let office = Office {
        station: "s".into(),
        run: "r".into(),
        model: ModelInfo { name: "m".into(), digest: "d".into() },
        model_threshold: 0.5,
        metrics: metrics.clone(),
        review: Arc::new(Review::new(&config::Review { keep_cells: 1, window_cells: 1 })),
        album: None,
        publisher: Arc::new(Publisher::start(id, &settings, ledger, bindings.clone(), || {}).unwrap()),
        bindings,
        observer: Some(heard.clone()),
        verdicts: AtomicU64::new(0),
        wanted: None,
        stopper,
        stop,
    };
    let (desk, events) = crossbeam_channel::bounded(16);
    let counted = metrics.clone();
    let worker = VerdictWorker {
        office: Arc::new(office),
        recorder,
        state: Arc::new(LaneState::new(lanes[0].clone(), metrics, health.clone())),
        recipe: Arc::new(RecipeSlot::new(recipe.clone(), crate::station::recipes::read(&recipe).unwrap(), [].into())),
        mm_per_px: 0.125,
        deadline: Some(deadline),
        events,
        pulse: health.pulse("verdicts"),
    };
    feed(&desk);
    drop(desk);
    worker.run();
    thread.join().unwrap();
    (heard.0.lock().unwrap().pop().unwrap(), counted)
}

/// One cell as its lane and the network tell it.
fn feed(
    desk: &crossbeam_channel::Sender<DeskEvent>,
    cracked: bool,
    hold: Option<HoldReason>,
    missing_corners: &[u8],
    truth: Option<TrueMask>,
) {
    feed_rows(desk, 0..3, cracked, hold, missing_corners, truth);
}

/// One of which only these rows come back.
fn feed_rows(
    desk: &crossbeam_channel::Sender<DeskEvent>,
    rows: std::ops::Range<u8>,
    cracked: bool,
    hold: Option<HoldReason>,
    missing_corners: &[u8],
    truth: Option<TrueMask>,
) {
    let cell = CellId { lane: "a".into(), number: 1 };
    desk.send(DeskEvent::Begun { cell: cell.clone() }).unwrap();
    for row in rows {
        let mut values = vec![0; TileRow::PIXELS];
        if cracked && row == 1 {
            values[10 * CELL_PX + 300..10 * CELL_PX + 500].fill(255);
        }
        let spans = vec![Span { start: 0, end: CELL_PX as u16 }; TILE_PX];
        let result = Ok(ProbabilityRow { cell: cell.clone(), row, values: values.into(), spans: spans.into() });
        let (waited, took) = (Duration::ZERO, Duration::ZERO);
        let row = InspectedRow { cell: cell.clone(), row, pixels: [0_u16].into(), result, together: 1, waited, took };
        desk.send(DeskEvent::Inspected(row)).unwrap();
    }
    let light = matches!(hold, Some(HoldReason::Overexposed { .. }));
    let (hold, doubt) = if light { (None, hold) } else { (hold, None) };
    let end = CellEnd { missing_corners: missing_corners.to_vec(), hold, doubt, truth, ..end(cell) };
    desk.send(DeskEvent::Ended(end)).unwrap();
    desk.send(DeskEvent::LaneOver).unwrap();
}

/// Whose trailing edge passes now.
fn end(cell: CellId) -> CellEnd {
    CellEnd {
        cell,
        at: Moment::now(),
        camera_time_ns: None,
        encoder_count: None,
        geometry: None,
        squeeze: Default::default(),
        missing_corners: Vec::new(),
        hold: None,
        doubt: None,
        truth: None,
    }
}

#[test]
fn a_cell_found_cracked_is_ejected_also_where_the_disk_refuses_its_verdict() {
    let told = verdict(true, None, true);
    assert_eq!((told.verdict, told.gate, told.recorded), (VerdictKind::Reject, Gate::Eject, true));
    let told = verdict(true, None, false);
    assert_eq!((told.verdict, told.gate, told.recorded), (VerdictKind::Hold, Gate::Eject, false));
    assert_eq!(told.hold, Some(HoldReason::NotRecorded));
}

#[test]
fn a_wafer_that_lacks_a_corner_is_no_overkill_whatever_was_taken_for_a_crack() {
    for (corners, cracked, overkill) in [(&[2][..], false, 0), (&[2], true, 0), (&[], true, 1)] {
        let truth = TrueMask { middle_line: 0, mask: Arc::new(Mask::new(CELL_PX, CELL_PX)) };
        let (told, counted) = worked(Disk::Takes, Duration::from_secs(60), |desk| feed(desk, cracked, None, corners, Some(truth)));
        assert_eq!(told.verdict, VerdictKind::Reject);
        let text = counted.render().unwrap();
        assert!(text.contains("hairline_reviewed_cells_total{lane=\"a\",truth=\"good\",verdict=\"reject\"} 1"), "{text}");
        assert!(text.contains(&format!("hairline_overkill_cells_total{{lane=\"a\"}} {overkill}")), "{corners:?}: {text}");
    }
}

/// A cell whose rows came back in part, cracked in row 1, is held for `hold` and would be let through.
#[test]
fn what_was_found_cracked_of_a_cell_on_hold_is_ejected_though_the_rest_is_missing() {
    let told = |rows: std::ops::Range<u8>, cracked, hold| {
        worked(Disk::Takes, Duration::from_secs(60), |desk| feed_rows(desk, rows, cracked, Some(hold), &[], None)).0
    };
    for hold in [HoldReason::LinesLost { lines: 32 }, HoldReason::Deadline, HoldReason::Overload] {
        for (rows, cracked, gate) in
            [(1..2, true, Gate::Eject), (0..3, true, Gate::Eject), (0..1, true, Gate::Open), (0..2, false, Gate::Open)]
        {
            let told = told(rows.clone(), cracked, hold.clone());
            assert_eq!((told.verdict, told.hold.as_ref(), told.gate), (VerdictKind::Hold, Some(&hold), gate), "rows {rows:?}");
            assert_eq!((told.rule, told.score), (None, None));
            let found: Vec<_> = told.defects.iter().map(|defect| (defect.length_mm.round(), defect.in_edge_zone)).collect();
            assert_eq!(found, if gate == Gate::Eject { vec![(25.0, false)] } else { vec![] }, "rows {rows:?}");
        }
    }
}

/// The gate has closed by then, and a line's figures must say what came of the cell.
#[test]
fn a_pass_that_is_on_disk_after_its_deadline_is_a_hold() {
    let deadline = Instant::now();
    let (in_time, late) = (deadline, deadline + Duration::from_millis(1));
    assert_eq!(held_for(VerdictKind::Pass, true, Some(deadline), in_time), None);
    assert_eq!(held_for(VerdictKind::Pass, true, Some(deadline), late), Some(HoldReason::Deadline));
    assert_eq!(held_for(VerdictKind::Pass, true, None, late), None, "nobody waits");
    // The gate is shut for these all the same.
    assert_eq!(held_for(VerdictKind::Reject, true, Some(deadline), late), None);
    assert_eq!(held_for(VerdictKind::Hold, true, Some(deadline), late), None);
    for verdict in [VerdictKind::Pass, VerdictKind::Reject, VerdictKind::Hold] {
        assert_eq!(held_for(verdict, false, Some(deadline), in_time), Some(HoldReason::NotRecorded));
    }
}

#[test]
fn a_cell_in_bad_light_is_held_unless_it_is_found_cracked() {
    let light = HoldReason::Overexposed { detail: "3 % at full white".into() };
    let told = verdict(true, Some(light.clone()), true);
    assert_eq!((told.verdict, told.hold, told.gate), (VerdictKind::Reject, None, Gate::Eject));
    let told = verdict(false, Some(light.clone()), true);
    assert_eq!((told.hold, told.gate, told.recorded), (Some(light), Gate::Open, true));
}

#[test]
fn a_sound_cell_whose_verdict_the_disk_refuses_does_what_the_recipe_says() {
    let told = verdict(false, None, true);
    assert_eq!((told.verdict, told.gate, told.recorded), (VerdictKind::Pass, Gate::Open, true));
    let told = verdict(false, None, false);
    assert_eq!((told.hold, told.gate, told.recorded), (Some(HoldReason::NotRecorded), Gate::Open, false));
}

#[test]
fn what_is_let_through_is_told_also_where_the_disk_hangs() {
    let lost = HoldReason::LinesLost { lines: 3 };
    // The whole deadline is waited for, which is long enough to judge a cell on a busy machine: both at once.
    std::thread::scope(|scope| {
        for hold in [None, Some(lost)] {
            scope.spawn(move || {
                let told = published(false, hold.clone(), Disk::Hangs, Duration::from_secs(10));
                assert_eq!((told.hold, told.gate, told.recorded), (Some(hold.unwrap_or(HoldReason::NotRecorded)), Gate::Open, false));
            });
        }
    });
}

/// The gate takes an `open` until the deadline and no longer.
#[test]
fn nobody_waits_until_the_deadline_for_a_disk_where_the_gate_shall_open() {
    let now = Instant::now();
    let deadline = now + Duration::from_millis(200);
    assert!(patience(Gate::Open, deadline, now) < deadline);
    assert_eq!(patience(Gate::Eject, deadline, now), deadline);
    assert!(patience(Gate::Eject, now, deadline) > deadline, "it is late already, and wants to be recorded");
}

/// The disk would take until the deadline, and the gate would stay shut.
#[test]
fn a_cell_that_is_out_of_time_and_let_through_does_not_wait_for_the_disk() {
    let told = verdict(false, Some(HoldReason::Deadline), true);
    assert_eq!((told.hold, told.gate, told.recorded), (Some(HoldReason::Deadline), Gate::Open, false));
    let lost = HoldReason::LinesLost { lines: 3 };
    let told = verdict(false, Some(lost.clone()), true);
    assert_eq!((told.hold, told.gate, told.recorded), (Some(lost), Gate::Open, true));
}
