//! Cuts that are on their way together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::{Channel, MemoryChannel};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig};

use super::rig::{Open, append, audit, config, objects, start, store, until};

/// Every event is a cut.
fn one_by_one() -> S3SinkConfig {
    let mut config = config("%{p}");
    config.roll.events = Some(1);
    config
}

fn events(count: usize) -> impl Iterator<Item = (&'static str, String)> {
    (0..count).map(|index| ("p", format!("event {index}")))
}

#[tokio::test]
async fn a_put_that_never_returns_holds_back_no_other_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let running = open.start(one_by_one(), &store, FailPoints::default());
    running.flush().await;
    store.set_plan(FaultPlan::default().script(Operation::Put, [Some(Fault::Hang), None]));
    open.append(events(2)).await;
    until(|| running.metrics.totals().shipped == 1).await;
    running.crash().await;
}

#[tokio::test(start_paused = true)]
async fn cuts_that_end_shortly_after_one_another_are_recorded_together() {
    const CUTS: usize = 200;
    let memory = MemoryChannel::new(100_000, 5000, 64 << 20).unwrap();
    let channel = ChannelHandle::new("main", Arc::new(memory) as Arc<dyn Channel>, 1 << 20);
    let store = store();
    // Each is put again after a pause of its own, so that they end one by one.
    let faults = [Some(Fault::Before(ErrorKind::Server)), None].into_iter().cycle().take(10 * CUTS);
    store.set_plan(FaultPlan::default().script(Operation::Put, faults));
    let recorded = Arc::new(AtomicUsize::new(0));
    let points = FailPoints::new({
        let recorded = Arc::clone(&recorded);
        move |name| {
            recorded.fetch_add(usize::from(name == "before_done"), Ordering::SeqCst);
            false
        }
    });
    let running = start(&channel, one_by_one(), &store, points);
    append(&channel, events(CUTS)).await;
    running.flush().await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), CUTS);
    let recorded = recorded.load(Ordering::SeqCst);
    assert!(recorded <= CUTS / 4, "{recorded} syncs for {CUTS} cuts");
}
