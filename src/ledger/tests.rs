use super::store::{FILE_NAME, Store, builder};
use super::*;
use proptest::prelude::*;
use redb::backends::FileBackend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RUN: &str = "0197-run-a";
const LANE: &str = "north";

fn entry(run: &str, lane: &str, number: u64, unix_ns: i64) -> Entry {
    Entry {
        run: run.into(),
        lane: lane.into(),
        number,
        unix_ns,
        header: format!(r#"{{"cell":{number}}}"#).into(),
        payload: vec![number as u8; 5],
    }
}

/// Opens what this process has just closed. A process that another test starts meanwhile has the file, lock and all, until it
/// runs its program.
fn again<T, E>(open: impl Fn() -> Result<T, E>, is_in_use: impl Fn(&E) -> bool) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match open() {
            Err(error) if is_in_use(&error) && started.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn reopen(dir: &Path) -> Result<Ledger, LedgerError> {
    again(|| Ledger::open(dir, 30), |error| matches!(error, LedgerError::InUse { .. }))
}

fn is_open(error: &redb::DatabaseError) -> bool {
    matches!(error, redb::DatabaseError::DatabaseAlreadyOpen)
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|e| e.number).collect()
}

#[test]
fn a_record_survives_reopening_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let deeper = dir.path().join("not/there/yet");
    let written = entry(RUN, LANE, 1, 77);
    Ledger::open(&deeper, 30).unwrap().record(&written).unwrap();
    let ledger = reopen(&deeper).unwrap();
    assert_eq!(ledger.replay(RUN, LANE, 1, 10).unwrap(), vec![written]);
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), Some(77));
}

#[test]
fn every_record_is_in_the_file_before_the_ledger_is_closed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    for number in 1..=20 {
        ledger.record(&entry(RUN, LANE, number, 1)).unwrap();
    }
    // What a killed process leaves behind: the file as it is now, never closed.
    std::fs::copy(dir.path().join(FILE_NAME), elsewhere.path().join(FILE_NAME)).unwrap();
    let left_behind = Ledger::open(elsewhere.path(), 30).unwrap();
    assert_eq!(left_behind.replay(RUN, LANE, 1, 99).unwrap(), ledger.replay(RUN, LANE, 1, 99).unwrap());
    assert_eq!(left_behind.last_seen_unix_ns(LANE, 1000).unwrap(), Some(1));
}

#[test]
fn replay_goes_in_number_order_over_gaps_and_stops_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    for number in [300, 2, 1, 70, 255] {
        ledger.record(&entry(RUN, LANE, number, number as i64)).unwrap();
    }
    ledger.record(&entry(RUN, "south", 3, 3)).unwrap();
    ledger.record(&entry("0197-run-b", LANE, 4, 4)).unwrap();
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 0, 100).unwrap()), [1, 2, 70, 255, 300]);
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 2, 2).unwrap()), [2, 70]);
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 301, 5).unwrap()), [0; 0]);
    assert!(ledger.replay(RUN, LANE, 1, 0).unwrap().is_empty());
    assert!(ledger.replay("no such run", LANE, 0, 9).unwrap().is_empty());
}

#[test]
fn the_same_cell_twice_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    let first = entry(RUN, LANE, 1, 10);
    ledger.record(&first).unwrap();
    let again = Entry { header: b"other".to_vec(), ..first.clone() };
    let error = ledger.record_all(&[entry(RUN, LANE, 2, 20), again]).unwrap_err();
    assert!(matches!(&error, LedgerError::Duplicate { number: 1, .. }), "{error}");
    assert_eq!(ledger.replay(RUN, LANE, 0, 9).unwrap(), vec![first]);
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), Some(10));
}

#[test]
fn what_came_too_late_stands_beside_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    assert!(matches!(ledger.note_late(RUN, LANE, 1, b"late"), Err(LedgerError::NoVerdict { .. })));
    let held = entry(RUN, LANE, 1, 10);
    ledger.record(&held).unwrap();
    assert_eq!(ledger.late(RUN, LANE, 1).unwrap(), None);
    ledger.note_late(RUN, LANE, 1, b"reject after all").unwrap();
    assert_eq!(ledger.late(RUN, LANE, 1).unwrap().unwrap(), b"reject after all");
    assert_eq!(ledger.replay(RUN, LANE, 1, 1).unwrap(), vec![held]);
}

