//! The JSON that S3 sends about a new object, to the letter.
//!
//! Checked against AWS's documented event structure, version 2.1. `versionId` is absent, as from a bucket
//! without versioning.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::store::{Object, random_name};

/// How an object came to be; the part of the event's name after `ObjectCreated:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    Put,
    Copy,
    CompleteMultipartUpload,
}

/// Who is named in every event.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) region: String,
    pub(crate) principal: String,
}

/// All that AWS leaves as it is in an event's key. A space becomes `+`, everything else `%XX`.
const KEPT_IN_KEYS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// A key as it stands in an event, and in a listing with `encoding-type=url`: URL-encoded as a form is, but for
/// its slashes. A space is `+`, a plus is `%2B`.
pub(crate) fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEPT_IN_KEYS).to_string().replace(' ', "+")
}

/// The event: one record, as S3 sends it.
pub(crate) fn object_created(origin: &Origin, created: Created, object: &Object) -> String {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": origin.region,
        "eventTime": iso_time(object.modified_ms),
        "eventName": format!("ObjectCreated:{created:?}"),
        "userIdentity": { "principalId": origin.principal },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": {
            "x-amz-request-id": random_name()[..16].to_ascii_uppercase(),
            "x-amz-id-2": random_name(),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "local-cloud",
            "bucket": {
                "name": object.bucket,
                "ownerIdentity": { "principalId": origin.principal },
                "arn": format!("arn:aws:s3:::{}", object.bucket),
            },
            "object": {
                "key": encode_key(&object.key),
                "size": object.size,
                "eTag": object.etag,
                "sequencer": format!("{:018X}", object.sequence),
            },
        },
    }]})
    .to_string()
}

fn iso_time(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    let mut text = Vec::new();
    s3s::dto::Timestamp::from(time)
        .format(s3s::dto::TimestampFormat::DateTime, &mut text)
        .expect("a time of this millennium can be written, and a vector takes it");
    String::from_utf8(text).expect("times are ASCII")
}

#[cfg(test)]
mod tests {
    use super::{Created, Origin, encode_key, object_created};
    use crate::store::{Meta, Object};

    #[test]
    fn keys_are_encoded_as_aws_encodes_them() {
        for (key, encoded) in [
            ("plain/key-1_2.json", "plain/key-1_2.json"),
            ("in/sp ace+plus&", "in/sp+ace%2Bplus%26"),
            ("100%/a%20b", "100%25/a%2520b"),
            ("y=2026/m=01/ü", "y%3D2026/m%3D01/%C3%BC"),
            ("tilde~star*", "tilde%7Estar*"),
            ("quote'\"<>(),:;@?#!", "quote%27%22%3C%3E%28%29%2C%3A%3B%40%3F%23%21"),
            ("new\nline", "new%0Aline"),
            ("//", "//"),
        ] {
            assert_eq!(encode_key(key), encoded, "{key:?}");
        }
    }

    #[test]
    fn an_event_has_the_members_that_s3_sends() {
        let object = Object {
            bucket: "bucket".to_owned(),
            key: "a b".to_owned(),
            blob: String::new(),
            path: String::new(),
            size: 12,
            etag: "etag".to_owned(),
            sequence: 0x55_AED6_DCD9_0281,
            modified_ms: 1_767_225_600_007,
            meta: Meta::default(),
        };
        let origin = Origin { region: "eu-west-1".to_owned(), principal: "me".to_owned() };
        let event: serde_json::Value =
            serde_json::from_str(&object_created(&origin, Created::CompleteMultipartUpload, &object))
                .unwrap();
        let record = &event["Records"][0];
        assert_eq!(record["eventName"], "ObjectCreated:CompleteMultipartUpload");
        assert_eq!(record["eventTime"], "2026-01-01T00:00:00.007Z");
        assert_eq!(record["awsRegion"], "eu-west-1");
        assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::bucket");
        assert_eq!(
            record["s3"]["object"],
            serde_json::json!({
                "key": "a+b", "size": 12, "eTag": "etag", "sequencer": "000055AED6DCD90281",
            })
        );
    }
}
