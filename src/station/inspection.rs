//! The inspection thread: rows of every lane through the station's networks, one batch after the other.

use super::StationError;
use super::queue::{DeskEvent, InspectJob, InspectedRow};
use crate::inspect::{InspectError, InspectorInfo, Inspectors};
use crate::telemetry::Pulse;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the thread may sleep before it shows that it lives.
const TICK: Duration = Duration::from_millis(200);
/// How often a network that fails is tried while no rows come: it may be asked for nothing more, and work again.
const TRIED_EVERY: Duration = Duration::from_secs(5);

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
    info: InspectorInfo,
}

impl WarmThread {
    /// Starts the thread, which has `make` make the networks ready: what CUDA's libraries make ready they keep for each thread.
    pub fn start(make: impl FnOnce() -> Result<Inspectors, InspectError> + Send + 'static) -> Result<Self, StationError> {
        let (lanes, lanes_in) = bounded::<Lanes>(1);
        let (warm, warm_in) = bounded(1);
        let work = move || {
            let (info, inspectors) = match make() {
                Ok(inspectors) => (Ok(inspectors.info()), Some(inspectors)),
                Err(error) => (Err(error), None),
            };
            if warm.send(info).is_ok()
                && let Some(inspectors) = inspectors
                && let Ok(lanes) = lanes_in.recv()
            {
                run(inspectors, &lanes);
            }
        };
        let thread = std::thread::Builder::new().name("inspection".into()).spawn(work).map_err(StationError::thread("inspection"))?;
        let failed = match warm_in.recv() {
            Ok(Ok(info)) => return Ok(Self { lanes: Some(lanes), thread: Some(thread), info }),
            Ok(Err(error)) => error.into(),
            Err(_) => StationError::Failed("inspection".into()),
        };
        // It has nothing left to wait for; whatever it says of a panic was said by then.
        let _ = thread.join();
        Err(failed)
    }

