//! Every way in which a channel says no, as enums that a caller can decide on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// The disk has too little free space for new events; readers go on.
    #[error("disk nearly full: {free_bytes} bytes free, {floor_bytes} kept free")]
    DiskFloor {
        /// Free bytes when last looked at.
        free_bytes: u64,
        /// What puts leave free.
        floor_bytes: u64,
    },
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
            Self::Full { .. } | Self::DiskFloor { .. } => true,
            Self::TooLarge { .. } | Self::TransactionCapacity { .. } | Self::Poisoned(_) | Self::Closed => {
                false
            }
        }
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
