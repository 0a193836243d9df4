//! Events: one for each new object, as S3 writes it.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use local_cloud::Notify;

use crate::support::{BUCKET, Fixture, object_of, refusal};

#[tokio::test]
async fn a_put_makes_exactly_one_event_with_the_encoded_key_and_a_rising_sequencer() {
    let cloud = Fixture::new().await;
    cloud.put("in/sp ace+plus&", "hello").await;
    cloud.put("second", "").await;
    let runtime = cloud.runtime();
    let first = runtime.next().await;
    let record = &first.event["Records"][0];
    assert_eq!(first.event["Records"].as_array().unwrap().len(), 1);
    assert_eq!(record["eventName"], "ObjectCreated:Put");
    assert_eq!(record["s3"]["bucket"]["name"], BUCKET);
    let object = object_of(&first.event);
    assert_eq!(object["key"], "in/sp+ace%2Bplus%26");
    assert_eq!(object["size"], 5);
    assert_eq!(object["eTag"], "5d41402abc4b2a76b9719d911017c592");
    runtime.succeed(&first.id).await;
    let second = runtime.next().await;
    assert_eq!(object_of(&second.event)["key"], "second");
    assert!(object_of(&second.event)["sequencer"].as_str() > object["sequencer"].as_str());
    runtime.succeed(&second.id).await;
    cloud.cloud.settled().await.unwrap();
}

#[tokio::test]
async fn an_upload_makes_one_event_when_it_is_completed_and_a_copy_one_of_its_own() {
    let cloud = Fixture::new().await;
    let upload = cloud.s3.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = cloud.s3.upload_part().bucket(BUCKET).key("k").upload_id(id).part_number(1);
    let etag = part.body(ByteStream::from_static(b"x")).send().await.unwrap().e_tag.unwrap();
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 0);
    let parts = CompletedMultipartUpload::builder()
        .parts(CompletedPart::builder().part_number(1).e_tag(etag).build())
        .build();
    let complete = cloud.s3.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    cloud.s3.copy_object().bucket(BUCKET).key("c").copy_source("bucket/k").send().await.unwrap();
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 2);
    let runtime = cloud.runtime();
    for name in ["ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy"] {
        let given = runtime.next().await;
        assert_eq!(given.event["Records"][0]["eventName"], name);
        runtime.succeed(&given.id).await;
    }
}

#[tokio::test]
async fn a_refused_put_and_a_delete_make_no_event() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let put = cloud.s3.put_object().bucket(BUCKET).key("k").if_none_match("*");
    refusal(put.body(ByteStream::from_static(b"y")).send().await);
    cloud.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 1);
}

#[tokio::test]
async fn only_keys_that_the_filter_takes_make_events() {
    let cloud = Fixture::with(|options| {
        options.notify =
            Notify { bucket: Some(BUCKET.to_owned()), prefix: "in/".to_owned(), suffix: ".gz".to_owned() };
    })
    .await;
    cloud.cloud.create_bucket("other").await.unwrap();
    for key in ["in/a.gz", "in/a", "out/a.gz"] {
        cloud.put(key, "x").await;
    }
    let other = cloud.s3.put_object().bucket("other").key("in/a.gz");
    other.body(ByteStream::from_static(b"x")).send().await.unwrap();
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 1);
    assert_eq!(object_of(&cloud.runtime().next().await.event)["key"], "in/a.gz");
}
