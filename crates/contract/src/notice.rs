//! The message about one object: flat JSON, of which `bucket` and `key` are enough.
//!
//! Members that a receiver does not know are ignored, so new ones need no new version; the version
//! rises only when a known member changes its meaning. `bucket`, `key` and `id` never do: of a notice
//! with a later version those are taken and the rest is left alone, so that a new notifier may go
//! before its server, and a server before its notifiers.
//!
//! Of the other members none is needed: one that is null, empty or of another type is as one that is absent.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{MAX_KEY_BYTES, ObjectKey, lenient};

/// A notice. Whoever has the object's bucket and key can make one:
/// `{"bucket": "logs", "key": "a/b.txt"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The version of this form; one if absent.
    #[serde(default = "first_version", deserialize_with = "lenient::version")]
    pub version: u32,
    /// The notice's id, as in the header `webhook-id` and in every log line about it; empty if the
    /// sender gave none. The notifier puts [`idempotency_id`](Self::idempotency_id) here.
    #[serde(default, deserialize_with = "lenient::text_or_empty", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// The key, decoded: as a GET of the object takes it.
    pub key: String,
    /// The object's version; absent, empty, or `null` as a text, where the bucket keeps none. Read it by
    /// [`version`](Self::version).
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The object's ETag, with or without quotes. Read it by [`entity_tag`](Self::entity_tag).
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The object's length in bytes, as stored.
    #[serde(default, deserialize_with = "lenient::number", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Orders the events of one key, in the way that S3 documents.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// When the object was made, as RFC 3339.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// What made it: `ObjectCreated:Put`.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// The bucket's region.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The AWS account, where the event named one.
    #[serde(default, deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// What every version of a notice has, with one meaning for good.
#[derive(Deserialize)]
struct Lasting {
    #[serde(default = "first_version", deserialize_with = "lenient::version")]
    version: u32,
    #[serde(default, deserialize_with = "lenient::text_or_empty")]
    id: String,
    bucket: String,
    key: String,
}

