//! Plain objects: what is put is got, listed, logged, and lies in the folder.

use aws_sdk_s3::primitives::ByteStream;

use crate::support::{BUCKET, Fixture, client, refusal};

#[tokio::test]
async fn an_object_comes_back_with_its_bytes_headers_and_user_metadata() {
    let cloud = Fixture::new().await;
    let put = cloud
        .s3
        .put_object()
        .bucket(BUCKET)
        .key("a/b.json")
        .body(ByteStream::from_static(b"hello"))
        .content_type("application/json")
        .content_encoding("gzip")
        .metadata("sluicegate-cut", "42")
        .send()
        .await
        .unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let got = cloud.s3.get_object().bucket(BUCKET).key("a/b.json").send().await.unwrap();
    assert_eq!(got.content_type(), Some("application/json"));
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert_eq!(got.metadata().unwrap()["sluicegate-cut"], "42");
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    assert_eq!(std::fs::read(cloud.options.dir.join("bucket/a/b.json")).unwrap(), b"hello");
    assert_eq!(cloud.staged(), 0);
}

#[tokio::test]
async fn every_key_that_s3_takes_is_stored_however_odd_as_a_path() {
    let cloud = Fixture::new().await;
    let long = "x".repeat(1024);
    let keys = [
        "a",
        "a/b",
        "a/b/c",
        "a/",
        "a//b",
        "/",
        "//",
        "a/../b",
        "./a",
        "..",
        "%",
        "%/a",
        "sp ace+plus&",
        "ü/ö",
        "100%25",
        "~*'()!",
        long.as_str(),
    ];
    for key in keys {
        cloud.put(key, key.as_bytes()).await;
    }
    for key in keys {
        assert_eq!(cloud.get(key).await, key.as_bytes(), "{key:?}");
    }
    let mut expected = keys.map(str::to_owned);
    expected.sort();
    assert_eq!(cloud.keys().await, expected);
    // Nothing left the bucket's folder.
    let mut outside: Vec<_> = std::fs::read_dir(&cloud.options.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    outside.sort();
    assert_eq!(outside, [".cloud", "bucket"]);
}

#[tokio::test]
async fn a_folders_key_and_one_below_it_live_side_by_side_in_either_order() {
    let cloud = Fixture::new().await;
    cloud.put("a", "file first").await;
    cloud.put("a/b", "then below").await;
    cloud.put("c/d", "below first").await;
    cloud.put("c", "then file").await;
    assert_eq!(cloud.get("a").await, b"file first");
    assert_eq!(cloud.get("a/b").await, b"then below");
    assert_eq!(cloud.get("c/d").await, b"below first");
    assert_eq!(cloud.get("c").await, b"then file");
    cloud.put("a/b", "overwritten").await;
    assert_eq!(cloud.get("a/b").await, b"overwritten");
    cloud.s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(cloud.keys().await, ["a/b", "c", "c/d"]);
}

#[tokio::test]
async fn deleting_takes_the_file_and_its_empty_folders_away() {
    let cloud = Fixture::new().await;
    cloud.put("deep/er/key", "x").await;
    cloud.put("deep/other", "y").await;
    cloud.s3.delete_object().bucket(BUCKET).key("deep/er/key").send().await.unwrap();
    cloud.s3.delete_object().bucket(BUCKET).key("never-there").send().await.unwrap();
    assert_eq!(refusal(cloud.s3.get_object().bucket(BUCKET).key("deep/er/key").send().await).0, 404);
    let bucket = cloud.options.dir.join("bucket");
    assert!(!bucket.join("deep/er").exists());
    assert!(bucket.join("deep/other").exists());
    assert_eq!(cloud.staged(), 0);
}

#[tokio::test]
async fn a_copy_is_another_object_with_the_same_bytes_and_metadata() {
    let cloud = Fixture::new().await;
    let put = cloud.s3.put_object().bucket(BUCKET).key("from").metadata("m", "1");
    put.body(ByteStream::from_static(b"bytes")).send().await.unwrap();
    cloud.s3.copy_object().bucket(BUCKET).key("to").copy_source("bucket/from").send().await.unwrap();
    let got = cloud.s3.get_object().bucket(BUCKET).key("to").send().await.unwrap();
    assert_eq!(got.metadata().unwrap()["m"], "1");
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"bytes");
}

