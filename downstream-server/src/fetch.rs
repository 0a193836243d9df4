//! From a claim to an object's checked, decoded bytes.

mod coding;
mod content;
mod lines;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use blob_store::{BlobStore, ErrorKind, StoreError};
use contract::{CutId, MetadataError};
use object_format::DecodeError;

pub use content::Content;
pub use lines::Lines;

/// The stores of the buckets that we take notices of, by bucket.
pub type Stores = HashMap<String, Arc<dyn BlobStore>>;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The bucket is no longer on the list.
    #[error("bucket {0} is not one of notices.buckets")]
    Bucket(String),
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing came for the length of the read time-out.
    #[error("no byte came for {} s", .0.as_secs_f32())]
    Timeout(std::time::Duration),
    /// It came, but took too long in all.
    #[error("the store was waited for longer than fetch.timeout, which is {} s", .0.as_secs_f32())]
    Slow(std::time::Duration),
    /// The connection broke.
    #[error("reading the object: {0}")]
    Read(#[source] io::Error),
    /// It is larger than we take.
    #[error("the object has {found} bytes, and fetch.max_object_bytes is {limit}")]
    TooLarge {
        /// Its size, or the bytes that had come when that was too many.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// It decodes to more than we take.
    #[error("the object decodes to more than fetch.max_decoded_bytes, which is {0}")]
    Expanded(u64),
    /// A few bytes of it decode to too many.
    #[error(
        "{stored} bytes of the object decode to {decoded}, more than fetch.max_expansion, which is {limit} for one"
    )]
    Bomb {
        /// Bytes as stored.
        stored: u64,
        /// Bytes that they became.
        decoded: u64,
        /// The limit, decoded for each stored.
        limit: u64,
    },
    /// The key holds another object than the notice told of.
    #[error("the object was overwritten: the notice told of etag {told}, and the key holds {found}")]
    Overwritten {
        /// As the notice told.
        told: String,
        /// As the store says.
        found: String,
    },
    /// It is not as long as it says.
    #[error("the object has {found} bytes instead of {expected}")]
    Length {
        /// Bytes that came.
        found: u64,
        /// Bytes that were promised.
        expected: u64,
    },
    /// Its bytes are not those that were stored.
    #[error("the object's crc32c is {found:08x} instead of {expected:08x}")]
    Checksum {
        /// Of the bytes that came.
        found: u32,
        /// As promised.
        expected: u32,
    },
    /// It holds more or fewer events than it says.
    #[error("the object holds {found} events and says that it holds {expected}")]
    Events {
        /// Events that came.
        found: u64,
        /// As its metadata say.
        expected: u64,
    },
    /// Only a later server can take it apart.
    #[error("the object is of {0}, which this server cannot take apart: replay it with a newer one")]
    Format(String),
    /// Its compression is broken, although the bytes are those that were stored.
    #[error(transparent)]
    Decode(DecodeError),
    /// Its compression reaches further back than we remember.
    #[error(
        "the object's zstd needs a window of {needs} bytes, more than fetch.max_zstd_window, which is {limit} bytes: raise it, \
         or compress with a smaller one (zstd without --long and --ultra)"
    )]
    Window {
        /// What it needs, in bytes.
        needs: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// We do not know its compression.
    #[error("the object is encoded as `{0}`, which this server does not decode")]
    Codec(String),
    /// Its store names a compression that we do not know.
    #[error(
        "the object's Content-Encoding is `{0}`, which this server does not decode; with fetch.codec = \
         \"by_name\" the key's ending says how it is compressed"
    )]
    Encoding(String),
    /// What the agent wrote beside the object cannot be read.
    #[error("reading the object's metadata: {0}")]
    Metadata(#[from] MetadataError),
    /// Its key names one of our cuts, but the object is not that cut.
    #[error("the key names cut {named}, and the object holds {}", .found.as_deref().unwrap_or("none"))]
    NotTheCut {
        /// The cut in the key.
        named: CutId,
        /// The cut in the metadata.
        found: Option<String>,
    },
}

/// What an error means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt may succeed.
    Retry,
    /// The store serves nobody now, or not us: it says nothing about the object.
    Later,
    /// The store does not hold the object; it may be late, or deleted.
    Missing,
    /// The store held the object, and holds another one in its place.
    Overwritten,
    /// No attempt at this place will succeed.
    Never,
}

impl From<DecodeError> for FetchError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Window { needs, limit } => Self::Window { needs, limit },
            broken => Self::Decode(broken),
        }
    }
}

impl FetchError {
    /// What it means for the next attempt.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Store(error) if error.kind == ErrorKind::NoSuchKey => Verdict::Missing,
            Self::Store(error) if is_outage(error.kind) => Verdict::Later,
            // A no without a code of S3's may be anybody's.
            Self::Store(error) if error.status.is_some() && error.code.is_none() => Verdict::Later,
            Self::Timeout(_) => Verdict::Later,
            Self::Store(error) if !error.retry_can_help() => Verdict::Never,
            Self::Overwritten { .. } => Verdict::Overwritten,
            Self::Store(_)
            | Self::Slow(_)
            | Self::Read(_)
            | Self::Length { .. }
            | Self::Checksum { .. } => Verdict::Retry,
            Self::Bucket(_)
            | Self::TooLarge { .. }
            | Self::Expanded(_)
            | Self::Bomb { .. }
            | Self::Window { .. }
            // Length and checksum were right, so no other attempt finds other bytes.
            | Self::Decode(_)
            | Self::Codec(_)
            | Self::Events { .. }
            | Self::Format(_)
            | Self::Encoding(_)
            | Self::Metadata(_)
            | Self::NotTheCut { .. } => Verdict::Never,
        }
    }
}

/// Whether the store, who we are to it, or somebody between is at fault, and not the object.
fn is_outage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Connection
            | ErrorKind::Timeout
            | ErrorKind::Server
            | ErrorKind::Throttled
            | ErrorKind::NotS3
            | ErrorKind::Rejected
            | ErrorKind::Credentials
            | ErrorKind::CredentialsExpired
            | ErrorKind::NoSuchBucket
    )
}
