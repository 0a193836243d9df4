//! Why an agent did not start, or stopped, and the exit code of each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use command_line::AGENT;
use contract::exit;
use durable_channel::disk;
use durable_channel::{ChannelFailure, CloseError, JournalError, OpenError};

use crate::sink::SinkError;
use crate::sink::s3::S3SinkError;
use crate::source::BindError;

/// Why an agent could not start. Nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A source's address could not be taken.
    #[error("starting the source {name}")]
    Bind {
        /// The source.
        name: String,
        /// The address, and why.
        #[source]
        error: BindError,
    },
    /// The admin address could not be taken.
    #[error("taking the admin address {address}{}", command_line::port_help(*.address, .error))]
    Admin {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A channel could not be opened.
    #[error("opening the channel {name}")]
    Channel {
        /// The channel.
        name: String,
        /// Why.
        #[source]
        error: OpenError,
    },
    /// The channel holds events for a reader that no sink is any more: they would be kept for ever, or lost.
    #[error(
        "the channel {channel} keeps events for the reader {reader}, but no sink is called so any more; \
         name it again, or give its events up with: {AGENT} channel retire {dir} {reader}"
    )]
    Unclaimed {
        /// The channel.
        channel: String,
        /// The registered reader.
        reader: String,
        /// The channel's directory.
        dir: String,
    },
    /// A sink's reader could not be opened.
    #[error("opening the reader of the sink {name}")]
    Reader {
        /// The sink.
        name: String,
        /// Why.
        #[source]
        error: OpenError,
    },
    /// The ready file could not be written.
    #[error("writing the ready file {}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A sink's thread could not be started.
    #[error("starting the thread of the sink {name}")]
    Thread {
        /// The sink.
        name: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Why an agent stopped that was not asked to, or could not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A channel could not sync. Nothing after that was acknowledged; the next start recovers.
    #[error("the channel {name} failed and takes nothing more until the next start")]
    Poisoned {
        /// The channel.
        name: String,
        /// What failed first.
        #[source]
        failure: Arc<ChannelFailure>,
    },
    /// A sink met what an operator must decide.
    #[error("the sink {name} stopped")]
    Sink {
        /// The sink.
        name: String,
        /// Why.
        #[source]
        error: SinkError,
    },
    /// A channel could not be closed in order. What was acknowledged is durable.
    #[error("closing the channel {name}")]
    Close {
        /// The channel.
        name: String,
        /// Why.
        #[source]
        error: CloseError,
    },
    /// The process could not take its signals over.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    /// A part ended that never should.
    #[error("{part} ended by itself")]
    Ended {
        /// Which.
        part: String,
    },
}

/// What the system refuses for want of a right it refuses again: a supervisor need not try.
fn io_code(error: &io::Error, otherwise: u8) -> u8 {
    if command_line::refused(error) { exit::PERMISSION } else { otherwise }
}

pub(crate) fn open_code(error: &OpenError) -> u8 {
    match error {
        OpenError::Locked { .. } => exit::UNAVAILABLE,
        OpenError::Options(_) | OpenError::Name(_) => exit::CONFIG,
        // Nothing has failed where descriptors are all in use.
        OpenError::Io { source, .. } if disk::is_out_of_descriptors(source) => exit::UNAVAILABLE,
        OpenError::Io { source, .. } => io_code(source, exit::IO),
        OpenError::NotOpen => exit::IO,
        OpenError::Damaged { .. } | OpenError::Version { .. } | OpenError::Retired(_) => exit::DATA,
        OpenError::ReaderOpen(_) => exit::SOFTWARE,
    }
}

pub(crate) fn s3_code(error: &S3SinkError) -> u8 {
    match error {
        S3SinkError::Fork { .. } | S3SinkError::Cloned { .. } => exit::FORK,
        S3SinkError::Connect(_) => exit::CONFIG,
        S3SinkError::Journal(JournalError::Damaged { .. } | JournalError::Version { .. })
        | S3SinkError::Decode(_)
        | S3SinkError::Record(_)
        | S3SinkError::Ahead { .. }
        | S3SinkError::Damaged { .. }
        | S3SinkError::Gone { .. } => exit::DATA,
        error if error.is_shortage() => exit::UNAVAILABLE,
        S3SinkError::Read(_) | S3SinkError::Journal(_) | S3SinkError::Io { .. } => exit::IO,
        S3SinkError::FailPoint(_) => exit::SOFTWARE,
    }
}

// === impl StartError ===

impl StartError {
    /// The exit code that tells a supervisor what kind of help is needed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { error, .. } => io_code(error.refusal(), exit::UNAVAILABLE),
            Self::Admin { error, .. } => io_code(error, exit::UNAVAILABLE),
            Self::Thread { .. } => exit::UNAVAILABLE,
            Self::Unclaimed { .. } => exit::DATA,
            Self::ReadyFile { error, .. } => io_code(error, exit::IO),
            Self::Channel { error, .. } | Self::Reader { error, .. } => open_code(error),
        }
    }
}

// === impl AgentError ===

impl AgentError {
    /// The exit code that tells a supervisor what kind of help is needed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(error) => error.exit_code(),
            // Nobody was told that what found no room is durable.
            Self::Close { error: CloseError::NoRoom { .. }, .. } => exit::TEMPFAIL,
            Self::Poisoned { .. }
            | Self::Close { .. }
            | Self::Sink { error: SinkError::Read(_) | SinkError::Release(_), .. } => exit::IO,
            Self::Sink { error: SinkError::S3(error), .. } => s3_code(error),
            Self::Sink { error: SinkError::Panicked, .. } | Self::Signals(_) | Self::Ended { .. } => {
                exit::SOFTWARE
            }
        }
    }
}
