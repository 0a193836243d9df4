//! When objects are sealed, and what their keys and forms are.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::{Channel, MemoryChannel};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::sink::s3::{FailPoints, RollConfig, S3SinkConfig};
use object_format::Codec;
use tokio::time::Instant;

use super::rig::{Found, Open, append, audit, config, objects, start, store, until};

const NEVER: RollConfig =
    RollConfig { bytes: None, uncompressed_bytes: None, events: None, age: None, idle: None };

/// Ships `bodies` with `config` and returns the objects.
async fn shipped(config: S3SinkConfig, bodies: &[(&str, String)]) -> Vec<Found> {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    for batch in bodies.chunks(50) {
        open.append(batch.iter().cloned()).await;
    }
    let running = open.start(config, &store, FailPoints::default());
    let report = running.flush().await;
    running.stop().await.unwrap();
    let objects = objects(&store).await;
    let lines = audit(&objects);
    assert_eq!(lines.values().sum::<usize>(), bodies.len());
    let mut keys: Vec<_> = objects.iter().map(|found| found.key.clone()).collect();
    let mut told = report.keys;
    assert!(told.len() <= keys.len());
    keys.sort();
    told.sort();
    assert!(told.iter().all(|key| keys.binary_search(key).is_ok()), "a flush tells keys that are there");
    open.close();
    objects
}

/// A channel whose appends are readable at once, so that a paused clock has nothing to wait for.
fn in_memory() -> ChannelHandle {
    let memory = MemoryChannel::new(100, 50, 1 << 20).unwrap();
    ChannelHandle::new("main", Arc::new(memory) as Arc<dyn Channel>, 1 << 20)
}

fn lines(count: usize) -> Vec<(&'static str, String)> {
    (0..count).map(|index| (["x", "y"][index % 2], format!("{index} {}", "#".repeat(index % 90)))).collect()
}

#[tokio::test]
async fn no_object_exceeds_its_size_but_by_an_event_that_alone_is_larger() {
    for template in ["", "%{p}"] {
        let mut bodies = lines(500);
        bodies.insert(250, ("x", "large".repeat(400)));
        let mut config = config(template);
        config.roll = RollConfig { bytes: Some(1000), ..NEVER };
        let found = shipped(config, &bodies).await;
        assert!(found.iter().all(|found| found.bytes <= 1000 || found.lines.len() == 1));
        assert!(found.iter().filter(|found| found.bytes > 900).count() > 10, "and most are nearly full");
    }
}

#[tokio::test]
async fn an_object_is_sealed_at_its_count_and_at_its_uncompressed_size() {
    let mut by_count = config("");
    by_count.roll = RollConfig { events: Some(7), ..NEVER };
    let found = shipped(by_count, &lines(100)).await;
    assert!(found.iter().take(14).all(|found| found.lines.len() == 7));
    assert_eq!(found.last().unwrap().lines.len(), 100 % 7);

    let mut by_size = config("");
    by_size.codec = Codec::Gzip(6);
    by_size.roll = RollConfig { uncompressed_bytes: Some(2000), ..NEVER };
    let found = shipped(by_size, &lines(500)).await;
    let raw = |found: &Found| found.lines.iter().map(|line| line.len() + 1).sum::<usize>();
    assert!(found.len() > 5 && found.iter().all(|found| raw(found) <= 2000));
}

#[tokio::test]
async fn an_object_has_its_partition_its_codec_and_their_types() {
    let mut zstd = config("kind=%{p}");
    zstd.codec = Codec::Zstd(3);
    let found = shipped(zstd, &lines(10)).await;
    assert_eq!(found.len(), 2);
    for (found, partition) in found.iter().zip(["x", "y"]) {
        assert!(found.key.starts_with(&format!("logs/kind={partition}/")), "{}", found.key);
        assert!(found.key.ends_with(".txt.zst"), "{}", found.key);
        assert_eq!(found.content_encoding.as_deref(), Some("zstd"));
        assert_eq!((found.metadata.format.as_str(), found.metadata.codec.as_str()), ("text", "zstd"));
    }
    let found = shipped(config(""), &lines(10)).await;
    assert_eq!((found.len(), found[0].content_encoding.clone()), (1, None));
}

#[tokio::test]
async fn memory_partitions_and_staging_are_bounded_by_sealing_and_spilling() {
    let bodies: Vec<_> = (0..3000)
        .map(|index| (format!("p{}", index % 40), format!("{index} {}", "#".repeat(index % 90))))
        .collect();
    let bodies: Vec<_> = bodies.iter().map(|(partition, body)| (partition.as_str(), body.clone())).collect();
    let mut config = config("%{p}");
    config.codec = Codec::Gzip(1);
    config.roll = NEVER;
    config.staging_memory_bytes = 4000;
    assert_eq!(shipped(config.clone(), &bodies).await.len(), 40, "memory alone costs no object");
    config.max_open_partitions = 10;
    assert!(shipped(config.clone(), &bodies).await.len() > 40);
    config.max_open_partitions = 100;
    config.staging_bytes = 30_000;
    shipped(config, &bodies).await;
}

