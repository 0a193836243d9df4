//! The inbox's one writer: a thread that commits whatever jobs are waiting as one group, so
//! that many notices share one sync.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, Savepoint, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::changes::{Changes, Published};
use super::{InboxError, Settlement};

/// Jobs that share one commit at most; more wait for the next one.
const MAX_GROUP: usize = 512;

/// A piece of work inside the group's transaction.
pub(super) trait Job: Send {
    /// Works at a savepoint; `false` undoes what it wrote and leaves the rest of the group.
    fn run(&mut self, at: &Connection, changes: &mut Changes) -> bool;
    /// Learns what became of the group. Called once, after the commit is on the disk or not.
    fn settle(self: Box<Self>, settlement: &Settlement);
}

/// A job made of a closure, answered through a channel once it is settled.
pub(super) struct Write<F, T> {
    pub(super) work: Option<F>,
    pub(super) result: Option<Result<T, InboxError>>,
    pub(super) reply: oneshot::Sender<Result<T, InboxError>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&Connection, &mut Changes) -> Result<T, InboxError> + Send,
    T: Send,
{
    fn run(&mut self, at: &Connection, changes: &mut Changes) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = work(at, changes);
        let kept = result.is_ok();
        self.result = Some(result);
        kept
    }

    fn settle(self: Box<Self>, settlement: &Settlement) {
        let answer = match (settlement, self.result) {
            (Settlement::Committed, Some(result)) => result,
            // A mistake of its own is more telling than what befell the group.
            (_, Some(Err(error))) => Err(error),
            (Settlement::Undone(error) | Settlement::Unknown(error), _) => {
                Err(InboxError::Storage(error.clone()))
            }
            (Settlement::Committed, None) => Err(InboxError::Closed),
        };
        // The caller may have gone; what was committed stays committed.
        let _ = self.reply.send(answer);
    }
}

/// Runs until the queue is closed and empty, or until a commit's outcome is unknown.
pub(super) fn run(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    published: &Published,
) {
    let mut group: Vec<Box<dyn Job>> = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < MAX_GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let started = std::time::Instant::now();
        let mut changes = Changes::default();
        let settlement = commit(&mut connection, &mut group, &mut changes);
        published.group(group.len(), started.elapsed());
        if matches!(settlement, Settlement::Committed) {
            published.publish(changes);
        }
        for job in group.drain(..) {
            job.settle(&settlement);
        }
        if let Settlement::Unknown(error) = settlement {
            // What the disk holds is known only after a restart reads it again.
            published.poison(error.clone());
            queue.close();
            while let Some(job) = queue.blocking_recv() {
                job.settle(&Settlement::Undone(error.clone()));
            }
            return;
        }
    }
}

fn commit(connection: &mut Connection, group: &mut [Box<dyn Job>], changes: &mut Changes) -> Settlement {
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => return Settlement::Undone(Arc::new(error)),
    };
    for job in group {
        if let Err(error) = run_at_savepoint(&mut transaction, job.as_mut(), changes) {
            return Settlement::Undone(Arc::new(error));
        }
        // An I/O error or a full disk makes SQLite roll all of it back by itself; whatever
        // came after would be written outside any transaction.
        if transaction.is_autocommit() {
            let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
            return Settlement::Undone(Arc::new(rusqlite::Error::SqliteFailure(error, None)));
        }
    }
    match transaction.commit() {
        Ok(()) => Settlement::Committed,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            Settlement::Undone(Arc::new(error))
        }
        Err(error) => Settlement::Unknown(Arc::new(error)),
    }
}

fn run_at_savepoint(
    transaction: &mut Transaction<'_>,
    job: &mut dyn Job,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let savepoint: Savepoint<'_> = transaction.savepoint()?;
    let mark = changes.mark();
    if job.run(&savepoint, changes) {
        savepoint.commit()
    } else {
        changes.undo_to(mark);
        if savepoint.is_autocommit() { Ok(()) } else { savepoint.finish() }
    }
}
