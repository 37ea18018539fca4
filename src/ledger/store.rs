use super::error::{Fault, LedgerError};
use super::tables;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Once, PoisonError, RwLock};

/// The ledger's file within its folder.
pub(super) const FILE_NAME: &str = "ledger.redb";
/// A new ledger's file until it is whole.
const UNFINISHED: &str = ".ledger.redb.part";
/// Bytes at the beginning of a ledger that redb writes once all else of a new one is on the disk.
const MARK_BYTES: usize = 9;
/// Bytes of the page that they belong to.
const HEAD_BYTES: usize = 4096;
/// No ledger in which nothing was ever recorded is larger.
const BLANK_BYTES: u64 = 16 << 20;
/// Pages kept in memory: the newest records and the upper tree, whatever the file's size.
const CACHE_BYTES: usize = 8 << 20;

type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The file, opened anew after a failure of the disk: redb serves no more after one until then.
pub(super) struct Store {
    file: PathBuf,
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl Store {
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(|source| LedgerError::NotWritable { dir: dir.to_owned(), source })?;
        Self::open_with(
            dir.join(FILE_NAME),
            Box::new(|file| open_or_create(file, |new| builder().create_with_backend(FileBackend::new(new)?))),
        )
    }

    pub(super) fn open_with(file: PathBuf, opener: Opener) -> Result<Self, LedgerError> {
        let database = prepare(&file, &opener)?;
        Ok(Self { file, opener, database: RwLock::new(Some(database)) })
    }

    /// Runs `f` in one transaction and commits it durably; nothing is written if `f` fails.
    pub(super) fn write<T>(&self, f: impl FnOnce(&WriteTransaction) -> Result<T, Fault>) -> Result<T, LedgerError> {
        self.with_database(|database| {
            let mut transaction = database.begin_write()?;
            // Without it a crash costs a walk through the whole file at the next start.
            transaction.set_quick_repair(true);
            let value = f(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, LedgerError> {
        self.with_database(|database| f(&database.begin_read()?))
    }

    fn with_database<T>(&self, f: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, LedgerError> {
        self.reopen_if_closed()?;
        let result = {
            let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match &*guard {
                Some(database) => guarded(|| f(database)).unwrap_or(Err(Fault::Damaged)),
                None => Err(Fault::Redb(redb::Error::PreviousIo)),
            }
        };
        result.map_err(|fault| match fault {
            Fault::Rule(error) => error,
            Fault::Damaged => {
                self.close();
                LedgerError::damaged(&self.file)
            }
            Fault::Redb(source) => {
                if matches!(source, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_)) {
                    self.close();
                }
                LedgerError::Storage { file: self.file.clone(), source: Box::new(source) }
            }
        })
    }

    /// The next call opens the file anew.
    fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // What is wrong with it is told already.
        let _ = guarded(|| drop(database));
    }

    fn reopen_if_closed(&self) -> Result<(), LedgerError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(prepare(&self.file, &self.opener)?);
        }
        Ok(())
    }
}

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_repair_callback(|repair| tracing::warn!(progress = repair.progress(), "the ledger was not closed, repairing it"));
    builder
}

/// Opens the ledger. One that is not there is made by `create` beside its place and moved there once it is whole: half of one, as a
/// full disk or a crash leaves it, could never be opened. Such a half, of an earlier version that made it in its place, is replaced.
fn open_or_create(file: &Path, create: impl FnOnce(File) -> Result<Database, DatabaseError>) -> Result<Database, DatabaseError> {
    let is_there = || match fs::symlink_metadata(file) {
        Ok(found) => !(found.is_file() && (1..=BLANK_BYTES).contains(&found.len()) && is_blank(file).unwrap_or(false)),
        Err(e) => e.kind() != ErrorKind::NotFound,
    };
    let Some(dir) = file.parent().filter(|_| !is_there()) else { return builder().create(file) };
    let folder = File::open(dir)?;
    // Of two stations that make it in the same moment the second finds what the first has made. Not every file system locks folders.
    let _ = folder.lock();
    if is_there() {
        return builder().create(file);
    }
    let unfinished = dir.join(UNFINISHED);
    let make = || {
        let new = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let database = create(new)?;
        if file.exists() {
            tracing::warn!(file = %file.display(), "the ledger was never finished, and nothing recorded in it: a new one takes its place");
        }
        fs::rename(&unfinished, file)?;
        // Before the first record is written, so that no power cut takes its name.
        folder.sync_all()?;
        Ok(database)
    };
    make().inspect_err(|_| {
        // The reason of the failure is told; a left-over that cannot be removed is overwritten by the next try.
        let _ = fs::remove_file(&unfinished);
    })
}

