//! I9 step by step: where each accepted event is, over dead letters of both kinds, damage and restarts.

use std::time::{SystemTime, UNIX_EPOCH};

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use contract::CutKind;
use ingest_agent::sink::s3::dead::DeadCuts;
use ingest_agent::sink::s3::{FailPoints, RollConfig, S3SinkConfig};

use super::damage::damage;
use super::rig::{Open, Running, config, objects, sink_name, store, until};

/// In the channel, shipped, dead-lettered, damaged; together they are what was accepted.
fn balance(running: &Running) -> [u64; 4] {
    let totals = running.metrics.totals();
    let accepted = running.channel.synced_end() - totals.origin;
    let parts = [accepted - totals.settled, totals.shipped, totals.dead_lettered, totals.damaged];
    assert_eq!(parts.iter().sum::<u64>(), accepted, "I9 {parts:?}");
    parts
}

fn batch(name: &str, count: usize) -> Vec<(&'static str, String)> {
    (0..count).map(|index| ("", format!("{name} {index}"))).collect()
}

/// Every put is answered so.
fn refused(kind: ErrorKind) -> FaultPlan {
    FaultPlan::default().script(Operation::Put, std::iter::repeat_n(Some(Fault::Before(kind)), 100_000))
}

#[tokio::test]
async fn i9_adds_up_after_each_step_over_dead_letters_damage_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let mut config = S3SinkConfig { control_prefix: None, max_event_bytes: 100, ..config("") };
    config.roll.events = Some(10);
    let start = |open: &Open| open.start(config.clone(), &store, FailPoints::default());
    let open = Open::at(dir.path()).await;
    let running = start(&open);
    assert_eq!(balance(&running), [0, 0, 0, 0]);
    open.append(batch("shipped", 10)).await;
    until(|| balance(&running) == [0, 10, 0, 0]).await;
    open.append(batch("open", 4)).await;
    until(|| running.metrics.open_partitions.get() == 1).await;
    assert_eq!(balance(&running), [4, 10, 0, 0], "read, and still in the channel");
    open.append([("", "too large ".repeat(20))]).await;
    running.flush().await;
    assert_eq!(balance(&running), [0, 14, 1, 0], "one event is a dead letter");

    store.set_plan(refused(ErrorKind::Server));
    open.append(batch("refused", 10)).await;
    until(|| running.metrics.cuts_pending.get() == 1).await;
    assert_eq!(balance(&running), [10, 14, 1, 0], "sealed, and still in the channel");
    running.crash().await;
    open.close();
    store.set_plan(refused(ErrorKind::NeverValid));
    let open = Open::at(dir.path()).await;
    let running = start(&open);
    until(|| balance(&running) == [0, 14, 11, 0]).await;

    store.set_plan(refused(ErrorKind::Server));
    for (name, count) in [("sealed one", 5), ("sealed two", 5), ("unsealed", 3), ("after", 2)] {
        open.append(batch(name, count)).await;
    }
    until(|| running.metrics.cuts_pending.get() == 1).await;
    assert_eq!(balance(&running), [15, 14, 11, 0]);
    running.crash().await;
    open.close();
    damage(dir.path(), "sealed one 2");
    damage(dir.path(), "unsealed 1");
    store.set_plan(FaultPlan::default());
    let open = Open::at(dir.path()).await;
    let running = start(&open);
    running.flush().await;
    assert_eq!(balance(&running), [0, 21, 11, 8], "a frame of a sealed cut, and one that no cut held");
    running.stop().await.unwrap();
    open.close();

    let mut dead = DeadCuts::open(dir.path(), &sink_name()).unwrap();
    let number = dead.list()[0].number;
    dead.replay(number).unwrap();
    dead.close().unwrap();
    store.set_plan(refused(ErrorKind::Server));
    let open = Open::at(dir.path()).await;
    let running = start(&open);
    // Replayed, it is in the channel again.
    until(|| balance(&running) == [10, 21, 1, 8]).await;
    store.set_plan(FaultPlan::default());
    running.flush().await;
    assert_eq!(balance(&running), [0, 31, 1, 8]);
    running.stop().await.unwrap();
    open.close();
    let stored = objects(&store).await.into_iter().filter(|found| found.metadata.kind == CutKind::Events);
    assert_eq!(stored.map(|found| found.lines.len()).sum::<usize>(), 31, "and that is what the bucket holds");
}

#[tokio::test]
async fn the_age_of_the_oldest_unshipped_event_counts_from_its_arrival_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let config = S3SinkConfig { roll: RollConfig { events: Some(1), ..config("").roll }, ..config("") };
    let now_ms = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap()
    };
    let open = Open::at(dir.path()).await;
    let running = open.start(config.clone(), &store, FailPoints::default());
    open.append(batch("shipped", 1)).await;
    running.flush().await;
    until(|| running.metrics.oldest_unshipped_ms.get() == 0).await;

    store.set_plan(refused(ErrorKind::Server));
    let before = now_ms();
    open.append(batch("first", 1)).await;
    let arrived = before..=now_ms();
    open.append(batch("later", 3)).await;
    until(|| running.metrics.cuts_pending.get() == 4).await;
    assert!(arrived.contains(&running.metrics.oldest_unshipped_ms.get()), "sealed, and not in the store");
    running.crash().await;
    open.close();

    // Not even the claim gets through.
    let open = Open::at(dir.path()).await;
    let running = open.start(config, &store, FailPoints::default());
    until(|| running.metrics.retries.get() > 0).await;
    assert!(arrived.contains(&running.metrics.oldest_unshipped_ms.get()), "a restart makes nothing younger");
    store.set_plan(FaultPlan::default());
    running.flush().await;
    until(|| running.metrics.oldest_unshipped_ms.get() == 0).await;
    running.stop().await.unwrap();
}
