//! What happened to every cell, on disk before anyone is told.
//!
//! One file (`ledger.redb`) in the station's ledger folder. A verdict is written once under its run,
//! lane and number; what the network said too late stands beside it and never replaces it; time in
//! which a lane was blind is a record of its own. Every write is a durable commit: when the call
//! returns, the record survives a power cut.
//!
//! Calls block on the disk; give them a thread of their own. All of them may be made from several
//! threads at once, writers taking turns.

mod error;
mod store;
mod tables;
#[cfg(test)]
mod tests;

pub use error::LedgerError;

use redb::ReadableTable;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tables::{BLIND, CELLS, LATE, RUNS, RunSpan, SEEN, see};

const NS_PER_DAY: i64 = 86_400_000_000_000;

/// One cell's record: what is published of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Id of the run, a UUID made at the daemon's start.
    pub run: String,
    /// The lane's name.
    pub lane: Arc<str>,
    /// The cell's number on this lane within this run.
    pub number: u64,
    /// When the trailing edge passed, nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// The JSON header, byte by byte as published.
    pub header: Vec<u8>,
    /// The mask's PNG, empty where there is none.
    pub payload: Vec<u8>,
}

/// The part of a run that the ledger still holds for one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Id of the run.
    pub run: String,
    /// The lane's name.
    pub lane: String,
    /// Lowest number that is kept.
    pub first_number: u64,
    /// Highest number.
    pub last_number: u64,
    /// Time of the earliest record, nanoseconds since the Unix epoch.
    pub first_unix_ns: i64,
    /// Time of the latest record, nanoseconds since the Unix epoch.
    pub last_unix_ns: i64,
}

/// Time in which a lane saw nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blind {
    /// Id of the run that noticed.
    pub run: String,
    /// The lane's name.
    pub lane: String,
    /// When it began, nanoseconds since the Unix epoch.
    pub from_unix_ns: i64,
    /// When it ended, nanoseconds since the Unix epoch.
    pub to_unix_ns: i64,
    /// Why.
    pub reason: String,
    /// The JSON header as published.
    pub header: Vec<u8>,
}

/// The station's ledger. Share it by `Arc`.
///
/// After a failure of the disk (full, gone read-only) calls fail with [`LedgerError::Storage`]; each
/// later call tries to open the file anew, so that the ledger works again as soon as the disk does.
pub struct Ledger {
    store: Store,
    keep_days: u32,
}

impl Ledger {
    /// Records that one call of [`prune`](Self::prune) removes at most.
    pub const PRUNE_STEP: usize = 256;

    /// Opens the ledger in `dir`, creating folder and file where they are missing.
    ///
    /// `keep_days` is how long [`prune`](Self::prune) leaves a record. After a crash the file repairs
    /// itself at once: every commit carries what that needs.
    ///
    /// # Errors
    /// The folder cannot be made or written, another process has the ledger open, or the file is
    /// damaged or of another version; each with its remedy.
    pub fn open(dir: &Path, keep_days: u32) -> Result<Self, LedgerError> {
        Ok(Self { store: Store::open(dir)?, keep_days })
    }

    /// Writes one cell's record. It is on disk when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Duplicate`] if the same run, lane and number is there already (so it is also
    /// after a failed write that reached the disk nevertheless), [`LedgerError::Storage`] otherwise.
    pub fn record(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.record_all(std::slice::from_ref(entry))
    }