#[tokio::test]
async fn ranges_are_answered_with_206_and_those_past_the_end_with_416() {
    let cloud = Fixture::new().await;
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|at| (at % 251) as u8).collect();
    cloud.put("k", bytes.clone()).await;
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-1000004", 5..1_000_005),
        ("bytes=-3", 1_499_997..1_500_000),
        ("bytes=1499999-", 1_499_999..1_500_000),
    ] {
        let got = cloud.s3.get_object().bucket(BUCKET).key("k").range(range).send().await.unwrap();
        assert_eq!(
            got.content_range(),
            Some(format!("bytes {}-{}/1500000", expected.start, expected.end - 1).as_str())
        );
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes[expected], "{range}");
    }
    let beyond = cloud.s3.get_object().bucket(BUCKET).key("k").range("bytes=1500000-").send().await;
    assert_eq!(refusal(beyond), (416, "InvalidRange".to_owned()));
}

#[tokio::test]
async fn a_request_signed_with_another_secret_is_refused_and_stores_nothing() {
    let cloud = Fixture::new().await;
    let stranger = client(&cloud.cloud, "wrong");
    let put = stranger.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(refusal(put), (403, "SignatureDoesNotMatch".to_owned()));
    let unsigned = reqwest_get(&format!("{}/bucket/k", cloud.cloud.s3_url())).await;
    assert_eq!(unsigned, 403);
    assert!(cloud.keys().await.is_empty());
    assert_eq!(cloud.staged(), 0);
}

async fn reqwest_get(url: &str) -> u16 {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_unknown_bucket_key_or_version_has_its_own_error() {
    let cloud = Fixture::new().await;
    let put =
        cloud.s3.put_object().bucket("missing").key("k").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(refusal(put), (404, "NoSuchBucket".to_owned()));
    let get = cloud.s3.get_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(refusal(get), (404, "NoSuchKey".to_owned()));
    assert_eq!(refusal(cloud.s3.head_bucket().bucket("missing").send().await).0, 404);
    cloud.put("k", "x").await;
    let version = cloud.s3.get_object().bucket(BUCKET).key("k").version_id("other").send().await;
    assert_eq!(refusal(version), (404, "NoSuchVersion".to_owned()));
    assert_eq!(cloud.staged(), 0);
}

#[tokio::test]
async fn buckets_are_made_listed_and_deleted_when_empty() {
    let cloud = Fixture::new().await;
    cloud.s3.create_bucket().bucket("second").send().await.unwrap();
    let listed = cloud.s3.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["bucket", "second"]);
    cloud.put("k", "x").await;
    let full = cloud.s3.delete_bucket().bucket(BUCKET).send().await;
    assert_eq!(refusal(full), (409, "BucketNotEmpty".to_owned()));
    cloud.s3.delete_bucket().bucket("second").send().await.unwrap();
    assert_eq!(refusal(cloud.s3.head_bucket().bucket("second").send().await).0, 404);
    assert!(cloud.cloud.create_bucket("Not_A_Name").await.is_err());
}

#[tokio::test]
async fn the_request_log_tells_puts_copies_and_deletes_apart() {
    let cloud = Fixture::new().await;
    cloud.put("a b/ü", "hello").await;
    cloud
        .s3
        .copy_object()
        .bucket(BUCKET)
        .key("copy")
        .copy_source("bucket/a%20b/%C3%BC")
        .send()
        .await
        .unwrap();
    cloud.s3.delete_object().bucket(BUCKET).key("copy").send().await.unwrap();
    drop(cloud.s3.head_object().bucket(BUCKET).key("none").send().await);
    let lines = cloud.cloud.requests().unwrap();
    let seen: Vec<_> =
        lines.iter().map(|line| (line.method.as_str(), line.key.as_str(), line.copy, line.status)).collect();
    assert_eq!(
        seen,
        [
            ("PUT", "a b/ü", false, 200),
            ("PUT", "copy", true, 200),
            ("DELETE", "copy", false, 204),
            ("HEAD", "none", false, 404),
        ]
    );
    assert_eq!(lines[0].bytes, 5);
    assert!(lines.iter().all(|line| line.bucket == BUCKET && line.time_ms > 0));
}
