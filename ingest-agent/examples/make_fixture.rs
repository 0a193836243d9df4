//! Writes a channel with sealed cuts, and the objects that they make:
//! `cargo run -p ingest-agent --example make_fixture DIR`.
//!
//! `tests/fixtures/v1` was made by it once, by the program whose journals have records of version 1 (commit 3a38cdf, with
//! that program's names for format and codec), and is never made again: later records get a folder of their own. `DIR/channel` is left as a killed process leaves it, with cuts that
//! are sealed and not sent and with events that no cut holds. `DIR/objects` has, for each of these cuts, the object
//! that the same program then puts, and its metadata, a `NAME=VALUE` a line.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, MemoryStore, S3Options};
use contract::ObjectKey;
use durable_channel::{DurableChannel, Start};
use ingest_agent::channel::{ChannelHandle, KeyPlace};
use ingest_agent::event;
use ingest_agent::sink::s3::partition::{PartitionOptions, PartitionTemplate};
use ingest_agent::sink::s3::{
    Buckets, FailPoints, RetryConfig, RollConfig, S3SinkConfig, S3SinkError, Seams, Unresolved, run_with,
};
use ingest_agent::sink::{FlushRequest, SinkContext};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

#[path = "../tests/it/s3_sink/fixture.rs"]
mod fixture;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, step) = match &arguments[..] {
        [dir] => (PathBuf::from(dir), ""),
        [dir, step] => (PathBuf::from(dir), &**step),
        _ => return Err("name a new folder".into()),
    };
    match step {
        "seal" => seal(&dir.join("channel")).await,
        _ if dir.exists() => Err(format!("{} is there already", dir.display()).into()),
        _ => {
            let sealed = Command::new(std::env::current_exe()?).arg(&dir).arg("seal").status()?;
            if !sealed.success() {
                return Err("sealing failed".into());
            }
            ship(&dir).await
        }
    }
}

/// Fills a channel, lets each sink seal its cuts, and ends as a killed process does.
async fn seal(dir: &Path) -> Result<(), Box<dyn Error>> {
    let channel = open(dir)?;
    // Every sink is there from the first event on.
    for (sink, ..) in fixture::SINKS {
        drop(channel.channel().reader(sink, Start::Oldest)?);
    }
    for first in (0..fixture::EVENTS).step_by(5) {
        let mut batch = channel.batch();
        for position in first..first + 5 {
            let (headers, timestamp_ms, body) = fixture::event(position);
            let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
            batch.push(|buf| event::encode(buf, timestamp_ms, headers, &body));
        }
        channel.append(batch).await?;
    }
    for sink in fixture::SINKS {
        let points = FailPoints::new(|point| point == "after_seal");
        let (_flush, requests) = mpsc::channel(1);
        match run(&channel, sink, &MemoryStore::new("bucket"), points, requests).await {
            Err(S3SinkError::FailPoint(_)) => {}
            other => return Err(format!("{}: {other:?}", sink.0).into()),
        }
    }
    std::process::exit(0);
}

/// Ships a copy of the channel, and writes down what the sealed cuts became.
async fn ship(dir: &Path) -> Result<(), Box<dyn Error>> {
    let copy = std::env::temp_dir().join(format!("fixture-{}", std::process::id()));
    let copied = Command::new("cp").arg("-r").arg(dir.join("channel")).arg(&copy).status()?;
    if !copied.success() {
        return Err("copying failed".into());
    }
    let channel = open(&copy)?;
    for sink in fixture::SINKS {
        let store = MemoryStore::new("bucket");
        let (flush, requests) = mpsc::channel(1);
        let (reply, answer) = oneshot::channel();
        flush.send(FlushRequest { upto: channel.synced_end(), reply }).await?;
        tokio::select! {
            ended = run(&channel, sink, &store, FailPoints::default(), requests) => ended?,
            answered = answer => drop(answered?),
        }
        let objects = dir.join("objects").join(sink.0);
        std::fs::create_dir_all(&objects)?;
        for (key, bytes) in store.contents() {
            let cut = ObjectKey::cut_of(&key).ok_or("a key without a cut")?;
            if cut.number > fixture::cuts(sink.0).1 {
                continue;
            }
            let info = store.head(&key, None).await?;
            let mut pairs: Vec<String> =
                info.metadata.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            pairs.push(format!("key={key}\n"));
            pairs.push(format!("content-type={}\n", info.content_type.unwrap_or_default()));
            pairs.push(format!("content-encoding={}\n", info.content_encoding.unwrap_or_default()));
            pairs.sort_unstable();
            std::fs::write(objects.join(format!("{}.object", cut.number)), bytes)?;
            std::fs::write(objects.join(format!("{}.metadata", cut.number)), pairs.concat())?;
        }
    }
    std::fs::remove_dir_all(copy)?;
    Ok(())
}

fn open(dir: &Path) -> Result<ChannelHandle, Box<dyn Error>> {
    let (channel, _) = DurableChannel::open(dir, &fixture::options())?;
    Ok(ChannelHandle::durable("main", channel, 1 << 20, KeyPlace::default())?)
}

async fn run(
    channel: &ChannelHandle,
    (sink, format, codec, level): (&str, &str, &str, Option<i32>),
    store: &MemoryStore,
    points: FailPoints,
    flush: mpsc::Receiver<FlushRequest>,
) -> Result<(), S3SinkError> {
    let store = store.clone();
    let buckets: Buckets = Arc::new(move |_| Arc::new(store.clone()) as Arc<dyn BlobStore>);
    let context = SinkContext {
        name: sink.parse().expect("a good name"),
        reader: channel.channel().reader(sink, Start::Oldest).expect("the reader is free"),
        channel: channel.clone(),
        metrics: Arc::default(),
        shutdown: CancellationToken::new(),
        shutdown_timeout: Duration::from_secs(5),
        flush,
    };
    let (template, unresolved) = match sink {
        "dead" => ("p=%{p}", Unresolved::DeadLetter),
        _ => ("events", Unresolved::Fallback),
    };
    let partition = PartitionTemplate::parse(template, PartitionOptions::default());
    let config = S3SinkConfig {
        store: S3Options::new("bucket"),
        conditional: None,
        composite: None,
        prefix: "logs/".to_owned(),
        partition: partition.expect("a good template"),
        unresolved,
        layout: fixture::layout(format),
        codec: fixture::codec(codec, level),
        compression_threads: 0,
        roll: RollConfig {
            bytes: None,
            uncompressed_bytes: None,
            events: Some(fixture::cuts(sink).0),
            age: None,
            idle: None,
        },
        max_event_bytes: 1 << 20,
        max_open_partitions: 100,
        staging_memory_bytes: 1 << 20,
        staging_bytes: 64 << 20,
        journal_bytes: 32 << 10,
        retain_high_bytes: u64::MAX,
        put_limit_bytes: 1 << 20,
        part_bytes: 1 << 20,
        upload_concurrency: 1,
        retry: RetryConfig { base: Duration::from_millis(1), max: Duration::from_millis(4) },
        alarm_after: Duration::from_secs(300),
        retry_horizon: Duration::from_secs(7 * 24 * 3600),
        control_prefix: None,
    };
    run_with(config, context, Seams { points, ..Seams::new(buckets) }).await
}
