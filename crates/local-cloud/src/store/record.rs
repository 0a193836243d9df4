//! What the catalog holds about one object, upload or part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StoreError;

/// One stored object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// The random name of its bytes; another for every put.
    pub(crate) blob: String,
    /// Where its file is, relative to the bucket's folder.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    /// Rises with every put in this store: the event's sequencer.
    pub(crate) sequence: u64,
    pub(crate) modified_ms: u64,
    pub(crate) meta: Meta,
}

/// What was said about the bytes; kept as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// The version of this record's shape: 1.
    pub(crate) version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    pub(crate) user: BTreeMap<String, String>,
    pub(crate) checksums: Checksums,
}

/// The full-object checksums that are known, each in base64 as S3 sends it. CRC32C always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksums {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// A multipart upload that was created and neither completed nor aborted.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) initiated_ms: u64,
    pub(crate) meta: Meta,
}

/// One uploaded part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) blob: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) crc32c: u32,
    pub(crate) modified_ms: u64,
}

/// What must hold of the present object for a put or a completion to happen.
#[derive(Clone, Debug, Default)]
pub(crate) enum Condition {
    #[default]
    Always,
    /// `If-None-Match: *`: there is none.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match`: there is one with this etag.
    Etag(String),
}

impl Condition {
    /// Whether the present object (or none) allows the put.
    pub(crate) fn check(&self, present: Option<&Object>) -> Result<(), StoreError> {
        match (self, present) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Present, Some(_)) => Ok(()),
            (Self::Etag(etag), Some(object)) if *etag == object.etag => Ok(()),
            (Self::Absent | Self::Etag(_), Some(_)) => Err(StoreError::PreconditionFailed),
            // S3 answers 404 when `If-Match` meets no object.
            (Self::Present | Self::Etag(_), None) => Err(StoreError::NoSuchKey),
        }
    }
}
