//! What an event is about: the notices to relay, and what was looked at and left alone.
//!
//! The shape is the one in which S3 invokes a function directly: `{"Records": [..]}`. Any other shape is
//! an error and not nothing, for behind it may be an object that the server must hear of (I7).

use std::str::Utf8Error;

use aws_lambda_events::event::s3::S3EventRecord;
use contract::Notice;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

/// An event, read. Every record is in exactly one of these.
#[derive(Debug, Default)]
pub struct S3Event {
    /// The new objects, in the event's order.
    pub notices: Vec<Notice>,
    /// Looked at and left alone.
    pub ignored: Ignored,
    /// Records that should have become notices and could not.
    pub malformed: Vec<RecordError>,
}

/// Counts of what needs no notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// `s3:TestEvent`, which S3 sends when notifications are configured.
    pub test_events: usize,
    /// Records about anything but a new object: removed, tagged, restored, expired.
    pub not_created: usize,
}

/// Why an event as a whole cannot be read. No retry changes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// It has no array `Records`.
    #[error("the event has no \"Records\": it was not sent by S3")]
    NoRecords,
}

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
    /// It comes from another service, such as a queue in front of the function.
    #[error("its source is \"{0}\", not S3")]
    Source(String),
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

/// Sorts the records of an event as Lambda hands it over.
pub fn read(mut event: Value) -> Result<S3Event, EventError> {
    let mut read = S3Event::default();
    if event["Event"] == "s3:TestEvent" {
        read.ignored.test_events += 1;
        return Ok(read);
    }
    let Some(Value::Array(records)) = event.get_mut("Records").map(Value::take) else {
        return Err(EventError::NoRecords);
    };
    for (index, record) in records.into_iter().enumerate() {
        match notice(record) {
            Ok(Some(notice)) => read.notices.push(notice),
            Ok(None) => read.ignored.not_created += 1,
            Err(reason) => read.malformed.push(RecordError { index, reason }),
        }
    }
    Ok(read)
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
fn notice(record: Value) -> Result<Option<Notice>, RecordFault> {
    // Before anything else is asked of the record: one about a removal lacks half of the members.
    let source = record["eventSource"].as_str().unwrap_or_default();
    // Stores that are S3-compatible name themselves: `minio:s3`, `ceph:s3`.
    if !source.ends_with(":s3") {
        return Err(RecordFault::Source(source.to_owned()));
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

#[cfg(test)]
mod tests;
