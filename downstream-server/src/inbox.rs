//! The inbox: what notices told us of, what is owed and what is done, in one SQLite file, or in a
//! PostgreSQL database that many servers share.
//!
//! One thread writes; callers queue jobs and hear back once the group that held theirs is
//! committed and synced. So an answer to a notice promises that it survives `kill -9` and a
//! power cut (I8), and many notices at once cost one sync. Reads use a connection of their own.

mod asks;
mod attempts;
mod changes;
mod commits;
mod continuity;
mod database;
mod error;
mod find;
mod finish;
mod forks;
mod identity;
mod instance;
mod intake;
mod listing;
mod model;
mod ranges;
mod readiness;
mod replay;
mod retention;
mod rows;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use contract::Notice;
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use changes::Totals;
pub use commits::Loss;
pub use continuity::{Fork, Gaps, Missing, SinkContinuity, Sums};
pub use database::{Database, DatabaseError, Dialect, Parameter, PostgresError, Record, Value};
pub use error::{InboxError, OpenError};
pub use find::{DoneBounds, Query};
pub use forks::Suspect;
pub use identity::Identity;
pub use instance::Location;
pub use listing::{Listing, Unknown};
pub use model::{Claim, Claimed, Finished, Next, Output, Pauses, Report, Taken};
pub use readiness::NotReady;
pub use replay::{Replayed, Selection};
pub use retention::Keep;
pub use rows::{Origin, Place, Row, State};
pub use schema::VERSION;

use crate::clock::now_ms;
use crate::handler::Effect;
use crate::telemetry::Metrics;
use attempts::Lease;
use changes::{Changes, Published};
use commits::Commits;
use database::{Postgres, Sqlite};
use finish::Finish;
use intake::Arrival;
use readiness::Readiness;
use writer::{Job, Write};

/// Jobs that may wait for the writer; a notice beyond it is answered with "try again".
const QUEUE: usize = 2048;

/// How often servers that share an inbox look whether others left them something to do.
const POLL: Duration = Duration::from_secs(1);

/// Name of the inbox's file in the server's folder.
pub const FILE: &str = "inbox.sqlite";

/// Name of the record of the commits of an inbox that is no file; that of a file lies beside it.
const RECORD: &str = "inbox-commits";

/// Longest version of an object that a notice may name, in bytes: S3's own limit.
const MAX_VERSION_BYTES: usize = 1024;

/// The one handle to the inbox; share it in an [`Arc`].
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    /// What the names of this server's outputs begin with, where servers share an inbox.
    scope: Option<String>,
    lease: Lease,
    pauses: OnceLock<Pauses>,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    published: Arc<Published>,
    reader: Arc<Mutex<Database>>,
    /// The name of the counter of this server's commits.
    commits: String,
    readiness: tokio::sync::Mutex<Readiness>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Held until the inbox is closed, so that no second server works on it meanwhile.
    lock: Mutex<Vec<std::fs::File>>,
}