/// Why a body is not a notice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeError {
    /// Not JSON of this form.
    #[error("reading the notice as JSON")]
    Json(#[from] serde_json::Error),
    /// No program makes version 0.
    #[error("the notice has version 0; the first is 1")]
    Version,
    /// `bucket` or `key` is empty.
    #[error("the notice's \"{0}\" is empty")]
    Empty(&'static str),
    /// No object can have such a key.
    #[error("the notice's key has {0} bytes; S3 keys have at most {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
}

impl Notice {
    /// The version that this program sends, and the highest that it reads in full.
    pub const VERSION: u32 = 1;

    /// A notice that names just the object.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { version: Self::VERSION, bucket: bucket.into(), key: key.into(), ..Self::default() }
    }

    /// Reads and checks a notice.
    pub fn from_json(body: &[u8]) -> Result<Self, NoticeError> {
        // Some programs write a byte order mark before their text.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let Lasting { version, id, bucket, key } = serde_json::from_slice(body)?;
        let notice = match version {
            0 => return Err(NoticeError::Version),
            1..=Self::VERSION => serde_json::from_slice(body)?,
            // Its other members may mean something else by now, or be of another type.
            _ => Self { version, id, bucket, key, ..Self::default() },
        };
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

    /// The least that is a notice: `{"bucket":"logs","key":"a/b.txt"}`. Its receiver knows neither
    /// version nor ETag, so that it fetches what lies under the key by then.
    pub fn to_minimal_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Minimal<'a> {
            bucket: &'a str,
            key: &'a str,
        }
        let minimal = Minimal { bucket: &self.bucket, key: &self.key };
        serde_json::to_vec(&minimal).expect("strings always serialize")
    }

    /// The object's version, if its bucket keeps versions.
    pub fn version(&self) -> Option<&str> {
        self.version_id.as_deref().filter(|version| !version.is_empty() && *version != "null")
    }

    /// The object's ETag without its quotes.
    pub fn entity_tag(&self) -> Option<&str> {
        self.etag.as_deref().map(|etag| etag.trim_matches('"')).filter(|etag| !etag.is_empty())
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
        let sequencer = self.sequencer.as_deref().filter(|sequencer| !sequencer.is_empty());
        let (kind, mark) = match (self.version(), self.entity_tag(), sequencer) {
            (Some(version), ..) => ("version", version),
            (None, Some(etag), _) => ("etag", etag),
            (None, None, Some(sequencer)) => ("sequencer", sequencer),
            (None, None, None) => ("any", ""),
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
        proptest::option::of("\\PC{1,20}")
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
    fn what_a_notice_can_do_without_may_be_null_empty_or_of_any_type() {
        let bare = Notice::new("b", "k");
        let members = [
            "id",
            "version_id",
            "etag",
            "size",
            "sequencer",
            "event_time",
            "event_name",
            "region",
            "account",
        ];
        for name in members {
            for value in ["null", "\"\"", "true", "-1", "1.5", "1e400", "[{\"a\":[]}]", "{\"a\":{}}"] {
                // A number beyond every type is no JSON to our reader.
                let body = format!("{{\"bucket\":\"b\",\"{name}\":{value},\"key\":\"k\"}}");
                match Notice::from_json(body.as_bytes()) {
                    Ok(notice) => assert_eq!(notice, bare, "{body}"),
                    Err(error) => assert!(value == "1e400", "{body}: {error}"),
                }
            }
        }
        for value in ["null", "1"] {
            let body = format!("{{\"version\":{value},\"bucket\":\"b\",\"key\":\"k\",\"etag\":\"e\"}}");
            let notice = Notice::from_json(body.as_bytes()).unwrap();
            assert_eq!(notice, Notice { etag: Some("e".to_owned()), ..bare.clone() }, "{body}");
        }
        // A version that cannot be read is one that we do not know, whose other members may mean anything.
        for value in ["\"1\"", "1.5", "-1", "99999999999", "[1]", "{}", "true"] {
            let body = format!("{{\"version\":{value},\"bucket\":\"b\",\"key\":\"k\",\"etag\":\"e\"}}");
            let notice = Notice::from_json(body.as_bytes()).unwrap();
            assert_eq!((notice.key.as_str(), notice.etag), ("k", None), "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_json_is_passed_over() {
        let marked = "\u{feff}{\"bucket\":\"b\",\"key\":\"k\"}";
        assert_eq!(Notice::from_json(marked.as_bytes()).unwrap(), Notice::new("b", "k"));
    }

    #[test]
    fn an_empty_version_is_no_version_and_so_with_etag_and_sequencer() {
        let some = |text: &str| Some(text.to_owned());
        let told = |version: &str, etag: &str, sequencer: &str| Notice {
            version_id: some(version),
            etag: some(etag),
            sequencer: some(sequencer),
            ..Notice::new("b", "k")
        };
        let id = |version, etag, sequencer| told(version, etag, sequencer).idempotency_id();
        assert_ne!(id("", "e1", "1"), id("", "e2", "2"), "the object was overwritten");
        assert_ne!(id("null", "\"\"", "1"), id("", "", "2"));
        assert_eq!(id("", "e1", "1"), id("null", "\"e1\"", "2"));
        assert_eq!(id("", "\"\"", ""), Notice::new("b", "k").idempotency_id());
        assert_eq!((told("", "\"e\"", "").version(), told("v", "\"e\"", "").version()), (None, Some("v")));
        assert_eq!(
            (told("", "\"e\"", "").entity_tag(), told("", "\"\"", "").entity_tag()),
            (Some("e"), None)
        );
    }

    #[test]
    fn of_a_later_version_bucket_key_and_id_are_taken_and_the_rest_is_left_alone() {
        let later = br#"{"version":2,"id":"n","bucket":"b","key":"k","size":"5 B","etag":"other","more":{}}"#;
        let expected = Notice { version: 2, id: "n".to_owned(), ..Notice::new("b", "k") };
        assert_eq!(Notice::from_json(later).unwrap(), expected);
    }

    #[test]
    fn what_the_first_release_sent_is_read_for_good() {
        let sent = br#"{"version":1,"id":"object-0c","bucket":"b","key":"k","version_id":"v","etag":"e","size":5,"sequencer":"0A","event_time":"2026-03-01T12:34:56.789+00:00","event_name":"ObjectCreated:Put","region":"eu-central-1"}"#;
        let notice = Notice::from_json(sent).unwrap();
        assert_eq!(notice.to_json(), sent, "and is still sent so");
        assert_eq!((notice.size, notice.sequencer.as_deref()), (Some(5), Some("0A")));
    }

    #[test]
    fn a_minimal_body_is_bucket_and_key_and_reads_as_a_notice_of_the_same_object() {
        let full = Notice { etag: Some("e".to_owned()), ..Notice::new("logs", "a/\u{fc} \".txt") };
        let minimal = full.to_minimal_json();
        assert_eq!(minimal, "{\"bucket\":\"logs\",\"key\":\"a/\u{fc} \\\".txt\"}".as_bytes());
        assert_eq!(Notice::from_json(&minimal).unwrap(), Notice::new("logs", full.key));
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
            reason(r#"{"bucket":"b","key":"k","version":0}"#),
            "the notice has version 0; the first is 1"
        );
        assert_eq!(reason(r#"{"version":2,"key":"k"}"#), "reading the notice as JSON");
        assert_eq!(reason(r#"{"version":2,"bucket":"b","key":""}"#), "the notice's \"key\" is empty");
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
