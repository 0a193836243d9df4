//! What the three programs agree on: object keys, object metadata, notices, signatures and exit codes.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no async, no AWS. What is
//! persisted in S3 or sent over the wire carries a version, and every form has one writer and one
//! reader, side by side, so that they cannot drift apart.

mod bucket;
pub mod exit;
mod ids;
mod key;
mod lenient;
mod metadata;
mod notice;
mod shown;
pub mod signature;

pub use bucket::{BucketNameError, check_bucket_name};
pub use ids::{ChannelId, CutId, IdError, NameError, SinkName};
pub use key::{KeyError, MAX_KEY_BYTES, ObjectKey};
pub use metadata::{CutKind, MetadataError, ObjectMetadata};
pub use notice::{Notice, NoticeError};
pub use shown::{without_mark, without_userinfo};
