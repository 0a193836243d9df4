//! Crashes at every named point and at random ones, with faults of the store and changes of the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use contract::CutKind;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig, S3SinkError};
use object_format::{Codec, Layout};

use super::rig::{Open, Running, Store, audit, config, objects, store};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

fn random_config(random: &mut Random) -> S3SinkConfig {
    let template = ["", "fixed", "t=%{p}", "%{p}/%Y", "a/%{p}"][random.below(5) as usize];
    let mut config = config(template);
    config.codec = [Codec::None, Codec::Gzip(1), Codec::Zstd(1), Codec::Zstd(5)][random.below(4) as usize];
    config.layout = Layout::Text;
    config.roll.bytes = Some(200 + random.below(6000));
    config.roll.events = (random.one_in(2)).then(|| 1 + random.below(200));
    config.put_limit_bytes = if random.one_in(2) { 400 } else { 1 << 20 };
    config.part_bytes = 100 + random.below(900);
    config.staging_memory_bytes = 500 + random.below(20_000);
    config.staging_bytes = if random.one_in(3) { 20_000 } else { 64 << 20 };
    config.max_open_partitions = 1 + random.below(6) as usize;
    config.upload_concurrency = 1 + random.below(3) as usize;
    config
}

fn stop_after(reached: u64) -> FailPoints {
    let left = Arc::new(AtomicU64::new(reached));
    FailPoints::new(move |_| {
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    })
}

/// Everything that was accepted is stored once, and nothing of ours is left unfinished.
async fn settle_and_audit(
    open: Open,
    running: Option<Running>,
    store: &Store,
    expected: &[String],
    seed: u64,
) {
    store.set_plan(FaultPlan::default());
    if let Some(running) = running {
        running.crash().await;
    }
    let running = open.start(config("last/%{p}"), store, FailPoints::default());
    running.flush().await;
    let totals = running.metrics.totals();
    assert_eq!(totals.settled, expected.len() as u64, "I9, seed {seed}");
    assert_eq!((totals.shipped, totals.damaged), (totals.settled, 0), "I9, seed {seed}");
    running.stop().await.unwrap();
    let lines = audit(&objects(store).await);
    for line in expected {
        assert_eq!(lines.get(line), Some(&1), "seed {seed}: {line}");
    }
    assert_eq!(lines.len(), expected.len(), "seed {seed}: nothing unknown");
    // Uploads of the last runs may be left to the next start, which ends them.
    let swept = open.start(config("last"), store, FailPoints::default());
    swept.flush().await;
    swept.stop().await.unwrap();
    assert_eq!(store.inner().list_uploads("").await.unwrap(), [], "seed {seed}");
    open.close();
}

