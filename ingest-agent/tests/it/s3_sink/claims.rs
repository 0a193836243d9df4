//! Copies of a channel's folder, neighbours on one prefix, and stores that do not let a claim be made.

use std::path::Path;

use std::collections::BTreeMap;

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use contract::{CutId, ObjectKey};
use durable_channel::DurableChannel;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig, S3SinkError, Seams, known};

use super::rig::{CONTROL, Open, Store, audit, config, objects, seams, store, until};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_channel_refuses_to_ship() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let original = dir.path().join("original");
    let open = Open::at(&original).await;
    open.append([("", "one".to_owned())]).await;
    open.close();
    copy(&original, &dir.path().join("copy"));

    let open = Open::at(&original).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();

    let cloned = Open::at(&dir.path().join("copy")).await;
    cloned.append([("", "two".to_owned())]).await;
    let ended = cloned.start(config(""), &store, FailPoints::default()).ended().await;
    assert!(matches!(ended, Err(S3SinkError::Cloned { .. })), "{ended:?}");
    assert_eq!(audit(&objects(&store).await).len(), 1);
    cloned.close();

    // The original goes on.
    let open = Open::at(&original).await;
    open.append([("", "three".to_owned())]).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), 2);
    open.close();
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_ours_and_one_that_is_forbidden_is_a_warning() {
    for fault in [
        Fault::After(ErrorKind::Timeout),
        Fault::Before(ErrorKind::Server),
        Fault::Before(ErrorKind::AccessDenied),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        store.set_plan(FaultPlan::default().script(Operation::Put, [Some(fault)]));
        let open = Open::at(dir.path()).await;
        open.append([("", "one".to_owned())]).await;
        let running = open.start(config(""), &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        assert_eq!(audit(&objects(&store).await).len(), 1, "{fault:?}");
        let claims = store.inner().contents().keys().filter(|key| key.starts_with(CONTROL)).count();
        assert_eq!(claims, usize::from(fault != Fault::Before(ErrorKind::AccessDenied)));
        open.close();
    }
}

/// Seals a cut of 20 events that the store does not take for now, and crashes.
async fn seal_and_crash(open: &Open, store: &Store, config: &S3SinkConfig) {
    let refused = std::iter::repeat_n(Some(Fault::Before(ErrorKind::Server)), 100_000);
    store.set_plan(FaultPlan::default().script(Operation::Put, refused));
    let config = S3SinkConfig { control_prefix: None, ..config.clone() };
    let running = open.start(config, store, FailPoints::default());
    until(|| running.metrics.cuts_sealed.get() == 1).await;
    running.crash().await;
    store.set_plan(FaultPlan::default());
}

#[tokio::test]
async fn a_copy_with_sealed_cuts_sends_nothing_but_its_claim() {
    let dir = tempfile::tempdir().unwrap();
    let (original, clone) = (dir.path().join("original"), dir.path().join("copy"));
    let store = store();
    let mut config = config("");
    config.roll.events = Some(20);
    let open = Open::at(&original).await;
    open.append((0..20).map(|index| ("", format!("event {index}")))).await;
    seal_and_crash(&open, &store, &config).await;
    open.close();
    copy(&original, &clone);

    let open = Open::at(&original).await;
    let running = open.start(config.clone(), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    let before = store.calls().len();
    let open = Open::at(&clone).await;
    let ended = open.start(config, &store, FailPoints::default()).ended().await;
    assert!(matches!(ended, Err(S3SinkError::Cloned { .. })), "{ended:?}");
    open.close();
    let asked = store.calls().split_off(before);
    assert!(asked.iter().all(|(_, key)| key.starts_with(CONTROL)), "I3: {asked:?}");
    assert_eq!(audit(&objects(&store).await).len(), 20);
}

#[tokio::test]
async fn a_fork_ends_when_the_copy_is_adopted_and_nothing_is_lost() {
    for (conditional, put_limit) in [(None, 1 << 20), (None, 1), (Some(false), 1 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        let (original, clone) = (dir.path().join("original"), dir.path().join("copy"));
        let store = store();
        // Nobody asks who is the copy, as with control_prefix = "".
        let config =
            S3SinkConfig { control_prefix: None, conditional, put_limit_bytes: put_limit, ..config("%{p}") };
        let open = Open::at(&original).await;
        open.append([("x", "both".to_owned())]).await;
        open.close();
        copy(&original, &clone);
        for (dir, body) in [(&original, "original"), (&clone, "copy")] {
            let open = Open::at(dir).await;
            open.append([("x", body.to_owned())]).await;
            let running = open.start(config.clone(), &store, FailPoints::default());
            running.flush_or_end().await;
            let forked = matches!(running.stop().await, Err(S3SinkError::Fork { .. }));
            assert_eq!(forked, body == "copy");
            open.close();
        }
        DurableChannel::adopt(&clone, 0).unwrap();
        for _ in 0..2 {
            let open = Open::at(&clone).await;
            let running = open.start(config.clone(), &store, FailPoints::default());
            running.flush().await;
            assert_eq!(running.metrics.totals().shipped, 2, "I9");
            running.stop().await.unwrap();
            open.close();
        }
        let objects = objects(&store).await;
        let lines: Vec<_> = objects.iter().map(|found| found.lines.join(" ")).collect();
        assert!(
            lines.contains(&"both original".to_owned()) && lines.contains(&"both copy".to_owned()),
            "{lines:?}"
        );
        assert!(
            objects[0].metadata.cut.channel != objects[1].metadata.cut.channel,
            "each under its own identity"
        );
        assert_eq!(store.inner().list_uploads("").await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_journal_that_is_ahead_of_its_channel_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let mut config = config("");
    config.roll.events = Some(20);
    let (newer, backup) = (dir.path().join("channel"), dir.path().join("backup"));
    let open = Open::at(&newer).await;
    open.append((0..10).map(|index| ("", format!("event {index}")))).await;
    // The sink is known to the channel, and has sealed nothing.
    open.start(config.clone(), &store, FailPoints::default()).crash().await;
    open.close();
    copy(&newer, &backup);
    let open = Open::at(&newer).await;
    open.append((10..20).map(|index| ("", format!("event {index}")))).await;
    seal_and_crash(&open, &store, &config).await;
    open.close();
    // The log as it was, the journal as it is.
    copy(&newer.join("readers/s3"), &backup.join("readers/s3"));

    let open = Open::at(&backup).await;
    let before = store.calls().len();
    let ended = open.start(config, &store, FailPoints::default()).ended().await;
    assert!(matches!(ended, Err(S3SinkError::Ahead { held: 20, next: 10 })), "I2: {ended:?}");
    assert_eq!(store.calls().len(), before, "nothing is sent");
    open.close();
}

/// What is under each channel and sink, by the number of its cut.
fn by_owner(store: &Store) -> BTreeMap<String, Vec<u64>> {
    let mut owners = BTreeMap::<String, Vec<u64>>::new();
    for key in store.inner().contents().into_keys().filter(|key| !key.starts_with(CONTROL)) {
        let CutId { channel, sink, number } = ObjectKey::cut_of(&key).expect("ours");
        owners.entry(format!("{channel}-{sink}")).or_default().push(number);
    }
    owners
}

#[tokio::test]
async fn agents_and_sinks_on_one_prefix_never_touch_each_others_uploads_or_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let mut config = config("%{p}");
    (config.put_limit_bytes, config.part_bytes) = (1, 60);
    config.roll.events = Some(10);
    config.upload_concurrency = 1;
    // Two agents, one of them with two sinks: three writers of the same template, each stopped amid an upload.
    let owners = [("one", "s3"), ("one", "archive"), ("two", "s3")];
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        let sinks: Vec<&str> =
            owners.iter().filter(|(agent, _)| *agent == name).map(|(_, sink)| *sink).collect();
        let open = Open::of(&dir.path().join(name), Open::options(), &sinks).await;
        open.append((0..20).map(|index| ("x", format!("{name} {index}")))).await;
        agents.push((name, open));
    }
    let open = |agent: &str| &agents.iter().find(|(name, _)| *name == agent).unwrap().1;
    for (agent, sink) in owners {
        let points = FailPoints::new(|name| name == "after_part");
        let running = open(agent).start_as(sink, config.clone(), Seams { points, ..seams(&store) });
        running.flush_or_end().await;
        running.crash().await;
    }
    assert_eq!(store.inner().list_uploads("").await.unwrap().len(), 3);
    for (done, (agent, sink)) in owners.into_iter().enumerate() {
        let before = store.calls().len();
        let running = open(agent).start_as(sink, config.clone(), seams(&store));
        running.flush().await;
        running.stop().await.unwrap();
        assert_eq!(store.inner().list_uploads("").await.unwrap().len(), 2 - done, "only its own is aborted");
        let channel = open(agent).channel.channel().id();
        for (operation, key) in store.calls().split_off(before) {
            let cut = ObjectKey::cut_of(&key);
            let own = cut.is_some_and(|cut| cut.channel.0 == channel && cut.sink.as_str() == sink);
            let shared = operation == Operation::ListUploads || key.starts_with(CONTROL);
            assert!(own || shared, "{agent} {sink}: {operation:?} {key}");
        }
    }
    let owned = by_owner(&store);
    assert!(owned.len() == 3 && owned.values().all(|numbers| *numbers == [1, 2]), "{owned:?}");
    for (_, open) in agents {
        open.close();
    }
}

#[tokio::test]
async fn a_copy_of_a_running_channel_takes_its_next_turn_and_the_original_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let (original, cloned) = (dir.path().join("original"), dir.path().join("copy"));
    let open = Open::at(&original).await;
    open.append([("", "one".to_owned())]).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    copy(&original, &cloned);
    let copied = Open::at(&cloned).await;
    copied.start(config(""), &store, FailPoints::default()).stop().await.unwrap();
    copied.close();
    // The original runs on, and finds out at its next start.
    open.append([("", "two".to_owned())]).await;
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    let open = Open::at(&original).await;
    let ended = open.start(config(""), &store, FailPoints::default()).ended().await;
    assert!(matches!(ended, Err(S3SinkError::Cloned { .. })), "{ended:?}");
    open.close();
    assert_eq!(audit(&objects(&store).await).len(), 2);
}

#[tokio::test]
async fn adopting_goes_on_behind_what_a_newer_journal_knows_of_i2() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let (channel, backup) = (dir.path().join("channel"), dir.path().join("backup"));
    let open = Open::at(&channel).await;
    open.append([("", "one".to_owned())]).await;
    open.close();
    copy(&channel, &backup);
    let open = Open::at(&channel).await;
    open.append([("", "two".to_owned())]).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    std::fs::remove_dir_all(channel.join("segments")).unwrap();
    copy(&backup.join("segments"), &channel.join("segments"));
    for name in ["identity", "readers/s3/progress"] {
        if backup.join(name).exists() {
            std::fs::copy(backup.join(name), channel.join(name)).unwrap();
        }
    }
    let known = known(&channel).unwrap();
    assert_eq!((known.used_below, &known.next_objects), (2, &vec![("s3".to_owned(), 2)]));
    DurableChannel::adopt(&channel, known.used_below).unwrap();
    let open = Open::at(&channel).await;
    assert_eq!(open.channel.synced_end(), 2, "I2: a position that the sink knows of is not given again");
    open.append([("", "three".to_owned())]).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    let lines = audit(&objects(&store).await);
    assert_eq!(
        lines.into_iter().collect::<Vec<_>>(),
        ["one", "three", "two"].map(|line| (line.to_owned(), 1))
    );
    let numbers: Vec<_> = by_owner(&store).into_values().collect();
    assert!(
        numbers.len() == 2 && numbers.contains(&vec![2]),
        "the new id begins where adopt said: {numbers:?}"
    );
}
