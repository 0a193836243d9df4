//! Dead letters of both kinds: events that cannot go where they belong, and cuts that the store never takes.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use contract::CutKind;
use durable_channel::{Channel, MemoryChannel};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::sink::s3::dead::{DeadCuts, DeadError};
use ingest_agent::sink::s3::{FailPoints, Unresolved};
use object_format::Codec;

use super::rig::{Open, append, audit, config, objects, sink_name, start, store, until};

#[tokio::test]
async fn events_that_cannot_go_where_they_belong_are_an_object_that_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let long = "k".repeat(1100);
    open.append([
        ("x", "fine".to_owned()),
        ("x", "too large ".repeat(20)),
        ("", "no partition".to_owned()),
        (&long, "key too long".to_owned()),
        ("x", "fine too".to_owned()),
    ])
    .await;
    let mut config = config("%{p}");
    config.max_event_bytes = 100;
    config.unresolved = Unresolved::DeadLetter;
    // Also in parts: dead letters are read from the channel again, like any other.
    (config.put_limit_bytes, config.part_bytes) = (200, 150);
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    let totals = running.metrics.totals();
    assert_eq!((totals.settled, totals.shipped, totals.dead_lettered), (5, 2, 3), "I9");
    running.stop().await.unwrap();

    let objects = objects(&store).await;
    assert_eq!(audit(&objects).into_keys().collect::<Vec<_>>(), ["fine", "fine too"]);
    let dead = objects.iter().find(|found| found.metadata.kind == CutKind::Dead).unwrap();
    assert!(dead.key.starts_with("logs/_dead/"), "{}", dead.key);
    assert_eq!(dead.metadata.set_aside, 3);
    let told: Vec<_> = dead
        .lines
        .iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (line["position"].as_u64().unwrap(), text(&line["reason"]), text(&line["event"]["body"]))
        })
        .collect();
    let expected = [
        (1, "too_large", "too large ".repeat(20)),
        (2, "unresolved", "no partition".to_owned()),
        (3, "key_too_long", "key too long".to_owned()),
    ];
    assert_eq!(told, expected.map(|(position, reason, body)| (position, reason.to_owned(), body)));
    open.close();
}

#[tokio::test]
async fn a_cut_that_the_store_never_takes_is_kept_until_it_is_replayed_or_dropped() {
    for streamed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let open = Open::at(dir.path()).await;
        open.append((0..30).map(|index| ("x", format!("event {index}")))).await;
        let mut config = config(if streamed { "" } else { "%{p}" });
        config.roll.events = Some(10);
        config.control_prefix = None;
        config.upload_concurrency = 1;
        let never = Some(Fault::Before(ErrorKind::NeverValid));
        store.set_plan(FaultPlan::default().script(Operation::Put, [never, never, None]));
        let running = open.start(config.clone(), &store, FailPoints::default());
        running.flush().await;
        let totals = running.metrics.totals();
        assert_eq!((totals.settled, totals.shipped, totals.dead_lettered), (30, 10, 20), "I9");
        assert_eq!(running.metrics.cuts_dead.get(), 2);
        assert_eq!(open.channel.channel().readers()[0].released, 30, "a dead cut holds nothing back");
        assert!(matches!(DeadCuts::open(dir.path(), &sink_name()), Err(DeadError::Open(_))), "an agent runs");
        running.stop().await.unwrap();
        open.close();

        let mut dead = DeadCuts::open(dir.path(), &sink_name()).unwrap();
        let listed = dead.list();
        let numbers: Vec<_> = listed.iter().map(|cut| (cut.number, cut.events)).collect();
        assert_eq!(numbers, [(1, 10), (2, 10)]);
        assert!(listed[0].reason.contains("EntityTooLarge"), "{}", listed[0].reason);
        assert_eq!(std::fs::metadata(&listed[0].file).unwrap().len(), listed[0].bytes);
        assert!(matches!(dead.replay(3), Err(DeadError::NoCut(3))));
        dead.replay(1).unwrap();
        dead.drop_cut(2).unwrap();
        assert!(!listed[1].file.exists());
        dead.close().unwrap();

        let open = Open::at(dir.path()).await;
        let running = open.start(config, &store, FailPoints::default());
        running.flush().await;
        let totals = running.metrics.totals();
        assert_eq!((totals.settled, totals.shipped, totals.dead_lettered), (30, 20, 10), "I9");
        running.stop().await.unwrap();
        let found = objects(&store).await;
        assert_eq!(found.iter().map(|found| found.metadata.cut.number).collect::<Vec<_>>(), [1, 3]);
        assert!(!listed[0].file.exists(), "shipped, so not kept any more");
        open.close();
    }
}

