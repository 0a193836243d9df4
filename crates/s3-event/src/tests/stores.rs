//! What stores other than AWS post.

use super::*;

/// What versitygw posts of an object; it names itself as S3 does.
fn by_versitygw(key: &str, sequencer: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": "2026-01-05T12:00:00Z", "eventName": "s3:ObjectCreated:Put",
        "s3": { "configurationId": "webhook-global", "bucket": { "name": "b" }, "object": {
            "key": key, "size": 0, "eTag": "\"e1\"", "versionId": null, "sequencer": sequencer,
        } },
    }] })
}

fn posted(event: &Value, keys: Option<Keys>) -> Notice {
    sound(read_posted(&event.to_string(), keys).unwrap()).remove(0)
}

#[test]
fn a_key_that_a_store_posts_is_decoded_if_that_store_encodes_keys_or_as_the_setting_says() {
    let key = "in/sp ace+plus&\u{fc}=%41";
    let mut minio = fixture!("minio");
    minio["Records"][0]["s3"]["object"]["key"] = json!("in%2Fsp+ace%2Bplus%26%C3%BC%3D%2541");
    // Beside the records MinIO names bucket and key once more; those are not what is read.
    minio["Key"] = json!("other-bucket/other-key");
    assert_eq!(posted(&minio, None).key, key);
    let mut ceph = by_versitygw(key, "1");
    ceph["Records"][0]["eventSource"] = json!("ceph:s3");
    ceph["Records"][0]["s3"]["configurationId"] = json!("mine");
    let mut unknown = ceph.clone();
    unknown["Records"][0]["eventSource"] = json!("other:s3");
    for event in [&by_versitygw(key, "1"), &ceph, &unknown] {
        assert_eq!(posted(event, None).key, key, "{event}");
        assert_eq!(posted(event, Some(Keys::Raw)).key, key);
        assert_eq!(posted(event, Some(Keys::Encoded)).key, "in/sp ace plus&\u{fc}=A");
    }
    // What could be either is what its sender is known for, and else encoded.
    for (event, expected) in [(by_versitygw("a+b%41", "1"), "a+b%41"), (ceph, "a+b%41"), (unknown, "a bA")] {
        let mut event = event;
        event["Records"][0]["s3"]["object"]["key"] = json!("a+b%41");
        assert_eq!(posted(&event, None).key, expected, "{event}");
    }
}

#[test]
fn of_what_a_store_posts_no_size_of_nothing_no_quotes_and_no_counter_that_may_begin_again_is_told_on() {
    let notice = posted(&by_versitygw("k", "1F"), None);
    assert_eq!((notice.size, notice.etag.as_deref(), notice.sequencer), (None, Some("e1"), None));
    assert_eq!(notice.event_name.as_deref(), Some("ObjectCreated:Put"));
    let lasting = posted(&by_versitygw("k", "18ED3043263F7C5A"), None);
    assert_eq!(lasting.sequencer.as_deref(), Some("18ED3043263F7C5A"));
    let started =
        json!({ "Service": "S3", "Event": "s3:TestEvent", "Bucket": "b", "Time": "2026-01-05T12:00:00Z" });
    assert_eq!(read_posted(&started.to_string(), None).unwrap().ignored.test_events, 1);
    let mut removed = by_versitygw("k", "2");
    removed["Records"][0]["eventName"] = json!("s3:ObjectRemoved:Delete");
    assert_eq!(read_posted(&removed.to_string(), None).unwrap().ignored.not_created, 1);
}