#[test]
fn runs_are_told_with_their_extent_earliest_first() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    ledger.record_all(&[entry("b", LANE, 1, 500), entry("b", LANE, 9, 900), entry("a", "south", 2, 600)]).unwrap();
    ledger.record(&entry("z", LANE, 1, 100)).unwrap();
    let runs = ledger.runs().unwrap();
    assert_eq!(runs.iter().map(|r| r.run.as_str()).collect::<Vec<_>>(), ["z", "b", "a"]);
    let b = RunSummary { run: "b".into(), lane: LANE.into(), first_number: 1, last_number: 9, first_unix_ns: 500, last_unix_ns: 900 };
    assert_eq!(runs[1], b);
}

#[test]
fn a_clock_that_was_ahead_once_hides_no_blind_time_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    let now = 10 * NS_PER_DAY;
    ledger.record(&entry("before", LANE, 1, now - 500)).unwrap();
    ledger.record(&entry("other lane", "zzz", 1, now - 1)).unwrap();
    ledger.record(&entry("ahead", LANE, 1, now + 900 * NS_PER_DAY)).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, now).unwrap(), Some(now - 500), "the newest record that does not lie ahead");
    ledger.record(&entry("across", LANE, 1, now - 400)).unwrap();
    ledger.record(&entry("across", LANE, 2, now + 900 * NS_PER_DAY)).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, now).unwrap(), Some(now), "a run that was under way");
    ledger.note_seen(LANE, now).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, now + 7).unwrap(), Some(now), "right again");
    assert_eq!(ledger.last_seen_unix_ns(LANE, now - 30).unwrap(), Some(now - 30), "a clock that is a little slow");
}

#[test]
fn blind_time_is_a_record_and_moves_what_was_last_seen() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), None);
    ledger.record(&entry("old run", LANE, 1, 100)).unwrap();
    ledger.record_blind(RUN, LANE, 100, 250, "restart", b"{}").unwrap();
    ledger.record_blind(RUN, LANE, 300, 400, "camera_gone", b"{}").unwrap();
    ledger.record_blind(RUN, "south", 300, 900, "camera_gone", b"{}").unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), Some(400));
    ledger.note_seen(LANE, 350).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), Some(400), "time never goes back");
    ledger.note_seen(LANE, 450).unwrap();
    assert_eq!(ledger.last_seen_unix_ns(LANE, 1000).unwrap(), Some(450));
    let blind = ledger.blind(LANE, 0, 9).unwrap();
    assert_eq!(blind.iter().map(|b| (b.from_unix_ns, b.to_unix_ns)).collect::<Vec<_>>(), [(100, 250), (300, 400)]);
    assert_eq!(blind[1].reason, "camera_gone");
    assert_eq!(ledger.blind(LANE, 250, 9).unwrap().len(), 1);
    assert_eq!(ledger.blind(LANE, 0, 1).unwrap().len(), 1);
}

#[test]
fn pruning_keeps_what_is_young_enough_and_goes_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 1).unwrap();
    let (old, step) = (NS_PER_DAY, Ledger::PRUNE_STEP as u64);
    let entries: Vec<Entry> = (1..=step + 10).map(|n| entry(RUN, LANE, n, old)).collect();
    ledger.record_all(&entries).unwrap();
    ledger.note_late(RUN, LANE, 1, b"late").unwrap();
    ledger.record(&entry(RUN, LANE, step + 11, 3 * NS_PER_DAY)).unwrap();
    ledger.record(&entry("gone", LANE, 1, old)).unwrap();
    ledger.record_blind(RUN, LANE, 0, old, "restart", b"{}").unwrap();
    ledger.record_blind(RUN, LANE, old, 3 * NS_PER_DAY, "restart", b"{}").unwrap();

    let now = 3 * NS_PER_DAY;
    assert_eq!(ledger.prune(2 * old).unwrap(), 0, "exactly a day old is kept");
    assert_eq!(ledger.prune(now).unwrap(), step);
    assert_eq!(ledger.prune(now).unwrap(), 12);
    assert_eq!(ledger.prune(now).unwrap(), 0);

    assert_eq!(numbers(&ledger.replay(RUN, LANE, 0, 9999).unwrap()), [step + 11]);
    assert_eq!(ledger.late(RUN, LANE, 1).unwrap(), None);
    assert_eq!(ledger.blind(LANE, -1, 9).unwrap().len(), 1);
    let runs = ledger.runs().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].first_number, runs[0].first_unix_ns), (step + 11, now));
}

