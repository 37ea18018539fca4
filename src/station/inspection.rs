//! The inspection thread: rows of every lane, one network.

use super::queue::{DeskEvent, InspectJob, InspectedRow};
use crate::http::Pulse;
use crate::inspect::Inspector;
use crossbeam_channel::{Receiver, Select, Sender};
use std::time::{Duration, Instant};

/// How long the thread may sleep before it shows that it lives.
const TICK: Duration = Duration::from_millis(200);

/// Inspects rows until every lane has closed its queue. What is still queued then is inspected, so that
/// cells on their way get their verdicts.
pub(super) fn run(mut inspector: Inspector, jobs: Vec<Receiver<InspectJob>>, desks: Vec<Sender<DeskEvent>>, pulse: &Pulse) {
    let mut open: Vec<usize> = (0..jobs.len()).collect();
    while !open.is_empty() {
        pulse.beat();
        let mut select = Select::new();
        for lane in &open {
            select.recv(&jobs[*lane]);
        }
        let Ok(chosen) = select.select_timeout(TICK) else { continue };
        let position = chosen.index();
        let lane = open[position];
        let Ok(job) = chosen.recv(&jobs[lane]) else {
            open.remove(position);
            continue;
        };
        let started = Instant::now();
        let waited = started.saturating_duration_since(job.sent);
        let result = inspector.inspect(&job.row).map_err(|e| e.to_string());
        let inspected =
            InspectedRow { cell: job.row.cell, row: job.row.row, pixels: job.row.pixels, result, waited, took: started.elapsed() };
        // A desk that is gone has already held its cells.
        let _ = desks[lane].send(DeskEvent::Inspected(inspected));
    }
}
