//! What is not what the client said it is, is refused and leaves nothing.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};

use crate::support::{BUCKET, Fixture, refusal};

/// CRC32C of "hello", as S3 writes it.
const HELLO_CRC32C: &str = "mnG7TA==";

#[tokio::test]
async fn a_crc32c_is_verified_stored_and_answered_by_head() {
    let cloud = Fixture::new().await;
    let put = |crc: &str| {
        let body = ByteStream::from_static(b"hello");
        cloud.s3.put_object().bucket(BUCKET).key("k").body(body).checksum_crc32_c(crc).send()
    };
    assert_eq!(refusal(put("AAAAAA==").await), (400, "BadDigest".to_owned()));
    assert!(cloud.keys().await.is_empty());
    assert_eq!(cloud.staged(), 0);
    let stored = put(HELLO_CRC32C).await.unwrap();
    assert_eq!(stored.checksum_crc32_c(), Some(HELLO_CRC32C));
    let head = || cloud.s3.head_object().bucket(BUCKET).key("k");
    let with = head().checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(with.checksum_crc32_c(), Some(HELLO_CRC32C));
    assert_eq!(with.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(head().send().await.unwrap().checksum_crc32_c(), None);
}

#[tokio::test]
async fn every_algorithm_of_the_client_is_verified_also_in_a_trailer() {
    let cloud = Fixture::new().await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let key = format!("{algorithm}");
        // A body from a file is sent in chunks, its checksum behind it.
        let path = cloud.dir.path().join("body");
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let body = ByteStream::from_path(&path).await.unwrap();
        let put = cloud.s3.put_object().bucket(BUCKET).key(&key).checksum_algorithm(algorithm);
        put.body(body).send().await.unwrap();
        // The client verifies what it gets, too.
        assert_eq!(cloud.get(&key).await, vec![7; 300_000]);
    }
}

#[tokio::test]
async fn a_wrong_content_md5_is_refused() {
    let cloud = Fixture::new().await;
    let body = ByteStream::from_static(b"hello");
    let put = cloud.s3.put_object().bucket(BUCKET).key("k").body(body);
    let put = put.content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    assert_eq!(refusal(put), (400, "BadDigest".to_owned()));
    assert!(cloud.keys().await.is_empty());
}

#[tokio::test]
async fn a_body_other_than_the_signed_one_is_refused() {
    let cloud = Fixture::new().await;
    let body = ByteStream::from_static(b"hello");
    let put = cloud.s3.put_object().bucket(BUCKET).key("k").body(body);
    let put = put.customize().mutate_request(|request| {
        *request.body_mut() = aws_smithy_types::body::SdkBody::from("jello");
    });
    let (status, _) = refusal(put.send().await);
    assert_eq!(status, 400);
    assert!(cloud.keys().await.is_empty());
    assert_eq!(cloud.staged(), 0);
}

#[tokio::test]
async fn more_user_metadata_than_s3_takes_is_refused() {
    let cloud = Fixture::new().await;
    let put = |bytes: usize| {
        let put = cloud.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x"));
        put.metadata("m", "v".repeat(bytes - 1)).send()
    };
    put(2048).await.unwrap();
    assert_eq!(refusal(put(2049).await), (400, "MetadataTooLarge".to_owned()));
}

#[tokio::test]
async fn an_opaque_etag_is_the_same_for_the_same_bytes_and_no_md5() {
    let cloud = Fixture::with(|options| options.etag = local_cloud::EtagKind::Opaque).await;
    cloud.put("a", "hello").await;
    cloud.put("b", "hello").await;
    cloud.put("c", "jello").await;
    let mut etags = Vec::new();
    for key in ["a", "b", "c"] {
        etags.push(cloud.s3.head_object().bucket(BUCKET).key(key).send().await.unwrap().e_tag.unwrap());
    }
    assert_eq!(etags[0], etags[1]);
    assert_ne!(etags[0], etags[2]);
    assert_ne!(etags[0], "\"5d41402abc4b2a76b9719d911017c592\"");
}