#[test]
fn a_record_with_a_time_far_ahead_keeps_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 1).unwrap();
    let (old, now, far_ahead) = (NS_PER_DAY, 3 * NS_PER_DAY, 9000 * NS_PER_DAY);
    let times = [far_ahead, old, far_ahead, old, old, now];
    ledger.record_all(&times.into_iter().zip(1..).map(|(at, number)| entry(RUN, LANE, number, at)).collect::<Vec<_>>()).unwrap();
    assert_eq!(ledger.prune(now).unwrap(), 3);
    assert_eq!(ledger.prune(now).unwrap(), 0);
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 0, 9).unwrap()), [1, 3, 6]);
    assert_eq!((ledger.runs().unwrap()[0].first_number, ledger.runs().unwrap()[0].first_unix_ns), (1, now));
    assert_eq!(ledger.prune(5 * NS_PER_DAY).unwrap(), 1, "what follows is removed when it is old enough");
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 0, 9).unwrap()), [1, 3]);
}

#[test]
fn a_step_of_pruning_passes_over_a_bounded_number_and_comes_back_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 1).unwrap();
    let (old, now, step) = (NS_PER_DAY, 3 * NS_PER_DAY, Ledger::PRUNE_STEP as u64);
    let mut entries: Vec<Entry> = (1..=step + 1).map(|number| entry(RUN, LANE, number, now)).collect();
    entries.push(entry(RUN, LANE, step + 2, old));
    ledger.record_all(&entries).unwrap();
    assert_eq!(ledger.prune(now).unwrap(), 0, "the old one lies behind more than a step passes over");
    let later = now + 2 * NS_PER_DAY;
    assert_eq!((ledger.prune(later).unwrap(), ledger.prune(later).unwrap(), ledger.prune(later).unwrap()), (step, 2, 0));
    assert!(ledger.runs().unwrap().is_empty());
}

#[test]
fn a_second_opener_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ledger::open(dir.path(), 30).unwrap();
    let error = Ledger::open(dir.path(), 30).err().unwrap();
    assert!(matches!(&error, LedgerError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("stop the other Hairline"));
    drop(first);
    reopen(dir.path()).unwrap();
}

#[test]
fn what_is_no_ledger_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    let text = b"these are notes, not verdicts\n".repeat(500);
    std::fs::write(&file, &text).unwrap();
    let error = Ledger::open(dir.path(), 30).err().unwrap();
    assert!(matches!(&error, LedgerError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("move the file away"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), text);
}

#[test]
fn a_truncated_ledger_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    ledger.record_all(&(1..200).map(|n| entry(RUN, LANE, n, n as i64)).collect::<Vec<_>>()).unwrap();
    drop(ledger);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(FILE_NAME)).unwrap();
    file.set_len(9000).unwrap();
    let error = reopen(dir.path()).err().unwrap();
    assert!(matches!(&error, LedgerError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_ledger_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path(), 30).unwrap());
    let database = again(|| builder().create(dir.path().join(FILE_NAME)), is_open).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(reopen(dir.path()).err().unwrap(), LedgerError::Version { found: 99, .. }));
}

#[test]
fn a_folder_that_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("file");
    std::fs::write(&in_the_way, b"").unwrap();
    let error = Ledger::open(&in_the_way.join("ledger"), 30).err().unwrap();
    assert!(matches!(&error, LedgerError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("a file stands where the folder should be"), "{error}");
}

