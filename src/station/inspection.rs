//! The inspection thread: rows of every lane, one network.

use super::StationError;
use super::queue::{DeskEvent, InspectJob, InspectedRow};
use crate::inspect::{InspectError, Inspectors};
use crate::telemetry::Pulse;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the thread may sleep before it shows that it lives.
const TICK: Duration = Duration::from_millis(200);

/// Where the rows of each lane come from and where their results go.
pub(super) struct Lanes {
    pub jobs: Vec<Receiver<InspectJob>>,
    pub desks: Vec<Sender<DeskEvent>>,
    pub pulse: Pulse,
}

/// The inspection thread, warm and waiting for its lanes; it ends when it is dropped without any.
pub(super) struct WarmThread {
    lanes: Option<Sender<Lanes>>,
    thread: Option<JoinHandle<()>>,
}

impl WarmThread {
    /// Starts the thread and has the network run there once: what CUDA's libraries make ready they keep for each thread.
    pub fn start(mut inspectors: Inspectors) -> Result<Self, StationError> {
        let (lanes, lanes_in) = bounded::<Lanes>(1);
        let (warm, warm_in) = bounded(1);
        let thread = std::thread::Builder::new().name("inspection".into()).spawn(move || {
            let warmed = inspectors.warm_up();
            let failed = warmed.is_err();
            if warm.send(warmed).is_err() || failed {
                return;
            }
            if let Ok(lanes) = lanes_in.recv() {
                run(inspectors, &lanes);
            }
        })?;
        let waiting = Self { lanes: Some(lanes), thread: Some(thread) };
        warm_in.recv().map_err(|_| StationError::Failed("inspection".into()))??;
        Ok(waiting)
    }

    /// Gives the thread its lanes and hands it over to whoever joins it; none where it has failed.
    pub fn serve(mut self, lanes: Lanes) -> Option<JoinHandle<()>> {
        // A thread that is gone is seen when it is joined.
        let _ = self.lanes.take()?.send(lanes);
        self.thread.take()
    }
}

impl Drop for WarmThread {
    fn drop(&mut self) {
        drop(self.lanes.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread `inspection` has failed");
        }
    }
}

/// Inspects rows until every lane has closed its queue. What is still queued then is inspected, so that
/// cells on their way get their verdicts.
fn run(mut inspectors: Inspectors, Lanes { jobs, desks, pulse }: &Lanes) {
    let mut open: Vec<usize> = (0..jobs.len()).collect();
    let mut works = true;
    while !open.is_empty() {
        // A device that is lost stays lost until the process ends; every cell is held meanwhile. A network that fails
        // is no progress, so that the watchdog ends it.
        if works {
            pulse.beat();
        }
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
        let batch = gather((lane, job), &open, jobs, inspectors.batch());
        let started = Instant::now();
        let rows: Vec<_> = batch.iter().map(|(_, job)| (job.precision, &job.row)).collect();
        let results = inspectors.inspect_all(&rows);
        let took = started.elapsed();
        let failure = results.iter().find_map(|result| match result {
            Err(error @ InspectError::Network(_)) => Some(error),
            _ => None,
        });
        match failure {
            Some(error) if works => tracing::error!("{error}; cells are held, and unless it recovers the watchdog starts the station anew"),
            None if !works => tracing::info!("the network works again"),
            _ => {}
        }
        works = failure.is_none();
        let mut together = vec![0; jobs.len()];
        batch.iter().for_each(|(lane, _)| together[*lane] += 1);
        for ((lane, job), result) in batch.into_iter().zip(results) {
            let result = result.map_err(|e| e.to_string());
            let waited = started.saturating_duration_since(job.sent);
            let (cell, row, pixels) = (job.row.cell, job.row.row, job.row.pixels);
            let inspected = InspectedRow { cell, row, pixels, result, together: together[lane], waited, took };
            // A desk that is gone has already held its cells.
            let _ = desks[lane].send(DeskEvent::Inspected(inspected));
        }
    }
}

