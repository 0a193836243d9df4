//! What becomes of notices that are not one for each object, in order and of the right place. Each
//! goes through a running server, and the file of the `lines` handler tells what came of it.

use std::path::Path;
use std::sync::Arc;

use blob_store::{BlobStore, Body, MemoryStore, PutOptions};
use contract::{ChannelId, CutId, CutKind, ObjectMetadata};
use downstream_server::fetch::Stores;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::Site;

const CUTS: u64 = 12;

pub(crate) fn line(number: u64) -> String {
    format!("event of cut {number}\n")
}

pub(crate) fn metadata(number: u64) -> ObjectMetadata {
    let content = line(number);
    ObjectMetadata {
        version: ObjectMetadata::VERSION,
        cut: CutId { channel: ChannelId([7; 16]), sink: "s3".parse().unwrap(), number },
        kind: CutKind::Events,
        events: 1,
        first: number,
        last: number,
        set_aside: 0,
        total_events: number,
        total_dead_lettered: 0,
        total_damaged: 0,
        length: content.len() as u64,
        crc32c: crc32c::crc32c(content.as_bytes()),
        format: "text".to_owned(),
        format_version: 1,
        rows: Some("events".to_owned()),
        codec: "none".to_owned(),
    }
}

fn key(number: u64) -> String {
    format!("events/{}.txt", metadata(number).cut)
}

/// Stores a cut under this key, as the agent does.
async fn put(store: &MemoryStore, key: &str, number: u64) {
    let metadata = metadata(number);
    let options =
        PutOptions { metadata: metadata.to_pairs(), crc32c: metadata.crc32c, ..PutOptions::default() };
    store.put_if_absent(key, Body::from(line(number).into_bytes()), &options).await.unwrap();
}

fn flags(out: &Path) -> [&str; 6] {
    let out = out.to_str().unwrap();
    ["--handler-kind", "lines", "--handler-path", out, "--notices-buckets", "logs,copies"]
}

async fn until_idle(site: &Site) -> Value {
    site.eventually("nothing is owed", async || {
        let totals = site.get("/v1/summary").await["totals"].clone();
        (totals["owed"] == 0 && totals["fetching"] == 0).then_some(totals)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_in_any_order_and_many_at_once_bring_each_object_once_and_nothing_is_missing_i8() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let bucket = Arc::new(MemoryStore::new("logs"));
    for number in 1..=CUTS {
        put(&bucket, &key(number), number).await;
    }
    let site = Site::start(dir.path(), bucket, None, &flags(&out)[..4]).await;
    // From the last to the first, three of each at once, and all of them again at the end.
    for round in [(1..=CUTS).rev().collect::<Vec<_>>(), (1..=CUTS).map(|n| n * 5 % 13).collect()] {
        for number in round {
            let notice = json!({ "bucket": "logs", "key": key(number) });
            for (status, _) in join_all([site.tell(&notice), site.tell(&notice), site.tell(&notice)]).await {
                assert_eq!(status, 202);
            }
        }
    }
    let totals = until_idle(&site).await;
    assert_eq!(totals["done"], CUTS);
    let sink = site.get("/v1/continuity").await["sinks"][0].clone();
    assert_eq!((&sink["contiguous_to"], &sink["missing_cuts"]), (&json!(CUTS), &json!(0)), "{sink}");
    let rows = site.get("/v1/objects?limit=500").await["objects"].clone();
    let repeats: u64 = rows.as_array().unwrap().iter().filter_map(|row| row["repeats"].as_u64()).sum();
    assert_eq!(repeats, CUTS * 5);
    site.stop().await;
    let written = std::fs::read_to_string(out).unwrap();
    let mut written: Vec<&str> = written.split_inclusive('\n').collect();
    let mut expected: Vec<String> = (1..=CUTS).map(line).collect();
    written.sort_unstable();
    expected.sort_unstable();
    assert_eq!(written, expected);
}

#[tokio::test]
async fn a_copy_of_one_of_our_objects_in_another_bucket_is_not_delivered_again_and_no_fork_i8() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let (logs, copies) = (Arc::new(MemoryStore::new("logs")), Arc::new(MemoryStore::new("copies")));
    put(&logs, &key(1), 1).await;
    put(&copies, &key(1), 1).await;
    put(&copies, "backup/renamed.txt", 1).await;
    let stores = Stores::from([
        ("logs".to_owned(), logs as Arc<dyn BlobStore>),
        ("copies".to_owned(), copies as Arc<dyn BlobStore>),
    ]);
    let site = Site::over(dir.path(), stores, None, &flags(&out)).await;
    assert_eq!(site.notify(&key(1)).await, 202);
    site.until_done(1).await;
    // By its key the copy is the cut, at once; under another name it is once somebody looked.
    let copy = json!({ "bucket": "copies", "key": key(1), "etag": "another", "sequencer": "FF" });
    assert_eq!(site.tell(&copy).await, (202, "repeated".to_owned()));
    let renamed = json!({ "bucket": "copies", "key": "backup/renamed.txt" });
    assert_eq!(site.tell(&renamed).await, (202, "accepted".to_owned()));
    let totals = until_idle(&site).await;
    assert_eq!((&totals["done"], &totals["dead"]), (&json!(1), &json!(0)), "{totals}");
    let continuity = site.get("/v1/continuity").await;
    let complete_to = &continuity["sinks"][0]["contiguous_to"];
    assert_eq!((complete_to, &continuity["forked_cuts"]), (&json!(1), &json!(0)), "{continuity}");
    site.stop().await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), line(1));
}

