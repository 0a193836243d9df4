//! Loss of power under the whole sink: channel, journal, staging log and kept objects on a disk that forgets.

use std::time::Duration;

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::disk::{Disk as _, Mode, read_full};
use durable_channel::sim::{Choices, SimDisk};
use ingest_agent::event;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig};
use object_format::Codec;

use super::rig::{Open, Running, audit, config, objects, store};

fn random_config(choices: &mut Choices) -> S3SinkConfig {
    let mut config = config(["", "%{p}", "t=%{p}/%Y"][choices.below(3) as usize]);
    config.codec = [Codec::None, Codec::Zstd(1), Codec::Gzip(1)][choices.below(3) as usize];
    config.roll.bytes = Some(300 + choices.below(4000));
    config.put_limit_bytes = [1, 400, 1 << 20][choices.below(3) as usize];
    config.part_bytes = 100 + choices.below(900);
    config.staging_memory_bytes = 500 + choices.below(20_000);
    config.journal_bytes = 1 << 16;
    config.upload_concurrency = 1 + choices.below(3) as usize;
    config
}

/// Appends and waits; false if the disk did not take it, so that nobody knows whether it will be there.
async fn append(open: &Open, bodies: &[String]) -> bool {
    let mut batch = open.channel.batch();
    for (index, body) in bodies.iter().enumerate() {
        let headers = Some(("p", ["x", "y"][index % 2]));
        batch.push(|buf| event::encode(buf, None, headers, body.as_bytes()));
    }
    open.channel.append(batch).await.is_ok()
}

async fn random_run(seed: u64) {
    let choices = &mut Choices::new(seed);
    let (mut disk, store) = (SimDisk::new(), store());
    let mut open = Open::on(&disk);
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for step in 0..12 {
        store.set_plan(FaultPlan::default().random(choices.below(u64::MAX), 0.1));
        let running = open.start(random_config(choices), &store, FailPoints::default());
        for batch in 0..choices.below(4) {
            let bodies: Vec<String> = (0..=choices.below(30))
                .map(|index| {
                    format!("{seed}-{step}-{batch}-{index}-{}", "#".repeat(choices.below(200) as usize))
                })
                .collect();
            if append(&open, &bodies).await {
                acknowledged.extend(bodies);
            } else {
                unknown.extend(bodies);
            }
            if choices.below(6) == 0 {
                disk.stop_after(choices.below(40));
            }
        }
        let long = Duration::from_millis(1 + choices.below(6));
        let _ = tokio::time::timeout(long, running.flush_or_end()).await;
        let cut = choices.below(3) != 0;
        disk = if cut { disk.power_cut(choices.below(u64::MAX)) } else { disk.restart() };
        // The process of before can do nothing more to the disk.
        running.crash().await;
        open = Open::on(&disk);
    }
    store.set_plan(FaultPlan::default());
    let running = open.start(config("last/%{p}"), &store, FailPoints::default());
    running.flush().await;
    assert_eq!(running.metrics.totals().damaged, 0, "seed {seed}: a loss of power is no damage");
    running.stop().await.unwrap();
    let lines = audit(&objects(&store).await);
    for line in &acknowledged {
        assert_eq!(lines.get(line), Some(&1), "I1, I5, seed {seed}: {line}");
    }
    let known = |line| acknowledged.contains(line) || unknown.contains(line);
    assert!(lines.iter().all(|(line, times)| *times == 1 && known(line)), "seed {seed}");
    let swept = open.start(config("last"), &store, FailPoints::default());
    swept.flush().await;
    swept.stop().await.unwrap();
    assert_eq!(store.inner().list_uploads("").await.unwrap(), [], "seed {seed}");
}

#[tokio::test]
async fn whatever_a_loss_of_power_takes_from_the_sink_each_event_is_stored_once() {
    for seed in 0..25 {
        random_run(seed).await;
    }
}

/// Starts, and cuts the power at the `nth` change of the disk from then on.
async fn cut_at(open: Open, disk: &SimDisk, running: Running, nth: u64) -> SimDisk {
    disk.stop_after(nth);
    running.flush_or_end().await;
    let cut = disk.power_cut(nth);
    running.crash().await;
    drop(open);
    cut
}

#[tokio::test]
async fn a_loss_of_power_between_any_two_writes_neither_loses_nor_doubles_a_cut_that_is_set_aside() {
    let never = || {
        let refused = std::iter::repeat_n(Some(Fault::Before(ErrorKind::NeverValid)), 10_000);
        FaultPlan::default().script(Operation::Put, refused)
    };
    for nth in 0..40 {
        let (disk, store) = (SimDisk::new(), store());
        let open = Open::on(&disk);
        open.append((0..20).map(|index| ("x", format!("event {index}")))).await;
        let mut config = config("%{p}");
        config.control_prefix = None;
        config.journal_bytes = 1 << 16;
        config.codec = Codec::Zstd(1);
        store.set_plan(never());
        let running = open.start(config.clone(), &store, FailPoints::default());
        let disk = cut_at(open, &disk, running, nth).await;

        // It is refused for good again, or was before: set aside, whole, and counted once.
        let open = Open::on(&disk);
        let running = open.start(config, &store, FailPoints::default());
        running.flush().await;
        let totals = running.metrics.totals();
        assert_eq!((totals.settled, totals.dead_lettered), (20, 20), "I9, power cut at write {nth}");
        running.stop().await.unwrap();
        let kept: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "object"))
            .collect();
        assert_eq!(kept.len(), 1, "I6, power cut at write {nth}");
        let mut whole = vec![0; 4096];
        let length = read_full(&*disk.open(&kept[0], Mode::Read).unwrap(), &mut whole, 0).unwrap();
        let lines = zstd::decode_all(&whole[..length]).unwrap();
        assert_eq!(lines.split(|byte| *byte == b'\n').count(), 21, "I6, power cut at write {nth}");
        assert_eq!(store.inner().contents().len(), 0);
    }
}