/// Fills a batch with what the lanes have ready, one row of each in turn after the first one's lane, up to `most` rows. It never
/// waits for more: while the network works, the next batch gathers by itself, and an idle network serves a single row at once.
fn gather<T>(first: (usize, T), open: &[usize], jobs: &[Receiver<T>], most: usize) -> Vec<(usize, T)> {
    let after = open.iter().position(|lane| *lane == first.0).map_or(0, |position| position + 1);
    let mut batch = vec![first];
    let mut empty = 0;
    for lane in open.iter().cycle().skip(after) {
        if batch.len() >= most || empty == open.len() {
            break;
        }
        match jobs[*lane].try_recv() {
            Ok(job) => {
                batch.push((*lane, job));
                empty = 0;
            }
            Err(_) => empty += 1,
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::{inspector, row};
    use crate::nn::{Engine, NnError};
    use crate::telemetry::Health;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// A device that can be lost and come back.
    struct Device {
        lost: Arc<AtomicBool>,
    }

    impl Engine for Device {
        fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
            let lost = || NnError::Device { wanted: "cuda:0".into(), reason: "lost".into(), remedy: "start anew".into() };
            if self.lost.load(Relaxed) { Err(lost()) } else { Ok(vec![0.0; tiles.len()]) }
        }

        fn describe(&self) -> String {
            "a device".into()
        }
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(60), "{what} has not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_network_that_fails_is_no_sign_of_life_until_it_works_again() {
        let lost = Arc::new(AtomicBool::new(false));
        let health = Health::new(&[], 5 * TICK);
        let thread = WarmThread::start(inspector(Device { lost: lost.clone() }).into()).unwrap();
        let (jobs, jobs_out) = bounded(4);
        let (desk, events) = bounded(4);
        let lanes = Lanes { jobs: vec![jobs_out], desks: vec![desk], pulse: health.pulse("inspection") };
        let thread = thread.serve(lanes).unwrap();
        let inspect = || {
            jobs.send(InspectJob { row: row(1, 5, 9), precision: None, sent: Instant::now() }).unwrap();
            let Ok(DeskEvent::Inspected(row)) = events.recv() else { panic!("no row") };
            row.result
        };
        assert!(inspect().is_ok());
        lost.store(true, Relaxed);
        assert!(inspect().unwrap_err().contains("cuda:0"));
        until("its silence", || !health.live().is_ok());
        lost.store(false, Relaxed);
        assert!(inspect().is_ok());
        until("its next beat", || health.live().is_ok());
        drop(jobs);
        thread.join().unwrap();
    }

    #[test]
    fn a_network_that_cannot_be_warmed_up_starts_no_station_and_a_thread_without_lanes_ends() {
        let lost = Arc::new(AtomicBool::new(true));
        let told = WarmThread::start(inspector(Device { lost: lost.clone() }).into()).err().unwrap().to_string();
        assert!(told.contains("cuda:0") && told.contains("start anew"), "{told}");
        lost.store(false, Relaxed);
        drop(WarmThread::start(inspector(Device { lost: lost.clone() }).into()).unwrap());
        assert_eq!(Arc::strong_count(&lost), 1, "the thread has ended");
    }

    #[test]
    fn a_batch_takes_from_every_lane_in_turn_and_waits_for_none() {
        let lanes: Vec<_> = (0..3).map(|_| bounded(8)).collect();
        for row in 0..5 {
            lanes[0].0.send(row).unwrap();
        }
        lanes[2].0.send(20).unwrap();
        let jobs: Vec<_> = lanes.iter().map(|(_, receiver)| receiver.clone()).collect();
        let first = (0, lanes[0].1.recv().unwrap());
        assert_eq!(gather(first, &[0, 1, 2], &jobs, 4), [(0, 0), (2, 20), (0, 1), (0, 2)]);
        assert_eq!(gather((1, 9), &[0, 1, 2], &jobs, 8), [(1, 9), (0, 3), (0, 4)]);
        assert_eq!(gather((1, 9), &[0, 1, 2], &jobs, 1), [(1, 9)]);
    }

    #[test]
    fn a_batch_that_is_full_favours_no_lane() {
        let lanes: Vec<_> = (0..3).map(|_| bounded(8)).collect();
        lanes.iter().for_each(|(sender, _)| sender.send(7).unwrap());
        let jobs: Vec<_> = lanes.iter().map(|(_, receiver)| receiver.clone()).collect();
        assert_eq!(gather((0, 9), &[0, 1, 2], &jobs, 2), [(0, 9), (1, 7)]);
        assert_eq!(gather((1, 9), &[0, 1, 2], &jobs, 2), [(1, 9), (2, 7)]);
        assert_eq!(gather((2, 9), &[0, 1, 2], &jobs, 3), [(2, 9), (0, 7)]);
    }
}
