//! The handler: whoever gets the objects. This is where to plug in your own.

mod batches;
mod command;
mod http;
mod json;
mod log;
mod ndjson;
mod progress;
mod rows;
mod transactional;

use std::time::Duration;

use async_trait::async_trait;
use contract::{CutKind, ObjectMetadata};

pub use self::http::{ClientError, Http};
pub use batches::{Batch, BatchLimits, Batches};
pub use command::Command;
pub use log::Log;
pub use ndjson::{Form, Ndjson, OutputConfig, OutputError, Rotation};
pub(crate) use rows::one;
pub use transactional::{InTransaction, Transactional};

use crate::config::SetAside;
use crate::fetch::{Content, FetchError};
use crate::inbox::{Database, DatabaseError};

/// Takes objects, one call an attempt. The contract:
///
/// - **At least once.** Each object is handed over until a call returns `Ok` and its effect is
///   committed; a crash in between makes another call. [`Delivery::id`] is the same in all of
///   them and for every repeated notice: it is the idempotency id to deduplicate by.
///   [`Delivery::attempt`] counts the calls' attempts, those that a crash cut short included.
/// - **Exactly-once effect**, for whoever commits with us: what [`Effect::apply`] writes is in
///   the very transaction that marks the object done. Either both are on the disk or neither.
/// - **Checked before the end.** [`Content::next`] returns `None` only after length and checksum
///   of the whole object were right. Nothing read before that may have an effect that cannot be
///   taken back.
/// - **Concurrent.** Several objects may be in `handle` at once. Objects come roughly in the
///   order of their notices; order is not promised.
/// - **Cancellation.** The call's future may be dropped at any await, at shutdown.
#[async_trait]
pub trait Handler: Send + Sync {
    /// A short name for logs, metrics and the page.
    fn name(&self) -> &'static str;

    /// Handles one object. `Ok` holds the effect to commit with it; [`NoEffect`] if there is none.
    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError>;
}

/// What is known about the object of one call.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Stable over attempts and repeated notices.
    pub id: String,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Id of the first notice, as in the logs of all three programs.
    pub notice_id: String,
    /// The bucket it was fetched from.
    pub bucket: String,
    /// The key it was fetched from.
    pub key: String,
    /// The version that the store gave, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// What the agent wrote beside the object; `None` for objects that are not ours.
    pub metadata: Option<ObjectMetadata>,
}

impl Delivery {
    /// Whether the object holds events that the agent could not ship and set aside. They are
    /// accounted for as dead letters, so a handler should keep them apart from the others.
    pub fn is_set_aside(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.kind == CutKind::Dead)
    }

    /// The position in its channel of the object's event `number`, counted from 0. Known of our
    /// objects that hold every position from their first to their last.
    pub fn position_of(&self, number: u64) -> Option<u64> {
        let metadata = self.metadata.as_ref().filter(|metadata| metadata.kind == CutKind::Events)?;
        let is_dense = metadata.last.checked_sub(metadata.first)? == metadata.events.checked_sub(1)?;
        (is_dense && number < metadata.events).then(|| metadata.first + number)
    }
}

/// What a handler commits together with the object's being done.
pub trait Effect: Send {
    /// Runs on the inbox's writer thread, inside the transaction that marks the object done.
    /// Keep it short, and leave the transaction itself alone. An error or a panic undoes both.
    fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError>;

    /// Learns what became of the transaction. Called exactly once.
    fn settle(self: Box<Self>, outcome: Outcome);
}

/// What became of an effect's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the disk.
    Committed,
    /// It is not, and never will be.
    Undone,
    /// Only a restart can tell; touch nothing that it will have to compare.
    Unknown,
}

/// The effect of a handler that commits nothing with us.
#[derive(Debug, Clone, Copy)]
pub struct NoEffect;

impl Effect for NoEffect {
    fn apply(&mut self, _: &Database) -> Result<(), DatabaseError> {
        Ok(())
    }

    fn settle(self: Box<Self>, _: Outcome) {}
}

/// Why a handler did not take an object.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The object could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The handler cannot take objects now, whichever they are: it is tried again for as long as
    /// it takes, and the object's attempts are not used up.
    #[error("handling the object later: {source}")]
    Later {
        /// Why not now.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// The shortest wait that was asked for; `None` leaves it to the configuration.
        after: Option<Duration>,
    },
    /// The handler failed; another attempt may succeed.
    #[error("handling the object: {0}")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The handler will never take this object.
    #[error("handling the object: {0}")]
    Never(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl HandlerError {
    /// The error of a failed write or the like; another attempt may succeed.
    pub fn retry(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    /// What says nothing about the object; it is tried again until it passes.
    pub fn later(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Later { source: error.into(), after: None }
    }
}

/// Whether to leave an object out because it holds events that were set aside. They are dead
/// letters, and whoever takes events would take them for good ones.
fn skip_set_aside(delivery: &Delivery, set_aside: SetAside) -> bool {
    let skip = delivery.is_set_aside() && set_aside == SetAside::Skip;
    if skip {
        tracing::warn!(delivery_id = delivery.id, "events that the agent set aside are not handed over");
    }
    skip
}

#[cfg(test)]
pub(crate) mod conformance;
