//! Why the S3 sink cannot go on.

use std::io;

use command_line::AGENT;
use contract::CutId;
use durable_channel::JournalError;
use durable_channel::disk;

use super::wire::Malformed;

/// Why the S3 sink cannot go on without an operator. Whatever a retry can help it retries itself.
#[derive(Debug, thiserror::Error)]
pub enum S3SinkError {
    /// The key of a cut holds something else. Somebody writes with this channel's identity: a clone, a restored
    /// snapshot, or a hand. Nothing is lost: the events stay in the channel.
    #[error(
        "fork: s3://{bucket}/{key} holds another object than the one that cut {cut} sealed; \
         another agent writes with this channel's identity, or somebody wrote there by hand; \
         `{AGENT} channel adopt` lets this one go on under an identity of its own"
    )]
    Fork {
        /// The cut that should be there.
        cut: CutId,
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// Another agent claimed this channel: one of the two is a copy.
    #[error(
        "the channel is a copy: s3://{bucket}/{key} says that another agent runs with the same identity; \
         give one of the two a new identity with `{AGENT} channel adopt`"
    )]
    Cloned {
        /// The bucket.
        bucket: String,
        /// The key of the claim.
        key: String,
    },
    /// The journal holds positions that the channel has never given: the channel's segments are an older copy. What
    /// comes next would be given positions that count as shipped.
    #[error(
        "the sink's journal holds positions below {held}, but the channel ends at {next}: segments of an older backup \
         lie beside a newer journal; restore the folder as a whole, or go on behind them with `{AGENT} channel adopt`"
    )]
    Ahead {
        /// One past the highest position that the journal holds.
        held: u64,
        /// The position that the channel gives next.
        next: u64,
    },
    /// The store cannot be reached at all with these settings.
    #[error("setting up the connection to the store")]
    Connect(#[from] blob_store::ConnectError),
    /// The channel could not be read, for a reason other than damage.
    #[error("reading the channel")]
    Read(#[from] durable_channel::ReadError),
    /// A batch of the channel holds what this program does not know.
    #[error("reading the events of the channel")]
    Decode(#[from] crate::event::DecodeError),
    /// The sink's journal failed; recover by starting again.
    #[error("writing the sink's journal")]
    Journal(#[from] JournalError),
    /// The sink's journal holds what this program does not know.
    #[error("reading the sink's journal")]
    Record(#[from] Malformed),
    /// The staging log or the folder of dead cuts failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The channel has lost events of a sealed cut, so that its bytes have to be made again without them.
    #[error("positions {from} to {to} of sealed cut {number} are damaged")]
    Damaged {
        /// The cut.
        number: u64,
        /// The first position.
        from: u64,
        /// One past the last.
        to: u64,
    },
    /// Positions of a sealed cut are neither in the channel nor known to be damaged.
    #[error("positions from {from} on of sealed cut {number} are not in the channel any more")]
    Gone {
        /// The cut.
        number: u64,
        /// The first position that is not there.
        from: u64,
    },
    /// A test has stopped the sink here, as a crash would.
    #[error("stopped at fail point {0}")]
    FailPoint(&'static str),
}

impl S3SinkError {
    /// Whether it says that bytes are lost, not that they could not be read this time.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Gone { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::UnexpectedEof,
            _ => false,
        }
    }

    /// Whether something has run out that comes free again, so that nothing has failed and trying again helps.
    pub(crate) fn is_shortage(&self) -> bool {
        match self {
            Self::Read(error) => error.is_shortage(),
            Self::Io { source, .. } | Self::Journal(JournalError::Io { source, .. }) => {
                disk::is_short(source)
            }
            _ => false,
        }
    }

    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
