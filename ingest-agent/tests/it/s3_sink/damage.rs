//! Damage of the channel: before a cut held the events, and after.

use std::path::Path;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use ingest_agent::sink::s3::FailPoints;

use super::rig::{Open, Store, audit, config, objects, store, until};

/// Flips a byte of the body that holds `text`, in the oldest segment.
fn damage(dir: &Path, text: &str) {
    let mut segments: Vec<_> =
        std::fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    for path in segments {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
            return;
        }
    }
    panic!("{text} is in no segment");
}

async fn three_batches(open: &Open) {
    for batch in ["first", "second", "third"] {
        open.append((0..10).map(|index| ("", format!("{batch} {index}")))).await;
    }
}

async fn flush_and_count(dir: &Path, store: &Store) -> (u64, u64, u64) {
    let open = Open::at(dir).await;
    let running = open.start(config(""), store, FailPoints::default());
    running.flush().await;
    let totals = running.metrics.totals();
    running.stop().await.unwrap();
    open.close();
    (totals.settled, totals.shipped, totals.damaged)
}

#[tokio::test]
async fn events_lost_before_a_cut_held_them_are_counted_and_the_rest_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    three_batches(&open).await;
    open.close();
    damage(dir.path(), "second 3");
    assert_eq!(flush_and_count(dir.path(), &store).await, (30, 20, 10), "I9");
    let objects = objects(&store).await;
    assert_eq!(audit(&objects).len(), 20);
    assert_eq!(objects.last().unwrap().metadata.total_damaged, 10);
}

#[tokio::test]
async fn events_lost_after_their_cut_was_sealed_are_missing_from_a_new_attempt_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    three_batches(&open).await;
    let mut sealed = config("");
    sealed.roll.events = Some(30);
    sealed.control_prefix = None;
    store.set_plan(
        FaultPlan::default()
            .script(Operation::Put, std::iter::repeat_n(Some(Fault::Before(ErrorKind::Server)), 100_000)),
    );
    let running = open.start(sealed, &store, FailPoints::default());
    until(|| running.metrics.cuts_sealed.get() == 1).await;
    running.crash().await;
    open.close();
    damage(dir.path(), "second 3");
    store.set_plan(FaultPlan::default());
    assert_eq!(flush_and_count(dir.path(), &store).await, (30, 20, 10), "I9");
    let objects = objects(&store).await;
    assert_eq!((objects.len(), objects[0].metadata.events, objects[0].lines.len()), (1, 20, 20));
}
