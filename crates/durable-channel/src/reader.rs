//! Reading: one registered reader of a channel.

use std::io;
use std::path::Path;

use crate::error::ReadError;

/// One registered reader: its place in the channel, and the files of its owner.
pub struct Reader {
    name: String,
}

/// A further place of reading in the same channel: same items, same limits, no say in what is released.
///
/// Its owner reads only positions that its reader has not released, so nothing that it needs is deleted.
pub struct Cursor {}

/// What a channel holds at a position.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A batch as it was appended.
    Frame {
        /// The position of its first event.
        first: u64,
        /// How many events it holds.
        count: u32,
        /// When it was appended, in milliseconds since 1970.
        arrival_ms: u64,
        /// The encoded events, one after the other.
        payload: &'a [u8],
    },
    /// Positions whose events are lost to damage of the files. They stay used (I2) and are to be counted (I9).
    Damaged {
        /// The first of them.
        first: u64,
        /// How many.
        count: u64,
    },
}

// === impl Reader ===

impl Reader {
    /// The name that it is registered under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder where its owner may keep journals; none for a memory channel.
    pub fn dir(&self) -> Option<&Path> {
        unimplemented!()
    }

    /// It is done with every position below this.
    pub fn released(&self) -> u64 {
        unimplemented!()
    }

    /// The item that holds `from`, or else the next one after it; `None` if nothing is synced there yet.
    ///
    /// The frame may start before `from`. Reading on from the end of the last item is the fast path;
    /// going anywhere else costs at most the reading of one segment.
    pub fn read(&mut self, _from: u64) -> Result<Option<Item<'_>>, ReadError> {
        unimplemented!()
    }

    /// A place of its own to read from: for an owner that reads ahead while it reads older positions again.
    pub fn cursor(&self) -> Cursor {
        unimplemented!()
    }

    /// Every position below `below` is done: the channel may delete what all readers are done with (I6).
    ///
    /// Recorded at once, but synced only before something is deleted: after a crash a lower value may come back,
    /// never one below what is still held. A value below an earlier one changes nothing.
    /// Waits for the disk when it frees a segment.
    pub fn release(&self, _below: u64) -> io::Result<()> {
        unimplemented!()
    }
}

// === impl Cursor ===

impl Cursor {
    /// As [`Reader::read`].
    pub fn read(&mut self, _from: u64) -> Result<Option<Item<'_>>, ReadError> {
        unimplemented!()
    }
}
