use super::schema::may_grow;
use super::{BlindSchema, MaskSchema, ModelInfo, RecipeInfo, StatusSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The crack mask of one cell, right after its verdict. The payload is the picture.
///
/// Topic `mask.<lane>`. A cell that was never judged has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaskMessage {
    /// Name and version of this message's form.
    pub schema: MaskSchema,
    /// Id of the run.
    pub run: String,
    /// Name of the lane.
    pub lane: String,
    /// Number of the cell whose mask this is.
    #[schemars(range(min = 1))]
    pub number: u64,
    /// Width of the mask in pixels.
    pub width_px: u32,
    /// Height of the mask in pixels.
    pub height_px: u32,
    /// How the payload is encoded.
    pub encoding: MaskEncoding,
}

/// How a mask's payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MaskEncoding {
    /// A grey PNG of one bit a pixel; white is crack.
    #[default]
    #[serde(rename = "png-1bit")]
    Png1Bit,
}

/// How a lane is doing, told every few seconds and at every change.
///
/// Topic `status.<lane>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusMessage {
    /// Name and version of this message's form.
    pub schema: StatusSchema,
    /// Name of the station.
    pub station: String,
    /// Id of the run.
    pub run: String,
    /// Name of the lane.
    pub lane: String,
    /// When this was told, nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// Whether the camera is there.
    pub camera: CameraState,
    /// Whether the belt moves.
    pub belt: BeltState,
    /// Since when camera and belt have been so, nanoseconds since the Unix epoch.
    pub since_unix_ns: i64,
    /// Since when lines come and no wafer is seen, nanoseconds since the Unix epoch; null where that is shorter than ten cells. The
    /// belt is empty, or the light is out.
    pub no_wafer_since_unix_ns: Option<i64>,
    /// Since when no gap between wafers is seen, nanoseconds since the Unix epoch; null where there is one. Until then no cell is
    /// seen: wafers pass without a verdict.
    pub no_gap_since_unix_ns: Option<i64>,
    /// Number of the last cell that has its verdict; 0 before the first.
    pub cells: u64,
    /// Lines lost since the start of the run.
    pub lines_lost: u64,
    /// How full the lane's queues are, by name: `rows` wait for the network, `masks` for the verdict.
    pub queues: BTreeMap<String, QueueDepth>,
    /// The network that judges.
    pub model: ModelInfo,
    /// The recipe that is judged by; null where that is not known.
    pub recipe: Option<RecipeInfo>,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueDepth {
    /// Entries that wait.
    pub waiting: u64,
    /// Entries that it can hold.
    pub capacity: u64,
}

/// Whether the camera is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = may_grow)]
pub enum CameraState {
    /// Not yet seen since the start.
    Starting,
    /// It delivers lines.
    Connected,
    /// It is there and delivers none: the belt stands, or nothing triggers.
    Idle,
    /// It is gone; the station tries to get it back.
    Gone,
    /// Its stream has ended and nothing more will come.
    Ended,
    /// In a way that a later version has added; only ever read, never told.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Whether the belt moves, as far as the lines tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = may_grow)]
pub enum BeltState {
    /// Lines come.
    Moving,
    /// No lines come, and a cell lies under the camera.
    StandsInCell,
    /// No lines come, and no cell lies under the camera.
    StandsInGap,
    /// In a way that a later version has added; only ever read, never told.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Time in which the station could not see: what passed then has no verdict and no number.
///
/// Topic `status.<lane>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlindMessage {
    /// Name and version of this message's form.
    pub schema: BlindSchema,
    /// Name of the station.
    pub station: String,
    /// Id of the run that tells it.
    pub run: String,
    /// Name of the lane.
    pub lane: String,
    /// Begin, nanoseconds since the Unix epoch.
    pub from_unix_ns: i64,
    /// End, nanoseconds since the Unix epoch.
    pub to_unix_ns: i64,
    /// Why, in words for people, such as `the station was not running`: do not match on them.
    pub reason: String,
}
