//! A small channel under much traffic: slow partitions beside fast ones, and a store that is away.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::{Channel, MemoryChannel, Options};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::event;
use ingest_agent::sink::s3::{FailPoints, RetryConfig, RollConfig, S3SinkConfig};
use object_format::Codec;

use super::rig::{Open, Running, append, audit, config, objects, start, store, until};

const CAPACITY: u64 = 8 << 20;

fn small() -> Options {
    Options { segment_bytes: 1 << 18, capacity_bytes: CAPACITY, ..Open::options() }
}

/// Objects are sealed when they are large, never by their age.
fn partitioned() -> S3SinkConfig {
    let mut config = config("%{p}");
    config.roll =
        RollConfig { bytes: Some(1 << 20), uncompressed_bytes: None, events: None, age: None, idle: None };
    config.codec = Codec::Zstd(1);
    config.journal_bytes = 16 << 20;
    config.max_open_partitions = 4096;
    config.retain_high_bytes = CAPACITY / 2;
    config.put_limit_bytes = 16 << 20;
    // Whatever ends together is recorded with one sync.
    config.upload_concurrency = 64;
    config
}

fn every_other_put_fails() -> FaultPlan {
    let faults = [Some(Fault::Before(ErrorKind::Server)), None].into_iter().cycle().take(100_000);
    FaultPlan::default().script(Operation::Put, faults)
}

fn connection_lost() -> FaultPlan {
    let lost = std::iter::repeat_n(Some(Fault::Before(ErrorKind::Connection)), 1_000_000);
    FaultPlan::default().script(Operation::Put, lost)
}

#[tokio::test]
async fn one_event_of_a_slow_partition_beside_many_fast_ones_never_makes_the_channel_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::of(dir.path(), small(), &["s3"]).await;
    let running = open.start(partitioned(), &store, FailPoints::default());
    open.append([("slow", "the only one of its kind".to_owned())]).await;
    // More than the channel holds, over 2,000 partitions.
    let mut appended = 1;
    while appended < CAPACITY * 3 / 2 / 600 {
        let names: Vec<String> = (0..45).map(|event| format!("fast-{}", (appended + event) % 2000)).collect();
        let body = |event: usize| format!("{appended} {event} {}", "#".repeat(580));
        open.append(names.iter().enumerate().map(|(event, name)| (name.as_str(), body(event)))).await;
        appended += 45;
        // As fast as the sink goes, and no faster: whatever is refused then is pinned.
        until(|| open.channel.channel().stats().used_bytes < CAPACITY * 7 / 8).await;
    }
    let stats = open.channel.channel().stats();
    assert_eq!((stats.refused_full, stats.refused_disk), (0, 0));
    running.flush().await;
    running.stop().await.unwrap();
    let lines = audit(&objects(&store).await);
    assert_eq!((lines.len() as u64, lines.values().max()), (appended, Some(&1)));
    open.close();
}

