//! What the publisher reads back for a replay.

use super::wire::VerdictMessage;
use crate::ledger::Ledger;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Unrecorded verdicts that are kept for a replay; the oldest is forgotten for a new one.
const UNRECORDED_MAX: usize = 1024;

/// A published verdict as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number.
    pub number: u64,
    /// The JSON header as it was published.
    pub header: Vec<u8>,
    /// The mask's PNG, empty where there is none.
    pub payload: Vec<u8>,
}

/// A lane of a run that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Id of the run.
    pub run: String,
    /// Name of the lane.
    pub lane: String,
    /// Lowest number that is stored.
    pub first: u64,
    /// Highest number that is stored.
    pub last: u64,
}

/// What a publisher needs of a ledger. Calls may block on the disk: they come from a thread of
/// their own, never from the one that publishes.
pub trait Replay: Send + Sync {
    /// The verdicts of a run's lane from number `from` on, at most `limit`, in order.
    ///
    /// # Errors
    /// What a client is told when they cannot be read.
    fn replay(&self, run: &str, lane: &str, from: u64, limit: usize) -> Result<Vec<StoredMessage>, String>;

    /// Every stored lane of every run, oldest first.
    ///
    /// # Errors
    /// What a client is told when they cannot be read.
    fn runs(&self) -> Result<Vec<StoredRun>, String>;

    /// The blind times of `lane` that ended after `since_unix_ns`, at most `limit`, in order: their JSON headers as
    /// they were published.
    ///
    /// # Errors
    /// What a client is told when they cannot be read.
    fn blind(&self, lane: &str, since_unix_ns: i64, limit: usize) -> Result<Vec<Vec<u8>>, String>;
}

impl Replay for Ledger {
    fn replay(&self, run: &str, lane: &str, from: u64, limit: usize) -> Result<Vec<StoredMessage>, String> {
        let entries = Ledger::replay(self, run, lane, from, limit).map_err(|e| e.to_string())?;
        Ok(entries.into_iter().map(|e| StoredMessage { number: e.number, header: e.header, payload: e.payload }).collect())
    }

    fn runs(&self) -> Result<Vec<StoredRun>, String> {
        let summaries = Ledger::runs(self).map_err(|e| e.to_string())?;
        let stored = |s: crate::ledger::RunSummary| StoredRun { run: s.run, lane: s.lane, first: s.first_number, last: s.last_number };
        Ok(summaries.into_iter().map(stored).collect())
    }

    fn blind(&self, lane: &str, since_unix_ns: i64, limit: usize) -> Result<Vec<Vec<u8>>, String> {
        let found = Ledger::blind(self, lane, since_unix_ns, limit).map_err(|e| e.to_string())?;
        Ok(found.into_iter().map(|blind| blind.header).collect())
    }
}

/// The current run's verdicts that the ledger did not take, kept for a replay nevertheless.
#[derive(Default)]
pub(super) struct Unrecorded(Mutex<VecDeque<(Arc<str>, StoredMessage)>>);

impl Unrecorded {
    pub fn keep(&self, message: &VerdictMessage, stored: StoredMessage) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= UNRECORDED_MAX {
            kept.pop_front();
        }
        kept.push_back((message.lane.as_str().into(), stored));
    }

    /// Adds what is kept of `lane` to `found`, which the ledger gave for numbers from `from` on, at
    /// most `limit`. The result is in order again and no longer than `limit`. What is kept was published: until it is written
    /// the ledger may hold something else of that number, which the station had given up waiting for.
    pub fn add_to(&self, mut found: Vec<StoredMessage>, lane: &str, from: u64, limit: usize) -> Vec<StoredMessage> {
        let mut all = self.of(lane, from, limit);
        found.retain(|m| all.binary_search_by_key(&m.number, |kept| kept.number).is_err());
        all.append(&mut found);
        all.sort_by_key(|m| m.number);
        all.truncate(limit);
        all
    }

    /// What is kept of `lane` from number `from` on, at most `limit`, as far as no number is missing.
    pub fn without_gap(&self, lane: &str, from: u64, limit: usize) -> Vec<StoredMessage> {
        let follows = |(m, number): &(StoredMessage, u64)| m.number == *number;
        self.of(lane, from, limit).into_iter().zip(from..).take_while(follows).map(|(m, _)| m).collect()
    }

    /// The first `limit` of `lane` from number `from` on, in the order of their numbers.
    fn of(&self, lane: &str, from: u64, limit: usize) -> Vec<StoredMessage> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_lane: Vec<_> = kept.iter().filter(|(of, m)| **of == *lane && m.number >= from).map(|(_, m)| m).collect();
        of_lane.sort_by_key(|m| m.number);
        of_lane.into_iter().take(limit).cloned().collect()
    }
}
