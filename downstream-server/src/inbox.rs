//! The inbox: what notices told us of, what is owed and what is done, in one SQLite file.
//!
//! One thread writes; callers queue jobs and hear back once the group that held theirs is
//! committed and synced. So an answer to a notice promises that it survives `kill -9` and a
//! power cut (I8), and many notices at once cost one sync. Reads use a connection of their own.

mod changes;
mod identity;
mod jobs;
mod ranges;
mod rows;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use contract::Notice;
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use changes::Totals;
pub use identity::Identity;
pub use rows::{Place, Query, Row, State};

use crate::handler::{Effect, Outcome};
use crate::telemetry::Metrics;
use changes::{Changes, Published};
use writer::{Job, Write};

/// Jobs that may wait for the writer; a notice beyond it is answered with "try again".
const QUEUE: usize = 2048;

/// Name of the inbox's file in the server's folder.
pub const FILE: &str = "inbox.sqlite";

/// The one handle to the inbox; share it in an [`Arc`].
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    published: Arc<Published>,
    reader: Arc<Mutex<Connection>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Held until we are closed, so that no second server works on the same inbox.
    lock: Mutex<Option<std::fs::File>>,
}

/// What a notice did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The object is new and owed now.
    New,
    /// The object was known; only its counter changed.
    Repeated,
}

/// One attempt at one object, handed to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The row.
    pub id: i64,
    /// What the inbox knows the object by.
    pub identity: String,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Earlier attempts that do not count towards the limit.
    pub deferrals: u32,
    /// Id of the first notice.
    pub notice_id: String,
    /// When the store says that the object was made; when absent, when the notice arrived.
    pub since_ms: i64,
    /// Where the object may be, never empty.
    pub places: Vec<Place>,
}

/// What a claim gave.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Attempts to make now.
    pub claims: Vec<Claim>,
    /// When the next attempt is due, for what was not due yet.
    pub next_due_ms: Option<i64>,
}

/// What an attempt found in the object.
#[derive(Debug, Clone)]
pub struct Report {
    /// The identity that the object itself tells.
    pub identity: Identity,
    /// Events in it.
    pub events: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// When the attempt ended.
    pub now_ms: i64,
}

/// How a finished attempt was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The object is done and the handler's effect is committed with it.
    Done,
    /// The same object was done before; the effect was not applied.
    Repeat,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at this time.
    At(i64),
    /// Another attempt, at this time, and this one does not count towards the limit.
    Later(i64),
    /// None: the object is a dead letter.
    Dead,
}

/// What became of a group of jobs.
#[derive(Debug, Clone)]
pub(crate) enum Settlement {
    /// It is on the disk.
    Committed,
    /// None of it is, nor will be.
    Undone(Arc<rusqlite::Error>),
    /// It may be or not; the process must restart and read.
    Unknown(Arc<rusqlite::Error>),
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
    Storage(#[source] Arc<rusqlite::Error>),
    /// A commit's outcome is unknown; only a restart can tell.
    #[error("the inbox stopped after a failed sync: {0}")]
    Poisoned(#[source] Arc<rusqlite::Error>),
}

impl From<rusqlite::Error> for InboxError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
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
    /// `SQLite` could not use the file.
    #[error("opening the inbox: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer server wrote it.
    #[error(
        "the inbox has version {found}, and this server knows versions up to {known}; use the newer server"
    )]
    Newer {
        /// The file's version.
        found: usize,
        /// The newest version that we know.
        known: usize,
    },
}