/// A file whose disk is full while `full` is set, as it is by the first sync where `fills` says so.
#[derive(Debug)]
struct FullDisk {
    file: FileBackend,
    full: Arc<AtomicBool>,
    fills: bool,
}

impl FullDisk {
    fn check(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for FullDisk {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check().and_then(|()| self.file.set_len(len))
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.check().and_then(|()| self.file.sync_data())?;
        self.full.fetch_or(self.fills, Ordering::SeqCst);
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check().and_then(|()| self.file.write(offset, data))
    }
    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

#[test]
fn half_of_a_ledger_in_which_nothing_was_recorded_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    // As earlier versions made it: in its place, until the power went or the disk was full.
    let new = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&file).unwrap();
    let disk = FullDisk { file: FileBackend::new(new).unwrap(), full: Arc::default(), fills: true };
    assert!(builder().create_with_backend(disk).is_err());
    let half = std::fs::read(&file).unwrap();
    assert!(half[..9] == [0; 9] && half[9..].iter().any(|byte| *byte != 0));
    let ledger = reopen(dir.path()).unwrap();
    ledger.record(&entry(RUN, LANE, 1, 1)).unwrap();
    drop(ledger);
    assert_eq!(numbers(&reopen(dir.path()).unwrap().replay(RUN, LANE, 0, 9).unwrap()), [1]);
    // Only the beginning is lost: what follows may be records.
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[..9].fill(0);
    std::fs::write(&file, &damaged).unwrap();
    assert!(matches!(reopen(dir.path()), Err(LedgerError::Corrupt { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), damaged);
}

#[test]
fn a_full_disk_is_told_and_the_ledger_works_again_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let switch = full.clone();
    let store = Store::open_with(
        dir.path().join(FILE_NAME),
        Box::new(move |path| {
            let open = || {
                let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
                builder().create_with_backend(FullDisk { file: FileBackend::new(file)?, full: switch.clone(), fills: false })
            };
            again(open, is_open)
        }),
    );
    let ledger = Ledger { store: store.unwrap(), keep_days: 30 };
    ledger.record(&entry(RUN, LANE, 1, 1)).unwrap();
    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = ledger.record(&entry(RUN, LANE, 2, 2)).unwrap_err();
        assert!(matches!(error, LedgerError::Storage { .. } | LedgerError::NotWritable { .. }), "{error:?}");
    }
    full.store(false, Ordering::SeqCst);
    ledger.record(&entry(RUN, LANE, 2, 2)).unwrap();
    assert_eq!(numbers(&ledger.replay(RUN, LANE, 0, 9).unwrap()), [1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever is recorded in whatever order and batches comes back once, in order, from any number.
    #[test]
    fn any_recorded_set_replays_sorted(
        wanted in proptest::collection::hash_set(1u64..1000, 1..30), from in 0u64..1000, limit in 1usize..40, batch in 1usize..9,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), 30).unwrap();
        let entries: Vec<Entry> = wanted.iter().map(|n| entry(RUN, LANE, *n, *n as i64)).collect();
        for part in entries.chunks(batch) {
            ledger.record_all(part).unwrap();
        }
        let mut expected: Vec<u64> = wanted.into_iter().filter(|n| *n >= from).collect();
        expected.sort_unstable();
        expected.truncate(limit);
        prop_assert_eq!(numbers(&ledger.replay(RUN, LANE, from, limit).unwrap()), expected);
    }
}

#[test]
fn what_was_published_takes_the_place_of_what_the_disk_took_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), 30).unwrap();
    let taken = entry(RUN, LANE, 1, 77);
    let published = Entry { header: b"{\"verdict\":\"hold\"}".to_vec(), ..taken.clone() };
    ledger.record(&taken).unwrap();
    ledger.replace_all(std::slice::from_ref(&published)).unwrap();
    assert_eq!(ledger.replay(RUN, LANE, 1, 9).unwrap(), vec![published]);
}
