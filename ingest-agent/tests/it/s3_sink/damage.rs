//! Damage of the channel: before a cut held the events, and after.

use std::path::Path;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use ingest_agent::sink::s3::FailPoints;
use ingest_agent::sink::s3::dead::DeadCuts;

use super::rig::{Open, Store, audit, config, objects, sink_name, store, until};

/// Flips a byte of the body that holds `text`, in the oldest segment.
pub(super) fn damage(dir: &Path, text: &str) {
    flip(&dir.join("segments"), text);
}

/// Flips a byte of `text` in the first file of `dir` that holds it.
fn flip(dir: &Path, text: &str) {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.into_iter().filter(|path| path.is_file()) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
            return;
        }
    }
    panic!("{text} is in no file");
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

#[tokio::test]
async fn only_bytes_that_are_those_of_the_cut_are_kept_when_it_is_set_aside() {
    for streamed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let open = Open::at(dir.path()).await;
        three_batches(&open).await;
        let mut config = config(if streamed { "" } else { "%{p}" });
        config.roll.events = Some(30);
        config.control_prefix = None;
        let puts = |kind| {
            let refused = std::iter::repeat_n(Some(Fault::Before(kind)), 100_000);
            store.set_plan(FaultPlan::default().script(Operation::Put, refused));
        };
        puts(ErrorKind::Server);
        let running = open.start(config.clone(), &store, FailPoints::default());
        until(|| running.metrics.cuts_sealed.get() == 1).await;
        running.crash().await;
        open.close();
        flip(&dir.path().join(if streamed { "segments" } else { "readers/s3" }), "second 3");

        puts(ErrorKind::NeverValid);
        let open = Open::at(dir.path()).await;
        let running = open.start(config.clone(), &store, FailPoints::default());
        running.flush().await;
        let totals = running.metrics.totals();
        let left = if streamed { 20 } else { 30 };
        assert_eq!((totals.dead_lettered, totals.damaged), (left, 30 - left), "I9");
        running.stop().await.unwrap();
        open.close();
        let mut dead = DeadCuts::open(dir.path(), &sink_name()).unwrap();
        let kept = std::fs::read_to_string(&dead.list()[0].file).unwrap();
        assert_eq!((kept.lines().count() as u64, kept.contains("second 3")), (left, !streamed), "I6");
        dead.replay(1).unwrap();
        dead.close().unwrap();

        store.set_plan(FaultPlan::default());
        let open = Open::at(dir.path()).await;
        let running = open.start(config, &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        open.close();
        assert_eq!(objects(&store).await[0].lines.len() as u64, left);
    }
}
