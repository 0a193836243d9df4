//! Listing objects.

use aws_sdk_s3::types::EncodingType;

use crate::support::{BUCKET, Fixture};

#[tokio::test]
async fn a_listing_is_in_byte_order_and_its_pages_join_without_gap_or_repeat() {
    let cloud = Fixture::new().await;
    let mut keys: Vec<String> = (0..25).map(|number| format!("p/{:02}", number * 7 % 25)).collect();
    keys.extend(["Z", "a", "p", "p/", "p0", "é"].map(str::to_owned));
    for key in &keys {
        cloud.put(key, key.as_str()).await;
    }
    keys.sort();
    for page_size in [1, 2, 7, 1000] {
        let mut pages = cloud.s3.list_objects_v2().bucket(BUCKET).max_keys(page_size).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.contents().len() <= page_size as usize);
            listed.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(listed, keys, "{page_size} a page");
    }
    let list = cloud.s3.list_objects_v2().bucket(BUCKET).prefix("p/").start_after("p/20");
    let page = list.send().await.unwrap();
    let listed: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(listed, ["p/21", "p/22", "p/23", "p/24"]);
    assert_eq!(page.contents()[0].size(), Some(4));
}

#[tokio::test]
async fn a_delimiter_groups_keys_also_across_pages() {
    let cloud = Fixture::new().await;
    for key in ["a", "b/1", "b/2", "b/c/1", "c/1", "d"] {
        cloud.put(key, "").await;
    }
    for page_size in [1, 2, 1000] {
        let list = cloud.s3.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(page_size);
        let mut pages = list.into_paginator().send();
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            prefixes.extend(page.common_prefixes().iter().map(|group| group.prefix().unwrap().to_owned()));
        }
        assert_eq!(keys, ["a", "d"], "{page_size} a page");
        assert_eq!(prefixes, ["b/", "c/"], "{page_size} a page");
    }
    let below = cloud.s3.list_objects_v2().bucket(BUCKET).prefix("b/").delimiter("/").send().await.unwrap();
    assert_eq!(below.contents().len(), 2);
    assert_eq!(below.common_prefixes()[0].prefix(), Some("b/c/"));
}

#[tokio::test]
async fn keys_are_url_encoded_on_request() {
    let cloud = Fixture::new().await;
    cloud.put("a b+c/é", "").await;
    let list = cloud.s3.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let page = list.send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a+b%2Bc/%C3%A9"));
}

#[tokio::test]
async fn the_first_version_of_the_listing_goes_on_at_its_marker() {
    let cloud = Fixture::new().await;
    for key in ["a", "b/1", "b/2", "c"] {
        cloud.put(key, "").await;
    }
    let list = || cloud.s3.list_objects().bucket(BUCKET).delimiter("/").max_keys(2);
    let page = list().send().await.unwrap();
    assert_eq!(page.next_marker(), Some("b/"));
    let page = list().marker("b/").send().await.unwrap();
    assert_eq!(page.contents().len(), 1);
    assert_eq!(page.contents()[0].key(), Some("c"));
}

#[tokio::test]
async fn a_key_that_xml_cannot_hold_is_listed_in_url_encoding_and_otherwise_as_well_formed_as_can_be() {
    let cloud = Fixture::new().await;
    let keys = ["a\tb", "a\u{1}b", "a\u{1f}b", "a\u{fffe}b"];
    for key in keys {
        cloud.put(key, "x").await;
    }
    let list = || cloud.s3.list_objects_v2().bucket(BUCKET);
    let page = list().send().await.unwrap();
    let listed: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(listed, ["a\u{fffd}b", "a\tb", "a\u{fffd}b", "a\u{fffd}b"]);
    let page = list().encoding_type(EncodingType::Url).send().await.unwrap();
    let listed: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(listed, ["a%01b", "a%09b", "a%1Fb", "a%EF%BF%BEb"]);
    for key in keys {
        let upload = cloud.s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
        assert!(upload.upload_id().is_some(), "{key:?}");
    }
    let uploads = cloud.s3.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(uploads.uploads().len(), keys.len());
}
