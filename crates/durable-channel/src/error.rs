//! Every way in which a channel says no, as enums that a caller can decide on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{self, Free};

/// Why a batch was not queued. Nothing of it was, and no position was used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The channel holds as much as it may until readers release some of it.
    #[error("channel full: {used} of {capacity} {unit} used")]
    Full {
        /// What is held and queued.
        used: u64,
        /// What may be.
        capacity: u64,
        /// What is counted.
        unit: Unit,
    },
    /// Something that new events need has run out; readers go on.
    #[error(transparent)]
    Short(#[from] Shortage),
    /// The batch was queued, and waited for what has run out for as long as its owner would. It keeps its positions,
    /// and is written once it can be.
    #[error(
        "{0}; it may still be stored once that is over, so send it again under the same key or expect it twice"
    )]
    Waits(Shortage),
    /// The batch is larger than one frame may be.
    #[error("batch too large: {bytes} bytes, at most {limit}")]
    TooLarge {
        /// Its size with its frame header.
        bytes: u64,
        /// The largest frame.
        limit: u64,
    },
    /// The batch has more events than one transaction may.
    #[error("batch of {count} events exceeds the transaction capacity of {limit}")]
    TransactionCapacity {
        /// Its events.
        count: u64,
        /// The most of one batch.
        limit: u64,
    },
    /// An earlier write or sync failed.
    #[error("channel failed")]
    Poisoned(#[source] Arc<ChannelFailure>),
    /// The channel was closed.
    #[error("channel closed")]
    Closed,
}

/// What has run out, so that a channel takes nothing more for now. Nothing has failed: once it is there again the channel
/// goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// The disk has less free than is kept free for others.
    #[error("disk nearly full: {free_bytes} bytes free, {floor_bytes} kept free")]
    Floor {
        /// Free bytes when last looked at.
        free_bytes: u64,
        /// What puts leave free.
        floor_bytes: u64,
    },
    /// The disk has no room for the next segment, which is allocated ahead.
    #[error("disk full: {free_bytes} bytes free, {segment_bytes} needed for the next segment of the channel")]
    Segment {
        /// Free bytes when last looked at.
        free_bytes: u64,
        /// What a segment takes.
        segment_bytes: u64,
    },
    /// The disk has bytes, and no inode for one more file.
    #[error("the disk's inodes are used up: it has room, but none for another file")]
    Inodes,
    /// The quota of this user or folder is used up.
    #[error("the disk quota is used up")]
    Quota,
    /// This process, or the system, has as many files and connections open as it may.
    #[error(
        "the file descriptors are used up: raise the limit of open files (LimitNOFILE, ulimit -n), or lower max_connections"
    )]
    Descriptors,
}

/// What a full channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Events.
    Events,
}

/// The failure that ended a channel: stop, open it again, never retry the sync.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct ChannelFailure {
    /// What was being done, such as `syncing segment 00000000000000000000.seg`.
    pub operation: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Why a channel or a reader could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A value of the options makes no sense.
    #[error("invalid channel option: {0}")]
    Options(String),
    /// Another process has the directory open.
    #[error("channel directory {} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system failed. Never taken for damage.
    #[error("{operation}")]
    Io {
        /// What was being done.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be what this program wrote, and going on would risk giving a position twice.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what can be done.
        what: String,
    },
    /// A file was written by a newer version of this program.
    #[error("{} has format version {found}, this program reads up to {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The reader's name is not `[a-z0-9_]{1,32}`.
    #[error("reader name {0:?} is not one of [a-z0-9_], 1 to 32 characters")]
    Name(String),
    /// The reader is open already.
    #[error("reader {0} is open already")]
    ReaderOpen(String),
    /// A reader of this name was retired: what the next one numbers would be taken for what the first one did.
    #[error(
        "a reader named {0} was retired from this channel; name the sink otherwise, \
         or give the channel a new id with `channel adopt`"
    )]
    Retired(String),
    /// The channel has failed or was closed.
    #[error("channel is not open")]
    NotOpen,
}

/// Why a reader could not be retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// No reader of this name is registered.
    #[error("no reader named {0} is registered")]
    Unknown(String),
    /// The reader is open.
    #[error("reader {0} is open")]
    Open(String),
    /// Its registration could not be removed.
    #[error("retiring reader {name}")]
    Io {
        /// The reader.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a read gave no answer. Damage is not among these: it is an [`Item`](crate::Item).
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system failed; reading again later may help.
    #[error("{operation}")]
    Io {
        /// What was being done.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The caller asks for what it released and what is deleted since.
    #[error("position {from} was released; the oldest held is {oldest}")]
    Released {
        /// What was asked for.
        from: u64,
        /// The oldest position held.
        oldest: u64,
    },
    /// The file was written by a newer version of this program.
    #[error("segment {segment} has format version {found}, this program reads up to {known}")]
    Version {
        /// The first position of the segment.
        segment: u64,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
}

/// Why closing did not leave everything that was queued durable.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A write or sync failed, before or while closing.
    #[error("channel failed")]
    Failed(#[source] Arc<ChannelFailure>),
    /// Queued events found no room on the disk. Nobody was told that they are durable.
    #[error("{events} queued events found no room on the disk")]
    NoRoom {
        /// How many.
        events: u64,
    },
    /// The progress of a reader could not be recorded; it will see some events again.
    #[error("recording the progress of readers")]
    Progress(#[source] io::Error),
}

/// Why a journal gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system failed.
    #[error("{operation}")]
    Io {
        /// What was being done.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A synced record is damaged.
    #[error("journal {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file was written by a newer version of this program.
    #[error("journal {} has format version {found}, this program reads up to {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// An earlier write or sync of this journal failed. Open it again to recover.
    #[error("journal {} failed earlier", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

// === impl AppendError ===

impl AppendError {
    /// Whether the same batch may be accepted later without anyone changing the configuration.
    pub fn retry_can_help(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Short(_) | Self::Waits(_) => true,
            Self::TooLarge { .. } | Self::TransactionCapacity { .. } | Self::Poisoned(_) | Self::Closed => {
                false
            }
        }
    }
}

// === impl Shortage ===

impl Shortage {
    /// What has run out, if `error` says that something has: `free` is what was free when it happened.
    pub(crate) fn of(error: &io::Error, free: Free, segment_bytes: u64) -> Option<Self> {
        if disk::is_out_of_descriptors(error) {
            return Some(Self::Descriptors);
        }
        match error.kind() {
            io::ErrorKind::QuotaExceeded => Some(Self::Quota),
            io::ErrorKind::StorageFull if free.inodes == 0 => Some(Self::Inodes),
            io::ErrorKind::StorageFull => Some(Self::Segment { free_bytes: free.bytes, segment_bytes }),
            _ => None,
        }
    }
}

// === impl ReadError ===

impl ReadError {
    /// Whether nothing has failed, and reading again later helps.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_short(source))
    }
}

// === impl Unit ===

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Events => "events",
        })
    }
}

// === impl OpenError ===

impl OpenError {
    /// Damage says what can be done about it.
    pub(crate) fn with_advice(self, advice: &str) -> Self {
        match self {
            Self::Damaged { path, what } => Self::Damaged { path, what: format!("{what}; {advice}") },
            other => other,
        }
    }

    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

// === impl JournalError ===

impl JournalError {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}
