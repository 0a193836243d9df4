//! Stores that lack what S3 has: found out at start, and lived with.

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, FaultyStore, Lacks, MemoryStore, Operation};
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig};

use super::rig::{CONTROL, Open, Store, audit, config, objects};

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
    for bits in 0..8_u8 {
        for parts in [false, true] {
            let lacks = Lacks {
                conditions: bits & 1 > 0,
                whole_checksums: bits & 2 > 0,
                right_checksums: bits & 4 > 0,
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
            assert!(stored <= if lacks.conditions { 4 } else { 7 }, "{lacks:?}, in parts: {parts}: {stored}");
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
    assert_eq!(probed, 2, "one object for puts and one for uploads, however often it is asked");
}