#[tokio::test]
async fn a_replayed_cut_that_is_refused_again_keeps_its_bytes_until_it_is_stored() {
    for streamed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let mut config = config(if streamed { "" } else { "%{p}" });
        config.control_prefix = None;
        let open = Open::at(dir.path()).await;
        open.append((0..10).map(|index| ("x", format!("event {index}")))).await;
        open.close();
        let never = Some(Fault::Before(ErrorKind::NeverValid));
        store.set_plan(FaultPlan::default().script(Operation::Put, [never, never, None]));
        for (shipped, dead_lettered) in [(0, 10), (0, 10), (10, 0)] {
            let open = Open::at(dir.path()).await;
            let running = open.start(config.clone(), &store, FailPoints::default());
            running.flush().await;
            let totals = running.metrics.totals();
            assert_eq!((totals.shipped, totals.dead_lettered), (shipped, dead_lettered), "I9");
            running.stop().await.unwrap();
            open.close();
            let mut dead = DeadCuts::open(dir.path(), &sink_name()).unwrap();
            for cut in dead.list() {
                assert_eq!(std::fs::metadata(&cut.file).unwrap().len(), cut.bytes, "I6");
                dead.replay(cut.number).unwrap();
            }
            dead.close().unwrap();
        }
        assert_eq!(audit(&objects(&store).await).len(), 10);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_without_room_for_a_dead_cut_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append((0..10).map(|index| ("x", format!("event {index}")))).await;
    let mut config = config("");
    config.control_prefix = None;
    let never = Some(Fault::Before(ErrorKind::NeverValid));
    store.set_plan(FaultPlan::default().script(Operation::Put, [never, never]));
    let running = open.start(config, &store, FailPoints::default());
    let kept = dir.path().join("readers/s3/dead");
    std::fs::create_dir_all(&kept).unwrap();
    // The first try meets a device that is always full.
    std::os::unix::fs::symlink("/dev/full", kept.join("000000000001.tmp")).unwrap();
    running.flush().await;
    assert_eq!(running.metrics.totals().dead_lettered, 10, "I9");
    assert_eq!(running.metrics.retries.get(), 1);
    running.stop().await.unwrap();
    open.close();
    let names: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["000000000001.object"]);
}

#[tokio::test]
async fn a_dead_cut_pins_no_staging_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append((0..20).map(|index| ("x", format!("event {index}")))).await;
    let mut config = config("%{p}");
    config.roll.events = Some(10);
    config.control_prefix = None;
    config.upload_concurrency = 1;
    // Both cuts lie in one file; the first is set aside, and the second waits.
    let faults =
        std::iter::once(ErrorKind::NeverValid).chain(std::iter::repeat_n(ErrorKind::Server, 100_000));
    let faults = faults.map(|kind| Some(Fault::Before(kind)));
    store.set_plan(FaultPlan::default().script(Operation::Put, faults));
    let running = open.start(config.clone(), &store, FailPoints::default());
    until(|| running.metrics.cuts_dead.get() == 1).await;
    running.crash().await;
    open.close();

    store.set_plan(FaultPlan::default());
    let open = Open::at(dir.path()).await;
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    until(|| running.metrics.staging_bytes.get() == 0).await;
    assert_eq!(running.metrics.cuts_dead.get(), 1);
    running.stop().await.unwrap();
    let mut files = std::fs::read_dir(dir.path().join("readers/s3")).unwrap();
    assert!(!files.any(|file| file.unwrap().file_name().to_string_lossy().starts_with("staging-")));
    open.close();
}

