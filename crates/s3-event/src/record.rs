//! One record of an S3 event, as S3 sends it to Lambda, SQS and SNS.

use std::str::Utf8Error;

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
    /// A member that the notice needs is missing, empty or no text.
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

/// How the sender of a record writes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// As S3 does: encoded as an HTML form encodes.
    Encoded,
    /// As they are.
    Raw,
}

/// Who wrote a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writer {
    /// S3, or a store whose records come the way that S3's come.
    S3,
    /// A store by itself; how it writes keys, if that is known.
    Store(Option<Keys>),
}

/// The notice of a record about a new object; `None` for any other.
///
/// Bucket and key are all that it needs. Stores that speak S3's protocol leave much else out, or write it in
/// forms of their own, so whatever is not as S3 writes it says nothing.
pub(crate) fn notice(record: &Value, writer: Writer) -> Result<Option<Notice>, RecordFault> {
    // Stores that are S3-compatible name themselves: `minio:s3`, `ceph:s3`.
    if let Some(source) = text(&record["eventSource"])
        && !source.ends_with(":s3")
    {
        return Err(RecordFault::Source(source.to_owned()));
    }
    if let Some(version) = text(&record["eventVersion"])
        && version.split('.').next() != Some("2")
    {
        // A new minor version only adds members; a new major one may change what the key means.
        return Err(RecordFault::Version(version.to_owned()));
    }
    let name = text(&record["eventName"]).map(|name| name.trim_start_matches("s3:"));
    // Where no name says what became of the object, a look at it does.
    if name.is_some_and(|name| !name.starts_with("ObjectCreated:")) {
        return Ok(None);
    }
    let Value::Object(_) = record["s3"] else { return Err(RecordFault::Missing("object")) };
    let (bucket, object) = (&record["s3"]["bucket"], &record["s3"]["object"]);
    let bucket = text(&bucket["name"]).ok_or(RecordFault::Missing("bucket"))?;
    let key = text(&object["key"]).ok_or(RecordFault::Missing("key"))?;
    let keys = match writer {
        Writer::Store(Some(keys)) => keys,
        Writer::Store(None) => keys_of_store(record, key),
        Writer::S3 => keys_of_source(record),
    };
    let by_store = matches!(writer, Writer::Store(_));
    let mut notice = Notice {
        version_id: owned(&object["versionId"]),
        etag: etag(&object["eTag"]),
        // Some stores tell 0 of every object that came in parts or was copied.
        size: object["size"].as_u64().filter(|size| *size > 0 || !by_store),
        sequencer: owned(&object["sequencer"]).filter(|sequencer| !by_store || is_lasting(sequencer)),
        event_time: text(&record["eventTime"]).map(time),
        event_name: name.map(str::to_owned),
        region: owned(&record["awsRegion"]),
        // Not `urlDecodedKey`: only Java's library fills that in.
        ..Notice::new(bucket, if keys == Keys::Raw { key.to_owned() } else { decode_key(key)? })
    };
    notice.id = notice.idempotency_id();
    Ok(Some(notice))
}

/// How a store writes keys, as far as its name tells: Ceph does not encode them.
fn keys_of_source(record: &Value) -> Keys {
    if record["eventSource"] == "ceph:s3" { Keys::Raw } else { Keys::Encoded }
}

/// The same, where the key itself and the name of the configuration may tell as well. versitygw calls itself
/// what S3 is called, encodes nothing, and has one configuration for each of its targets.
fn keys_of_store(record: &Value, key: &str) -> Keys {
    if record["eventSource"] == "minio:s3" {
        return Keys::Encoded;
    }
    let configuration = record["s3"]["configurationId"].as_str().unwrap_or_default();
    let of_versitygw = matches!(configuration.split_once('-'), Some((_, "global")));
    if of_versitygw || !may_be_encoded(key) { Keys::Raw } else { keys_of_source(record) }
}

/// Whether the encoding of a form could have made this text.
fn may_be_encoded(key: &str) -> bool {
    let mut escapes = key.split('%');
    let plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*~/+!'()".contains(&byte));
    let begins_right = escapes.next().is_none_or(plain);
    begins_right
        && escapes.all(|rest| {
            rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                && plain(&rest[2..])
        })
}

/// Whether a sequencer counts on over a restart of its store. Those of clocks have sixteen digits, as S3's
/// have; a short one is a counter, which may begin again at 1 and would make what is newer look old.
fn is_lasting(sequencer: &str) -> bool {
    sequencer.len() >= 16
}

/// A text that is not empty.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

pub(crate) fn owned(value: &Value) -> Option<String> {
    text(value).map(str::to_owned)
}

/// Without the quotes that it has in HTTP; some stores leave them on.
pub(crate) fn etag(value: &Value) -> Option<String> {
    value.as_str().map(|etag| etag.trim_matches('"')).filter(|etag| !etag.is_empty()).map(str::to_owned)
}

/// In the form in which the first notifier sent it. Ceph writes a blank before the time of day.
fn time(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    match text.strip_suffix('Z') {
        Some(rest) => format!("{rest}+00:00"),
        None => text,
    }
}