    /// Which model this is, and all that runs it.
    pub fn info(&self) -> &InspectorInfo {
        &self.info
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
    let mut rows = Rows::new(jobs);
    let mut works = vec![true; inspectors.networks()];
    let mut tried = Instant::now();
    while rows.will_come() {
        // A device that is lost mostly stays lost until the process ends; its cells are held meanwhile. A network that fails is no
        // progress, whatever the others do, so that the watchdog ends it.
        if !works.contains(&false) {
            pulse.beat();
        }
        let Some((network, batch)) = rows.batch(|job| inspectors.network(job.precision), |network| inspectors.batch(network)) else {
            rows.wait();
            if tried.elapsed() >= TRIED_EVERY {
                tried = Instant::now();
                for (network, works) in works.iter_mut().enumerate().filter(|(_, works)| !**works) {
                    *works = inspectors.warm_up(network).is_ok();
                    if *works {
                        tracing::info!(engine = inspectors.engine(network), "the network works again");
                    }
                }
            }
            continue;
        };
        let started = Instant::now();
        let results = inspectors.inspect_all(network, batch.iter().map(|(_, job)| &job.row));
        let took = started.elapsed();
        let failure = results.iter().find_map(|result| match result {
            Err(error @ InspectError::Network(_)) => Some(error),
            _ => None,
        });
        let engine = inspectors.engine(network);
        match failure {
            Some(error) if works[network] => {
                tracing::error!(engine, "{error}; its cells are held, and unless it recovers the watchdog starts the station anew");
            }
            None if !works[network] => tracing::info!(engine, "the network works again"),
            _ => {}
        }
        works[network] = failure.is_none();
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

/// The rows that the lanes have ready: of each the next one in hand, since only that tells which network it is for.
struct Rows<'a, T> {
    queues: &'a [Receiver<T>],
    next: Vec<Option<T>>,
    /// Lanes whose queue is not closed yet.
    open: Vec<usize>,
    /// The lane that the next batch begins with, where it has anything.
    turn: usize,
}

impl<'a, T> Rows<'a, T> {
    fn new(queues: &'a [Receiver<T>]) -> Self {
        Self { queues, next: queues.iter().map(|_| None).collect(), open: (0..queues.len()).collect(), turn: 0 }
    }

    /// Whether there are any, or may be.
    fn will_come(&self) -> bool {
        !self.open.is_empty() || self.next.iter().any(Option::is_some)
    }

    /// Waits for a row, or for a lane that closes its queue, but no longer than a tick.
    fn wait(&mut self) {
        let queues = self.queues;
        let mut select = Select::new();
        for lane in &self.open {
            select.recv(&queues[*lane]);
        }
        let Ok(chosen) = select.select_timeout(TICK) else { return };
        let place = chosen.index();
        let lane = self.open[place];
        match chosen.recv(&queues[lane]) {
            Ok(row) => self.next[lane] = Some(row),
            Err(_) => {
                self.open.remove(place);
            }
        }
    }

    /// Rows of one network: that of the next lane's whose turn it is, and what else the lanes have ready for it, one row of each in
    /// turn, up to `most` of that network. It never waits for more: while a network works, the next batch gathers by itself, and an
    /// idle one serves a single row at once.
    fn batch(&mut self, network: impl Fn(&T) -> usize, most: impl Fn(usize) -> usize) -> Option<(usize, Vec<(usize, T)>)> {
        let (lanes, turn) = (self.queues.len(), self.turn);
        let first = (0..lanes).map(|i| (turn + i) % lanes).find(|lane| self.peek(*lane).is_some())?;
        self.turn = (first + 1) % lanes;
        let wanted = self.peek(first).map(&network)?;
        let (mut batch, mut without) = (Vec::new(), 0);
        let mut lane = first;
        while batch.len() < most(wanted).max(1) && without < lanes {
            let fits = self.peek(lane).is_some_and(|row| network(row) == wanted);
            match self.next[lane].take_if(|_| fits) {
                Some(row) => {
                    batch.push((lane, row));
                    without = 0;
                }
                None => without += 1,
            }
            lane = (lane + 1) % lanes;
        }
        Some((wanted, batch))
    }

    fn peek(&mut self, lane: usize) -> Option<&T> {
        let next = &mut self.next[lane];
        if next.is_none() {
            *next = self.queues[lane].try_recv().ok();
        }
        next.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeviceChoice, Precision};
    use crate::inspect::tests::{inspector, row};
    use crate::nn::{Engine, NnError};
    use crate::telemetry::Health;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// A device that can be lost and come back.
    struct Device {
        precision: Precision,
        lost: Arc<AtomicBool>,
    }

    impl Engine for Device {
        fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
            let lost = || NnError::Device { wanted: "cuda:0".into(), reason: "lost".into(), remedy: "start anew".into() };
            if self.lost.load(Relaxed) { Err(lost()) } else { Ok(vec![0.0; tiles.len()]) }
        }

        fn describe(&self) -> String {
            format!("{} on a device", self.precision)
        }
    }

    /// The thread with a network in each of these precisions, on devices of their own.
    fn start(devices: Vec<(Precision, Arc<AtomicBool>)>) -> Result<WarmThread, StationError> {
        WarmThread::start(move || {
            let precisions: Vec<Precision> = devices.iter().map(|(precision, _)| *precision).collect();
            Inspectors::with(DeviceChoice::Cpu, precisions, |_, precision| {
                let (_, lost) = devices.iter().find(|device| device.0 == precision).unwrap();
                Ok(inspector(Device { precision, lost: lost.clone() }))
            })
        })
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(60), "{what} has not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_network_that_fails_is_no_sign_of_life_until_it_works_again_whatever_another_does() {
        let [lost, sound] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let health = Health::new(&[], 5 * TICK);
        let thread = start(vec![(Precision::F16, lost.clone()), (Precision::F32, sound)]).unwrap();
        let (jobs, jobs_out) = bounded(4);
        let (desk, events) = bounded(4);
        let lanes = Lanes { jobs: vec![jobs_out], desks: vec![desk], pulse: health.pulse("inspection") };
        let thread = thread.serve(lanes).unwrap();
        let inspect = |precision| {
            jobs.send(InspectJob { row: row(1, 5, 9), precision, sent: Instant::now() }).unwrap();
            let Ok(DeskEvent::Inspected(row)) = events.recv() else { panic!("no row") };
            row.result
        };
        assert!(inspect(None).is_ok());
        lost.store(true, Relaxed);
        assert!(inspect(None).unwrap_err().contains("cuda:0"));
        until("its silence", || inspect(Some(Precision::F32)).is_ok() && !health.live().is_ok());
        lost.store(false, Relaxed);
        assert!(inspect(None).is_ok());
        until("its next beat", || health.live().is_ok());
        lost.store(true, Relaxed);
        assert!(inspect(None).is_err());
        until("its silence while nothing comes", || !health.live().is_ok());
        lost.store(false, Relaxed);
        until("its next beat, though nobody asks", || health.live().is_ok());
        drop(jobs);
        thread.join().unwrap();
    }

    #[test]
    fn a_network_that_cannot_be_warmed_up_starts_no_station_and_a_thread_without_lanes_ends() {
        let lost = Arc::new(AtomicBool::new(true));
        let start = || start(vec![(Precision::F32, lost.clone())]);
        let told = start().err().unwrap().to_string();
        assert!(told.contains("cuda:0") && told.contains("start anew"), "{told}");
        lost.store(false, Relaxed);
        drop(start().unwrap());
        until("the end of both threads", || Arc::strong_count(&lost) == 1);
    }

    /// Lanes with these rows, and the batches that are made of them: a row is for the network of its tens.
    fn batches(lanes: &[&[usize]], most: [usize; 2]) -> Vec<Vec<(usize, usize)>> {
        let queues: Vec<_> = lanes
            .iter()
            .map(|rows| {
                let (sender, receiver) = bounded(8);
                rows.iter().for_each(|row| sender.send(*row).unwrap());
                receiver
            })
            .collect();
        let mut rows = Rows::new(&queues);
        let mut batches = Vec::new();
        while rows.will_come() {
            match rows.batch(|row| row / 10, |network| most[network]) {
                Some((network, batch)) => {
                    assert!(batch.iter().all(|(_, row)| row / 10 == network));
                    batches.push(batch);
                }
                None => rows.wait(),
            }
        }
        batches
    }

    #[test]
    fn a_batch_takes_from_every_lane_in_turn_and_waits_for_none() {
        assert_eq!(batches(&[&[0, 1, 2, 3], &[], &[5]], [4, 4]), [vec![(0, 0), (2, 5), (0, 1), (0, 2)], vec![(0, 3)]]);
        assert_eq!(batches(&[&[0], &[1]], [1, 1]), [[(0, 0)], [(1, 1)]]);
        assert_eq!(batches(&[&[0], &[1]], [0, 0]), [[(0, 0)], [(1, 1)]]);
    }

    #[test]
    fn a_batch_that_is_full_favours_no_lane() {
        let taken = batches(&[&[0, 1], &[2, 3], &[4, 5]], [2, 2]);
        assert_eq!(taken, [[(0, 0), (1, 2)], [(1, 3), (2, 4)], [(2, 5), (0, 1)]]);
    }

    #[test]
    fn a_batch_is_one_networks_and_no_larger_than_that_one_takes() {
        let taken = batches(&[&[10, 11], &[0, 1, 2, 12], &[3]], [6, 1]);
        assert_eq!(taken, [vec![(0, 10)], vec![(1, 0), (2, 3), (1, 1), (1, 2)], vec![(0, 11)], vec![(1, 12)]]);
    }
}
