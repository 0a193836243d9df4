//! Keys that are kept on a disk: over restarts, within their limits, and when the disk does not do as it should.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use durable_channel::disk::{Disk, OsDisk};
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::channel::keys::{Clock, Limits, system_clock};

use super::super::http::{ask, kind, post};
use super::super::{QUEUE_BYTES, Running, memory_channel, soon, stored};
use super::{answered, is_repeat, lines, open, small, start, stop};

#[tokio::test]
async fn a_key_is_known_after_a_restart_whatever_became_of_its_segment() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let (source, handle) = start(&disk, root.path());
    assert!(!is_repeat(&ask(&source, &lines("early", "one\n")).await));
    // Segments go once the sink is done with them, and the keys in them are logged.
    let sink = handle.channel().reader("sink", durable_channel::Start::Oldest).unwrap();
    let body = "x".repeat(300_000);
    let mut number = 0;
    soon(async {
        while handle.channel().stats().first == 0 {
            number += 1;
            assert!(!is_repeat(&ask(&source, &lines(&format!("k{number}"), &body)).await));
            sink.release(handle.synced_end()).unwrap();
        }
    })
    .await;
    drop(sink);
    assert!(!is_repeat(&ask(&source, &lines("late", "two\n")).await));
    let next = source.channel.stats().next;
    stop(source, handle).await;

    let (source, handle) = start(&disk, root.path());
    for (key, body) in
        [("early", "one\n"), ("k1", &*body), (&format!("k{number}"), &*body), ("late", "two\n")]
    {
        assert!(is_repeat(&ask(&source, &lines(key, body)).await), "{key}");
    }
    assert_eq!(ask(&source, &lines("early", "other")).await.status, 409);
    assert_eq!(source.channel.stats().next, next);
    stop(source, handle).await;
}

#[tokio::test]
async fn a_key_beyond_the_count_or_the_age_is_forgotten_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let ahead_ms = Arc::new(AtomicU64::new(0));
    let clock: Clock = {
        let (ahead_ms, system) = (Arc::clone(&ahead_ms), system_clock());
        Arc::new(move || system() + ahead_ms.load(Ordering::SeqCst))
    };
    let limits = Limits { keys: 3, age: Duration::from_secs(3600) };
    for restarts in [false, true] {
        let dir = root.path().join(restarts.to_string());
        let start = || {
            let (handle, channel) = open(&disk, &dir, limits, &clock);
            (Running::start_with(kind(|_| ()), channel, vec![handle.clone()]), handle)
        };
        let (mut source, mut handle) = start();
        for key in ["a", "b", "c", "d"] {
            assert!(!is_repeat(&ask(&source, &lines(key, key)).await));
        }
        if restarts {
            stop(source, handle).await;
            (source, handle) = start();
        }
        for key in ["b", "c", "d"] {
            assert!(is_repeat(&ask(&source, &lines(key, key)).await), "{key} is among the newest three");
        }
        assert_eq!(handle.keys().stats().known, 3);
        assert!(!is_repeat(&ask(&source, &lines("a", "a")).await), "beyond the count");
        ahead_ms.fetch_add(3_590_000, Ordering::SeqCst);
        assert!(is_repeat(&ask(&source, &lines("d", "d")).await), "within the age");
        if restarts {
            stop(source, handle).await;
            (source, handle) = start();
        }
        ahead_ms.fetch_add(20_000, Ordering::SeqCst);
        assert!(!is_repeat(&ask(&source, &lines("d", "other")).await), "beyond the age");
        assert_eq!(handle.keys().stats().known, 1);
        stop(source, handle).await;
        ahead_ms.store(0, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn with_several_channels_a_repeat_is_appended_only_where_it_is_missing() {
    // One channel forgets with its process, the other does not: after a restart they disagree.
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let start = || {
        let (durable, channel) = open(&disk, root.path(), Limits::default(), &system_clock());
        let memory: Arc<dyn Channel> = Arc::new(memory_channel());
        let handles = vec![ChannelHandle::new("z", Arc::clone(&memory), QUEUE_BYTES), durable.clone()];
        (Running::start_with(kind(|_| ()), channel, handles), durable, memory)
    };
    let (source, durable, _) = start();
    assert!(!is_repeat(&ask(&source, &lines("k", "one\n")).await));
    stop(source, durable).await;

    let (source, durable, memory) = start();
    let answer = ask(&source, &lines("k", "one\n")).await;
    let positions =
        serde_json::json!({ "main": { "first": 0, "count": 1 }, "z": { "first": 0, "count": 1 } });
    assert!(!is_repeat(&answer), "something was stored");
    assert_eq!(answered(&answer)["positions"], positions);
    assert_eq!((stored(&*memory).len(), source.bodies()), (1, vec!["one".to_owned()]));
    assert!(is_repeat(&ask(&source, &lines("k", "one\n")).await));
    assert_eq!((memory.stats().next, source.channel.stats().next), (1, 1));
    stop(source, durable).await;
}

#[tokio::test]
async fn a_channel_whose_senders_use_no_keys_has_nothing_of_them() {
    let disk = SimDisk::new();
    let dir = Path::new("/state/channel");
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (source, handle) = start(&shared, dir);
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"x")).await.status, 200);
    assert!(handle.channel().readers().is_empty());
    assert!(!disk.files().iter().any(|file| file.ends_with("keys")));
    assert_eq!(ask(&source, &lines("k", "x")).await.status, 200);
    assert_eq!(handle.channel().readers()[0].name, "_keys");
    assert!(disk.files().contains(&dir.join("readers/_keys/keys")));
    stop(source, handle).await;
}

