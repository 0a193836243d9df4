//! The message about one object: flat JSON, of which `bucket` and `key` are enough.
//!
//! Members that a receiver does not know are ignored, so new ones need no new version; the version
//! rises only when a known member changes its meaning.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{MAX_KEY_BYTES, ObjectKey};

/// A notice. Whoever has the object's bucket and key can make one:
/// `{"bucket": "logs", "key": "a/b.txt"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The version of this form; one if absent.
    #[serde(default = "first_version")]
    pub version: u32,
    /// The notice's id, as in the header `webhook-id` and in every log line about it; empty if the
    /// sender gave none. The notifier puts [`idempotency_id`](Self::idempotency_id) here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// The key, decoded: as a GET of the object takes it.
    pub key: String,
    /// The object's version; absent, or `null` as a text, where the bucket keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The object's ETag, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The object's length in bytes, as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Orders the events of one key, in the way that S3 documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// When the object was made, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// What made it: `ObjectCreated:Put`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// The bucket's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The AWS account, where the event named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// Why a body is not a notice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeError {
    /// Not JSON of this form.
    #[error("reading the notice as JSON")]
    Json(#[from] serde_json::Error),
    /// Made by a later program.
    #[error("the notice has version {0}; this program reads 1 to {max}", max = Notice::VERSION)]
    Version(u32),
    /// `bucket` or `key` is empty.
    #[error("the notice's \"{0}\" is empty")]
    Empty(&'static str),
    /// No object can have such a key.
    #[error("the notice's key has {0} bytes; S3 keys have at most {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
}

impl Notice {
    /// The version that this program sends, and the highest that it reads.
    pub const VERSION: u32 = 1;

    /// A notice that names just the object.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { version: Self::VERSION, bucket: bucket.into(), key: key.into(), ..Self::default() }
    }

    /// Reads and checks a notice.
    pub fn from_json(body: &[u8]) -> Result<Self, NoticeError> {
        let notice: Self = serde_json::from_slice(body)?;
        if notice.version == 0 || notice.version > Self::VERSION {
            return Err(NoticeError::Version(notice.version));
        }
        if notice.bucket.is_empty() {
            return Err(NoticeError::Empty("bucket"));
        }
        if notice.key.is_empty() {
            return Err(NoticeError::Empty("key"));
        }
        if notice.key.len() > MAX_KEY_BYTES {
            return Err(NoticeError::KeyTooLong(notice.key.len()));
        }
        Ok(notice)
    }

    /// The body to send.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialize")
    }

    /// The same text for every notice about the same object, and another for every other object.
    ///
    /// For our objects it is the cut id, so that one search finds an object in the logs of all three
    /// programs. For a foreign one it is a hash of bucket, key and its version, or else ETag, or else
    /// sequencer. It never holds a dot, which would blur what a signature covers.
    pub fn idempotency_id(&self) -> String {
        if let Some(cut) = ObjectKey::cut_of(&self.key) {
            return cut.to_string();
        }
        let (kind, mark) = match (&self.version_id, &self.etag, &self.sequencer) {
            (Some(version), ..) if version != "null" => ("version", &**version),
            (_, Some(etag), _) => ("etag", etag.trim_matches('"')),
            (.., Some(sequencer)) => ("sequencer", &**sequencer),
            _ => ("any", ""),
        };
        let mut hash = Sha256::new();
        for part in [&self.bucket, &self.key, kind, mark] {
            // With its length before it, no part can run into the next.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        format!("object-{}", hex::encode(&hash.finalize()[..16]))
    }
}

