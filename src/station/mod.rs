//! The station: joins the rooms of the line, owns their threads, starts and stops them.
//!
//! ```text
//! camera ─blocks─▶ lane thread ─rows─▶ inspection ─┐
//!   (one a lane)     │ cells                       ▼
//!                    └──────────────────────▶ verdict thread ─▶ recorder ─▶ publisher
//! ```
//! Every queue is bounded. A source that can wait blocks on a full one; behind a live camera the cell is
//! held with the reason. Threads end in the order of the arrows, so that cells on their way get verdicts.

mod backlog;
mod check;
mod desk;
mod empty;
mod error;
mod inspection;
mod lane;
mod long_loss;
mod loss_log;
mod queue;
mod recipes;
mod recorder;
mod setup;
mod slow;
mod state;
mod supervisor;
mod verdicts;

pub use check::check;
pub use error::StationError;

use crate::cell::Mask;
use crate::config::StationConfig;
use crate::nn::Checkpoint;
use crate::publish::wire::VerdictMessage;
use std::sync::Arc;

/// A cell with its verdict, as an [`Observer`] sees it.
pub struct CellOutcome<'a> {
    /// The verdict as it was published.
    pub message: &'a VerdictMessage,
    /// The stitched cell, three rows of 448 × 1344 grey values (65535 = white, 0 outside), where the
    /// network saw it whole.
    pub rows: Option<[&'a [u16]; 3]>,
    /// The crack mask, where the cell was judged.
    pub mask: Option<&'a Mask>,
    /// The true mask (simulated cameras only).
    pub truth: Option<&'a Mask>,
    /// Milliseconds from the trailing edge to the published verdict.
    pub total_ms: f64,
}

/// Sees every cell after its verdict has been published, on the lane's verdict thread: what it does
/// delays the next cell.
pub trait Observer: Send + Sync {
    /// A cell has its verdict.
    fn cell(&self, outcome: &CellOutcome<'_>);
}

/// How a station is run.
#[derive(Default)]
pub struct RunOptions {
    /// Stop after this many verdicts.
    pub cells: Option<u64>,
    /// A network in place of `network.model`.
    pub checkpoint: Option<Checkpoint>,
    /// The commit that the program is built from; empty where that is not known.
    pub commit: String,
    /// Sees every cell.
    pub observer: Option<Arc<dyn Observer>>,
    /// Told the endpoints once everything is bound: feed, requests, HTTP.
    pub on_start: Option<Box<dyn FnOnce(Endpoints) + Send>>,
}

/// Where a running station listens.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The feed, as bound.
    pub feed: String,
    /// The request socket, as bound.
    pub requests: String,
    /// The HTTP server, as bound.
    pub http: std::net::SocketAddr,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Verdicts given.
    pub verdicts: u64,
}

/// Runs the station until `shutdown` resolves, its verdicts are given, or every source has ended; then
/// cells on their way get their verdicts.
///
/// # Errors
/// Anything that keeps the station from starting: model, recipe, calibration, ledger, sockets. Once it
/// runs, trouble is told by verdicts, metrics and log instead.
pub fn run(config: &StationConfig, options: RunOptions, shutdown: impl Future<Output = ()>) -> Result<Summary, StationError> {
    setup::Prepared::new(config, options)?.start()?.supervise(shutdown)
}