#[tokio::test]
async fn retiring_the_keys_gives_them_up_and_the_next_key_starts_anew() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    for (reader, stored_before) in [("_keys", 0), ("_keys2", 1), ("_keys3", 2)] {
        let (source, handle) = start(&disk, root.path());
        assert!(!is_repeat(&ask(&source, &lines("k", "x")).await), "{reader}");
        assert!(is_repeat(&ask(&source, &lines("k", "x")).await), "{reader}");
        assert_eq!(source.channel.stats().next, stored_before + 1);
        let readers = handle.channel().readers();
        assert_eq!(readers.iter().map(|reader| &*reader.name).collect::<Vec<_>>(), [reader]);
        stop(source, handle).await;
        let (channel, _) = DurableChannel::open_on(Arc::clone(&disk), root.path(), &small()).unwrap();
        channel.retire(reader).unwrap();
    }
}

#[tokio::test]
async fn a_failing_disk_under_the_key_log_ends_the_channel_and_loses_no_key() {
    let disk = SimDisk::new();
    let (shared, dir): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Path::new("/state/channel"));
    let (source, handle) = start(&shared, dir);
    assert!(!is_repeat(&ask(&source, &lines("k", "x")).await));
    // The keeper's turn comes within a second, and nothing else writes.
    disk.stop_after(0);
    let failure = soon(handle.failed()).await;
    assert_eq!(failure.operation, "keeping the idempotency keys");
    assert_eq!(ask(&source, &lines("l", "y")).await.status, 503);
    source.stop().await;
    let disk: Arc<dyn Disk> = Arc::new(disk.power_cut(7));
    drop(handle);
    let (source, handle) = start(&disk, dir);
    assert!(is_repeat(&ask(&source, &lines("k", "x")).await));
    stop(source, handle).await;
}

#[tokio::test]
async fn keys_that_cannot_be_kept_refuse_their_requests_and_no_others() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (source, handle) = start(&shared, Path::new("/state/channel"));
    // The channel has its first segment and one in reserve: it can go on when the disk is full.
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"w")).await.status, 200);
    disk.set_capacity(Some(disk.used_bytes()));
    let refused = ask(&source, &lines("k", "x")).await;
    assert_eq!((refused.status, refused.head.contains("\r\nretry-after: 7")), (503, true), "{refused:?}");
    assert_eq!(
        refused.body,
        serde_json::json!({ "error": "idempotency keys cannot be kept now" }).to_string()
    );
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"x")).await.status, 200);
    disk.set_capacity(None);
    soon(async {
        // The channel, too, was refusing for want of space, and looks again once a second.
        while ask(&source, &lines("k", "x")).await.status != 200 {}
    })
    .await;
    assert_eq!(source.channel.stats().next, 3);
    stop(source, handle).await;
}