impl Inbox {
    /// Opens the inbox at `location`, making it where absent, for the server whose folder is `dir`.
    /// Attempts of it that a crash cut short become owed again, and those of other servers once
    /// they gave no sign of life for the length of `lease`. Blocks.
    pub fn open(
        dir: &Path,
        location: &Location,
        lease: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = instance::lock(dir)?;
        let (database, reader, lock, instance, record) = match location {
            Location::File(path) => {
                let path = path.clone().unwrap_or_else(|| dir.join(FILE));
                let lock = instance::lock_beside(&path, dir, lock)?;
                let database = Database::sqlite(Sqlite::at(&path)?);
                schema::prepare(&database, now_ms())?;
                // The file's own name must survive a power cut as well.
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(dir);
                std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
                let reader = Connection::open(&path)?;
                reader.pragma_update(None, "query_only", true)?;
                let mut record = path.into_os_string();
                record.push("-commits");
                (database, Database::sqlite(Sqlite::new(reader)), lock, None, record.into())
            }
            Location::Postgres { url, ca_file } => {
                let connect = || Postgres::new(url, ca_file.as_deref()).map(Database::postgres);
                let database = connect()?;
                schema::prepare(&database, now_ms())?;
                let instance = instance::of(dir)?;
                (database, connect()?, lock, Some(instance), dir.join(RECORD))
            }
        };
        let mut commits = Commits::open(&database, &record, instance.as_deref(), now_ms())?;
        let counter = commits.name().to_owned();
        let prefix = instance.clone().unwrap_or_default();
        let owner = format!("{prefix}/{}", instance::random());
        let lease = Lease { owner, length_ms: lease.as_millis() as i64 };
        // Whoever has the lock knows that earlier starts of this server have ended.
        let ended = if instance.is_some() { &*prefix } else { "" };
        let mut changes = Changes::default();
        attempts::interrupted(&database, &mut changes, &lease, Some(ended), now_ms()).map_err(|error| {
            match error {
                InboxError::Storage(error) => OpenError::Database(error),
                other => io(std::io::Error::other(other)),
            }
        })?;
        let dir = dir.canonicalize().map_err(io)?;
        let published = Arc::new(Published::new(rows::totals(&reader)?, metrics));
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new().name("inbox".to_owned()).spawn({
            let published = published.clone();
            move || writer::run(&database, queue, &published, &mut commits)
        });
        Ok(Self {
            dir,
            scope: instance,
            lease,
            pauses: OnceLock::new(),
            queue: Mutex::new(Some(sender)),
            published,
            reader: Arc::new(Mutex::new(reader)),
            commits: counter,
            readiness: tokio::sync::Mutex::default(),
            writer: Mutex::new(Some(writer.map_err(io)?)),
            lock: Mutex::new(lock),
        })
    }

    /// How often [`renew`](Self::renew) is to be called while attempts run.
    pub fn renewal(&self) -> Duration {
        Duration::from_millis(self.lease.length_ms.unsigned_abs() / 4).max(Duration::from_millis(10))
    }

    /// How often to look for what other servers left; `None` if there are no others.
    pub fn poll(&self) -> Option<Duration> {
        self.scope.as_ref().map(|_| POLL)
    }

    /// Enters a notice that was posted. When this returns `Ok`, it is on the disk (I8).
    pub async fn put(&self, notice: Notice, notice_id: String, now_ms: i64) -> Result<Taken, InboxError> {
        self.take(notice, notice_id, Origin::Notice, now_ms).await
    }

