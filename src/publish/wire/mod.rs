//! The messages as they stand on the wire: JSON headers whose types are the source of the schemas
//! in `docs/wire/`.
//!
//! Every message names its own schema and version in the field `schema`. A field may be added
//! within a version, and so may a reason, rule, kind or state; one that changes its meaning or goes away makes a new version.

mod feed;
mod request;
mod schema;
mod verdict;

pub use feed::{BeltState, BlindMessage, CameraState, MaskEncoding, MaskMessage, QueueDepth, StatusMessage};
pub use request::{BindRequest, BlindRequest, LaneNumbers, ReplayRequest, Reply, ReplyBody, Request, RunNumbers};
pub use schema::schemas;
pub use verdict::{LatencyMs, ModelInfo, RecipeInfo, TrailingEdge, VerdictMessage};

use serde::{Deserialize, Serialize};

/// Declares the type of a `schema` field: a constant that serialises as the schema's name and
/// refuses every other name.
macro_rules! schema_name {
    ($type:ident, $name:literal) => {
        #[doc = concat!("The constant `", $name, "`.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
        #[schemars(inline)]
        pub enum $type {
            #[doc = concat!("`", $name, "`, the only value.")]
            #[default]
            #[serde(rename = $name)]
            V1,
        }
    };
}

schema_name!(VerdictSchema, "hairline.verdict/1");
schema_name!(MaskSchema, "hairline.mask/1");
schema_name!(StatusSchema, "hairline.status/1");
schema_name!(BlindSchema, "hairline.blind/1");
schema_name!(ReplySchema, "hairline.reply/1");

/// The families of topics on the feed. A topic is `<family>.<lane>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `verdict.<lane>`: [`VerdictMessage`], no payload.
    Verdict,
    /// `mask.<lane>`: [`MaskMessage`], the payload is a 1-bit PNG.
    Mask,
    /// `status.<lane>`: [`StatusMessage`] or [`BlindMessage`], no payload.
    Status,
}

impl Topic {
    /// The family's name, the part before the dot.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Mask => "mask",
            Self::Status => "status",
        }
    }

    /// The topic of `lane`.
    pub fn of(self, lane: &str) -> String {
        format!("{}.{lane}", self.name())
    }

    /// Takes a topic apart into its family and lane; `None` for a foreign one.
    pub fn parse(topic: &[u8]) -> Option<(Self, &str)> {
        let (family, lane) = std::str::from_utf8(topic).ok()?.split_once('.')?;
        let family = [Self::Verdict, Self::Mask, Self::Status].into_iter().find(|t| t.name() == family)?;
        Some((family, lane))
    }
}

/// `unix_ns` as RFC 3339 in UTC with nanoseconds; empty where no calendar reaches.
pub fn utc(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(unix_ns.into()).map(|t| format!("{t:.9}")).unwrap_or_default()
}
