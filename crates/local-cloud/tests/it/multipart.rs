//! Multipart uploads.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};

use crate::support::{BUCKET, Fixture, refusal};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn create(cloud: &Fixture, key: &str) -> String {
    let upload = cloud.s3.create_multipart_upload().bucket(BUCKET).key(key).metadata("m", "1");
    upload.send().await.unwrap().upload_id.unwrap()
}

async fn part(cloud: &Fixture, key: &str, id: &str, number: i32, bytes: Vec<u8>) -> CompletedPart {
    let part = cloud.s3.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
    let etag = part.body(ByteStream::from(bytes)).send().await.unwrap().e_tag.unwrap();
    CompletedPart::builder().part_number(number).e_tag(etag).build()
}

fn complete(
    cloud: &Fixture,
    key: &str,
    id: &str,
    parts: Vec<CompletedPart>,
) -> CompleteMultipartUploadFluentBuilder {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    cloud.s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(parts)
}

fn crc32c_text(bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())
}

#[tokio::test]
async fn a_completed_upload_is_one_object_of_its_parts_in_order_with_the_whole_checksum() {
    let cloud = Fixture::new().await;
    let id = create(&cloud, "k").await;
    let (first, last) = (vec![1; PART_BYTES], b"the end".to_vec());
    // Out of order, and the first one sent twice: the later one counts.
    let end = part(&cloud, "k", &id, 7, last.clone()).await;
    drop(part(&cloud, "k", &id, 2, vec![9; PART_BYTES]).await);
    let start = part(&cloud, "k", &id, 2, first.clone()).await;
    let whole = [first, last].concat();
    assert!(cloud.keys().await.is_empty(), "nothing is there before the completion");
    let wrong = complete(&cloud, "k", &id, vec![start.clone(), end.clone()]).checksum_crc32_c("AAAAAA==");
    assert_eq!(refusal(wrong.send().await), (400, "BadDigest".to_owned()));
    assert!(cloud.keys().await.is_empty());
    let done = complete(&cloud, "k", &id, vec![start, end]).checksum_crc32_c(crc32c_text(&whole)).send();
    assert!(done.await.unwrap().e_tag().unwrap().ends_with("-2\""));
    assert_eq!(cloud.get("k").await, whole);
    let head = cloud.s3.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.checksum_crc32_c(), Some(crc32c_text(&whole).as_str()));
    assert_eq!(head.metadata().unwrap()["m"], "1");
    assert_eq!(cloud.staged(), 0, "parts are gone");
    let again = complete(&cloud, "k", &id, vec![]).send().await;
    assert_eq!(refusal(again).0, 404);
}

#[tokio::test]
async fn a_checksum_of_another_algorithm_is_verified_over_the_whole_object() {
    let cloud = Fixture::new().await;
    let id = create(&cloud, "k").await;
    let only = part(&cloud, "k", &id, 1, b"hello".to_vec()).await;
    let wrong = complete(&cloud, "k", &id, vec![only.clone()]).checksum_crc32("AAAAAA==").send().await;
    assert_eq!(refusal(wrong), (400, "BadDigest".to_owned()));
    complete(&cloud, "k", &id, vec![only]).checksum_crc32("NhCmhg==").send().await.unwrap();
}

#[tokio::test]
async fn a_completion_names_parts_that_are_there_large_enough_and_in_order() {
    let cloud = Fixture::new().await;
    let id = create(&cloud, "k").await;
    let small = part(&cloud, "k", &id, 1, vec![1; PART_BYTES - 1]).await;
    let large = part(&cloud, "k", &id, 2, vec![2; PART_BYTES]).await;
    let last = part(&cloud, "k", &id, 3, vec![3]).await;
    let missing = CompletedPart::builder().part_number(9).e_tag("\"0\"").build();
    let other = CompletedPart::builder().part_number(3).e_tag("\"0\"").build();
    for (parts, code) in [
        (vec![small.clone(), last.clone()], "EntityTooSmall"),
        (vec![last.clone(), large.clone()], "InvalidPartOrder"),
        (vec![large.clone(), large.clone()], "InvalidPartOrder"),
        (vec![large.clone(), missing], "InvalidPart"),
        (vec![large.clone(), other], "InvalidPart"),
    ] {
        assert_eq!(refusal(complete(&cloud, "k", &id, parts).send().await), (400, code.to_owned()));
    }
    assert!(cloud.keys().await.is_empty());
    complete(&cloud, "k", &id, vec![large, last]).send().await.unwrap();
    assert_eq!(cloud.staged(), 0, "the part that was not named is gone too");
}

#[tokio::test]
async fn an_aborted_upload_is_gone_with_its_parts() {
    let cloud = Fixture::new().await;
    let id = create(&cloud, "k").await;
    let only = part(&cloud, "k", &id, 1, vec![1]).await;
    let abort = || cloud.s3.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&id).send();
    abort().await.unwrap();
    assert_eq!(cloud.staged(), 0);
    let no_upload = (404, "NoSuchUpload".to_owned());
    assert_eq!(refusal(abort().await), no_upload);
    assert_eq!(refusal(complete(&cloud, "k", &id, vec![only]).send().await), no_upload);
    let late = cloud.s3.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(2);
    assert_eq!(refusal(late.body(ByteStream::from_static(b"x")).send().await), no_upload);
}

#[tokio::test]
async fn parts_and_uploads_are_listed_in_pages() {
    let cloud = Fixture::new().await;
    for key in ["a/1", "a/2", "a/2", "b"] {
        create(&cloud, key).await;
    }
    let mut seen = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let page = cloud
            .s3
            .list_multipart_uploads()
            .bucket(BUCKET)
            .prefix("a/")
            .max_uploads(1)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .send()
            .await
            .unwrap();
        seen.extend(page.uploads().iter().map(|upload| upload.key().unwrap().to_owned()));
        assert!(page.uploads().iter().all(|upload| upload.initiated().is_some()));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    assert_eq!(seen, ["a/1", "a/2", "a/2"]);

    let id = create(&cloud, "k").await;
    for number in [3, 1, 2] {
        part(&cloud, "k", &id, number, vec![0; number as usize]).await;
    }
    let list = || cloud.s3.list_parts().bucket(BUCKET).key("k").upload_id(&id).max_parts(2);
    let page = list().send().await.unwrap();
    let numbers: Vec<_> = page.parts().iter().map(|part| (part.part_number(), part.size())).collect();
    assert_eq!(numbers, [(Some(1), Some(1)), (Some(2), Some(2))]);
    let marker = page.next_part_number_marker().unwrap();
    let page = list().part_number_marker(marker).send().await.unwrap();
    assert_eq!(page.parts().len(), 1);
    assert_eq!(page.is_truncated(), Some(false));
}