    /// Writes several records in one commit: all of them or, on any error, none.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn record_all(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        self.write_entries(entries, false)
    }

    /// Writes records in one commit, each in place of the one that may be there: what was published without the
    /// disk's confirmation is the truth, whatever the disk took in the meantime.
    ///
    /// # Errors
    /// [`LedgerError::Storage`]; then none is written.
    pub fn replace_all(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        self.write_entries(entries, true)
    }

    fn write_entries(&self, entries: &[Entry], replace: bool) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.store.write(|txn| {
            let (mut cells, mut runs, mut seen) = (txn.open_table(CELLS)?, txn.open_table(RUNS)?, txn.open_table(SEEN)?);
            for entry in entries {
                let (lane, run) = (&*entry.lane, entry.run.as_str());
                let record = (entry.unix_ns, entry.header.as_slice(), entry.payload.as_slice());
                if cells.insert((lane, run, entry.number), record)?.is_some() && !replace {
                    return Err(LedgerError::duplicate(run, lane, entry.number).into());
                }
                let known = runs.get((lane, run))?.map(|span| RunSpan::from(span.value()));
                let span = known.map_or(RunSpan::of(entry), |span| span.with(entry));
                runs.insert((lane, run), span.into_value())?;
                see(&mut seen, lane, entry.unix_ns)?;
            }
            Ok(())
        })
    }

    /// Writes down that `lane` saw nothing from `from_unix_ns` to `to_unix_ns`.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn record_blind(
        &self,
        run: &str,
        lane: &str,
        from_unix_ns: i64,
        to_unix_ns: i64,
        reason: &str,
        header: &[u8],
    ) -> Result<(), LedgerError> {
        self.store.write(|txn| {
            txn.open_table(BLIND)?.insert((lane, from_unix_ns, run), (to_unix_ns, reason, header))?;
            see(&mut txn.open_table(SEEN)?, lane, to_unix_ns)?;
            Ok(())
        })
    }

    /// Writes down that `lane` was seeing at `unix_ns`, cell or no cell, so that blind time after a
    /// crash is not reckoned from the last cell of an empty belt.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn note_seen(&self, lane: &str, unix_ns: i64) -> Result<(), LedgerError> {
        self.store.write(|txn| Ok(see(&mut txn.open_table(SEEN)?, lane, unix_ns)?))
    }

    /// Keeps what the network said after the verdict was out, beside that verdict. Said again, it
    /// replaces what was said before.
    ///
    /// # Errors
    /// [`LedgerError::NoVerdict`] if the cell has no record, [`LedgerError::Storage`].
    pub fn note_late(&self, run: &str, lane: &str, number: u64, header: &[u8]) -> Result<(), LedgerError> {
        self.store.write(|txn| {
            if txn.open_table(CELLS)?.get((lane, run, number))?.is_none() {
                return Err(LedgerError::no_verdict(run, lane, number).into());
            }
            txn.open_table(LATE)?.insert((lane, run, number), header)?;
            Ok(())
        })
    }

    /// The records of a run from number `from` on, at most `limit`, in the order of their numbers.
    /// Numbers that were never recorded, or pruned, are left out.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn replay(&self, run: &str, lane: &str, from: u64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let name: Arc<str> = lane.into();
        self.store.read(|txn| {
            let cells = txn.open_table(CELLS)?;
            let mut entries = Vec::new();
            for item in cells.range((lane, run, from)..=(lane, run, u64::MAX))?.take(limit) {
                let (key, value) = item?;
                let (unix_ns, header, payload) = value.value();
                entries.push(Entry {
                    run: run.to_owned(),
                    lane: name.clone(),
                    number: key.value().2,
                    unix_ns,
                    header: header.to_vec(),
                    payload: payload.to_vec(),
                });
            }
            Ok(entries)
        })
    }

    /// What the network said too late about a cell, if it did. The station itself never asks: it is for whoever looks into a ledger
    /// afterwards, with this library.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn late(&self, run: &str, lane: &str, number: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.store.read(|txn| {
            let late = txn.open_table(LATE)?;
            Ok(late.get((lane, run, number))?.map(|header| header.value().to_vec()))
        })
    }

    /// Every run of every lane, earliest first.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn runs(&self) -> Result<Vec<RunSummary>, LedgerError> {
        let mut summaries = self.store.read(|txn| {
            let runs = txn.open_table(RUNS)?;
            let mut summaries = Vec::new();
            for item in runs.range::<(&str, &str)>(..)? {
                let (key, value) = item?;
                let ((lane, run), span) = (key.value(), RunSpan::from(value.value()));
                summaries.push(span.summary(lane, run));
            }
            Ok(summaries)
        })?;
        summaries.sort_by_key(|s| s.first_unix_ns);
        Ok(summaries)
    }

    /// The blind times of `lane` that end after `since_unix_ns`, in the order of their beginnings, at
    /// most `limit`.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn blind(&self, lane: &str, since_unix_ns: i64, limit: usize) -> Result<Vec<Blind>, LedgerError> {
        self.store.read(|txn| {
            let table = txn.open_table(BLIND)?;
            let mut found = Vec::new();
            for item in table.range((lane, i64::MIN, "")..)? {
                let (key, value) = item?;
                let ((of_lane, from_unix_ns, run), (to_unix_ns, reason, header)) = (key.value(), value.value());
                if of_lane != lane || found.len() == limit {
                    break;
                }
                if to_unix_ns > since_unix_ns {
                    found.push(Blind {
                        run: run.to_owned(),
                        lane: lane.to_owned(),
                        from_unix_ns,
                        to_unix_ns,
                        reason: reason.to_owned(),
                        header: header.to_vec(),
                    });
                }
            }
            Ok(found)
        })
    }

    /// When `lane` was last known to see before `now_unix_ns`: its newest record of any run, the end of its last blind
    /// time, or the last [`note_seen`](Self::note_seen). Blind time after a restart starts there. Where that lies ahead, because
    /// a clock was far ahead once, it is the newest record that does not.
    /// `None` for a lane of which nothing before is known.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn last_seen_unix_ns(&self, lane: &str, now_unix_ns: i64) -> Result<Option<i64>, LedgerError> {
        self.store.read(|txn| {
            let seen = txn.open_table(SEEN)?.get(lane)?.map(|at| at.value());
            // A clock that is a little slow, as after a start before it was set, tells no blind time at all.
            if seen.is_none_or(|at| at <= now_unix_ns.saturating_add(NS_PER_DAY)) {
                return Ok(seen.map(|at| at.min(now_unix_ns)));
            }
            let mut newest = None;
            for item in txn.open_table(RUNS)?.range((lane, "")..)? {
                let (key, value) = item?;
                if key.value().0 != lane {
                    break;
                }
                newest = newest.max(RunSpan::from(value.value()).last_until(now_unix_ns));
            }
            Ok(newest)
        })
    }

    /// Removes records older than the days to keep, at most [`PRUNE_STEP`](Self::PRUNE_STEP) in one
    /// commit, so that no verdict waits long behind it. Returns how many; call it again until 0.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn prune(&self, now_unix_ns: i64) -> Result<u64, LedgerError> {
        let cutoff = now_unix_ns.saturating_sub(i64::from(self.keep_days).saturating_mul(NS_PER_DAY));
        if !self.store.read(|txn| tables::has_older(txn, cutoff))? {
            return Ok(0);
        }
        self.store.write(|txn| tables::prune(txn, cutoff, Self::PRUNE_STEP))
    }
}
