//! What becomes of the events in `tests/fixtures`, which have the form that AWS documents.

use contract::MAX_KEY_BYTES;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

mod stores;

/// What an event that is no batch is about.
fn whole(event: Value) -> Message {
    match read(event).unwrap() {
        Event::Whole(message) => message,
        Event::Batch(messages) => panic!("a batch: {messages:?}"),
    }
}

/// The messages of a batch.
fn batch(event: Value) -> Vec<QueuedMessage> {
    match read(event).unwrap() {
        Event::Batch(messages) => messages,
        Event::Whole(message) => panic!("no batch: {message:?}"),
    }
}

/// The notices of a message in which nothing is malformed.
fn sound(message: Message) -> Vec<Notice> {
    message.records.into_iter().map(Result::unwrap).collect()
}

fn notices(event: Value) -> Vec<Notice> {
    sound(whole(event))
}

fn keys(event: Value) -> Vec<String> {
    notices(event).into_iter().map(|notice| notice.key).collect()
}

fn faults(event: Value) -> Vec<String> {
    whole(event).records.iter().filter_map(|record| Some(record.as_ref().err()?.to_string())).collect()
}

/// A record about `object` in the fixture's form.
fn record(object: &Value) -> Value {
    let mut event = fixture!("put");
    event["Records"][0]["s3"]["object"] = object.clone();
    event
}

/// All that AWS leaves as it is in an event's key. A space becomes `+`, everything else `%XX`.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

proptest! {
    #[test]
    fn every_key_is_itself_again_after_the_encoding_of_aws(
        key in "(\\PC|[ +%/&=\u{0}-\u{1f}]|%2[0-9A-F]|\u{10ffff}){1,400}",
    ) {
        let end = (0..=key.len().min(MAX_KEY_BYTES)).rev().find(|&end| key.is_char_boundary(end)).unwrap();
        let key = &key[..end];
        let encoded = utf8_percent_encode(key, KEPT).to_string().replace(' ', "+");
        prop_assert_eq!(decode_key(&encoded).unwrap(), key);
        prop_assert_eq!(&keys(record(&json!({ "key": encoded }))), &[key]);
    }

    #[test]
    fn no_json_makes_the_reader_panic(text in "[\\[{\"RecodsTypNtificanMge:, \\]}]{0,60}") {
        let _ = read_body(&text);
    }
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
    assert!(keys.iter().all(|key| key.len() == MAX_KEY_BYTES));
}

#[test]
fn what_is_not_an_escape_stands_for_itself() {
    assert_eq!(decode_key("100%").as_deref(), Ok("100%"));
    assert_eq!(decode_key("%zz+%2b%2B").as_deref(), Ok("%zz ++"));
    assert!(decode_key("%FF").is_err());
}

#[test]
fn a_test_event_is_ignored_and_counted() {
    let read = whole(fixture!("test_event"));
    assert!(read.records.is_empty());
    assert_eq!(read.ignored, Ignored { test_events: 1, not_created: 0 });
}

#[test]
fn records_about_anything_but_a_new_object_are_ignored_and_counted() {
    let read = whole(fixture!("removed"));
    assert!(read.records.is_empty());
    assert_eq!(read.ignored, Ignored { test_events: 0, not_created: 3 });
}

#[test]
fn every_record_of_an_event_is_looked_at() {
    let read = whole(fixture!("several_records"));
    let keys: Vec<_> = read.notices().map(|notice| &*notice.key).collect();
    assert_eq!(keys, ["1.txt", "2.txt", "3.txt"]);
    assert_eq!(read.ignored.not_created, 1);
}