async fn random_run(seed: u64) {
    let random = &mut Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let mut expected = Vec::new();
    let mut open = Open::at(dir.path()).await;
    let mut running: Option<Running> = None;
    for step in 0..25 {
        let batch: Vec<(&str, String)> = (0..random.below(60))
            .map(|index| {
                let partition = ["x", "y", "z", "slow/er", ""][(random.below(40) / 10) as usize];
                let padding = "#".repeat(random.below(300) as usize);
                (partition, format!("{seed}-{step}-{index}-{padding}"))
            })
            .collect();
        expected.extend(batch.iter().map(|(_, body)| body.clone()));
        if !batch.is_empty() {
            open.append(batch).await;
        }
        if running.as_ref().is_none_or(Running::is_finished) {
            store.set_plan(FaultPlan::default().random(random.next(), 0.2));
            let points =
                if random.one_in(2) { stop_after(1 + random.below(40)) } else { FailPoints::default() };
            running = Some(open.start(random_config(random), &store, points));
        }
        for _ in 0..random.below(400) {
            tokio::task::yield_now().await;
        }
        if random.one_in(6)
            && let Some(running) = &running
            && !running.is_finished()
        {
            // Not awaited: a crash may meet a flush as well.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(3), running.flush_or_end()).await;
        }
        if random.one_in(3)
            && let Some(crashed) = running.take()
        {
            crashed.crash().await;
            if random.one_in(2) {
                // The whole process: the channel recovers too.
                open.close();
                open = Open::at(dir.path()).await;
            }
        }
        if let Some(ended) = running.take_if(|running| running.is_finished()) {
            match ended.ended().await {
                Ok(()) | Err(S3SinkError::FailPoint(_)) => {}
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    }
    settle_and_audit(open, running, &store, &expected, seed).await;
}

#[tokio::test]
async fn every_event_is_stored_once_over_random_crashes_faults_and_changes_of_configuration() {
    // SLUICEGATE_SEEDS=7 repeats one run, SLUICEGATE_SEEDS=100..200 makes a hundred others.
    let asked = std::env::var("SLUICEGATE_SEEDS").unwrap_or_else(|_| "0..10".to_owned());
    let (first, end) = match asked.split_once("..") {
        Some((first, end)) => (first.parse().unwrap(), end.parse().unwrap()),
        None => (asked.parse().unwrap(), asked.parse::<u64>().unwrap() + 1),
    };
    for seed in first..end {
        random_run(seed).await;
    }
}

#[tokio::test]
async fn lost_staging_is_made_again_as_a_new_attempt_of_the_same_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let bodies: Vec<String> = (0..200).map(|index| format!("event {index} {}", "x".repeat(40))).collect();
    open.append(bodies.iter().map(|body| ("x", body.clone()))).await;
    let mut before = config("%{p}");
    before.codec = Codec::Gzip(1);
    before.roll.events = Some(200);
    // Stored, but the answer is lost, and then the process; and the staging log with them.
    store.set_plan(FaultPlan::default().script(Operation::Put, [None, Some(Fault::Hang)]));
    let running = open.start(before, &store, FailPoints::default());
    super::rig::until(|| {
        store.calls().iter().filter(|(operation, _)| *operation == Operation::Put).count() == 2
    })
    .await;
    running.crash().await;
    open.close();
    let mut removed = 0;
    for entry in std::fs::read_dir(dir.path().join("readers/s3")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("staging-") {
            std::fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    assert_eq!(removed, 1);

    let open = Open::at(dir.path()).await;
    let mut after = config("%{p}");
    after.codec = Codec::Gzip(9);
    let running = open.start(after, &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let objects = objects(&store).await;
    let lines = audit(&objects);
    assert!(bodies.iter().all(|body| lines.get(body) == Some(&1)));
    assert_eq!(objects[0].metadata.kind, CutKind::Events);
    let heads = store.calls().iter().filter(|(operation, _)| *operation == Operation::Head).count();
    assert!(heads >= 1, "the first attempt was found and taken for the cut's object (I5)");
    open.close();
}

#[tokio::test]
async fn rotten_staging_is_noticed_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append((0..200).map(|index| ("x", format!("event {index} {}", "x".repeat(40))))).await;
    let mut before = config("%{p}");
    before.codec = Codec::Zstd(1);
    before.roll.events = Some(200);
    store.set_plan(
        FaultPlan::default().script(Operation::Put, [None, Some(Fault::Before(ErrorKind::Connection))]),
    );
    before.retry.base = std::time::Duration::from_secs(3600);
    before.retry.max = before.retry.base;
    let running = open.start(before, &store, FailPoints::default());
    super::rig::until(|| store.calls().len() >= 3).await;
    running.crash().await;
    open.close();
    for entry in std::fs::read_dir(dir.path().join("readers/s3")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("staging-") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[20] ^= 0x40;
            std::fs::write(path, bytes).unwrap();
        }
    }
    let open = Open::at(dir.path()).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let lines = audit(&objects(&store).await);
    assert_eq!((lines.len(), lines.values().max()), (200, Some(&1)));
    open.close();
}
