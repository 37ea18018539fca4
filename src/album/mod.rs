//! Pictures of cells that are worth learning from, kept for `train`.
//!
//! Of every cell in which the network has looked for cracks and that did not pass, and of one in so many that did, the stitched
//! picture goes to the folder `unreviewed/`, with the mask that was found beside it. Once a person tells the truth about such a cell its
//! picture goes to `images/` and the truth to `masks/`: a folder that `train fit --data` takes as it is. Neither verdicts nor the
//! watchdog wait for any of this: what the disk does not take in time is not kept, and is told.

mod error;
mod name;
mod picture;
mod shelf;
#[cfg(test)]
mod tests;

pub use error::AlbumError;
pub use name::Name;

use crate::cell::{CellId, Disposition, Mask, Spans, VerdictKind, without_rim};
use crate::config;
use crate::review::TOLD_CELLS;
use crate::throttle::Throttle;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use shelf::Shelf;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Cells that may wait for the disk, 4 MB each; what comes while as many wait is not kept.
const QUEUE_CELLS: usize = 8;
/// How long a truth may wait for the disk. In tests, which keep each other's disk and processor busy, longer than any takes.
const TRUTH_WAITS: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });
/// A disk that refuses one picture after the other, or is too slow for them, is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A cell as it is put into the album.
#[derive(Debug, Clone)]
pub struct Page {
    /// Which cell.
    pub cell: CellId,
    /// When its trailing edge passed, nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// What became of it.
    pub disposition: Disposition,
    /// Its rows of tiles, from the leading edge: 448 × 1344 grey values and the outline of each line.
    pub rows: [(Arc<[u16]>, Spans); 3],
    /// The mask that the network found.
    pub found: Arc<Mask>,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on its way to the disk.
    Yes,
    /// It is one of those that are not kept.
    NotWanted,
    /// The disk is too slow, or the station stops: it is not kept.
    Lost,
}

/// What became of a truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is on the disk, with its picture.
    Kept,
    /// The picture is not there any more: it has made room for others, or the disk refused it.
    NoPicture,
    /// It waits for the disk still, and is kept if that takes it yet.
    Waits,
    /// The disk refuses it, or is so slow that it was not taken at all.
    Lost,
}

enum Job {
    Keep { name: Name, page: Box<Page> },
    Tell { name: Name, truth: Arc<Mask>, told: Sender<Told> },
}

/// The album. Thread-safe; share it by `Arc`.
#[derive(Debug)]
pub struct Album {
    jobs: Mutex<Option<Sender<Job>>>,
    names: Arc<Mutex<Names>>,
    passed: AtomicU64,
    passed_every: u64,
    truth_waits: Duration,
    too_slow: Mutex<Throttle>,
    dir: PathBuf,
}

/// The pictures of this run's cells: of all that wait for their truth, and of the last about which it was told.
#[derive(Debug, Default)]
struct Names {
    of: HashMap<CellId, (Name, Disposition)>,
    /// Those that were told, the last one at the end.
    told: VecDeque<CellId>,
}

impl Album {
    /// Opens the album in the settings' folder, which is made where it is missing, and starts the thread that writes. The thread
    /// calls `kept` with the lane of a picture once it is on the disk, `lost` with that of a picture or truth that the disk has
    /// refused; it ends after [`close`](Self::close).
    ///
    /// # Errors
    /// The folder cannot be made, read or written, or the thread not started.
    pub fn open(
        settings: &config::Album,
        kept: impl Fn(&str) + Send + 'static,
        lost: impl Fn(&str) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), AlbumError> {
        let shelf = Shelf::open(&settings.dir, settings.unreviewed_max)?;
        let (jobs, jobs_out) = bounded(QUEUE_CELLS);
        let names = Arc::<Mutex<Names>>::default();
        let known = names.clone();
        let thread = std::thread::Builder::new()
            .name("album".into())
            .spawn(move || write_all(&jobs_out, shelf, &known, kept, lost))
            .map_err(AlbumError::Thread)?;
        let album = Self {
            jobs: Mutex::new(Some(jobs)),
            names,
            passed: AtomicU64::new(0),
            passed_every: settings.passed_every,
            truth_waits: TRUTH_WAITS,
            too_slow: Mutex::new(Throttle::new(TELL_EVERY)),
            dir: settings.dir.clone(),
        };
        Ok((album, thread))
    }