    /// Enters what was heard of an object. When this returns `Ok`, it is on the disk (I8).
    pub async fn take(
        &self,
        notice: Notice,
        notice_id: String,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Taken, InboxError> {
        if notice.version_id.as_ref().is_some_and(|version| version.len() > MAX_VERSION_BYTES) {
            let reason = format!("its version_id has more than {MAX_VERSION_BYTES} bytes");
            return Err(InboxError::Refused(DatabaseError::Refused(reason)));
        }
        let arrival = Arrival { notice, notice_id, origin, now_ms };
        let (job, answer) = job(move |at, changes| intake::put(at, changes, &arrival));
        // A full queue is told to the sender rather than waited for: it can try again, and we
        // hold no more requests than the queue.
        self.sender()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InboxError::Busy,
            mpsc::error::TrySendError::Closed(_) => self.published.closed(),
        })?;
        match answer.await.map_err(|_| self.published.closed())? {
            // Or it would be sent again for ever.
            Err(InboxError::Storage(error)) if error.blames_the_data() => Err(InboxError::Refused(error)),
            taken => taken,
        }
    }

    /// From now on no object waits longer for its next try, from the moment at which its row is looked at: a clock that was
    /// set back since would make it.
    pub fn bound_pauses(&self, pauses: Pauses) {
        // The first bounds stay: a server has one configuration.
        let _ = self.pauses.set(pauses);
    }

    /// Takes up to `limit` due objects and counts the attempt on each, before it is made: an
    /// object that kills the server still runs out of attempts.
    pub async fn claim(&self, limit: usize, now_ms: i64) -> Result<Claimed, InboxError> {
        let (lease, pauses) = (self.lease.clone(), self.pauses.get().copied());
        self.write(move |at, changes| attempts::claim(at, changes, &lease, pauses, limit, now_ms)).await
    }

    /// Says that this server's attempts go on, so that no other takes them over.
    pub async fn renew(&self, now_ms: i64) -> Result<(), InboxError> {
        let lease = self.lease.clone();
        self.write(move |at, _| attempts::renew(at, &lease, now_ms)).await
    }

    /// Enters that the handler has the object, and commits its effect in the same transaction.
    pub async fn finish(
        &self,
        claim: &Claim,
        report: Report,
        effect: Box<dyn Effect>,
    ) -> Result<Finished, InboxError> {
        let (reply, answer) = oneshot::channel();
        let (claim, lease) = (claim.clone(), self.lease.clone());
        self.send(Box::new(Finish { claim, lease, report, effect, result: None, reply })).await?;
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
        let (claim, lease) = (claim.clone(), self.lease.clone());
        self.write(move |at, changes| attempts::fail(at, changes, &lease, &claim, &error, next, now_ms)).await
    }

    /// Gives an attempt back that shutdown cut short; it does not count.
    pub async fn release(&self, claim: &Claim) -> Result<(), InboxError> {
        let (claim, lease) = (claim.clone(), self.lease.clone());
        self.write(move |at, changes| attempts::release(at, changes, &lease, &claim)).await
    }

    /// The inbox's folder, absolute and without links.
    pub fn dir(&self) -> &Path {
        &self.dir
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

    /// Commits that were lost and for which the buckets were not listed yet.
    pub async fn loss(&self) -> Result<Option<Loss>, InboxError> {
        self.read(commits::loss).await
    }

    /// Dates a loss to now that was found in what is the future by the present clock.
    pub async fn redate_loss(&self, now_ms: i64) -> Result<(), InboxError> {
        self.write(move |at, _| Ok(commits::redate(at, now_ms)?)).await
    }

    /// Enters that all buckets were listed since the loss was found.
    pub async fn made_up_for(&self, loss: Loss) -> Result<(), InboxError> {
        self.write(move |at, _| Ok(commits::made_up_for(at, loss)?)).await
    }

    /// Turns true when a commit's outcome is unknown, or the inbox is gone, and the server must restart.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.published.failed.subscribe()
    }

    /// Why the server must restart.
    pub fn failure(&self) -> Option<DatabaseError> {
        self.published.failure()
    }

    /// Refuses further jobs, commits those that wait, ends the writer, and lets the next server
    /// have the inbox, even if somebody still holds this handle. Blocks.
    pub fn close(&self) {
        drop(lock(&self.queue).take());
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            tracing::error!("the inbox's writer panicked");
        }
        lock(&self.lock).clear();
    }

    fn sender(&self) -> Result<mpsc::Sender<Box<dyn Job>>, InboxError> {
        lock(&self.queue).clone().ok_or(InboxError::Closed)
    }

    async fn send(&self, job: Box<dyn Job>) -> Result<(), InboxError> {
        self.sender()?.send(job).await.map_err(|_| self.published.closed())
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Database, &mut Changes) -> Result<T, InboxError> + Send + 'static,
    ) -> Result<T, InboxError> {
        let (job, answer) = job(work);
        self.send(job).await?;
        answer.await.map_err(|_| self.published.closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, InboxError> {
        let reader = self.reader.clone();
        let result = tokio::task::spawn_blocking(move || work(&lock(&reader))).await;
        Ok(result.map_err(|_| InboxError::Panicked)??)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

type Answer<T> = oneshot::Receiver<Result<T, InboxError>>;

fn job<T: Send + 'static>(
    work: impl FnMut(&Database, &mut Changes) -> Result<T, InboxError> + Send + 'static,
) -> (Box<dyn Job>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Write { work, result: None, reply }), answer)
}

/// A panic of another holder leaves these values whole: each is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
