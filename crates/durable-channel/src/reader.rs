//! Reading: one registered reader of a channel.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::give_back;
use crate::error::ReadError;
use crate::memory::MemoryView;
use crate::registry::Registry;
use crate::shared::Shared;

mod cursor;

pub(crate) use cursor::LogCursor;

/// One registered reader: its place in the channel, and the files of its owner.
pub struct Reader {
    name: String,
    place: Place,
}

/// A further place of reading in the same channel: same items, same limits, no say in what is released.
///
/// Its owner reads only positions that its reader has not released, so nothing that it needs is deleted.
pub struct Cursor {
    name: String,
    place: Place,
}

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
        /// The first of them that was asked for.
        first: u64,
        /// How many.
        count: u64,
    },
}

enum Place {
    Log(Box<LogPlace>),
    Memory(MemoryView),
}

struct LogPlace {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    dir: PathBuf,
    cursor: LogCursor,
}

// === impl Item ===

impl Item<'_> {
    /// One past the last position: where to read on.
    pub fn end(&self) -> u64 {
        match *self {
            Self::Frame { first, count, .. } => first + u64::from(count),
            Self::Damaged { first, count } => first + count,
        }
    }
}

// === impl Reader ===

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn of_log(name: &str, shared: Arc<Shared>, registry: Arc<Registry>) -> Self {
        let dir = registry.dir(name);
        let place = LogPlace { shared, registry, dir, cursor: LogCursor::default() };
        Self { name: name.to_owned(), place: Place::Log(Box::new(place)) }
    }

    pub(crate) fn of_memory(name: &str, view: MemoryView) -> Self {
        Self { name: name.to_owned(), place: Place::Memory(view) }
    }

    /// The name that it is registered under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder where its owner may keep journals; none for a memory channel.
    pub fn dir(&self) -> Option<&Path> {
        match &self.place {
            Place::Log(log) => Some(&log.dir),
            Place::Memory(_) => None,
        }
    }

    /// It is done with every position below this.
    pub fn released(&self) -> u64 {
        match &self.place {
            Place::Log(log) => log.registry.released(&self.name),
            Place::Memory(memory) => memory.released(&self.name),
        }
    }

    /// The item that holds `from`; `None` if nothing is synced there yet.
    ///
    /// The frame may start before `from`. Reading on from the end of the last item is the fast path;
    /// going anywhere else costs at most the reading of one segment.
    pub fn read(&mut self, from: u64) -> Result<Option<Item<'_>>, ReadError> {
        self.place.read(&self.name, from)
    }

    /// A place of its own to read from: for an owner that reads ahead while it reads older positions again.
    pub fn cursor(&self) -> Cursor {
        let place = match &self.place {
            Place::Log(log) => Place::Log(Box::new(LogPlace {
                shared: Arc::clone(&log.shared),
                registry: Arc::clone(&log.registry),
                dir: log.dir.clone(),
                cursor: LogCursor::default(),
            })),
            Place::Memory(memory) => Place::Memory(memory.again()),
        };
        Cursor { name: self.name.clone(), place }
    }

    /// Every position below `below` is done: the channel may delete what all readers are done with (I6).
    ///
    /// Recorded at once, but synced only before something is deleted: after a crash a lower value may come back,
    /// never one below what is still held. A value below an earlier one changes nothing.
    /// Waits for the disk when it frees a segment.
    pub fn release(&self, below: u64) -> io::Result<()> {
        match &self.place {
            Place::Log(log) => {
                let freed = log.registry.release(&self.name, below, &log.shared.log)?;
                give_back(&log.shared, freed);
                Ok(())
            }
            Place::Memory(memory) => memory.release(&self.name, below),
        }
    }

    /// Makes what was released durable now: after a crash no lower value comes back. Waits for the disk.
    pub fn sync_released(&self) -> io::Result<()> {
        match &self.place {
            Place::Log(log) => log.registry.sync_reader(&self.name),
            Place::Memory(_) => Ok(()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        match &self.place {
            Place::Log(log) => log.registry.close_reader(&self.name),
            Place::Memory(memory) => memory.close_reader(&self.name),
        }
    }
}

// === impl Cursor ===

impl Cursor {
    /// As [`Reader::read`].
    pub fn read(&mut self, from: u64) -> Result<Option<Item<'_>>, ReadError> {
        self.place.read(&self.name, from)
    }
}

// === impl Place ===

impl Place {
    fn read(&mut self, name: &str, from: u64) -> Result<Option<Item<'_>>, ReadError> {
        match self {
            Self::Log(log) => {
                let released = || log.registry.released(name);
                log.cursor.read(&log.shared.log, from, released)
            }
            Self::Memory(memory) => memory.read(from),
        }
    }
}
