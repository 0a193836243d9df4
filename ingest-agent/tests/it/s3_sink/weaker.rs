//! Stores that lack what S3 has: found out at start, and lived with.

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, FaultyStore, Lacks, MemoryStore, Operation};
use std::path::Path;

use durable_channel::disk::{Disk as _, Mode};
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig};

use super::rig::{CONTROL, Open, Store, audit, config, objects, until};

fn lacking(lacks: Lacks) -> Store {
    FaultyStore::new(MemoryStore::new("bucket").with_smallest_part(1).lacking(lacks), FaultPlan::default())
}

/// A sink of a server that is not AWS, with objects in parts or in one put.
fn elsewhere(parts: bool) -> S3SinkConfig {
    let mut config = config("%{p}");
    config.store.endpoint = Some("http://in-memory".to_owned());
    config.journal_bytes = 1 << 16;
    config.upload_concurrency = 1;
    config.roll.events = Some(10);
    (config.put_limit_bytes, config.part_bytes) = if parts { (1, 60) } else { (1 << 20, 60) };
    config
}

fn asked(store: &Store, operation: Operation) -> usize {
    let calls = store.calls();
    calls.iter().filter(|(called, key)| *called == operation && !key.starts_with(CONTROL)).count()
}

#[tokio::test]
async fn whatever_a_store_lacks_each_event_is_stored_once_over_a_lost_answer_and_a_crash() {
    for bits in 0..16_u8 {
        for parts in [false, true] {
            let lacks = Lacks {
                conditions: bits & 1 > 0,
                whole_checksums: bits & 2 > 0,
                right_checksums: bits & 4 > 0,
                condition_header: bits & 8 > 0,
            };
            let (disk, store) = (SimDisk::new(), lacking(lacks));
            let open = Open::on(&disk);
            open.append((0..30).map(|index| ("x", format!("event {index}")))).await;
            // The second cut's object is stored when the process dies.
            let point = if parts { "after_complete" } else { "after_put" };
            let met = std::sync::atomic::AtomicU64::new(0);
            let points = FailPoints::new(move |name| {
                name == point && met.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1
            });
            let running = open.start(elsewhere(parts), &store, points);
            running.flush_or_end().await;
            running.crash().await;

            let open = Open::on(&disk.restart());
            let running = open.start(elsewhere(parts), &store, FailPoints::default());
            running.flush().await;
            // And the answer to the third one's is lost.
            let last = if parts { Operation::CompleteUpload } else { Operation::Put };
            store.set_plan(FaultPlan::default().script(last, [Some(Fault::After(ErrorKind::Timeout))]));
            open.append((30..40).map(|index| ("x", format!("event {index}")))).await;
            running.flush().await;
            running.stop().await.unwrap();
            let lines = audit(&objects(&store).await);
            assert_eq!((lines.len(), lines.values().max()), (40, Some(&1)), "{lacks:?}, in parts: {parts}");
            assert_eq!(store.inner().list_uploads("").await.unwrap(), [], "{lacks:?}, in parts: {parts}");
            let stored = asked(&store, if parts { Operation::CompleteUpload } else { Operation::Put });
            // With conditions those two are put again that were stored before the crash, and refused; so is the lost one.
            let weak = lacks.conditions || lacks.condition_header;
            assert!(stored <= if weak { 4 } else { 7 }, "{lacks:?}, in parts: {parts}: {stored}");
        }
    }
}