#[tokio::test]
async fn a_memory_channel_gives_up_what_is_refused_for_good_and_ships_the_rest() {
    let store = store();
    let memory = MemoryChannel::new(100, 50, 1 << 20).unwrap();
    let channel = ChannelHandle::new("main", Arc::new(memory) as Arc<dyn Channel>, 1 << 20);
    for template in ["", "%{p}"] {
        let mut config = config(template);
        config.roll.events = Some(10);
        config.upload_concurrency = 1;
        store.set_plan(
            FaultPlan::default().script(Operation::Put, [Some(Fault::Before(ErrorKind::NeverValid)), None]),
        );
        let running = start(&channel, config, &store, FailPoints::default());
        append(&channel, (0..20).map(|index| ("x", format!("event {template} {index}")))).await;
        running.flush().await;
        let totals = running.metrics.totals();
        assert_eq!((totals.settled, totals.shipped, totals.dead_lettered), (20, 10, 10), "I9");
        assert_eq!((running.metrics.cuts_dead.get(), running.metrics.staging_bytes.get()), (0, 0));
        running.stop().await.unwrap();
    }
    let lines: Vec<_> = objects(&store).await.into_iter().flat_map(|found| found.lines).collect();
    assert_eq!(lines.len(), 20);
}

#[tokio::test]
async fn kept_bytes_that_are_lost_after_the_channel_let_go_are_counted_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let mut config = config("%{p}");
    config.control_prefix = None;
    config.codec = Codec::Zstd(1);
    config.upload_concurrency = 1;
    config.roll.events = Some(10);
    let open = Open::at(dir.path()).await;
    store.set_plan(
        FaultPlan::default().script(Operation::Put, [Some(Fault::Before(ErrorKind::NeverValid)), None]),
    );
    let running = open.start(config.clone(), &store, FailPoints::default());
    open.append((0..10).map(|index| ("x", format!("dead {index}")))).await;
    running.flush().await;
    // Until the segment with the dead events is deleted.
    let mut count = 0;
    while open.channel.channel().stats().first < 10 {
        open.append((0..10).map(|index| ("x", format!("{count} {index} {}", "#".repeat(1000))))).await;
        running.flush().await;
        count += 10;
    }
    running.stop().await.unwrap();
    open.close();
    let mut dead = DeadCuts::open(dir.path(), &sink_name()).unwrap();
    std::fs::remove_file(&dead.list()[0].file).unwrap();
    dead.replay(1).unwrap();
    dead.close().unwrap();

    for _ in 0..2 {
        let open = Open::at(dir.path()).await;
        let running = open.start(config.clone(), &store, FailPoints::default());
        running.flush().await;
        let totals = running.metrics.totals();
        let found = (totals.settled, totals.shipped, totals.dead_lettered, totals.damaged);
        assert_eq!(found, (10 + count, count, 0, 10), "I9");
        running.stop().await.unwrap();
        open.close();
    }
    let objects = objects(&store).await;
    assert_eq!((objects[0].metadata.events, objects[0].lines.len()), (0, 0), "its number is not missing");
}

#[tokio::test]
async fn a_cut_that_is_stored_later_than_the_horizon_is_counted() {
    for (horizon, late) in [(Duration::from_secs(3600), 0), (Duration::ZERO, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let mut config = config("");
        config.retry_horizon = horizon;
        let open = Open::at(dir.path()).await;
        open.append((0..10).map(|index| ("x", format!("event {index}")))).await;
        // Stored, and the answer lost; and then it expires.
        let points = FailPoints::new(|name| name == "after_put");
        let running = open.start(config.clone(), &store, points);
        running.flush_or_end().await;
        assert!(running.metrics.oldest_pending.get() > 0);
        running.crash().await;
        let expired = super::rig::store();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let running = open.start(config, &expired, FailPoints::default());
        running.flush().await;
        assert_eq!((running.metrics.cuts_late.get(), running.metrics.oldest_pending.get()), (late, 0));
        running.stop().await.unwrap();
        assert_eq!(audit(&objects(&expired).await).len(), 10, "stored all the same: nothing is lost");
        open.close();
    }
}
