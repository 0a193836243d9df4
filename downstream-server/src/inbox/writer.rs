//! The inbox's one writer: a thread that commits whatever jobs are waiting as one group, so
//! that many notices share one sync.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::{mpsc, oneshot};

use super::changes::{Changes, Published};
use super::commits::Commits;
use super::database::{Database, DatabaseError};
use super::error::{InboxError, Settlement};
use crate::clock::now_ms;

/// Jobs that share one commit at most; more wait for the next one.
const MAX_GROUP: usize = 512;

/// A piece of work inside the group's transaction.
pub(super) trait Job: Send {
    /// Works in the group's transaction; `false` undoes what it wrote and leaves the rest.
    fn run(&mut self, at: &Database, changes: &mut Changes) -> bool;
    /// Learns what became of the group. Called once, after the commit is on the disk or not.
    fn settle(self: Box<Self>, settlement: &Settlement);
}

/// A job made of a closure, answered through a channel once it is settled.
pub(super) struct Write<F, T> {
    pub(super) work: F,
    pub(super) result: Option<Result<T, InboxError>>,
    pub(super) reply: oneshot::Sender<Result<T, InboxError>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnMut(&Database, &mut Changes) -> Result<T, InboxError> + Send,
    T: Send,
{
    fn run(&mut self, at: &Database, changes: &mut Changes) -> bool {
        self.result = None;
        let result = (self.work)(at, changes);
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
            (Settlement::Committed, None) => Err(InboxError::Panicked),
        };
        // The caller may have gone; what was committed stays committed.
        let _ = self.reply.send(answer);
    }
}

/// Runs until the queue is closed and empty, until a commit's outcome is unknown, or until the inbox is gone.
pub(super) fn run(
    database: &Database,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    published: &Published,
    commits: &mut Commits,
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
        let settlement = commit(database, &mut group, &mut changes, commits);
        published.group(group.len(), started.elapsed());
        if matches!(settlement, Settlement::Committed) {
            uninterrupted(|| published.publish(changes));
        }
        for job in group.drain(..) {
            uninterrupted(|| job.settle(&settlement));
        }
        let end = match settlement {
            // What the disk holds is known only after a restart reads it again.
            Settlement::Unknown(error) => Some(error),
            Settlement::Undone(error) if error.is_final() => Some(error),
            Settlement::Committed | Settlement::Undone(_) => database.is_gone(),
        };
        if let Some(error) = end {
            tracing::error!(%error, "the inbox stops: only a restart can tell what it holds");
            published.poison(error.clone());
            queue.close();
            while let Some(job) = queue.blocking_recv() {
                uninterrupted(|| job.settle(&Settlement::Undone(error.clone())));
            }
            return;
        }
    }
}

fn commit(
    database: &Database,
    group: &mut [Box<dyn Job>],
    changes: &mut Changes,
    commits: &mut Commits,
) -> Settlement {
    let worked = database
        .begin()
        .and_then(|()| group.iter_mut().try_for_each(|job| run_one(database, job.as_mut(), changes)))
        .and_then(|()| commits.count(database, now_ms()));
    let number = match worked {
        Ok(number) => number,
        Err(error) => {
            database.roll_back();
            return Settlement::Undone(error);
        }
    };
    match database.commit() {
        Ok(()) => {
            if let Some(number) = number {
                commits.written(number);
            }
            Settlement::Committed
        }
        Err(error) if error.wrote_nothing() => {
            database.roll_back();
            Settlement::Undone(error)
        }
        Err(error) => Settlement::Unknown(error),
    }
}

fn run_one(database: &Database, job: &mut dyn Job, changes: &mut Changes) -> Result<(), DatabaseError> {
    let mark = changes.mark();
    // An effect is a handler's own code: its panic undoes its object, and no other of the group.
    let kept = catch_unwind(AssertUnwindSafe(|| job.run(database, changes))).unwrap_or(false);
    if !database.in_transaction() {
        return Err(DatabaseError::RolledBack);
    }
    if kept {
        return database.keep();
    }
    changes.undo_to(mark);
    database.undo()
}

/// Goes on after a panic: what is committed is committed, and every other job of the group must
/// still hear so. The panic itself is in the log.
fn uninterrupted(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("telling what a commit changed panicked");
    }
}