fn first_version() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("\\PC{0,20}")
    }

    fn any_notice() -> impl Strategy<Value = Notice> {
        (
            ("[a-z0-9.-]{3,20}", "\\PC{1,40}", "[ -~]{0,20}"),
            (text(), text(), proptest::option::of(any::<u64>()), text()),
            (text(), text(), text(), text()),
        )
            .prop_map(|((bucket, key, id), (version_id, etag, size, sequencer), rest)| Notice {
                version: Notice::VERSION,
                id,
                bucket,
                key,
                version_id,
                etag,
                size,
                sequencer,
                event_time: rest.0,
                event_name: rest.1,
                region: rest.2,
                account: rest.3,
            })
    }

    proptest! {
        #[test]
        fn every_notice_reads_back_from_its_json(notice in any_notice()) {
            prop_assert_eq!(Notice::from_json(&notice.to_json()).unwrap(), notice);
        }

        #[test]
        fn an_idempotency_id_is_a_short_header_value_without_a_dot(notice in any_notice()) {
            let id = notice.idempotency_id();
            prop_assert!(id.len() <= 128);
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.'));
        }
    }

    #[test]
    fn a_body_with_just_bucket_and_key_is_enough_and_unknown_members_are_ignored() {
        let enough = Notice::from_json(br#"{"bucket":"logs","key":"a/b c.txt"}"#).unwrap();
        assert_eq!(enough, Notice::new("logs", "a/b c.txt"));
        let more = br#"{"bucket":"logs","key":"a/b c.txt","later":{"than":["we"]},"etag":null}"#;
        assert_eq!(Notice::from_json(more).unwrap(), enough);
    }

    #[test]
    fn the_body_leaves_out_what_is_not_known() {
        assert_eq!(Notice::new("b", "k").to_json(), br#"{"version":1,"bucket":"b","key":"k"}"#);
    }

    #[test]
    fn what_cannot_be_a_notice_is_refused_with_its_reason() {
        let reason = |body: &str| Notice::from_json(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(reason("[]"), "reading the notice as JSON");
        assert_eq!(reason(r#"{"key":"k"}"#), "reading the notice as JSON");
        assert_eq!(reason(r#"{"bucket":"","key":"k"}"#), "the notice's \"bucket\" is empty");
        assert_eq!(reason(r#"{"bucket":"b","key":""}"#), "the notice's \"key\" is empty");
        assert_eq!(
            reason(r#"{"bucket":"b","key":"k","version":2}"#),
            "the notice has version 2; this program reads 1 to 1"
        );
        let long = format!(r#"{{"bucket":"b","key":"{}"}}"#, "k".repeat(1025));
        assert_eq!(reason(&long), "the notice's key has 1025 bytes; S3 keys have at most 1024");
    }

    #[test]
    fn our_object_has_one_id_whatever_the_notice_names() {
        let cut = "000102030405060708090a0b0c0d0e0f-s3-000000000007";
        let notice = Notice::new("logs", format!("p/{cut}.ndjson.gz"));
        let other = Notice {
            bucket: "copy.of.logs".to_owned(),
            version_id: Some("v".to_owned()),
            sequencer: Some("1".to_owned()),
            ..notice.clone()
        };
        assert_eq!(notice.idempotency_id(), cut);
        assert_eq!(other.idempotency_id(), cut);
    }

    #[test]
    fn a_foreign_object_is_its_version_or_else_its_etag_or_else_its_sequencer() {
        let some = |text: &str| Some(text.to_owned());
        let bare = Notice::new("logs", "a");
        let etag = Notice { etag: some("e"), sequencer: some("1"), ..bare.clone() };
        let version = Notice { version_id: some("v"), ..etag.clone() };
        let sequencer = Notice { sequencer: some("1"), ..bare.clone() };
        let other_key = Notice { key: "b".to_owned(), ..etag.clone() };
        let shifted = Notice { bucket: "logsa".to_owned(), key: String::new(), ..etag.clone() };
        let different =
            [&bare, &etag, &version, &sequencer, &other_key, &shifted].map(Notice::idempotency_id);
        for (at, id) in different.iter().enumerate() {
            assert!(!different[..at].contains(id), "{at}");
        }

        let repeated =
            Notice { sequencer: some("2"), version_id: some("null"), etag: some("\"e\""), ..etag.clone() };
        assert_eq!(repeated.idempotency_id(), etag.idempotency_id());
    }
}
