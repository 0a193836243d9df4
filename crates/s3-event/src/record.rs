//! One record of an S3 event, as S3 sends it to Lambda, SQS and SNS.

use std::str::Utf8Error;

use aws_lambda_events::event::s3::S3EventRecord;
use contract::Notice;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Why one record cannot be read. No retry changes it.
#[derive(Debug, thiserror::Error)]
#[error("record {index}: {reason}")]
pub struct RecordError {
    /// Its place in `Records`, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: RecordFault,
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// It comes from a service that tells nothing of S3.
    #[error("its source is \"{0}\", not S3")]
    Source(String),
    /// Its members may mean something else than we know.
    #[error("its eventVersion is \"{0}\"; this program reads 2.x")]
    Version(String),
    /// A member is missing or has another type.
    #[error("it does not have the form of an S3 record ({0})")]
    Form(#[from] serde_json::Error),
    /// A member that the notice needs is missing or empty.
    #[error("it names no {0}")]
    Missing(&'static str),
    /// The decoded key is not UTF-8, which no S3 key can be.
    #[error("its key is not UTF-8 once decoded")]
    Key(#[from] Utf8Error),
}

/// The key as a GET takes it. S3 writes keys into events as an HTML form would: a space as `+`, and
/// bytes other than letters, digits and a few signs as `%XX`.
///
/// Exactly once: the key `a%2Fb` arrives as `a%252Fb`, and must not become `a/b`.
pub fn decode_key(encoded: &str) -> Result<String, Utf8Error> {
    let spaced = encoded.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into)
}

/// The notice of a record about a new object; `None` for any other.
pub(crate) fn notice(record: Value) -> Result<Option<Notice>, RecordFault> {
    // Before anything else is asked of the record: one about a removal lacks half of the members.
    let source = record["eventSource"].as_str().unwrap_or_default();
    // Stores that are S3-compatible name themselves: `minio:s3`, `ceph:s3`.
    if !source.ends_with(":s3") {
        return Err(RecordFault::Source(source.to_owned()));
    }
    if let Some(version) = record["eventVersion"].as_str()
        && version.split('.').next() != Some("2")
    {
        // A new minor version only adds members; a new major one may change what the key means.
        return Err(RecordFault::Version(version.to_owned()));
    }
    let name = record["eventName"].as_str().ok_or(RecordFault::Missing("event"))?;
    if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        return Ok(None);
    }

    let record: S3EventRecord = serde_json::from_value(record)?;
    let object = record.s3.object;
    let key = object.key.filter(|key| !key.is_empty()).ok_or(RecordFault::Missing("key"))?;
    let bucket =
        record.s3.bucket.name.filter(|name| !name.is_empty()).ok_or(RecordFault::Missing("bucket"))?;
    let mut notice = Notice {
        // Not `url_decoded_key`: only Java's library fills that in.
        key: decode_key(&key)?,
        version_id: object.version_id,
        etag: object.e_tag,
        size: object.size.and_then(|size| size.try_into().ok()),
        sequencer: object.sequencer,
        event_time: Some(record.event_time.to_rfc3339()),
        event_name: record.event_name,
        region: record.aws_region,
        ..Notice::new(bucket, "")
    };
    notice.id = notice.idempotency_id();
    Ok(Some(notice))
}
