use super::{VerdictSchema, utc};
use crate::cell::{CellEnd, CellGeometry, Defect, FiredRule, Gate, HoldReason, Verdict, VerdictKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found out about one cell, and what the gate shall do with it.
///
/// Topic `verdict.<lane>`. Each cell that was seen has one, in the order of the numbers, which start at 1
/// with each run and have no gaps. A wafer that lay under the camera when that went, or when the station stopped, is two cells,
/// both on hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictMessage {
    /// Name and version of this message's form.
    pub schema: VerdictSchema,
    /// Name of the station, from its configuration.
    pub station: String,
    /// Id of the run: a new one each time that the station starts.
    pub run: String,
    /// Name of the lane, from the configuration.
    pub lane: String,
    /// Number of the cell on this lane within this run, from 1 and without gaps.
    #[schemars(range(min = 1))]
    pub number: u64,
    /// When and where its trailing edge passed: the last line with any of the wafer in it, which is its hindmost corner. Match a
    /// cell by this, never by counting.
    pub trailing_edge: TrailingEdge,
    /// What is said of it. A cell on hold could not be judged.
    pub verdict: VerdictKind,
    /// Why it is on hold; null for pass and reject.
    pub hold: Option<HoldReason>,
    /// The rule of the recipe that rejected it; null for pass and hold.
    pub rule: Option<FiredRule>,
    /// Every defect that counts, longest first.
    pub defects: Vec<Defect>,
    /// One number for ranking and drift, 0 (surely good) to 1 (surely cracked); null where it was not judged.
    pub score: Option<f64>,
    /// Length of the longest defect in mm, 0 without any.
    pub longest_mm: f64,
    /// What the gate shall do. Open only on an explicit `open` that is in time and not `resent`; silence ejects.
    pub gate: Gate,
    /// `gate` is good until this time, nanoseconds since the Unix epoch; null: the lane has no deadline.
    pub gate_by_unix_ns: Option<i64>,
    /// Whether the verdict was on disk before it was published.
    pub recorded: bool,
    /// Whether it is told again, by a replay. A resent message never moves a gate.
    pub resent: bool,
    /// The carrier or serial id that was bound to this cell; null where none was.
    pub carrier_id: Option<String>,
    /// The network that judged.
    pub model: ModelInfo,
    /// The recipe that was judged by; left out in records of earlier versions, which did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeInfo>,
    /// Millimetres that a pixel of the mask stands for.
    pub mm_per_px: f64,
    /// Corners that should be there and are not, clockwise from leading left: 0, 1, 2, 3.
    pub missing_corners: Vec<u8>,
    /// How the cell lay under the camera; null where it could not be measured.
    pub geometry: Option<CellGeometry>,
    /// How long it took, counted from the trailing edge.
    pub latency_ms: LatencyMs,
}

impl VerdictMessage {
    /// The verdict with its reason, or `None` where a hold gives none (a foreign sender's mistake).
    pub fn full_verdict(&self) -> Option<Verdict> {
        match self.verdict {
            VerdictKind::Pass => Some(Verdict::Pass),
            VerdictKind::Reject => Some(Verdict::Reject),
            VerdictKind::Hold => self.hold.clone().map(Verdict::Hold),
        }
    }

    /// Whether a gate may open for this message at `now_unix_ns`: it says so, it is in time, and it
    /// is not told again.
    pub fn opens_gate(&self, now_unix_ns: i64) -> bool {
        self.gate == Gate::Open && !self.resent && self.gate_by_unix_ns.is_none_or(|by| now_unix_ns <= by)
    }

    /// The message as JSON, as it is published and as the ledger keeps it.
    ///
    /// # Errors
    /// Only where a number cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// When and where a cell's trailing edge passed: the last line with any of the wafer in it, which is its hindmost corner.
///
/// Where the camera went or the station stopped before it passed: when that was noticed, with the camera's time and the encoder's
/// count of the last line that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrailingEdge {
    /// Camera time mapped to the station's clock, nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// The same, RFC 3339 in UTC, for readers whose integers do not reach.
    pub utc: String,
    /// The camera's own clock in nanoseconds; null where it tells none.
    pub camera_time_ns: Option<u64>,
    /// The encoder's count; null where the camera tells none.
    pub encoder_count: Option<i64>,
}

impl TrailingEdge {
    /// The trailing edge at `unix_ns` on the station's clock.
    pub fn new(unix_ns: i64, camera_time_ns: Option<u64>, encoder_count: Option<i64>) -> Self {
        Self { unix_ns, utc: utc(unix_ns), camera_time_ns, encoder_count }
    }
}

impl From<&CellEnd> for TrailingEdge {
    fn from(end: &CellEnd) -> Self {
        Self::new(end.at.unix_ns, end.camera_time_ns, end.encoder_count)
    }
}

/// Which network judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// The checkpoint's name.
    pub name: String,
    /// SHA-256 of the checkpoint file, hexadecimal.
    pub digest: String,
}

/// Which recipe is judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecipeInfo {
    /// The product's name in it.
    pub name: String,
    /// SHA-256 of the recipe's file as it was read, hexadecimal.
    pub digest: String,
}

/// Milliseconds from the trailing edge to the end of each stage; null where the cell did not get there.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LatencyMs {
    /// The last tile row was stitched.
    pub stitch: Option<f64>,
    /// The network had seen all of it.
    pub inspect: Option<f64>,
    /// The recipe's rules were applied.
    pub judge: Option<f64>,
    /// This message and its mask were made; they are recorded and sent after that.
    pub total: Option<f64>,
}
