//! What a group costs, a write and its sync, as the log grows.

use std::thread;

use durable_channel::{Channel, DurableChannel, Options, Start};

use super::{Axis, Point, ScalingArgs, channel_dir};
use crate::{backlog, usage};

const GROUP_EVENTS: u32 = 100;

/// One group after the other on a log of none, a tenth and all of the longest.
pub(super) fn measure(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let folder = channel_dir(dir.path());
    std::fs::create_dir_all(&folder)?;
    let mut points = Vec::new();
    let mut lengths = vec![0, args.gib.div_ceil(10), args.gib];
    lengths.dedup();
    for gib in lengths {
        backlog::fill(&folder, gib << 30)?;
        points.push(groups(&folder, gib, (args.events / GROUP_EVENTS).clamp(1, 5_000))?);
    }
    Ok(points)
}

fn groups(folder: &std::path::Path, gib: u64, groups: u32) -> anyhow::Result<Point> {
    let options = Options { capacity_bytes: 1 << 42, ..Options::default() };
    let (channel, _) = DurableChannel::open(folder, &options)?;
    drop(channel.reader("s3", Start::Oldest)?);
    let caller = thread::current();
    channel.on_progress(Box::new(move || caller.unpark()));
    let body = [b'x'; 500];
    let (before, started) = (usage::of_process(std::process::id())?.cpu, std::time::Instant::now());
    for _ in 0..groups {
        let mut batch = channel.batch();
        for _ in 0..GROUP_EVENTS {
            batch.push(|out| ingest_agent::event::encode_body(out, &body));
        }
        let end = channel.append(batch)?.end();
        while channel.synced_end() < end {
            anyhow::ensure!(channel.failure().is_none(), "the disk failed: {:?}", channel.failure());
            thread::park();
        }
    }
    let cpu = usage::of_process(std::process::id())?.cpu.saturating_sub(before);
    let accepted_per_second = f64::from(groups * GROUP_EVENTS) / started.elapsed().as_secs_f64();
    channel.close()?;
    Ok(Point {
        axis: Axis::Groups,
        series: "channel",
        x: gib as f64,
        y: cpu.as_secs_f64() * 1e3 / f64::from(groups),
        accepted_per_second,
        latency: None,
    })
}
