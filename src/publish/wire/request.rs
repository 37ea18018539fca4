use super::{BlindMessage, ReplySchema, VerdictMessage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client may ask on the request socket: one JSON frame, told apart by the field `request`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Binds a carrier or serial id to the cell that passes at an encoder count or time.
    Bind(BindRequest),
    /// Asks for verdicts and masks again.
    Replay(ReplayRequest),
    /// Asks which runs the ledger holds.
    Runs,
    /// Asks when a lane could not see.
    Blind(BlindRequest),
    /// Asks who is there: station, run, lanes and their last numbers.
    Hello,
}

impl Request {
    /// The request that a client has sent.
    ///
    /// # Errors
    /// What is wrong with it, for the client: a number with its key and what is allowed, all else in the parser's words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            misread(bytes).unwrap_or_else(|| {
                format!("expected a JSON object whose `request` is `bind`, `replay`, `runs`, `blind` or `hello`: {error}")
            })
        })
    }
}

/// A number of a request that is none of its kind.
fn misread(bytes: &[u8]) -> Option<String> {
    const FROM_ZERO: [&str; 3] = ["from", "limit", "tolerance_counts"];
    const WHOLE: [&str; 3] = ["encoder_count", "unix_ns", "since_unix_ns"];
    let request: Value = serde_json::from_slice(bytes).ok()?;
    let wrong = |keys: [&'static str; 3], fits: fn(&Value) -> bool| {
        let number = |key| request.get(key).filter(|value| value.is_number() && !fits(value)).map(|value| (key, value.clone()));
        keys.into_iter().find_map(number)
    };
    let told = |(key, value): (&str, Value), allowed: &str| format!("`{key}` is {value}; give a whole number {allowed}");
    let from_zero = wrong(FROM_ZERO, Value::is_u64).map(|wrong| told(wrong, "from 0 on"));
    from_zero.or_else(|| wrong(WHOLE, Value::is_i64).map(|wrong| told(wrong, "of 64 bits")))
}

/// Binds a carrier or serial id to the cell whose trailing edge passes at an encoder count, or at a
/// time: one of the two, with its tolerance. It must come before that cell's verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindRequest {
    /// The lane on which the cell will pass.
    pub lane: String,
    /// The id; comes back as `carrier_id` in the verdict. 1 to 128 bytes of printable text.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// Encoder count of the trailing edge; only for lanes whose camera gives one, as `trailing_edge.encoder_count` of the verdicts shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_count: Option<i64>,
    /// How far the count may be off, in counts. Goes with `encoder_count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_counts: Option<u64>,
    /// Time of the trailing edge, nanoseconds since the Unix epoch on the station's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_ns: Option<i64>,
    /// How far the time may be off, in milliseconds, an hour at most. Goes with `unix_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3_600_000))]
    pub tolerance_ms: Option<f64>,
}

/// Asks for the verdicts of a lane from a number on, with their masks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The run; absent: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The lane.
    pub lane: String,
    /// The first number that is wanted.
    #[schemars(range(min = 1))]
    pub from: u64,
    /// How many are wanted at most; absent: all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

/// Asks for the times in which a lane could not see, of all runs that the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlindRequest {
    /// The lane.
    pub lane: String,
    /// Only what ended after this time, nanoseconds since the Unix epoch; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ns: Option<i64>,
}

/// An answer on the request socket. Two frames: this header and the payload, which is empty but for
/// the mask of a replayed verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// Name and version of this message's form.
    pub schema: ReplySchema,
    /// Whether the request was understood and done.
    pub ok: bool,
    /// The answer itself.
    #[serde(flatten)]
    pub body: ReplyBody,
}

impl Reply {
    /// The reply around `body`; everything but an error is `ok`.
    pub fn new(body: ReplyBody) -> Self {
        Self { schema: ReplySchema::V1, ok: !matches!(body, ReplyBody::Error { .. }), body }
    }
}

/// What is answered, told apart by the field `reply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum ReplyBody {
    /// The id is bound.
    Bound {
        /// The lane.
        lane: String,
        /// The id.
        id: String,
    },
    /// One verdict of a replay. The payload is its mask, empty where it has none.
    Replayed {
        /// The verdict as it was published, with `resent` true.
        message: Box<VerdictMessage>,
    },
    /// The replay is complete.
    ReplayEnd {
        /// The run that was replayed.
        run: String,
        /// The lane.
        lane: String,
        /// How many verdicts were sent.
        sent: u64,
        /// The number after the last one sent: where to ask on.
        next: u64,
    },
    /// The runs that the ledger holds.
    Runs {
        /// Oldest first.
        runs: Vec<RunNumbers>,
    },
    /// When a lane could not see.
    Blind {
        /// As they were published, in the order of their beginnings.
        records: Vec<BlindMessage>,
        /// Whether that is all; else ask on since the last one's `to_unix_ns`.
        complete: bool,
    },
    /// Who is there.
    Hello {
        /// Name of the station.
        station: String,
        /// Id of the current run.
        run: String,
        /// Its lanes.
        lanes: Vec<LaneNumbers>,
    },
    /// The request was not understood or could not be done. Nothing has changed.
    Error {
        /// What was wrong and what was expected.
        error: String,
    },
}

/// A lane of the current run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneNumbers {
    /// Name of the lane.
    pub lane: String,
    /// Number of the last published verdict; 0 before the first.
    pub last: u64,
}

/// A lane of a run that the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunNumbers {
    /// Id of the run.
    pub run: String,
    /// Name of the lane.
    pub lane: String,
    /// Number of its first verdict in the ledger.
    pub first: u64,
    /// Number of its last one.
    pub last: u64,
}