#[tokio::test]
async fn aws_is_not_asked_what_it_keeps_and_what_is_configured_is_not_overruled() {
    let store = lacking(Lacks { conditions: true, ..Lacks::default() });
    for (endpoint, conditional, heads) in
        [(None, None, 0), (Some("http://in-memory"), Some(true), 0), (Some("http://in-memory"), None, 1)]
    {
        let disk = SimDisk::new();
        let open = Open::on(&disk);
        open.append([("x", "one".to_owned())]).await;
        let mut config = elsewhere(false);
        config.store.endpoint = endpoint.map(str::to_owned);
        config.conditional = conditional;
        let before = asked(&store, Operation::Head);
        let running = open.start(config, &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        assert_eq!(asked(&store, Operation::Head) - before, heads, "{endpoint:?} {conditional:?}");
    }
    let probed = store.inner().contents().into_keys().filter(|key| key.contains("/promises")).count();
    assert_eq!(probed, 4, "of each of the two that were asked for, one object for puts and one for uploads");
}

/// What was asked to try the store out: puts, looks, and what uploads need.
fn tried(store: &Store) -> usize {
    let tries = [Operation::Put, Operation::Head, Operation::CreateUpload, Operation::CompleteUpload];
    let calls = store.calls();
    calls.iter().filter(|(called, key)| tries.contains(called) && key.contains("/promises")).count()
}

const KNOWN: &str = "/channel/readers/s3/store";

/// Ships one event through a sink that starts on `disk`, and returns how often the store was tried out before.
async fn ship_one(disk: &SimDisk, store: &Store) -> usize {
    let (open, before) = (Open::on(disk), tried(store));
    open.append([("x", "one".to_owned())]).await;
    let running = open.start(elsewhere(true), store, FailPoints::default());
    running.flush().await;
    let tried = tried(store) - before;
    running.stop().await.unwrap();
    tried
}

#[tokio::test]
async fn a_store_that_was_asked_once_is_shipped_to_at_once_by_later_starts() {
    let (disk, store) = (SimDisk::new(), lacking(Lacks { whole_checksums: true, ..Lacks::default() }));
    assert!(ship_one(&disk, &store).await > 0, "it is not known at first");
    let disk = disk.restart();
    assert_eq!(ship_one(&disk, &store).await, 0, "it is known");
    // A file that is damaged is as good as none, and is written again.
    let disk = disk.restart();
    disk.damage(Path::new(KNOWN), |bytes| bytes[40] ^= 1);
    assert!(ship_one(&disk, &store).await > 0);
    assert_eq!(ship_one(&disk.restart(), &store).await, 0);
    let lines = audit(&objects(&store).await);
    assert_eq!(lines.values().sum::<usize>(), 4);
}

#[tokio::test]
async fn a_store_that_fails_one_request_in_three_is_known_after_a_few_and_ships() {
    for seed in 0..40 {
        let (disk, store) = (SimDisk::new(), lacking(Lacks::default()));
        store.set_plan(FaultPlan::default().random(seed, 0.33));
        let tried = ship_one(&disk, &store).await;
        // Nothing begins again at a failure.
        assert!(tried as u64 <= 10 + 2 * store.injected(), "seed {seed}: {tried} of {}", store.injected());
        store.set_plan(FaultPlan::default());
        assert_eq!(ship_one(&disk.restart(), &store).await, 0, "seed {seed}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_store_is_asked_again_after_a_day_while_it_ships() {
    let (disk, store) = (SimDisk::new(), lacking(Lacks::default()));
    ship_one(&disk, &store).await;
    let disk = disk.restart();
    disk.damage(Path::new(KNOWN), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let (line, _) = text.split_once('\n').unwrap();
        let mut known: serde_json::Value = serde_json::from_str(line).unwrap();
        let day = 24 * 3600 * 1000;
        known["asked_ms"] = (known["asked_ms"].as_u64().unwrap() - day - 1).into();
        known["conditions"] = false.into();
        let line = known.to_string();
        *bytes = format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes())).into_bytes();
    });
    let old = read(&disk);
    let open = Open::on(&disk);
    let before = tried(&store);
    let running = open.start(elsewhere(true), &store, FailPoints::default());
    until(|| tried(&store) > before && read(&disk) != old).await;
    assert!(read(&disk).contains("\"conditions\":true"), "{}", read(&disk));
    running.stop().await.unwrap();
}

fn read(disk: &SimDisk) -> String {
    let file = disk.open(Path::new(KNOWN), Mode::Read).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    durable_channel::disk::read_full(&*file, &mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn uploads_that_a_killed_start_left_while_it_asked_are_aborted_by_the_next() {
    let (disk, store) = (SimDisk::new(), lacking(Lacks::default()));
    let hang = FaultPlan::default().script(Operation::UploadPart, [Some(Fault::Hang)]);
    store.set_plan(hang);
    let open = Open::on(&disk);
    let running = open.start(elsewhere(true), &store, FailPoints::default());
    until(|| store.injected() == 1).await;
    running.crash().await;
    assert_eq!(store.inner().list_uploads("").await.unwrap().len(), 1);
    let disk = disk.restart();
    ship_one(&disk, &store).await;
    assert_eq!(store.inner().list_uploads("").await.unwrap(), []);
    // Also where it is known by now, and nothing is asked.
    let open = Open::on(&disk.restart());
    let channel = contract::ChannelId(open.channel.channel().id());
    let left = format!("{CONTROL}promises/{channel}-s3-whole");
    for key in [left.as_str(), "_control/promises/another"] {
        store.inner().create_upload(key, &blob_store::PutOptions::default()).await.unwrap();
    }
    let running = open.start(elsewhere(true), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let left = store.inner().list_uploads("").await.unwrap();
    assert_eq!(
        left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(),
        ["_control/promises/another"]
    );
}
