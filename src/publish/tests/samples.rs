use super::RUN;
use crate::cell::{CELL_PX, CellGeometry, Defect, FiredRule, Gate, HoldReason, Mask, Moment, RectMm, VerdictKind, mask_png};
use crate::publish::wire::*;
use std::collections::BTreeMap;

/// 2025-07-18T09:30:00Z.
pub const NOON_NS: i64 = 1_752_831_000_000_000_000;

pub fn at(unix_ns: i64) -> Moment {
    Moment { unix_ns, ..Moment::now() }
}

pub fn model() -> ModelInfo {
    ModelInfo { name: "laser-b16".into(), digest: "9f2b61c0d4e8a7530c1f4b8e6d2a9c7b5e3f1a0d8c6b4e2f0a9d7c5b3e1f8a6d".into() }
}

pub fn recipe() -> RecipeInfo {
    RecipeInfo { name: "M6-laser".into(), digest: "5b0c7e1d9a3f486282d1b6c40e97f3a5d8c2b4601f7e9a3d5c8b2e4f6071a9d3".into() }
}

pub fn pass(lane: &str, number: u64) -> VerdictMessage {
    let edge_ns = NOON_NS + number as i64 * 700_000_000;
    VerdictMessage {
        schema: VerdictSchema::V1,
        station: "line-3".into(),
        run: RUN.into(),
        lane: lane.into(),
        number,
        trailing_edge: TrailingEdge::new(edge_ns, Some(88_123_456_789), Some(40_960 * number as i64)),
        verdict: VerdictKind::Pass,
        hold: None,
        rule: None,
        defects: Vec::new(),
        score: Some(0.03125),
        longest_mm: 0.0,
        gate: Gate::Open,
        gate_by_unix_ns: Some(edge_ns + 60_000_000),
        recorded: true,
        resent: false,
        carrier_id: None,
        model: model(),
        recipe: Some(recipe()),
        mm_per_px: 0.125,
        missing_corners: Vec::new(),
        geometry: Some(CellGeometry {
            first_line: 1840 * number,
            lines: 1352,
            left_px: 38.5,
            skew_deg: 0.25,
            width_mm: 166.0,
            length_mm: 166.25,
            mm_per_px: 0.125,
        }),
        latency_ms: LatencyMs { stitch: Some(1.5), inspect: Some(18.25), judge: Some(19.5), total: Some(21.0) },
    }
}

pub fn reject(lane: &str, number: u64) -> VerdictMessage {
    let crack = Defect {
        length_mm: 7.25,
        area_mm2: 0.75,
        area_px: 48,
        bounds: RectMm { left_mm: 30.5, top_mm: 112.0, width_mm: 5.5, height_mm: 4.25 },
        centre_mm: [33.25, 114.0],
        probability: 0.875,
        in_edge_zone: false,
        kind: "crack".into(),
    };
    VerdictMessage {
        verdict: VerdictKind::Reject,
        rule: Some(FiredRule { rule: "longest_crack_mm".into(), measured: 7.25, limit: 3.0 }),
        defects: vec![crack],
        score: Some(0.96875),
        longest_mm: 7.25,
        gate: Gate::Eject,
        carrier_id: Some("CARRIER-0815".into()),
        ..pass(lane, number)
    }
}

pub fn hold(lane: &str, number: u64) -> VerdictMessage {
    VerdictMessage {
        verdict: VerdictKind::Hold,
        hold: Some(HoldReason::LinesLost { lines: 512 }),
        score: None,
        gate: Gate::Eject,
        geometry: None,
        latency_ms: LatencyMs { total: Some(2.5), ..LatencyMs::default() },
        ..pass(lane, number)
    }
}

pub fn status(lane: &str) -> StatusMessage {
    StatusMessage {
        schema: StatusSchema::V1,
        station: "line-3".into(),
        run: RUN.into(),
        lane: lane.into(),
        unix_ns: NOON_NS,
        camera: CameraState::Idle,
        belt: BeltState::StandsInCell,
        since_unix_ns: NOON_NS - 4_000_000_000,
        no_wafer_since_unix_ns: None,
        no_gap_since_unix_ns: None,
        cells: 5120,
        lines_lost: 512,
        queues: BTreeMap::from([
            ("masks".into(), QueueDepth { waiting: 0, capacity: 256 }),
            ("rows".into(), QueueDepth { waiting: 1, capacity: 12 }),
        ]),
        model: model(),
        recipe: Some(recipe()),
    }
}

pub fn blind(lane: &str) -> BlindMessage {
    BlindMessage {
        schema: BlindSchema::V1,
        station: "line-3".into(),
        run: RUN.into(),
        lane: lane.into(),
        from_unix_ns: NOON_NS - 90_000_000_000,
        to_unix_ns: NOON_NS - 60_000_000_000,
        reason: "the station was not running".into(),
    }
}

/// The mask of a cell with a crack of `length_px` pixels down its diagonal.
pub fn mask(length_px: usize) -> Mask {
    let mut mask = Mask::new(CELL_PX, CELL_PX);
    (0..length_px).for_each(|i| mask.set(200 + i, 300 + i, true));
    mask
}

pub fn mask_png(length_px: usize) -> Vec<u8> {
    mask_png::encode(&mask(length_px)).unwrap()
}
