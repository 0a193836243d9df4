//! The contract of a channel, and the plain values that it is spoken in.

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{AppendError, ChannelFailure, CloseError, OpenError, RetireError, Shortage};
use crate::reader::Reader;
use crate::reservation::Reservation;

/// An ordered log of batches between sources and sinks.
///
/// The contract, which the conformance suite holds every implementation to:
///
/// - **Positions** are dense and ordered: the first batch of a new channel starts at 0, each batch starts where
///   the one before it ended, and no position is given twice within a channel id (I2).
/// - **A batch is whole or absent.** Readers see it as one frame with the bytes that were appended.
/// - **Durable once [`synced_end`](Self::synced_end) has reached its end**: only then may a source acknowledge
///   (I1). `append` itself only queues, in the order of the calls, and never waits for the disk.
///   A memory channel promises order and wholeness only; its `synced_end` says "readable", not "durable".
/// - **Readers see only what is synced**, each sees everything from where it was registered, and what a reader
///   has not released stays (I6).
/// - **A failure is final.** After a failed write or sync nothing more is accepted or synced;
///   what was synced before can still be read. Open the channel again to recover; a sync is never retried.
/// - **Memory**: what is queued is held in memory until it is written. Callers bound it by how much they append
///   ahead of `synced_end`.
///
/// No method but [`close`](Self::close), [`reader`](Self::reader) and [`retire`](Self::retire) waits for the disk.
pub trait Channel: Send + Sync {
    /// The random id made with the channel (for a memory channel: at its start).
    fn id(&self) -> [u8; 16];

    /// How often this channel was started, from 1.
    fn incarnation(&self) -> u64;

    /// An empty batch whose buffer comes from the channel's pool.
    fn batch(&self) -> Batch;

    /// The most events that one batch may have: a source whose senders ask for no transaction makes smaller ones.
    fn max_batch_events(&self) -> u64 {
        u64::MAX
    }

    /// Gives the batch its positions and queues it. Nothing is durable yet.
    ///
    /// On an error nothing was queued and no position used. An empty batch uses no position and needs no sync.
    fn append(&self, batch: Batch) -> Result<Appended, AppendError>;

    /// Sets room aside for a batch: [`Reservation::commit`] appends it, dropping the reservation gives the room back.
    ///
    /// Whatever can refuse a batch (capacity, the disk's floor, the size of a batch) refuses it here and never at the
    /// commit. Positions are given at the commit, in the order of the commits.
    fn reserve(&self, batch: Batch) -> Result<Reservation, AppendError>;

    /// Every position below this is synced and readable.
    fn synced_end(&self) -> u64;

    /// Why the channel has failed for good, if it has.
    fn failure(&self) -> Option<Arc<ChannelFailure>>;

    /// What everything that is queued waits for, if something has run out that writing it needs. Cheap.
    fn waits_for(&self) -> Option<Shortage> {
        None
    }

    /// Calls `hook` after every synced group, when the channel fails, whenever a release gave room back, and when
    /// something runs out or is there again.
    ///
    /// Hooks run on the channel's own threads: they must be short and must not call back into the channel's
    /// waiting methods.
    fn on_progress(&self, hook: Box<dyn Fn() + Send + Sync>);

    /// The reader registered under `name`, registered first at `start` if there is none yet.
    ///
    /// A name is `[a-z0-9_]{1,32}`, can be open once at a time, and is used up when its reader is retired.
    fn reader(&self, name: &str, start: Start) -> Result<Reader, OpenError>;

    /// Every registered reader, in the order of their names, whether open or not.
    fn readers(&self) -> Vec<ReaderStatus>;

    /// Forgets a registered reader and its files, so that it holds nothing back any more. Its name is used up as
    /// long as the channel has this id.
    fn retire(&self, name: &str) -> Result<(), RetireError>;

    /// One consistent look at the channel's numbers.
    fn stats(&self) -> Stats;

    /// Accepts no more, syncs what is queued and ends the channel's thread. A second call does nothing.
    fn close(&self) -> Result<(), CloseError>;
}

/// The positions that a batch was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of its first event.
    pub first: u64,
    /// How many events it holds.
    pub count: u32,
}

/// Where a reader starts when it is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest event that the channel holds.
    #[default]
    Oldest,
    /// After the newest synced event.
    Newest,
}

/// A registered reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderStatus {
    /// Its name.
    pub name: String,
    /// The position at which it was registered.
    pub start: u64,
    /// It is done with every position below this.
    pub released: u64,
    /// Whether it is open now.
    pub open: bool,
}

/// The numbers of a channel at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of frames held on disk (or in memory) and queued.
    pub used_bytes: u64,
    /// The limit of `used_bytes`.
    pub capacity_bytes: u64,
    /// Bytes that wait in memory for their write.
    pub queued_bytes: u64,
    /// The first position that is still held.
    pub first: u64,
    /// The position that the next appended event gets.
    pub next: u64,
    /// Every position below this is synced.
    pub synced_end: u64,
    /// Segment files held; 0 for a memory channel.
    pub segments: u64,
    /// Positions found damaged since the channel was opened, each counted once.
    pub damaged: u64,
    /// Free bytes of the disk when last looked at; 0 for a memory channel.
    pub free_disk_bytes: u64,
    /// Appends refused because the channel was full.
    pub refused_full: u64,
    /// Appends refused because of a [`Shortage`].
    pub refused_disk: u64,
    /// Why appends are refused now, if something has run out.
    pub shortage: Option<Shortage>,
    /// Groups synced since the channel was opened.
    pub groups: u64,
    /// Bytes of frames written since the channel was opened.
    pub written_bytes: u64,
}

// === impl Appended ===

impl Appended {
    /// One past the last position: durable once the synced end has reached this.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}
