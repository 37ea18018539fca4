use super::error::Fault;
use super::{Entry, NS_PER_DAY, RunSummary};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

/// Counted up whenever a table's meaning changes.
pub(super) const FORMAT: u64 = 1;

type CellKey = (&'static str, &'static str, u64);
type BlindKey = (&'static str, i64, &'static str);
type BlindRecord = (i64, &'static str, &'static [u8]);

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// (lane, run, number) → (unix_ns, header, payload)
pub(super) const CELLS: TableDefinition<CellKey, (i64, &[u8], &[u8])> = TableDefinition::new("cells");
/// (lane, run, number) → header of what came too late
pub(super) const LATE: TableDefinition<CellKey, &[u8]> = TableDefinition::new("late");
/// (lane, run) → the part that is kept, see [`RunSpan`]
pub(super) const RUNS: TableDefinition<(&str, &str), (u64, u64, i64, i64)> = TableDefinition::new("runs");
/// (lane, from unix_ns, run) → (to unix_ns, reason, header)
pub(super) const BLIND: TableDefinition<BlindKey, BlindRecord> = TableDefinition::new("blind");
/// lane → newest time at which it was known to see
pub(super) const SEEN: TableDefinition<&str, i64> = TableDefinition::new("seen");

/// First and last number and time of a run.
#[derive(Clone, Copy)]
pub(super) struct RunSpan {
    first_number: u64,
    last_number: u64,
    first_unix_ns: i64,
    last_unix_ns: i64,
}

impl From<(u64, u64, i64, i64)> for RunSpan {
    fn from((first_number, last_number, first_unix_ns, last_unix_ns): (u64, u64, i64, i64)) -> Self {
        Self { first_number, last_number, first_unix_ns, last_unix_ns }
    }
}

impl RunSpan {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { first_number: entry.number, last_number: entry.number, first_unix_ns: entry.unix_ns, last_unix_ns: entry.unix_ns }
    }

    pub(super) fn with(self, entry: &Entry) -> Self {
        Self {
            first_number: self.first_number.min(entry.number),
            last_number: self.last_number.max(entry.number),
            first_unix_ns: self.first_unix_ns.min(entry.unix_ns),
            last_unix_ns: self.last_unix_ns.max(entry.unix_ns),
        }
    }

    /// Until when it was under way, as far as it does not lie ahead of `now_unix_ns`.
    pub(super) fn last_until(self, now_unix_ns: i64) -> Option<i64> {
        (self.first_unix_ns <= now_unix_ns).then(|| self.last_unix_ns.min(now_unix_ns))
    }

    pub(super) fn into_value(self) -> (u64, u64, i64, i64) {
        (self.first_number, self.last_number, self.first_unix_ns, self.last_unix_ns)
    }

    pub(super) fn summary(self, lane: &str, run: &str) -> RunSummary {
        RunSummary {
            run: run.to_owned(),
            lane: lane.to_owned(),
            first_number: self.first_number,
            last_number: self.last_number,
            first_unix_ns: self.first_unix_ns,
            last_unix_ns: self.last_unix_ns,
        }
    }
}

/// Creates what is missing of the tables, writing nothing where all are there. Returns the file's format.
pub(super) fn create(database: &Database) -> Result<u64, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => {
            if let Some(format) = meta.get("format")? {
                return Ok(format.value());
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(other) => return Err(other.into()),
    }
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(CELLS)?;
    transaction.open_table(LATE)?;
    transaction.open_table(RUNS)?;
    transaction.open_table(BLIND)?;
    transaction.open_table(SEEN)?;
    transaction.commit()?;
    Ok(FORMAT)
}

/// Moves the lane's last seen time on to `unix_ns`; back only where it lies so far ahead that a wrong clock must have told it.
pub(super) fn see(seen: &mut Table<'_, &'static str, i64>, lane: &str, unix_ns: i64) -> Result<(), redb::StorageError> {
    let known = seen.get(lane)?.map(|at| at.value());
    if known.is_none_or(|at| at < unix_ns || at > unix_ns.saturating_add(NS_PER_DAY)) {
        seen.insert(lane, unix_ns)?;
    }
    Ok(())
}

/// Whether [`prune`] would find anything.
pub(super) fn has_older(txn: &ReadTransaction, cutoff_unix_ns: i64) -> Result<bool, Fault> {
    for item in txn.open_table(RUNS)?.range::<(&str, &str)>(..)? {
        if RunSpan::from(item?.1.value()).first_unix_ns < cutoff_unix_ns {
            return Ok(true);
        }
    }
    for item in txn.open_table(BLIND)?.range::<(&str, i64, &str)>(..)? {
        if item?.1.value().0 < cutoff_unix_ns {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes at most `limit` records older than `cutoff_unix_ns`. Within a run the lowest numbers go first; up to `limit` of them that
/// are not old are passed over, so that a few with times far ahead, of a clock that was wrong, do not keep all that follow.
pub(super) fn prune(txn: &WriteTransaction, cutoff_unix_ns: i64, limit: usize) -> Result<u64, Fault> {
    let mut runs = txn.open_table(RUNS)?;
    let mut old_runs = Vec::new();
    for item in runs.range::<(&str, &str)>(..)? {
        let (key, value) = item?;
        if RunSpan::from(value.value()).first_unix_ns < cutoff_unix_ns {
            old_runs.push((key.value().0.to_owned(), key.value().1.to_owned()));
        }
    }
    let mut removed = 0;
    let (mut cells, mut late) = (txn.open_table(CELLS)?, txn.open_table(LATE)?);
    for (lane, run) in &old_runs {
        let all = (lane.as_str(), run.as_str(), 0)..=(lane.as_str(), run.as_str(), u64::MAX);
        let (mut old, mut passed_over) = (Vec::new(), 0);
        let mut kept: Option<(u64, i64)> = None;
        for item in cells.range(all.clone())? {
            let (key, value) = item?;
            let (number, unix_ns) = (key.value().2, value.value().0);
            let is_old = unix_ns < cutoff_unix_ns;
            if is_old && removed + old.len() < limit {
                old.push(number);
                continue;
            }
            kept = Some(kept.map_or((number, unix_ns), |(first, earliest)| (first, earliest.min(unix_ns))));
            passed_over += 1;
            if is_old || passed_over == limit {
                break;
            }
        }
        for number in &old {
            cells.remove((lane.as_str(), run.as_str(), *number))?;
            late.remove((lane.as_str(), run.as_str(), *number))?;
        }
        removed += old.len();
        let span = runs.get((lane.as_str(), run.as_str()))?.map(|span| RunSpan::from(span.value()));
        match (kept, span) {
            (Some((first_number, first_unix_ns)), Some(span)) => {
                let span = RunSpan { first_number, first_unix_ns, ..span };
                runs.insert((lane.as_str(), run.as_str()), span.into_value())?;
            }
            _ => drop(runs.remove((lane.as_str(), run.as_str()))?),
        }
    }
    let mut blind = txn.open_table(BLIND)?;
    for item in blind.extract_if(|_, (to_unix_ns, _, _)| to_unix_ns < cutoff_unix_ns)?.take(limit - removed.min(limit)) {
        item?;
        removed += 1;
    }
    Ok(removed as u64)
}