#[tokio::test(start_paused = true)]
async fn age_seals_an_object_without_traffic() {
    let (store, channel) = (store(), in_memory());
    let mut config = config("");
    config.roll = RollConfig { age: Some(Duration::from_secs(300)), ..NEVER };
    let running = start(&channel, config, &store, FailPoints::default());
    append(&channel, [("", "one".to_owned())]).await;
    until(|| running.metrics.open_partitions.get() == 1).await;
    let opened = Instant::now();
    while running.metrics.objects.get() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(opened.elapsed() < Duration::from_secs(310), "the timer fires by itself");
    }
    assert!(opened.elapsed() >= Duration::from_secs(299), "and not before");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_falls_idle_is_sealed_while_others_go_on() {
    let (store, channel) = (store(), in_memory());
    let mut config = config("%{p}");
    config.roll = RollConfig { idle: Some(Duration::from_secs(60)), ..NEVER };
    let running = start(&channel, config, &store, FailPoints::default());
    append(&channel, [("x", "idle soon".to_owned())]).await;
    for index in 0..20 {
        append(&channel, [("y", format!("busy {index}"))]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let found = objects(&store).await;
    assert_eq!(found.iter().map(|found| found.lines.clone()).collect::<Vec<_>>(), [["idle soon"]]);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn age_counts_on_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let mut config = config("");
    // Everything that arrived before the start is older than this.
    config.roll = RollConfig { age: Some(Duration::from_nanos(1)), ..NEVER };
    open.append([("", "one".to_owned())]).await;
    let running = open.start(config, &store, FailPoints::default());
    until(|| running.metrics.objects.get() == 1).await;
    running.stop().await.unwrap();
    open.close();
}

#[tokio::test]
async fn a_partition_that_pins_a_channel_that_fills_up_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let mut config = config("%{p}");
    config.roll = RollConfig { bytes: Some(100_000), ..NEVER };
    config.retain_high_bytes = 400_000;
    let running = open.start(config, &store, FailPoints::default());
    open.append([("slow", "the only one of its kind".to_owned())]).await;
    for index in 0..400 {
        open.append((0..10).map(|event| ("fast", format!("{index} {event} {}", "#".repeat(300))))).await;
    }
    until(|| open.channel.channel().readers()[0].released > 1000).await;
    let used = open.channel.channel().stats().used_bytes;
    assert!(used < 1_500_000, "{used} bytes are held");
    running.stop().await.unwrap();
    open.close();
}

#[tokio::test]
async fn what_is_open_at_shutdown_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let mut config = config("%{p}");
    config.roll = NEVER;
    let running = open.start(config, &store, FailPoints::default());
    open.append(lines(30)).await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), 30);
    open.close();
}

#[tokio::test]
async fn after_a_restart_a_flush_closes_what_is_open_below_cuts_that_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let mut config = config("%{p}");
    config.roll = RollConfig { events: Some(50), ..NEVER };
    open.append((0..40).map(|index| ("open", format!("open {index}")))).await;
    open.append((0..50).map(|index| ("sealed", format!("sealed {index}")))).await;
    let running = open.start(config.clone(), &store, FailPoints::default());
    until(|| running.metrics.objects.get() == 1).await;
    running.crash().await;
    open.close();

    let open = Open::at(dir.path()).await;
    let running = open.start(config, &store, FailPoints::default());
    assert_eq!(running.flush().await.keys.len(), 1);
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), 90);
    open.close();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_in_its_time_when_the_store_does_not_answer_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append(lines(30)).await;
    let mut config = config("");
    config.control_prefix = None;
    store.set_plan(
        FaultPlan::default()
            .script(Operation::Put, std::iter::repeat_n(Some(Fault::Before(ErrorKind::Server)), 100_000)),
    );
    let running = open.start(config.clone(), &store, FailPoints::default());
    running.stop().await.unwrap();
    assert_eq!(objects(&store).await.len(), 0);
    store.set_plan(FaultPlan::default());
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), 30);
    open.close();
}

#[tokio::test]
async fn a_memory_channel_is_drained_too_and_a_full_one_first_of_all() {
    let store = store();
    let channel = in_memory();
    let mut config = config("%{p}");
    config.roll = NEVER;
    config.codec = Codec::Gzip(1);
    let running = start(&channel, config, &store, FailPoints::default());
    for _ in 0..2 {
        append(&channel, lines(50)).await;
    }
    let mut batch = channel.batch();
    batch.push(|buf| ingest_agent::event::encode_body(buf, b"no room"));
    assert!(channel.append(batch).await.is_err(), "it is full");
    until(|| running.metrics.totals().settled == 100).await;
    append(&channel, [("x", "room again".to_owned())]).await;
    running.flush().await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).values().sum::<usize>(), 101);
}