#[tokio::test]
async fn a_copy_that_is_noticed_first_delivers_the_cut_and_the_original_is_then_a_repeat_i8() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let (logs, copies) = (Arc::new(MemoryStore::new("logs")), Arc::new(MemoryStore::new("copies")));
    put(&logs, &key(1), 1).await;
    put(&copies, "backup/renamed.txt", 1).await;
    let stores = Stores::from([
        ("logs".to_owned(), logs as Arc<dyn BlobStore>),
        ("copies".to_owned(), copies as Arc<dyn BlobStore>),
    ]);
    let site = Site::over(dir.path(), stores, None, &flags(&out)).await;
    assert_eq!(site.tell(&json!({ "bucket": "copies", "key": "backup/renamed.txt" })).await.0, 202);
    site.until_done(1).await;
    assert_eq!(site.tell(&json!({ "bucket": "logs", "key": key(1) })).await, (202, "repeated".to_owned()));
    until_idle(&site).await;
    site.stop().await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), line(1));
}

#[tokio::test]
async fn an_object_that_was_deleted_is_gone_with_its_reason_and_holds_up_no_other() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let bucket = Arc::new(MemoryStore::new("logs"));
    put(&bucket, &key(2), 2).await;
    let site = Site::start(
        dir.path(),
        bucket,
        None,
        &[&flags(&out)[..4], &["--retry-missing-attempts", "2"]].concat(),
    )
    .await;
    // Cut 1 was deleted by whoever may do that, before its notice came; 2 is there.
    assert_eq!(site.notify(&key(1)).await, 202);
    assert_eq!(site.notify(&key(2)).await, 202);
    let totals = until_idle(&site).await;
    assert_eq!((&totals["done"], &totals["gone"]), (&json!(1), &json!(1)), "{totals}");
    let gone = site.get("/v1/objects?state=gone").await["objects"][0].clone();
    assert!(gone["last_error"].as_str().unwrap().contains(&key(1)), "{gone}");
    // The proof of completeness shows it as long as nobody writes it off.
    let sink = site.get("/v1/continuity").await["sinks"][0].clone();
    assert_eq!((&sink["contiguous_to"], &sink["missing_cuts"]), (&json!(0), &json!(1)), "{sink}");
    site.stop().await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), line(2));
}
