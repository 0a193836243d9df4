//! The one thread that changes the catalog.
//!
//! It takes every change that waits, applies them in one transaction, syncs once, and moves files to where
//! the committed rows say they are. Running one after the other is what makes conditional puts atomic, and one
//! sync for all that waited is what makes them cheap.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use rusqlite::{Connection, Transaction};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Layout, Staged, StoreError, catalog, remove_if_there, sync_dir};

/// How many changes may wait before their senders do.
const WAITING_CHANGES: usize = 1024;

/// How many changes one transaction takes at most.
const GROUP_CHANGES: usize = 256;

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once closed.
    changes: Mutex<Option<mpsc::Sender<Box<dyn Change>>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What is to happen to files once the transaction is committed, and the counter that its rows draw from.
pub(crate) struct After {
    layout: Layout,
    last_sequence: u64,
    /// Files that a row now names, with where to show them (`None`: they stay staged, as parts do).
    kept: Vec<(Staged, Option<Place>)>,
    /// Blobs that no row names any more.
    discarded: Vec<String>,
    /// Where files were taken away: their folders may be empty now.
    vacated: Vec<Place>,
    wakes_invokers: bool,
}

/// Where an object's file is shown.
struct Place {
    bucket: String,
    path: String,
}

/// One change, its type forgotten.
trait Change: Send {
    fn apply(&mut self, transaction: &Transaction<'_>, after: &mut After) -> Result<(), ()>;
    fn answer(self: Box<Self>, committed: bool);
}

struct Waiting<T, F> {
    change: Option<F>,
    result: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        layout: Layout,
        sync: bool,
        queued: Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(WAITING_CHANGES);
        let last_sequence = catalog::last_sequence(&connection)?;
        let thread = thread::Builder::new()
            .name("cloud-writer".to_owned())
            .spawn(move || Loop { connection, layout, sync, last_sequence, queued }.run(receiver))
            .map_err(super::io_context("starting the writer thread"))?;
        Ok(Self { changes: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>, &mut After) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let waiting = Box::new(Waiting { change: Some(change), result: Err(StoreError::Closed), reply });
        let changes =
            self.changes.lock().ok().and_then(|changes| changes.clone()).ok_or(StoreError::Closed)?;
        changes.send(waiting).await.map_err(|_| StoreError::Closed)?;
        drop(changes);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        if let Ok(mut changes) = self.changes.lock() {
            *changes = None;
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!("the writer thread had panicked");
        }
    }
}

impl<T, F> Change for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>, &mut After) -> Result<T, StoreError> + Send,
{
    fn apply(&mut self, transaction: &Transaction<'_>, after: &mut After) -> Result<(), ()> {
        let change = self.change.take().expect("a change is applied once");
        self.result = change(transaction, after);
        if self.result.is_ok() { Ok(()) } else { Err(()) }
    }

    fn answer(self: Box<Self>, committed: bool) {
        let result = match self.result {
            Ok(_) if !committed => Err(StoreError::Io {
                what: "committing to the catalog".to_owned(),
                source: io::Error::other("the transaction failed, see the log"),
            }),
            result => result,
        };
        // Whoever asked may be gone; what was committed stays.
        drop(self.reply.send(result));
    }
}

struct Loop {
    connection: Connection,
    layout: Layout,
    sync: bool,
    last_sequence: u64,
    queued: Arc<Notify>,
}

impl Loop {
    fn run(mut self, mut changes: mpsc::Receiver<Box<dyn Change>>) {
        let mut group = Vec::new();
        while let Some(first) = changes.blocking_recv() {
            group.push(first);
            while group.len() < GROUP_CHANGES
                && let Ok(next) = changes.try_recv()
            {
                group.push(next);
            }
            let committed = match self.commit(&mut group) {
                Ok(after) => {
                    if after.wakes_invokers {
                        self.queued.notify_waiters();
                    }
                    after.carry_out();
                    true
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "committing to the catalog failed"
                    );
                    false
                }
            };
            for change in group.drain(..) {
                change.answer(committed);
            }
        }
    }

    fn commit(&mut self, group: &mut [Box<dyn Change>]) -> Result<After, StoreError> {
        let mut after = After {
            layout: self.layout.clone(),
            last_sequence: self.last_sequence,
            kept: Vec::new(),
            discarded: Vec::new(),
            vacated: Vec::new(),
            wakes_invokers: false,
        };
        let transaction = self.connection.transaction()?;
        for change in group {
            let (kept, discarded) = (after.kept.len(), after.discarded.len());
            transaction.execute_batch("SAVEPOINT change")?;
            if change.apply(&transaction, &mut after).is_err() {
                transaction.execute_batch("ROLLBACK TO change")?;
                after.kept.truncate(kept);
                after.discarded.truncate(discarded);
            }
            transaction.execute_batch("RELEASE change")?;
        }
        if self.sync && !after.kept.is_empty() {
            sync_dir(self.layout.staging())?;
        }
        // Numbers are used up even if it cannot be told whether the rows that have them are committed.
        self.last_sequence = after.last_sequence;
        if let Err(error) = transaction.commit() {
            after.leave_to_the_next_start();
            return Err(error.into());
        }
        Ok(after)
    }
}

impl After {
    /// The next sequence: rises with every put, also over a lost catalog (it follows the clock).
    pub(super) fn next_sequence(&mut self, now_ms: u64) -> u64 {
        self.last_sequence = (self.last_sequence + 1).max(now_ms.saturating_mul(1000));
        self.last_sequence
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A row names this file: keep it, and show it as this object's file.
    pub(super) fn publish(&mut self, staged: Staged, bucket: &str, path: &str) {
        let place = Place { bucket: bucket.to_owned(), path: path.to_owned() };
        self.kept.push((staged, Some(place)));
    }

    /// A row names this file: keep it where it is.
    pub(super) fn keep(&mut self, staged: Staged) {
        self.kept.push((staged, None));
    }

    /// No row names this blob any more.
    pub(super) fn discard(&mut self, blob: String) {
        self.discarded.push(blob);
    }

    /// Removes the folders above this place if they are empty at the end.
    pub(super) fn prune(&mut self, bucket: &str, path: &str) {
        self.vacated.push(Place { bucket: bucket.to_owned(), path: path.to_owned() });
    }

    /// Invocations were queued, or a failed one is to be tried again.
    pub(super) fn wake_invokers(&mut self) {
        self.wakes_invokers = true;
    }

    /// The commit failed, and may be on the disk all the same: the next start sees whether a row names a file.
    fn leave_to_the_next_start(self) {
        for (staged, _) in self.kept {
            staged.take_over();
        }
    }

    /// Moves and removes files. A failure here loses nothing: the rows are committed, readers look into staging
    /// first, and the next start finishes the move.
    fn carry_out(self) {
        for (staged, place) in self.kept {
            let blob = staged.blob().to_owned();
            staged.take_over();
            if let Some(place) = place
                // What was deleted again in the same group is not shown.
                && !self.discarded.contains(&blob)
                && let Err(error) =
                    std::fs::rename(self.layout.staged(&blob), self.layout.visible(&place.bucket, &place.path))
            {
                tracing::warn!(
                    bucket = place.bucket, path = place.path, %error,
                    "showing an object's file failed; it is served from staging until the next start"
                );
            }
        }
        for blob in self.discarded {
            if let Err(error) = remove_if_there(&self.layout.staged(&blob)) {
                tracing::warn!(blob, %error, "removing a file failed; the next start removes it");
            }
        }
        for place in self.vacated {
            self.layout.prune(&place.bucket, &place.path);
        }
    }
}
