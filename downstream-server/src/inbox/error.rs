//! What can go wrong with the inbox.

use std::path::PathBuf;

use super::database::{DatabaseError, PostgresError};
use crate::handler::Outcome;

/// What became of a group of jobs.
#[derive(Debug, Clone)]
pub(crate) enum Settlement {
    /// It is on the disk.
    Committed,
    /// None of it is, nor will be.
    Undone(DatabaseError),
    /// It may be or not; the process must restart and read.
    Unknown(DatabaseError),
}

/// Why the inbox did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// More jobs wait than the queue takes; a later try may succeed.
    #[error("the inbox is busy")]
    Busy,
    /// The server is stopping.
    #[error("the inbox is closed")]
    Closed,
    /// The disk is full or did not take the write; a later try may succeed.
    #[error("writing the inbox: {0}")]
    Storage(#[source] DatabaseError),
    /// The work itself panicked, a handler's effect for example; it is undone.
    #[error("writing the inbox: the work panicked")]
    Panicked,
    /// The database cannot hold this very notice; no later try can succeed.
    #[error("the inbox cannot hold the notice: {0}")]
    Refused(#[source] DatabaseError),
    /// A commit's outcome is unknown, or the inbox is gone; only a restart can tell.
    #[error("the inbox stopped: {0}")]
    Poisoned(#[source] DatabaseError),
}

/// Why the inbox could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it open.
    #[error("another server uses {}", .0.display())]
    Locked(PathBuf),
    /// The folder or a file in it could not be used.
    #[error("opening the inbox in {}: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file with this server's name among those that share an inbox holds something else.
    #[error(
        "{} is damaged: it is not 32 hexadecimal digits; restore it, or delete it to go on as a new server, to which what the \
         old one was at work on comes once its leases have ended",
        .0.display()
    )]
    Instance(PathBuf),
    /// The connection to PostgreSQL cannot be set up as configured.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database could not be used.
    #[error("opening the inbox: {0}")]
    Database(#[from] DatabaseError),
    /// A newer server wrote it.
    #[error(
        "the inbox has version {found}, and this server knows versions up to {known}; use the newer server"
    )]
    Newer {
        /// The inbox's version.
        found: usize,
        /// The newest version that we know.
        known: usize,
    },
    /// A newer server wrote the record of the inbox's commits.
    #[error(
        "{} has version {found}, and this server knows versions up to {known}; use the newer server", path.display()
    )]
    NewerRecord {
        /// The record.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that we know.
        known: u32,
    },
    /// The PostgreSQL database cannot hold every text.
    #[error("the inbox's database is encoded as {0}; make one with ENCODING 'UTF8'")]
    Encoding(String),
}

impl From<DatabaseError> for InboxError {
    fn from(error: DatabaseError) -> Self {
        Self::Storage(error)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<&Settlement> for Outcome {
    fn from(settlement: &Settlement) -> Self {
        match settlement {
            Settlement::Committed => Self::Committed,
            Settlement::Undone(_) => Self::Undone,
            Settlement::Unknown(_) => Self::Unknown,
        }
    }
}
