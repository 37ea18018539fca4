use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a cell could not be judged. A person or a second look decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum HoldReason {
    /// Lines of this cell never arrived.
    LinesLost {
        /// How many lines.
        lines: u64,
    },
    /// The network is behind the belt: the cell goes by without it, so that it can catch up.
    Overload,
    /// The verdict was not there by the deadline.
    Deadline,
    /// The station was stopped or restarted while the cell was on its way.
    Restart,
    /// The camera was lost while the cell was under it.
    CameraGone,
    /// Longer than a cell can be: two cells without a gap between them.
    Stuck,
    /// Shorter or narrower than the product, an edge that is no straight line, or gap within the edges.
    Broken {
        /// What was measured and what was expected.
        detail: String,
    },
    /// No trailing edge even after three times the cell's length.
    NeverEnds,
    /// The camera changed its line width in the middle of the cell.
    WidthChanged,
    /// It lay in a way the stitcher cannot correct (skew, off the sensor), or has a corner that its product has not.
    Geometry {
        /// What was measured and what is allowed.
        detail: String,
    },
    /// Too much of it is at the sensor's white, where no crack shows.
    Overexposed {
        /// How much, and what to do.
        detail: String,
    },
    /// Too little light reached it, or one of its tiles: the noise of the pixels there hides cracks.
    Underexposed {
        /// How much noise, and what to do.
        detail: String,
    },
    /// The network failed.
    Network {
        /// The failure.
        detail: String,
    },
    /// The ledger did not confirm in time, so the verdict is not on disk.
    NotRecorded,
    /// One that a later version has added.
    // Read alone: whatever this version tells is above.
    #[serde(untagged)]
    Other {
        /// Its name.
        #[schemars(extend("not" = { "enum": HoldReason::NAMES }))]
        reason: String,
        /// More about it, where there is more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl HoldReason {
    /// The reason's name as it stands in messages and metrics; `other` for one of a later version.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LinesLost { .. } => "lines_lost",
            Self::Overload => "overload",
            Self::Deadline => "deadline",
            Self::Restart => "restart",
            Self::CameraGone => "camera_gone",
            Self::Stuck => "stuck",
            Self::Broken { .. } => "broken",
            Self::NeverEnds => "never_ends",
            Self::WidthChanged => "width_changed",
            Self::Geometry { .. } => "geometry",
            Self::Overexposed { .. } => "overexposed",
            Self::Underexposed { .. } => "underexposed",
            Self::Network { .. } => "network",
            Self::NotRecorded => "not_recorded",
            Self::Other { .. } => "other",
        }
    }

    /// The names of all that are told.
    pub const NAMES: [&'static str; 14] = [
        "lines_lost",
        "overload",
        "deadline",
        "restart",
        "camera_gone",
        "stuck",
        "broken",
        "never_ends",
        "width_changed",
        "geometry",
        "overexposed",
        "underexposed",
        "network",
        "not_recorded",
    ];
}

impl std::fmt::Display for HoldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LinesLost { lines } => write!(f, "{lines} lines lost"),
            Self::Overload => f.write_str("overload: the network is behind the belt"),
            Self::Deadline => f.write_str("no verdict by the deadline"),
            Self::Restart => f.write_str("the station stopped while the cell was on its way"),
            Self::CameraGone => f.write_str("the camera was lost"),
            Self::Stuck => f.write_str("cells without a gap between them"),
            Self::Broken { detail } => write!(f, "broken: {detail}"),
            Self::NeverEnds => f.write_str("no trailing edge"),
            Self::WidthChanged => f.write_str("the line width changed"),
            Self::Geometry { detail } => write!(f, "geometry: {detail}"),
            Self::Overexposed { detail } => write!(f, "overexposed: {detail}"),
            Self::Underexposed { detail } => write!(f, "underexposed: {detail}"),
            Self::Network { detail } => write!(f, "the network failed: {detail}"),
            Self::NotRecorded => f.write_str("the verdict could not be recorded in time"),
            Self::Other { reason, detail: Some(detail) } => write!(f, "{reason}: {detail}"),
            Self::Other { reason, detail: None } => f.write_str(reason),
        }
    }
}

/// What is said of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// No rule of the recipe fired.
    Pass,
    /// A rule of the recipe fired.
    Reject,
    /// Could not be judged.
    Hold(HoldReason),
}

/// A verdict without its reason, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// No rule of the recipe fired.
    Pass,
    /// A rule of the recipe fired.
    Reject,
    /// It could not be judged.
    Hold,
}

/// What became of a cell, and whether its cracks had a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition {
    /// The verdict that was given.
    pub verdict: VerdictKind,
    /// The recipe rejects it for a missing corner, whatever cracks it has.
    pub by_corner: bool,
}

impl From<VerdictKind> for Disposition {
    /// Of a wafer with all its corners.
    fn from(verdict: VerdictKind) -> Self {
        Self { verdict, by_corner: false }
    }
}

impl VerdictKind {
    /// `pass`, `reject` or `hold`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Hold => "hold",
        }
    }
}

impl Verdict {
    /// Which of the three it is.
    pub fn kind(&self) -> VerdictKind {
        match self {
            Self::Pass => VerdictKind::Pass,
            Self::Reject => VerdictKind::Reject,
            Self::Hold(_) => VerdictKind::Hold,
        }
    }
}

/// What the reject gate shall do with the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Let it through. Good only until the message's `gate_by_unix_ns`.
    Open,
    /// Take it out. Also what silence means.
    Eject,
}

/// A rectangle in millimetres from the leading left corner of the cell's picture, in whose middle the wafer lies: x across the belt, y along it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RectMm {
    /// Left side.
    pub left_mm: f64,
    /// Side nearest the leading edge.
    pub top_mm: f64,
    /// Extent across the belt.
    pub width_mm: f64,
    /// Extent along the belt.
    pub height_mm: f64,
}

/// One connected defect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Defect {
    /// Length along the crack's centre line, all branches added, mm.
    pub length_mm: f64,
    /// Area, mm².
    pub area_mm2: f64,
    /// Pixels of the mask.
    pub area_px: u64,
    /// Bounding box, mm.
    pub bounds: RectMm,
    /// Centre of mass, mm from the leading left corner of the picture: [across, along].
    pub centre_mm: [f64; 2],
    /// Mean probability over its pixels, 0 to 1.
    pub probability: f64,
    /// Whether it reaches into the recipe's edge zone.
    pub in_edge_zone: bool,
    /// What it is: `crack`, or `missing_corner`.
    pub kind: String,
}

/// The rule of a recipe that rejected a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FiredRule {
    /// The rule's key in the recipe, such as `longest_crack_mm` or `edge.count`.
    pub rule: String,
    /// What was measured, in the rule's unit.
    pub measured: f64,
    /// What the recipe allows, in the rule's unit.
    pub limit: f64,
}

/// What the judge finds in a cell's probabilities.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Pass or reject (the judge never holds).
    pub verdict: Verdict,
    /// The first rule that fired, in the recipe's order.
    pub rule: Option<FiredRule>,
    /// Every defect that counts, longest first.
    pub defects: Vec<Defect>,
    /// One number for ranking and drift, 0 (surely good) to 1 (surely cracked).
    pub score: f64,
    /// The mask that was judged: 1344 × 1344, inside the outline.
    pub mask: super::Mask,
}

impl Judgement {
    /// Length of the longest defect in mm, 0 without any.
    pub fn longest_mm(&self) -> f64 {
        self.defects.iter().map(|d| d.length_mm).fold(0.0, f64::max)
    }
}
