//! What becomes of the events in `tests/fixtures`, which have the form that AWS documents.

use serde_json::json;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/fixtures/", $name, ".json"))).unwrap()
    };
}

/// The notices of an event in which nothing is malformed.
fn notices(event: Value) -> Vec<Notice> {
    let read = read(event).unwrap();
    assert!(read.malformed.is_empty(), "{:?}", read.malformed);
    read.notices
}

fn keys(event: Value) -> Vec<String> {
    notices(event).into_iter().map(|notice| notice.key).collect()
}

fn faults(event: Value) -> Vec<String> {
    read(event).unwrap().malformed.iter().map(ToString::to_string).collect()
}

/// A record about `object` in the fixture's form.
fn record(object: &Value) -> Value {
    let mut event = fixture!("put");
    event["Records"][0]["s3"]["object"] = object.clone();
    event
}

#[test]
fn a_put_becomes_a_notice_with_all_that_the_record_says() {
    let cut = "000102030405060708090a0b0c0d0e0f-s3-000000000042";
    let expected = Notice {
        version: 1,
        id: cut.to_owned(),
        bucket: "sluicegate-events".to_owned(),
        key: format!("logs/dt=2026-03-01/{cut}.ndjson.gz"),
        version_id: None,
        etag: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
        size: Some(1_048_576),
        sequencer: Some("0055AED6DCD90281E5".to_owned()),
        event_time: Some("2026-03-01T12:34:56.789+00:00".to_owned()),
        event_name: Some("ObjectCreated:Put".to_owned()),
        region: Some("eu-central-1".to_owned()),
        account: None,
    };
    assert_eq!(notices(fixture!("put")), [expected]);
}

#[test]
fn a_finished_multipart_upload_in_a_versioned_bucket_keeps_its_version() {
    let [notice] = notices(fixture!("multipart_versioned")).try_into().unwrap();
    assert_eq!(notice.version_id.as_deref(), Some("096fKKXTRTtl3on89fVO.nfljtsv6qko"));
    assert_eq!(notice.size, Some(5_368_709_120));
    assert_eq!(notice.event_name.as_deref(), Some("ObjectCreated:CompleteMultipartUpload"));
    assert_eq!(notice.id, notice.idempotency_id());
}

#[test]
fn members_of_a_later_minor_version_are_ignored() {
    assert_eq!(keys(fixture!("later_minor_version")), ["a/b.txt"]);
}

#[test]
fn a_compatible_store_is_understood() {
    assert_eq!(keys(fixture!("minio")), ["a b.txt"]);
}

#[test]
fn keys_are_decoded_exactly_once() {
    assert_eq!(
        keys(fixture!("keys")),
        [
            "red flower.jpg",
            "a+b.txt",
            "100%.txt",
            "already%20encoded.txt",
            "one%2Ftwo.txt",
            "(braces) & {more}=?#;:@,$'\".txt",
            "grüße/日本語/🦀.log",
            " leading and trailing ",
            "a//b/../c",
        ]
    );
}

#[test]
fn the_longest_keys_arrive_whole() {
    let keys = keys(fixture!("longest_keys"));
    assert_eq!(keys, ["é".repeat(512), "/".repeat(1024), "漢".repeat(341) + "x", " ".repeat(1024)]);
    assert!(keys.iter().all(|key| key.len() == contract::MAX_KEY_BYTES));
}

#[test]
fn what_is_not_an_escape_stands_for_itself() {
    assert_eq!(decode_key("100%").as_deref(), Ok("100%"));
    assert_eq!(decode_key("%zz+%2b%2B").as_deref(), Ok("%zz ++"));
    assert!(decode_key("%FF").is_err());
}

#[test]
fn a_test_event_is_ignored_and_counted() {
    let read = read(fixture!("test_event")).unwrap();
    assert!(read.notices.is_empty() && read.malformed.is_empty());
    assert_eq!(read.ignored, Ignored { test_events: 1, not_created: 0 });
}

#[test]
fn records_about_anything_but_a_new_object_are_ignored_and_counted() {
    let read = read(fixture!("removed")).unwrap();
    assert!(read.notices.is_empty() && read.malformed.is_empty());
    assert_eq!(read.ignored, Ignored { test_events: 0, not_created: 3 });
}

#[test]
fn every_record_of_an_event_is_looked_at() {
    let read = read(fixture!("several_records")).unwrap();
    let keys: Vec<_> = read.notices.iter().map(|notice| &*notice.key).collect();
    assert_eq!(keys, ["1.txt", "2.txt", "3.txt"]);
    assert_eq!(read.ignored.not_created, 1);
}

#[test]
fn an_event_of_another_shape_is_an_error_and_never_nothing() {
    assert_eq!(faults(fixture!("queued")), ["record 0: its source is \"aws:sqs\", not S3"]);
    for event in [
        json!(null),
        json!({}),
        json!([]),
        json!("s3"),
        json!({ "Records": {} }),
        json!({ "Event": "s3:Other" }),
    ] {
        assert!(matches!(read(event), Err(EventError::NoRecords)));
    }
    assert_eq!(faults(json!({ "Records": [7] })), ["record 0: its source is \"\", not S3"]);
}

#[test]
fn a_record_that_names_no_object_is_an_error() {
    assert_eq!(faults(record(&json!({ "size": 1 }))), ["record 0: it names no key"]);
    assert_eq!(faults(record(&json!({ "key": "" }))), ["record 0: it names no key"]);
    assert_eq!(faults(record(&json!({ "key": "%C3" }))), ["record 0: its key is not UTF-8 once decoded"]);
    let mut event = fixture!("put");
    event["Records"][0]["s3"]["bucket"] = json!({});
    assert_eq!(faults(event), ["record 0: it names no bucket"]);
    let mut event = fixture!("put");
    event["Records"][0]["s3"] = json!({});
    assert!(
        faults(event)[0].starts_with("record 0: it does not have the form of an S3 record (missing field")
    );
    let mut event = fixture!("put");
    event["Records"][0]["eventName"] = json!(null);
    assert_eq!(faults(event), ["record 0: it names no event"]);
}

#[test]
fn a_malformed_record_does_not_hide_its_neighbours() {
    let mut event = fixture!("several_records");
    event["Records"][0]["s3"]["object"]["key"] = json!("%FF");
    let read = read(event).unwrap();
    assert_eq!(read.notices.len(), 2);
    assert_eq!(read.malformed.len(), 1);
    assert_eq!(read.malformed[0].index, 0);
}
