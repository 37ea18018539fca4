use super::error::{Fault, LedgerError};
use super::tables;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// The ledger's file within its folder.
pub(super) const FILE_NAME: &str = "ledger.redb";
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
        std::fs::create_dir_all(dir).map_err(|source| LedgerError::NotWritable { dir: dir.to_owned(), source })?;
        Self::open_with(dir.join(FILE_NAME), Box::new(|file| builder().create(file)))
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
                Some(database) => f(database),
                None => Err(Fault::Redb(redb::Error::PreviousIo)),
            }
        };
        result.map_err(|fault| match fault {
            Fault::Rule(error) => error,
            Fault::Redb(source) => {
                if matches!(source, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_)) {
                    *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
                }
                LedgerError::Storage { file: self.file.clone(), source: Box::new(source) }
            }
        })
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

/// Opens the file and sees to it that all tables are there and of our format.
fn prepare(file: &Path, opener: &Opener) -> Result<Database, LedgerError> {
    let database = opener(file).map_err(|e| LedgerError::on_open(file, e.into()))?;
    let format = tables::create(&database).map_err(|e| LedgerError::on_open(file, e))?;
    if format != tables::FORMAT {
        return Err(LedgerError::Version { file: file.to_owned(), found: format, expected: tables::FORMAT });
    }
    Ok(database)
}