#[test]
fn an_event_of_another_shape_is_an_error_and_never_nothing() {
    for event in [
        json!(null),
        json!({}),
        json!([]),
        json!("s3"),
        json!({ "Records": {} }),
        json!({ "Event": "s3:Other" }),
        json!({ "source": "aws.ec2", "detail-type": "Object Created", "detail": {} }),
    ] {
        assert!(matches!(read(event), Err(EventError::Unknown)));
    }
    assert_eq!(faults(json!({ "Records": [7] })), ["record 0: it names no object"]);
    let kinesis = json!({ "Records": [{ "eventSource": "aws:kinesis" }] });
    assert_eq!(faults(kinesis), ["record 0: its source is \"aws:kinesis\", not S3"]);
    assert!(matches!(read(json!({ "Type": "Notification" })), Err(EventError::NoMessage)));
    let text = json!({ "Type": "Notification", "Message": "hello" });
    assert!(matches!(read(text), Err(EventError::Json(_))));
    assert!(matches!(read_body(""), Err(EventError::Json(_))));
}

#[test]
fn a_record_of_another_major_version_is_an_error() {
    let mut event = fixture!("put");
    for version in ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.99"] {
        event["Records"][0]["eventVersion"] = json!(version);
        assert_eq!(keys(event.clone()).len(), 1, "{version}");
    }
    event["Records"][0]["eventVersion"] = json!("3.0");
    assert_eq!(faults(event), ["record 0: its eventVersion is \"3.0\"; this program reads 2.x"]);
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
    assert_eq!(faults(event), ["record 0: it names no bucket"]);
    let mut event = fixture!("put");
    event["Records"][0]["s3"] = json!(null);
    assert_eq!(faults(event), ["record 0: it names no object"]);
}

/// Every place of a JSON value below its root, as a pointer.
fn places(value: &Value, here: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = inner.into_iter().map(|(name, value)| (format!("{here}/{name}"), value));
    below.flat_map(|(place, value)| [vec![place.clone()], places(value, &place)].concat()).collect()
}

