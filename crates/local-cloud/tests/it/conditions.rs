//! Conditional requests: exactly one of many racing writers wins.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::support::{BUCKET, Fixture, refusal};

fn put(cloud: &Fixture, key: &str, body: &str) -> PutObjectFluentBuilder {
    cloud.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.as_bytes().to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_racing_puts_if_none_match_exactly_one_wins_and_its_bytes_stay() {
    let cloud = Fixture::new().await;
    for round in 0..20 {
        let key = format!("race/{round}");
        let racers = (0..8).map(|racer| {
            let put = put(&cloud, &key, &format!("racer {racer}")).if_none_match("*");
            tokio::spawn(async move { (racer, put.send().await) })
        });
        let mut winners = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (racer, Ok(_)) => winners.push(racer),
                (_, lost) => assert_eq!(refusal(lost), (412, "PreconditionFailed".to_owned())),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(cloud.get(&key).await, format!("racer {}", winners[0]).as_bytes());
    }
    assert_eq!(cloud.staged(), 0, "losers leave nothing");
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 20, "one event an object");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_racing_completions_if_none_match_exactly_one_wins() {
    let cloud = Fixture::new().await;
    let mut racers = Vec::new();
    for racer in 0..8 {
        let upload = cloud.s3.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
        let id = upload.upload_id().unwrap().to_owned();
        let body = ByteStream::from(format!("racer {racer}").into_bytes());
        let part = cloud.s3.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1).body(body);
        let etag = part.send().await.unwrap().e_tag.unwrap();
        let parts = CompletedMultipartUpload::builder()
            .parts(CompletedPart::builder().part_number(1).e_tag(etag).build())
            .build();
        let complete = cloud.s3.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id);
        racers.push(complete.multipart_upload(parts).if_none_match("*"));
    }
    let racers: Vec<_> = racers.into_iter().map(|racer| tokio::spawn(racer.send())).collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => won += 1,
            lost => assert_eq!(refusal(lost), (412, "PreconditionFailed".to_owned())),
        }
    }
    assert_eq!(won, 1);
    let left = cloud.s3.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(left.uploads().len(), 7, "a refused completion leaves its upload to be aborted");
}

#[tokio::test]
async fn a_put_if_match_replaces_only_the_object_it_names() {
    let cloud = Fixture::new().await;
    let missing = put(&cloud, "k", "x").if_match("\"0\"").send().await;
    assert_eq!(refusal(missing), (404, "NoSuchKey".to_owned()));
    let first = put(&cloud, "k", "one").send().await.unwrap().e_tag.unwrap();
    put(&cloud, "k", "two").if_match(&first).send().await.unwrap();
    let stale = put(&cloud, "k", "three").if_match(&first).send().await;
    assert_eq!(refusal(stale), (412, "PreconditionFailed".to_owned()));
    assert_eq!(cloud.get("k").await, b"two");
}

#[tokio::test]
async fn reads_honour_etags_and_dates() {
    let cloud = Fixture::new().await;
    let etag = put(&cloud, "k", "x").send().await.unwrap().e_tag.unwrap();
    let get = || cloud.s3.get_object().bucket(BUCKET).key("k");
    let head = || cloud.s3.head_object().bucket(BUCKET).key("k");
    assert!(get().if_match(&etag).send().await.is_ok());
    assert_eq!(refusal(get().if_match("\"other\"").send().await).0, 412);
    assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
    assert_eq!(refusal(head().if_none_match(&etag).send().await).0, 304);
    assert!(get().if_none_match("\"other\"").send().await.is_ok());
    let past = DateTime::from(SystemTime::now() - Duration::from_secs(3600));
    let future = DateTime::from(SystemTime::now() + Duration::from_secs(3600));
    assert_eq!(refusal(get().if_modified_since(future).send().await).0, 304);
    assert!(get().if_modified_since(past).send().await.is_ok());
    assert_eq!(refusal(get().if_unmodified_since(past).send().await).0, 412);
}
