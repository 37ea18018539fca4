//! Tells the world: verdicts, masks and status on ZeroMQ, and what may be asked for.
//!
//! The feed (XPUB) carries `verdict.<lane>`, `mask.<lane>` and `status.<lane>`; every message has three
//! frames: topic, JSON header, payload. The request socket (ROUTER) binds carrier ids to cells and
//! replays what a subscriber missed. `docs/wire/` describes both for those who write the other side.
//!
//! [`Publisher`] is the station's side, [`Subscriber`] and [`Requester`] are the other one.

mod bindings;
mod endpoint;
mod error;
mod peer;
mod publisher;
mod replay;
mod requester;
mod sockets;
mod station_id;
mod statistics;
mod store;
mod subscriber;
#[cfg(test)]
pub(crate) mod tests;
mod waker;
pub mod wire;

pub use bindings::{BindError, Bindings};
pub use error::PublishError;
pub use publisher::Publisher;
pub use requester::{Requester, Resent};
pub use station_id::StationId;
pub use statistics::Statistics;
pub use store::{Replay, StoredMessage, StoredRun};
pub use subscriber::{Gap, Heard, Numbers, Stretch, Subscriber};
