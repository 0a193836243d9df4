//! The durable store behind S3 and the invocation queue.
//!
//! # Layout
//! ```text
//! dir/<bucket>/<key>                an object's bytes, to be looked at (see `store/layout.rs` for odd keys)
//! dir/failed_invocations.jsonl      the failure queue, to be looked at
//! dir/.cloud/lock                   held by the process that serves this folder
//! dir/.cloud/catalog.sqlite         all metadata: buckets, objects, uploads, parts, invocations
//! dir/.cloud/staging/<blob>         bytes that are not (or no longer) an object's file
//! ```
//!
//! # How an object becomes visible
//! 1. Its bytes are written to `staging/<blob>`, a random name, and synced.
//! 2. One catalog transaction checks the condition, writes the object's row (which names the blob) and queues
//!    its event. The commit is the moment at which the object exists: both or neither, and of several racing
//!    conditional puts exactly one.
//! 3. `staging/<blob>` is renamed to the visible path; then the put is answered.
//!
//! A crash between 2 and 3 leaves the blob in staging, where readers look first; the next start finishes the
//! rename. Whatever else lies in staging and is named by no row is deleted then. That is the whole recovery.
//!
//! All writing goes through one thread ([`writer`]), which commits what waits in one transaction with one sync.

pub(crate) mod catalog;
mod invocations;
mod layout;
mod list;
mod objects;
mod open;
mod record;
mod staging;
mod uploads;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tokio::sync::Notify;

pub(crate) use invocations::{
    AfterFailure, Queued, clamp_due, due, enqueue, failed, failed_one, next_due_ms, owed, redrive,
    request_id, succeeded, try_failed,
};
pub(crate) use layout::Layout;
pub(crate) use list::{Cursor, ListQuery, Listing, list};
pub(crate) use objects::{Put, delete, put};
pub(crate) use record::{Checksums, Condition, Meta, Object, Part, Upload};
pub(crate) use staging::{Hashes, Staged, StagedFile, crc32c_text};
pub(crate) use uploads::{abort, chosen_parts, complete, list_uploads, put_part};
pub(crate) use writer::After;

/// Why the store refused or failed. The S3 front maps each to S3's own code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the bucket does not exist")]
    NoSuchBucket,
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("the upload does not exist, or was completed or aborted")]
    NoSuchUpload,
    #[error("at least one of the preconditions does not hold")]
    PreconditionFailed,
    #[error("part {0} was not uploaded, or its etag is another")]
    InvalidPart(i32),
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {number} has {size} bytes, less than the 5 MiB that all but the last must have")]
    PartTooSmall { number: i32, size: u64 },
    #[error("receiving the body")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("using the catalog")]
    Catalog(#[from] rusqlite::Error),
    #[error("decoding a catalog entry")]
    Record(#[from] serde_json::Error),
    #[error("the store is closed")]
    Closed,
}

/// Adds what was being done to an I/O error.
pub(crate) fn io_context(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { what: what.into(), source }
}

/// The store; cheap to share behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Store {
    layout: Layout,
    /// The one connection that reads; it sees committed rows only.
    reader: Mutex<Connection>,
    writer: writer::Writer,
    /// Woken when invocations were queued.
    queued: Arc<Notify>,
    /// The lock on the folder; `None` once closed.
    lock: Mutex<Option<[File; 2]>>,
    sync: bool,
}

impl Store {
    /// Opens the folder, made if absent, and finishes what a crash left unfinished. Blocking.
    ///
    /// `longest_retry` bounds how long a queued invocation waits from now on.
    pub(crate) fn open(dir: &Path, sync: bool, longest_retry: Duration) -> Result<Arc<Self>, StoreError> {
        let (layout, lock) = Layout::create(dir)?;
        let mut connection = catalog::open(&layout.catalog(), sync)?;
        open::recover(&layout, &mut connection)?;
        clamp_due(&connection, now_ms().saturating_add(longest_retry.as_millis() as u64))?;
        let reader = Mutex::new(catalog::open_reader(&layout.catalog())?);
        let queued = Arc::new(Notify::new());
        let writer = writer::Writer::start(connection, layout.clone(), sync, queued.clone())?;
        let lock = Mutex::new(Some(lock));
        Ok(Arc::new(Self { layout, reader, writer, queued, lock, sync }))
    }

    /// Where things lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Told of after each commit that queued invocations.
    pub(crate) fn queued(&self) -> &Notify {
        &self.queued
    }

    /// Runs a query on committed rows, away from the async threads.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(self);
        blocking(move || store.read_now(query)).await
    }

    /// [`read`](Self::read) for a thread that may block.
    pub(crate) fn read_now<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // A panic in an earlier query leaves the connection as it was: queries change nothing.
        query(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies one change and returns when it is committed (and synced). A change that answers with an error,
    /// or is not committed, leaves nothing behind.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>, &mut After) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(change).await
    }

    /// A new file for bytes on their way in.
    pub(crate) fn stage(&self, hashes: Hashes) -> Result<StagedFile, StoreError> {
        StagedFile::create(&self.layout, hashes, self.sync)
    }

    /// Waits for the running transaction, ends the writer and gives the folder free; later writes answer `Closed`.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Runs what may block on the disk away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed),
        },
    }
}

/// A random name of 32 hex digits.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system's random source always answers on the supported systems");
    hex::encode(bytes)
}

/// The wall clock, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a directory's entries down.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_context(format!("syncing the folder {}", dir.display())))
}

/// Removes a file that may be gone already.
fn remove_if_there(path: &PathBuf) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