impl Inbox {
    /// Opens the inbox in `dir`, making both where absent. Attempts that a crash cut short
    /// become owed again.
    pub fn open(dir: &Path, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = std::fs::File::create(dir.join("lock")).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => OpenError::Locked(dir.to_owned()),
            std::fs::TryLockError::Error(source) => io(source),
        })?;
        let path = dir.join(FILE);
        let mut connection = Connection::open(&path)?;
        schema::prepare(&mut connection)?;
        // The file's own name must survive a power cut as well.
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        jobs::interrupted(&connection)?;
        let dir = dir.canonicalize().map_err(io)?;
        let reader = Connection::open(&path)?;
        reader.pragma_update(None, "query_only", true)?;
        let published = Arc::new(Published::new(rows::totals(&reader)?, metrics));
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new().name("inbox".to_owned()).spawn({
            let published = published.clone();
            move || writer::run(connection, queue, &published)
        });
        Ok(Self {
            dir,
            queue: Mutex::new(Some(sender)),
            published,
            reader: Arc::new(Mutex::new(reader)),
            writer: Mutex::new(Some(writer.map_err(io)?)),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Enters a notice. When this returns `Ok`, it is on the disk (I8).
    pub async fn put(&self, notice: Notice, notice_id: String, now_ms: i64) -> Result<Taken, InboxError> {
        let (job, answer) = job(move |at, changes| jobs::put(at, changes, &notice, &notice_id, now_ms));
        // A full queue is told to the sender rather than waited for: it can try again, and we
        // hold no more requests than the queue.
        self.sender()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InboxError::Busy,
            mpsc::error::TrySendError::Closed(_) => self.published.closed(),
        })?;
        answer.await.map_err(|_| self.published.closed())?
    }

    /// Takes up to `limit` due objects and counts the attempt on each, before it is made: an
    /// object that kills the server still runs out of attempts.
    pub async fn claim(&self, limit: usize, now_ms: i64) -> Result<Claimed, InboxError> {
        self.write(move |at, changes| jobs::claim(at, changes, limit, now_ms)).await
    }

    /// Enters that the handler has the object, and commits its effect in the same transaction.
    pub async fn finish(
        &self,
        claim: &Claim,
        report: Report,
        effect: Box<dyn Effect>,
    ) -> Result<Finished, InboxError> {
        let (reply, answer) = oneshot::channel();
        let job = jobs::Finish { id: claim.id, report, effect, result: None, reply };
        self.send(Box::new(job)).await?;
        answer.await.map_err(|_| self.published.closed())?
    }

    /// Enters that an attempt failed.
    pub async fn fail(
        &self,
        claim: &Claim,
        error: String,
        next: Next,
        now_ms: i64,
    ) -> Result<(), InboxError> {
        let id = claim.id;
        self.write(move |at, changes| jobs::fail(at, changes, id, &error, next, now_ms)).await
    }

    /// Gives an attempt back that shutdown cut short; it does not count.
    pub async fn release(&self, claim: &Claim) -> Result<(), InboxError> {
        let id = claim.id;
        self.write(move |at, changes| jobs::release(at, changes, id)).await
    }

    /// The inbox's folder, absolute and without links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The committed length of a handler's output; `None` for one that was never added.
    pub async fn output_length(&self, name: &str) -> Result<Option<u64>, InboxError> {
        let name = name.to_owned();
        self.write(move |at, _| jobs::output_length(at, &name)).await
    }

    /// Adds a handler's output, with nothing in it.
    pub async fn add_output(&self, name: &str) -> Result<(), InboxError> {
        let name = name.to_owned();
        self.write(move |at, _| jobs::add_output(at, &name)).await
    }

    /// A page of the listing, newest first.
    pub async fn list(&self, query: Query) -> Result<Vec<Row>, InboxError> {
        self.read(move |at| rows::list(at, &query)).await
    }

    /// When the oldest object that is neither done nor dead was told of.
    pub async fn oldest_owed_ms(&self) -> Result<Option<i64>, InboxError> {
        self.read(rows::oldest_owed_ms).await
    }

    /// The totals, as of the last commit.
    pub fn totals(&self) -> Totals {
        *self.published.totals.borrow()
    }

    /// Changed rows from now on, each after its commit.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Row>> {
        self.published.rows.subscribe()
    }

    /// Waits until an object has become owed since the last call.
    pub async fn owed(&self) {
        self.published.owed.notified().await;
    }

    /// Turns true when a commit's outcome is unknown and the server must restart.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.published.failed.subscribe()
    }

    /// Why the server must restart.
    pub fn failure(&self) -> Option<Arc<rusqlite::Error>> {
        self.published.failure()
    }

    /// Refuses further jobs, commits those that wait, and ends the writer. Blocks.
    pub fn close(&self) {
        drop(lock(&self.queue).take());
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            tracing::error!("the inbox's writer panicked");
        }
        // Somebody may hold the handle still; the folder is the next server's all the same.
        drop(lock(&self.lock).take());
    }

    fn sender(&self) -> Result<mpsc::Sender<Box<dyn Job>>, InboxError> {
        lock(&self.queue).clone().ok_or(InboxError::Closed)
    }

    async fn send(&self, job: Box<dyn Job>) -> Result<(), InboxError> {
        self.sender()?.send(job).await.map_err(|_| self.published.closed())
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Changes) -> Result<T, InboxError> + Send + 'static,
    ) -> Result<T, InboxError> {
        let (job, answer) = job(work);
        self.send(job).await?;
        answer.await.map_err(|_| self.published.closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, InboxError> {
        let reader = self.reader.clone();
        let result = tokio::task::spawn_blocking(move || work(&lock(&reader))).await;
        Ok(result.map_err(|_| InboxError::Closed)??)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

type Answer<T> = oneshot::Receiver<Result<T, InboxError>>;

fn job<T: Send + 'static>(
    work: impl FnOnce(&Connection, &mut Changes) -> Result<T, InboxError> + Send + 'static,
) -> (Box<dyn Job>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Write { work: Some(work), result: None, reply }), answer)
}

/// A panic of another holder leaves these values whole: each is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests;
