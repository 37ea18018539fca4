use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the ledger refused.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder or file cannot be made or written.
    #[error("the ledger folder {} cannot be used: {source}; {}", dir.display(), remedy(source))]
    NotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("the ledger {} is open in another process; stop the other Hairline, or give this station its own ledger folder", file.display())]
    InUse {
        /// The ledger's file.
        file: PathBuf,
    },
    /// The file is no ledger, or damaged.
    #[error(
        "the ledger {} is damaged or no ledger: {detail}; move the file away to start a new one, and keep it for recovery",
        file.display()
    )]
    Corrupt {
        /// The ledger's file.
        file: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by another version of Hairline.
    #[error(
        "the ledger {} has format {found}, this Hairline writes format {expected}; run the version that wrote it, or move the file away to start a new one",
        file.display()
    )]
    Version {
        /// The ledger's file.
        file: PathBuf,
        /// The format found.
        found: u64,
        /// The format expected.
        expected: u64,
    },
    /// A cell gets one verdict, once.
    #[error("cell {lane}/{number} of run {run} is already recorded; a verdict is never replaced")]
    Duplicate {
        /// Id of the run.
        run: String,
        /// The lane's name.
        lane: String,
        /// The cell's number.
        number: u64,
    },
    /// A late word about a cell whose verdict is not recorded.
    #[error("cell {lane}/{number} of run {run} has no verdict in the ledger yet; record the verdict before the late result")]
    NoVerdict {
        /// Id of the run.
        run: String,
        /// The lane's name.
        lane: String,
        /// The cell's number.
        number: u64,
    },
    /// Reading or writing failed.
    #[error("the ledger {} failed: {source}; check the disk (full? read-only?), writing is tried anew with the next record", file.display())]
    Storage {
        /// The ledger's file.
        file: PathBuf,
        /// What the store said.
        source: Box<redb::Error>,
    },
}

impl LedgerError {
    pub(super) fn duplicate(run: &str, lane: &str, number: u64) -> Self {
        Self::Duplicate { run: run.to_owned(), lane: lane.to_owned(), number }
    }

    pub(super) fn no_verdict(run: &str, lane: &str, number: u64) -> Self {
        Self::NoVerdict { run: run.to_owned(), lane: lane.to_owned(), number }
    }

    /// Whether there is no room left on the disk.
    pub fn is_full_disk(&self) -> bool {
        let full = |source: &std::io::Error| matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        match self {
            Self::NotWritable { source, .. } => full(source),
            Self::Storage { source, .. } => matches!(&**source, redb::Error::Io(source) if full(source)),
            _ => false,
        }
    }

    /// Pages of it make no sense.
    pub(super) fn damaged(file: &Path) -> Self {
        Self::Corrupt { file: file.to_owned(), detail: "a part of it makes no sense, as after a fault of the disk".into() }
    }

    /// What a failure to open `file` means to its user.
    pub(super) fn on_open(file: &Path, error: redb::Error) -> Self {
        let file = file.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse { file },
            redb::Error::Corrupted(detail) => Self::Corrupt { file, detail },
            redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. } => Self::Corrupt { detail: error.to_string(), file },
            redb::Error::Io(source) => match source.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Self::Corrupt { detail: source.to_string(), file },
                _ => Self::NotWritable { dir: file.parent().map(Path::to_owned).unwrap_or(file), source },
            },
            other => Self::Storage { file, source: Box::new(other) },
        }
    }
}

fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk, or set another folder",
        ErrorKind::ReadOnlyFilesystem => {
            "mount its disk writable (after an error Linux makes it read-only: look at `dmesg`; under systemd a folder outside \
             /var/lib/hairline needs a ReadWritePaths= in a drop-in of the service), or set another folder"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file stands where the folder should be: move it away, or set another folder"
        }
        _ => "make it writable for the user Hairline runs as (systemd: StateDirectory=), or set another folder",
    }
}

/// What went wrong inside a transaction.
pub(super) enum Fault {
    /// The store.
    Redb(redb::Error),
    /// The store cannot make sense of its file.
    Damaged,
    /// The ledger's own rules.
    Rule(LedgerError),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Rule(error)
    }
}