#[tokio::test(start_paused = true)]
async fn a_partition_a_thousand_times_slower_than_the_rest_is_shipped_by_its_age() {
    let memory = MemoryChannel::new(100_000, 5000, 64 << 20).unwrap();
    let channel = ChannelHandle::new("main", Arc::new(memory) as Arc<dyn Channel>, 1 << 20);
    let store = store();
    let mut config = partitioned();
    config.roll.age = Some(Duration::from_secs(60));
    config.roll.events = Some(500);
    let running = start(&channel, config, &store, FailPoints::default());
    let mut slow = 0;
    for second in 0..200 {
        append(&channel, (0..100).map(|event| ("fast", format!("{second} {event}")))).await;
        if second % 10 == 0 {
            append(&channel, [("slow", format!("slow {second}"))]).await;
            slow += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 70 {
            let found = objects(&store).await;
            let first = found.iter().find(|found| found.key.contains("/slow/")).expect("sealed by its age");
            // One every ten seconds for sixty of them.
            assert!((6..=7).contains(&first.lines.len()), "{:?}", first.lines);
        }
    }
    running.stop().await.unwrap();
    let lines = audit(&objects(&store).await);
    assert_eq!(lines.len(), 200 * 100 + slow);
}

/// Offers event `number` of each of so many partitions, and does not wait for its sync; whether it was taken.
fn offer(open: &Open, number: u64, partitions: u64, bytes: usize) -> bool {
    let mut batch = open.channel.batch();
    for partition in 0..partitions {
        let (name, body) = (partition.to_string(), format!("{number} {partition:bytes$}"));
        batch.push(|buf| event::encode(buf, None, Some(("p", &*name)), body.as_bytes()));
    }
    open.channel.channel().append(batch).is_ok()
}

/// Ships all that was offered.
async fn ship(open: &Open, running: Running) {
    // A flush covers what is synced.
    until(|| open.channel.synced_end() == open.channel.channel().stats().next).await;
    running.flush().await;
    running.stop().await.unwrap();
}

/// Appends until the channel refuses, and returns what it took.
async fn fill(open: &Open, from: usize) -> usize {
    for round in from.. {
        let mut batch = open.channel.batch();
        for index in 0..20 {
            let body = format!("{round} {index} {}", "#".repeat(1000));
            batch.push(|buf| event::encode(buf, None, Some(("p", ["x", "y"][index % 2])), body.as_bytes()));
        }
        if open.channel.append(batch).await.is_err() {
            return round;
        }
    }
    unreachable!("it has a capacity")
}

#[tokio::test]
async fn a_store_that_is_away_costs_no_event_before_the_channel_is_full_and_shipping_resumes_by_itself() {
    for away_from_the_start in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let open = Open::of(dir.path(), small(), &["s3"]).await;
        let mut config = partitioned();
        config.codec = Codec::None;
        config.roll.bytes = Some(100_000);
        config.staging_bytes = 1 << 20;
        let running = if away_from_the_start {
            store.set_plan(connection_lost());
            open.start(config, &store, FailPoints::default())
        } else {
            let running = open.start(config, &store, FailPoints::default());
            running.flush().await;
            store.set_plan(connection_lost());
            running
        };
        let taken = fill(&open, 0).await;
        let stats = open.channel.channel().stats();
        assert!(stats.used_bytes > CAPACITY - (1 << 18), "{} bytes are held", stats.used_bytes);
        until(|| running.metrics.retries.get() > 5).await;
        let staged = running.metrics.staging_bytes.get();
        // One turn of reading may go beyond the limit.
        assert!(staged <= 3 << 20, "{staged} bytes are staged");
        assert_eq!(running.metrics.cuts_sealed.get() == 0, away_from_the_start, "I3: no claim, no cut");

        store.set_plan(FaultPlan::default());
        until(|| open.channel.channel().stats().used_bytes < CAPACITY / 2).await;
        open.append([("x", "taken again".to_owned())]).await;
        running.flush().await;
        running.stop().await.unwrap();
        let lines = audit(&objects(&store).await);
        assert_eq!((lines.len(), lines.values().max()), (taken * 20 + 1, Some(&1)));
        open.close();
    }
}

#[tokio::test]
async fn a_backlog_that_fills_the_channel_is_shipped_in_objects_as_large_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::of(dir.path(), small(), &["s3"]).await;
    let taken = fill(&open, 0).await;
    let mut config = partitioned();
    config.codec = Codec::None;
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let found = objects(&store).await;
    assert_eq!(audit(&found).len(), taken * 20);
    // Of a mebibyte each, and the rest of both partitions.
    assert!(found.len() as u64 <= CAPACITY / (1 << 20) + 2, "{} objects", found.len());
    open.close();
}

#[tokio::test]
async fn a_sink_that_is_slower_than_its_producers_still_makes_large_objects() {
    const PARTITIONS: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::of(dir.path(), small(), &["s3"]).await;
    let mut config = partitioned();
    config.roll.bytes = None;
    let running = open.start(config, &store, FailPoints::default());
    let mut taken = 0;
    while taken * PARTITIONS * 1000 < 4 * CAPACITY {
        // It waits for nothing but room.
        if offer(&open, taken, PARTITIONS, 1000) {
            taken += 1;
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert!(open.channel.channel().stats().refused_full > 0);
    ship(&open, running).await;
    let found = objects(&store).await;
    // Every partition is sealed once for each quarter of the channel that went through, and at the end.
    assert!(found.len() as u64 <= (4 * 4 + 2) * PARTITIONS, "{} objects", found.len());
    assert_eq!(audit(&found).len() as u64, taken * PARTITIONS);
    open.close();
}

#[tokio::test]
async fn a_store_that_is_slow_gets_large_objects_though_the_journal_bounds_what_waits() {
    const PARTITIONS: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::of(dir.path(), Open::options(), &["s3"]).await;
    for number in 0..10_000 {
        assert!(offer(&open, number, PARTITIONS, 150));
    }
    let mut config = partitioned();
    config.roll.bytes = None;
    config.retain_high_bytes = u64::MAX;
    // An eighth of it holds the positions of some 65,000 events.
    config.journal_bytes = 1 << 20;
    config.upload_concurrency = 1;
    config.retry = RetryConfig { base: Duration::from_millis(20), max: Duration::from_millis(20) };
    store.set_plan(every_other_put_fails());
    let running = open.start(config, &store, FailPoints::default());
    ship(&open, running).await;
    let found = objects(&store).await;
    assert_eq!(audit(&found).len() as u64, 10_000 * PARTITIONS);
    assert!(found.len() as u64 <= 6 * PARTITIONS, "{} objects", found.len());
    open.close();
}