    /// Puts a cell into the album if it is one of those that are kept; waits for nothing.
    pub fn keep(&self, page: Page) -> Kept {
        if page.disposition.verdict == VerdictKind::Pass && !self.is_the_turn_of_one_that_passed() {
            return Kept::NotWanted;
        }
        let (cell, name, disposition) = (page.cell.clone(), Name::of(&page), page.disposition);
        let job = Job::Keep { name: name.clone(), page: Box::new(page) };
        // Known before it is written, so that what the disk refuses can be forgotten.
        let mut names = lock(&self.names);
        match self.jobs().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => {
                drop(names);
                if lock(&self.too_slow).passes(Instant::now()) {
                    tracing::warn!(%cell, "the album's disk is too slow for so many pictures: this one and others are not kept");
                }
                return Kept::Lost;
            }
            Some(Err(TrySendError::Disconnected(_))) | None => return Kept::Lost,
        }
        names.of.insert(cell, (name, disposition));
        Kept::Yes
    }

    /// What a cell of this run is called here; `None` where it is not kept.
    pub fn name_of(&self, cell: &CellId) -> Option<Name> {
        lock(&self.names).of.get(cell).map(|(name, _)| name.clone())
    }

    /// The cell of this run that is called so, and what became of it.
    pub fn cell_of(&self, name: &Name) -> Option<(CellId, Disposition)> {
        lock(&self.names).cell(name).map(|(cell, disposition)| (cell.clone(), disposition))
    }

    /// Names of the pictures that wait for their truth, of earlier runs as well, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn waiting(&self) -> Result<Vec<Name>, AlbumError> {
        shelf::waiting(&self.dir)
    }

    /// Waits no longer than this for a truth to be on the disk.
    #[cfg(test)]
    pub(crate) fn impatient(self, truth_waits: Duration) -> Self {
        Self { truth_waits, ..self }
    }

    /// Puts the truth about a picture on the disk, for which it waits two seconds; a second truth replaces the first.
    pub fn tell(&self, name: Name, truth: Arc<Mask>) -> Told {
        let until = Instant::now() + self.truth_waits;
        let (told, answer) = bounded(1);
        let sent = self.jobs().is_some_and(|jobs| jobs.send_deadline(Job::Tell { name, truth, told }, until).is_ok());
        if !sent {
            return Told::Lost;
        }
        answer.recv_deadline(until).unwrap_or_else(|none| if none.is_timeout() { Told::Waits } else { Told::Lost })
    }

    /// A picture as PNG; `None` where it is not on the disk, or not yet.
    pub fn picture(&self, name: &Name) -> Option<Vec<u8>> {
        shelf::places(&self.dir, name).iter().find_map(|place| std::fs::read(place).ok())
    }

    /// A picture as PNG of 8 bits a pixel for the eye, with as much of its contrast as there is; `None` as for
    /// [`picture`](Self::picture).
    pub fn view(&self, name: &Name) -> Option<Vec<u8>> {
        picture::view(&self.picture(name)?)
    }

    /// The mask of a picture as PNG: the one that was told, else the one that was found.
    pub fn mask(&self, name: &Name) -> Option<Vec<u8>> {
        shelf::masks(&self.dir, name).iter().find_map(|place| std::fs::read(place).ok())
    }

    /// The mask that was found, as PNG: while its picture waits, and of the cells of this run that were told about last.
    pub fn found(&self, name: &Name) -> Option<Vec<u8>> {
        shelf::found(&self.dir, name).iter().find_map(|place| std::fs::read(place).ok())
    }

    /// Where the network looked for cracks on each line of a cell, as its picture tells; `None` where that is not on the disk.
    pub fn judged(&self, name: &Name) -> Option<Spans> {
        Some(without_rim(&picture::outline(&self.picture(name)?)?).into())
    }

    /// Takes nothing any more; the thread ends when all that was taken is on the disk.
    pub fn close(&self) {
        lock(&self.jobs).take();
    }

    fn jobs(&self) -> Option<Sender<Job>> {
        lock(&self.jobs).clone()
    }

    fn is_the_turn_of_one_that_passed(&self) -> bool {
        self.passed_every > 0 && self.passed.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.passed_every)
    }
}

impl Names {
    fn cell(&self, name: &Name) -> Option<(&CellId, Disposition)> {
        self.of.iter().find(|(_, (other, _))| other == name).map(|(cell, (_, disposition))| (cell, *disposition))
    }

    /// Its truth was told: it waits no more, and makes room for others that are told. Returns what cannot be told about anew any more,
    /// as nothing of an earlier run can.
    fn told(&mut self, name: &Name) -> Option<Name> {
        let Some(cell) = self.cell(name).map(|(cell, _)| cell.clone()) else { return Some(name.clone()) };
        self.told.retain(|other| *other != cell);
        self.told.push_back(cell);
        let oldest = if self.told.len() > TOLD_CELLS { self.told.pop_front()? } else { return None };
        self.of.remove(&oldest).map(|(name, _)| name)
    }

    fn forget(&mut self, name: &Name) {
        self.of.retain(|_, (other, _)| other != name);
    }
}

/// Works until nobody can hand it anything any more. What is not on the shelf is not known either.
fn write_all(jobs: &Receiver<Job>, mut shelf: Shelf, known: &Mutex<Names>, kept: impl Fn(&str), lost: impl Fn(&str)) {
    let mut failures = Throttle::new(TELL_EVERY);
    for job in jobs {
        let done = match &job {
            Job::Keep { name, page } => shelf.put(name, page).inspect(|()| kept(name.lane())).inspect_err(|_| {
                lost(name.lane());
                lock(known).forget(name);
            }),
            Job::Tell { name, truth, told } => {
                let done = shelf.tell(name, truth).inspect_err(|_| lost(name.lane()));
                let forgotten = if matches!(done, Ok(true)) { lock(known).told(name) } else { None };
                // Nobody may wait any more, and know that it may be kept yet.
                let _ = told.send(match &done {
                    Ok(true) => Told::Kept,
                    Ok(false) => Told::NoPicture,
                    Err(_) => Told::Lost,
                });
                done.and_then(|_| forgotten.map_or(Ok(()), |name| shelf.forget_found(&name)))
            }
        };
        if let Err(error) = done.and_then(|()| shelf.make_room(|name| lock(known).forget(name)))
            && failures.passes(Instant::now())
        {
            tracing::error!("the album: {error}");
        }
    }
}

// A thread that panicked while it held the lock has changed nothing by halves.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
