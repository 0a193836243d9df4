//! A start on a long backlog: a channel of many gigabytes, none of it in the page cache, a store that does not answer.
//!
//! What is measured: from the program's start to its first 200, and its peak memory while it then reads what it can.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use durable_channel::{Channel, DurableChannel, Options, Start};
use rustix::fs::{Advice, fadvise};

use crate::load;
use crate::outside;
use crate::process::Process;

#[derive(Args)]
pub(crate) struct BacklogArgs {
    /// The `ingest-agent` program to measure
    #[arg(long)]
    agent: PathBuf,
    /// The backlog
    #[arg(long, value_name = "GIB", default_value_t = 10)]
    gib: u64,
    /// How long it runs after the first answer, taking one event each 100 ms
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Where the backlog is made; removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// What a start must keep to.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
const PEAK_BYTES: u64 = 64 << 20;

const EVENT_BYTES: usize = 500;
const BATCH_EVENTS: usize = 1_000;

pub(crate) fn run(args: &BacklogArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let channel = dir.path().join("channel/channels/main");
    std::fs::create_dir_all(&channel)?;
    let events = fill(&channel, args.gib << 30)?;
    forget(&channel.join("segments"))?;

    // Nobody listens there.
    let store = SocketAddr::from(([127, 0, 0, 1], 9));
    let capacity = format!("kind = \"durable\"\ncapacity = \"{}GiB\"", 2 * args.gib);
    let text = include_str!("../agent.toml")
        .replace("@ENDPOINT@", &format!("http://{store}"))
        .replace("@PREFIX@", &outside::prefix(dir.path()))
        .replace("@DIR@", &dir.path().join("channel").display().to_string())
        .replace("kind = \"durable\"", &capacity)
        // Without a claim to wait for, the sink reads and seals as much as its limits let it.
        .replace("# @SINK@", "control_prefix = \"\"");
    let (config, ready) = (dir.path().join("agent.toml"), dir.path().join("agent.ready"));
    std::fs::write(&config, text)?;
    let mut command = Command::new(&args.agent);
    command
        .arg("--config")
        .arg(config)
        .arg("--ready-file")
        .arg(&ready)
        .env("SLUICEGATE_LOG_LEVEL", "error")
        .envs(outside::credentials());
    let started = Instant::now();
    let agent = Process::start(&mut command, &ready)?;
    let source = agent.addr("/sources/http")?;
    put(source)?;
    let first = started.elapsed();
    let at_first = agent.usage()?.peak_bytes;
    let mut slowest = Duration::ZERO;
    while started.elapsed() < first + Duration::from_secs(args.seconds) {
        let asked = Instant::now();
        put(source)?;
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let usage = agent.usage()?;
    println!(
        "backlog {} GiB, {events} events: first answer after {:.3} s with a peak of {} MiB; in {} s after it peak {} \
         MiB, slowest answer {:.3} s, {:.1} s of CPU",
        args.gib,
        first.as_secs_f64(),
        at_first >> 20,
        args.seconds,
        usage.peak_bytes >> 20,
        slowest.as_secs_f64(),
        usage.cpu.as_secs_f64(),
    );
    ensure!(first < FIRST_ANSWER, "the first answer took {first:?}");
    ensure!(usage.peak_bytes < PEAK_BYTES, "it took {} MiB", usage.peak_bytes >> 20);
    Ok(())
}

/// Fills a new channel with `bytes` for the sink `s3`, as a killed agent leaves it.
pub(crate) fn fill(dir: &Path, bytes: u64) -> anyhow::Result<u64> {
    let options = Options { capacity_bytes: 1 << 42, ..Options::default() };
    let (channel, _) = DurableChannel::open(dir, &options)?;
    drop(channel.reader("s3", Start::Oldest)?);
    let body = vec![b'x'; EVENT_BYTES];
    while channel.stats().used_bytes < bytes {
        let mut batch = channel.batch();
        for _ in 0..BATCH_EVENTS {
            batch.push(|out| ingest_agent::event::encode_body(out, &body));
        }
        let end = channel.append(batch)?.end();
        // Some megabytes ahead of the disk, so that groups are large and memory is not.
        while channel.synced_end() + 16 * (BATCH_EVENTS as u64) < end {
            ensure!(channel.failure().is_none(), "filling failed: {:?}", channel.failure());
            std::thread::yield_now();
        }
    }
    let events = channel.stats().next;
    channel.close()?;
    Ok(events)
}

/// Drops the files in `dir` from the page cache.
pub(crate) fn forget(dir: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn put(addr: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    let head = "POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    stream.write_all(head.as_bytes())?;
    let (status, body) = load::answer(&mut BufReader::new(stream)).context("waiting for an answer")?;
    ensure!(status == 200, "{status} {body}");
    Ok(())
}