/// Puts each of many things into each place of `event` but those in `needed`, and takes it away altogether.
fn without_need(event: &Value, needed: &[&str], still: impl Fn(Value) -> bool) {
    let odd = [json!(null), json!(""), json!(7), json!(-1.5), json!(true), json!([[]]), json!({ "a": {} })];
    let mut tried = 0;
    for place in places(event, "") {
        // What holds a needed member is needed itself.
        if needed.iter().any(|needed| *needed == place || needed.starts_with(&format!("{place}/"))) {
            continue;
        }
        let (holder, name) = place.rsplit_once('/').unwrap();
        let mut absent = event.clone();
        if let Some(Value::Object(members)) = absent.pointer_mut(holder) {
            members.remove(&name.replace("~1", "/"));
            assert!(still(absent), "without {place}");
        }
        for odd in &odd {
            let mut changed = event.clone();
            *changed.pointer_mut(&place).unwrap() = odd.clone();
            assert!(still(changed), "{odd} at {place}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn bucket_and_key_are_all_that_a_notice_needs_in_every_shape_of_event() {
    let (bucket, key) = ("sluicegate-events", "a+b.txt");
    let names = |message: &Message| {
        message.records.len() == 1
            && message.notices().all(|notice| (&*notice.bucket, &*notice.key) == (bucket, key))
    };
    let mut direct = fixture!("multipart_versioned");
    direct["Records"][0]["s3"]["object"]["key"] = json!("a%2Bb.txt");
    let record = ["/Records/0/s3/bucket/name", "/Records/0/s3/object/key"];
    without_need(&direct, &record, |event| names(&whole(event)));

    let mut bridge = fixture!("eventbridge");
    bridge["detail"]["bucket"]["name"] = json!(bucket);
    bridge["detail"]["object"]["key"] = json!(key);
    let needed = ["/source", "/detail-type", "/detail/bucket/name", "/detail/object/key"];
    without_need(&bridge, &needed, |event| names(&whole(event)));

    let mut sns = fixture!("sns");
    sns["Records"][0]["Sns"]["Message"] = json!(direct.to_string());
    let needed = ["/Records/0/EventSource", "/Records/0/Sns/Message"];
    without_need(&sns, &needed, |event| names(&whole(event)));

    let mut sqs = fixture!("sqs");
    sqs["Records"][0]["body"] = json!(direct.to_string());
    let needed = ["/Records/0/eventSource", "/Records/0/messageId", "/Records/0/body"];
    without_need(&sqs, &needed, |event| {
        let messages = batch(event);
        messages.len() == 1 && messages[0].message.as_ref().is_ok_and(names)
    });

    // The least of each shape.
    let least =
        json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": "a%2Bb.txt" } } }] });
    assert_eq!(notices(least.clone())[0].event_time, None);
    for event in [
        least.clone(),
        json!({ "Type": "Notification", "Message": least.to_string() }),
        json!({ "source": "aws.s3", "detail-type": "Object Created",
                "detail": { "bucket": { "name": bucket }, "object": { "key": key } } }),
    ] {
        assert!(names(&read_body(&event.to_string()).unwrap()), "{event}");
        assert!(names(&read_body(&format!("\u{feff}{event}")).unwrap()), "{event}");
    }
}

#[test]
fn an_empty_version_is_no_version_so_that_an_overwritten_object_is_another_in_every_shape() {
    let ceph = |etag: &str, sequencer: &str| {
        json!({ "Records": [{
            "eventVersion": "2.2", "eventSource": "ceph:s3", "awsRegion": "",
            "eventTime": "2026-02-19 02:03:08.330496Z", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "b" }, "object": {
                "key": "latest.csv", "size": 9, "eTag": etag, "versionId": "", "sequencer": sequencer,
            } },
        }] })
    };
    let bridge = |etag: &str, sequencer: &str| {
        let object = json!({ "key": "latest.csv", "etag": etag, "version-id": "", "sequencer": sequencer });
        json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": { "bucket": { "name": "b" }, "object": object } })
    };
    let wrapped = |event: Value| json!({ "Type": "Notification", "Message": event.to_string() });
    let pairs = [
        [ceph("1", "0A"), ceph("2", "0B")],
        [bridge("1", "0A"), bridge("2", "0B")],
        [wrapped(ceph("1", "0A")), wrapped(ceph("2", "0B"))],
        // Without an ETag the sequencer tells them apart.
        [ceph("", "0A"), ceph("\"\"", "0B")],
    ];
    for pair in pairs {
        let [first, second] = pair.map(|event| sound(read_body(&event.to_string()).unwrap()).remove(0));
        assert_eq!((&first.version_id, &second.version_id), (&None, &None));
        assert_ne!(first.id, second.id);
    }
    let [notice] = notices(ceph("\"1\"", "0A")).try_into().unwrap();
    assert_eq!((notice.etag.as_deref(), notice.region), (Some("1"), None));
    assert_eq!(notice.event_time.as_deref(), Some("2026-02-19T02:03:08.330496+00:00"));
}

#[test]
fn a_malformed_record_does_not_hide_its_neighbours() {
    let mut event = fixture!("several_records");
    event["Records"][0]["s3"]["object"]["key"] = json!("%FF");
    let read = whole(event);
    assert_eq!(read.notices().count(), 2);
    assert_eq!(read.records[0].as_ref().unwrap_err().index, 0);
}

#[test]
fn an_event_by_way_of_sns_is_the_event_itself() {
    assert_eq!(keys(fixture!("sns")), ["red flower.jpg"]);
    assert_eq!(whole(fixture!("sns_test_event")).ignored, Ignored { test_events: 1, not_created: 0 });
}

#[test]
fn an_event_by_way_of_eventbridge_names_the_account_and_a_key_that_is_not_encoded() {
    let expected = Notice {
        version: 1,
        id: Notice {
            version_id: Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e".to_owned()),
            ..Notice::new("amzn-s3-demo-bucket1", "example-key")
        }
        .idempotency_id(),
        bucket: "amzn-s3-demo-bucket1".to_owned(),
        key: "example-key".to_owned(),
        version_id: Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e".to_owned()),
        etag: Some("b1946ac92492d2347c6235b4d2611184".to_owned()),
        size: Some(5),
        sequencer: Some("617f08299329d189".to_owned()),
        event_time: Some("2021-11-12T00:00:00Z".to_owned()),
        event_name: Some("ObjectCreated:Put".to_owned()),
        region: Some("ca-central-1".to_owned()),
        account: Some("111122223333".to_owned()),
    };
    assert_eq!(notices(fixture!("eventbridge")), [expected]);
    let [plain] = notices(fixture!("eventbridge_plain_key")).try_into().unwrap();
    assert_eq!(plain.key, "red flower+one%2Ftwo 日本語.jpg");
    assert_eq!(plain.event_name.as_deref(), Some("ObjectCreated:CompleteMultipartUpload"));
    assert_eq!(whole(fixture!("eventbridge_deleted")).ignored, Ignored { test_events: 0, not_created: 1 });
    let mut nameless = fixture!("eventbridge");
    nameless["detail"]["object"]["key"] = json!("");
    assert_eq!(faults(nameless), ["record 0: it names no key"]);
}

#[test]
fn an_object_has_one_id_whatever_way_its_notice_came() {
    let mut direct = fixture!("put");
    let object = &mut direct["Records"][0]["s3"];
    object["bucket"]["name"] = json!("amzn-s3-demo-bucket1");
    object["object"] = json!({ "key": "example-key", "versionId": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e" });
    assert_eq!(notices(direct)[0].id, notices(fixture!("eventbridge"))[0].id);
}

#[test]
fn a_message_of_a_queue_may_hold_an_s3_event_or_wrap_it_in_sns_or_eventbridge() {
    let keys_of = |event| -> Vec<String> {
        let messages = batch(event).into_iter();
        messages.flat_map(|queued| sound(queued.message.unwrap())).map(|notice| notice.key).collect()
    };
    assert_eq!(keys_of(fixture!("sqs")), ["1.txt"]);
    assert_eq!(keys_of(fixture!("sqs_sns")), ["a+b.txt", "example-key"]);
}

#[test]
fn each_message_of_a_batch_is_read_by_itself_and_keeps_its_id() {
    let messages = batch(fixture!("sqs_batch"));
    let summary: Vec<_> = messages
        .iter()
        .map(|queued| {
            let Ok(message) = &queued.message else { return (0, 0, 0) };
            let bad = message.records.iter().filter(|record| record.is_err()).count();
            let Ignored { test_events, not_created } = message.ignored;
            (message.notices().count(), bad, test_events + not_created)
        })
        .collect();
    assert_eq!(
        summary,
        [(1, 0, 0), (0, 0, 0), (3, 0, 1), (0, 0, 3), (0, 0, 1), (1, 0, 0), (1, 0, 0), (0, 1, 0)]
    );
    assert!(matches!(messages[1].message, Err(EventError::Json(_))));
    assert_eq!(messages[7].id, "059f36b4-87a3-44ab-83d2-661975800007");
    assert!(messages.iter().all(|queued| queued.group.is_none()));
    let groups: Vec<_> =
        batch(fixture!("sqs_fifo")).into_iter().map(|queued| queued.group.unwrap()).collect();
    assert_eq!(groups, ["a", "b", "b", "a"]);
}

#[test]
fn a_message_that_cannot_be_named_fails_its_whole_batch() {
    let mut event = fixture!("sqs_batch");
    event["Records"][2]["messageId"] = json!(null);
    assert!(matches!(read(event), Err(EventError::NoMessageId { index: 2 })));
}

#[test]
fn wrappings_without_end_are_not_followed() {
    let mut text = fixture!("put").to_string();
    for _ in 0..5 {
        text = json!({ "Type": "Notification", "Message": text }).to_string();
    }
    assert!(matches!(read_body(&text), Err(EventError::TooDeep)));
}
