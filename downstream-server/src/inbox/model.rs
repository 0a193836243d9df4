//! What goes into the inbox and comes out of it.

use std::time::Duration;

use super::Identity;
use super::rows::Place;
use crate::fetch::Content;
use crate::reading::Reading;

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
    /// The ETag that the notice named.
    pub etag: Option<String>,
    /// Where the object may be, never empty.
    pub places: Vec<Place>,
}

impl Claim {
    /// Where this attempt looks: later attempts go round the places that notices named.
    pub fn place(&self) -> &Place {
        &self.places[(self.attempt as usize).saturating_sub(1) % self.places.len()]
    }
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
    /// By what it was taken apart.
    pub reader: Reading,
    /// Events in it.
    pub events: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// When the attempt ended.
    pub now_ms: i64,
}

impl Report {
    /// What an object was that has come whole.
    pub(crate) fn of(content: &Content, now_ms: i64) -> Self {
        Self {
            identity: content.identity(),
            reader: content.reading().clone(),
            events: content.events(),
            bytes: content.stored_bytes(),
            now_ms,
        }
    }
}

/// What is committed of a handler's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Bytes of it that count; for the number of a file, that number.
    pub length: u64,
    /// How events stand in it, as the handler numbers its forms.
    pub form: u64,
}

/// How a finished attempt was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The object is done and the handler's effect is committed with it.
    Done,
    /// The same object was done before; the effect was not applied.
    Repeat,
    /// The attempt took so long that another server has begun one; the effect was not applied.
    Lost,
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
    /// None: the store holds the object no more.
    Gone,
}

/// The longest that an owed object may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// After an attempt that failed.
    pub retry: Duration,
    /// After a handler that said "later".
    pub later: Duration,
}
