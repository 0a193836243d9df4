//! What a committed group changed, told to whoever watches: totals and rows.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, broadcast, watch};

use super::database::DatabaseError;
use super::error::InboxError;
use super::rows::{Row, State};
use crate::telemetry::Metrics;

/// Changed rows that a slow watcher may fall behind before it must read the listing again.
const BACKLOG: usize = 1024;

/// How many objects are in each state, and what the done ones held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Objects that wait for their first or next attempt.
    pub owed: u64,
    /// Objects that are being fetched and handled.
    pub fetching: u64,
    /// Objects that the handler has.
    pub done: u64,
    /// Objects that nobody tries any more.
    pub dead: u64,
    /// Objects that the store holds no more.
    pub gone: u64,
    /// Events in the done objects.
    pub events: u64,
    /// Bytes of the done objects, as stored.
    pub bytes: u64,
}

impl Totals {
    pub(super) fn of_state(&mut self, state: State) -> &mut u64 {
        match state {
            State::Owed => &mut self.owed,
            State::Fetching => &mut self.fetching,
            State::Done => &mut self.done,
            State::Dead => &mut self.dead,
            State::Gone => &mut self.gone,
        }
    }
}

/// What the jobs of one group changed, in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    log: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    /// A row that was in state `from`, or is new.
    Row { row: Box<Row>, from: Option<State> },
    /// A row in this state is gone.
    Removed(State),
}

impl Changes {
    /// Notes a row that was in state `from` (or is new) and is now as given.
    pub(super) fn changed(&mut self, from: Option<State>, row: Row) {
        self.log.push(Change::Row { row: Box::new(row), from });
    }

    /// Notes a row that is gone, and its object with it: it was another's all the time.
    pub(super) fn removed(&mut self, from: State) {
        self.log.push(Change::Removed(from));
    }

    pub(super) fn mark(&self) -> usize {
        self.log.len()
    }

    pub(super) fn undo_to(&mut self, mark: usize) {
        self.log.truncate(mark);
    }
}

/// The watched side, shared by the writer thread and the inbox's handles.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) totals: watch::Sender<Totals>,
    pub(super) rows: broadcast::Sender<Arc<Row>>,
    /// Woken when an object becomes owed.
    pub(super) owed: Notify,
    /// Set once, when a commit's outcome is unknown and only a restart can tell.
    failure: OnceLock<DatabaseError>,
    pub(super) failed: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Published {
    pub(super) fn new(totals: Totals, metrics: Arc<Metrics>) -> Self {
        Self {
            totals: watch::Sender::new(totals),
            rows: broadcast::Sender::new(BACKLOG),
            owed: Notify::new(),
            failure: OnceLock::new(),
            failed: watch::Sender::new(false),
            metrics,
        }
    }

    pub(super) fn publish(&self, changes: Changes) {
        if changes.log.is_empty() {
            return;
        }
        let mut totals = *self.totals.borrow();
        let (mut owed, mut rows) = (false, Vec::new());
        for change in changes.log {
            match change {
                Change::Removed(from) => subtract(totals.of_state(from), 1),
                Change::Row { row, from } => {
                    if let Some(from) = from {
                        subtract(totals.of_state(from), 1);
                    }
                    *totals.of_state(row.state) += 1;
                    owed |= row.state == State::Owed;
                    match (from == Some(State::Done), row.state == State::Done) {
                        (false, true) => {
                            totals.events += row.events;
                            totals.bytes += row.bytes;
                        }
                        // It is handled again, and will count again.
                        (true, false) => {
                            subtract(&mut totals.events, row.events);
                            subtract(&mut totals.bytes, row.bytes);
                        }
                        _ => {}
                    }
                    rows.push(Arc::from(row));
                }
            }
        }
        self.totals.send_replace(totals);
        // After the totals: whoever hears of a row finds it counted. Nobody watching is no error.
        for row in rows {
            let _ = self.rows.send(row);
        }
        if owed {
            self.owed.notify_one();
        }
    }

    pub(super) fn group(&self, jobs: usize, took: Duration) {
        self.metrics.inbox_group_jobs.observe(jobs as f64);
        self.metrics.inbox_commit_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn poison(&self, error: DatabaseError) {
        // Only the writer thread poisons, and only once.
        let _ = self.failure.set(error);
        self.failed.send_replace(true);
    }

    pub(super) fn failure(&self) -> Option<DatabaseError> {
        self.failure.get().cloned()
    }

    /// What a caller hears whose job can no longer run.
    pub(super) fn closed(&self) -> InboxError {
        self.failure().map_or(InboxError::Closed, InboxError::Poisoned)
    }
}

/// Servers that share an inbox change rows that others have counted: a count may be late, and
/// never below nothing.
fn subtract(count: &mut u64, number: u64) {
    *count = count.saturating_sub(number);
}