/// Whether nothing can ever have been recorded in this file: it has no mark, and nothing beyond its head.
fn is_blank(file: &Path) -> std::io::Result<bool> {
    let mut file = File::open(file)?;
    let mut mark = Vec::with_capacity(MARK_BYTES);
    file.by_ref().take(MARK_BYTES as u64).read_to_end(&mut mark)?;
    if mark.iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(rest.iter().skip(HEAD_BYTES - MARK_BYTES).all(|byte| *byte == 0))
}

/// What `f` gives; none where it panics, as redb does over some pages that are damaged. Whatever it was at is closed after that.
fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    // The error that it becomes is told; a panic's own words would look as if the program had failed.
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| if GUARDED.get() { tracing::debug!("the ledger: {panic}") } else { usual(panic) }));
    });
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f)).ok();
    GUARDED.set(before);
    result
}

/// Opens the file and sees to it that all tables are there and of our format.
fn prepare(file: &Path, opener: &Opener) -> Result<Database, LedgerError> {
    guarded(|| opened(file, opener)).unwrap_or_else(|| Err(LedgerError::damaged(file)))
}

fn opened(file: &Path, opener: &Opener) -> Result<Database, LedgerError> {
    let database = opener(file).map_err(|e| LedgerError::on_open(file, e.into()))?;
    let format = tables::create(&database).map_err(|e| LedgerError::on_open(file, e))?;
    if format != tables::FORMAT {
        return Err(LedgerError::Version { file: file.to_owned(), found: format, expected: tables::FORMAT });
    }
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_page_that_the_store_panics_over_is_an_error_and_what_follows_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let error = store.write::<()>(|_| panic!("entered unreachable code")).unwrap_err();
        assert!(matches!(&error, LedgerError::Corrupt { .. }), "{error}");
        assert!(matches!(store.read::<()>(|_| panic!("again")), Err(LedgerError::Corrupt { .. })));
        store.write(|txn| Ok(txn.open_table(tables::SEEN)?.insert("a", 1).map(drop)?)).unwrap();
        assert_eq!(store.read(|txn| Ok(txn.open_table(tables::SEEN)?.get("a")?.map(|at| at.value()))).unwrap(), Some(1));
        drop(store);
        let opener: Opener = Box::new(|_| panic!("entered unreachable code"));
        assert!(matches!(Store::open_with(dir.path().join(FILE_NAME), opener), Err(LedgerError::Corrupt { .. })));
    }

    #[test]
    fn a_ledger_that_was_not_made_whole_stands_in_no_ones_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let full_disk = |mut new: File| {
            new.write_all(&[7; 4096])?;
            Err(std::io::Error::from(ErrorKind::StorageFull).into())
        };
        let error = LedgerError::on_open(&file, open_or_create(&file, full_disk).err().unwrap().into());
        assert!(error.to_string().contains("make room on its disk"), "{error}");
        assert!(names().is_empty(), "{:?}", names());
        // The power went while it was made.
        fs::write(dir.path().join(UNFINISHED), [0; 4096]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(names(), [FILE_NAME]);
        // It is the file that was made which is written to, and that is locked.
        assert!(matches!(open_or_create(&file, |_| unreachable!()), Err(DatabaseError::DatabaseAlreadyOpen)));
        store.read(|txn| Ok(txn.open_table(tables::CELLS).map(drop)?)).unwrap();
    }
}
