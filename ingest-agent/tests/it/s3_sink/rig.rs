//! A sink with everything around it, that can be crashed and started again.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, FaultPlan, FaultyStore, MemoryStore, S3Options};
use contract::{CutKind, ObjectKey, ObjectMetadata, SinkName};
use durable_channel::disk::{Disk, OsDisk};
use durable_channel::sim::SimDisk;
use durable_channel::{DurableChannel, OpenError, Options, Start};
use ingest_agent::channel::keys::Limits;
use ingest_agent::channel::{self, ChannelHandle, KeyPlace};
use ingest_agent::config::{ChannelConfig, ChannelKind};
use ingest_agent::error::StartError;
use ingest_agent::event;
use ingest_agent::sink::s3::partition::{PartitionOptions, PartitionTemplate};
use ingest_agent::sink::s3::{
    Buckets, FailPoints, RetryConfig, RollConfig, S3SinkConfig, S3SinkError, Seams, Unresolved, run_with,
};
use ingest_agent::sink::{FlushReport, FlushRequest, SinkContext};
use ingest_agent::telemetry::SinkMetrics;
use object_format::{Codec, Layout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::LONG;

pub(super) const CONTROL: &str = "_control/";

/// A bucket in memory with small parts, and faults as planned.
pub(super) type Store = FaultyStore<MemoryStore>;

pub(super) fn store() -> Store {
    FaultyStore::new(MemoryStore::new("bucket").with_smallest_part(1), FaultPlan::default())
}

pub(super) fn config(template: &str) -> S3SinkConfig {
    let partition = PartitionTemplate::parse(template, PartitionOptions::default()).expect("a good template");
    S3SinkConfig {
        store: S3Options::new("bucket"),
        conditional: None,
        composite: None,
        prefix: "logs/".to_owned(),
        partition,
        unresolved: Unresolved::Fallback,
        layout: Layout::Text,
        codec: Codec::None,
        compression_threads: 1,
        roll: RollConfig { bytes: Some(4096), uncompressed_bytes: None, events: None, age: None, idle: None },
        max_event_bytes: 1 << 20,
        max_open_partitions: 100,
        staging_memory_bytes: 1 << 20,
        staging_bytes: 64 << 20,
        journal_bytes: 1 << 20,
        retain_high_bytes: u64::MAX,
        put_limit_bytes: 1 << 20,
        part_bytes: 1000,
        upload_concurrency: 2,
        retry: RetryConfig { base: Duration::from_millis(1), max: Duration::from_millis(4) },
        alarm_after: Duration::from_secs(3600),
        retry_horizon: Duration::from_secs(7 * 24 * 3600),
        control_prefix: Some(CONTROL.to_owned()),
    }
}

/// An open channel, without a sink.
pub(super) struct Open {
    pub(super) channel: ChannelHandle,
    disk: Arc<dyn Disk>,
}

/// A sink that runs.
pub(super) struct Running {
    task: JoinHandle<Result<(), S3SinkError>>,
    flush: mpsc::Sender<FlushRequest>,
    shutdown: CancellationToken,
    pub(super) metrics: Arc<SinkMetrics>,
    pub(super) channel: ChannelHandle,
}

pub(super) fn sink_name() -> SinkName {
    "s3".parse().expect("a good name")
}

impl Open {
    /// Tiny segments.
    pub(super) fn options() -> Options {
        Options {
            segment_bytes: 1 << 16,
            capacity_bytes: 64 << 20,
            free_disk_floor_bytes: 0,
            max_frame_bytes: 1 << 15,
            ..Options::default()
        }
    }

    /// Opens the channel in `dir` with tiny segments. A crashed sink may take a moment to let go of it.
    pub(super) async fn at(dir: &Path) -> Self {
        Self::of(dir, Self::options(), &["s3"]).await
    }

    /// As [`at`](Self::at), with other limits and other sinks.
    pub(super) async fn of(dir: &Path, options: Options, sinks: &[&str]) -> Self {
        let kind = ChannelKind::Durable { dir: dir.to_owned(), options };
        let (name, keys) = ("main".parse().expect("a good name"), Limits::default());
        let config = ChannelConfig { name, queue_bytes: 1 << 20, keys, kind };
        let opened = tokio::time::timeout(LONG, async {
            loop {
                match channel::open(&config, sinks) {
                    Ok(channel) => return channel,
                    Err(StartError::Channel { error: OpenError::Locked { .. }, .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { channel: opened.await.expect("the channel opens"), disk: Arc::new(OsDisk) }
    }

    /// Opens the channel of a simulated disk.
    pub(super) fn on(disk: &SimDisk) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = DurableChannel::open_on(Arc::clone(&disk), Path::new("/channel"), &Self::options());
        let (channel, _) = opened.expect("the channel opens");
        let channel = ChannelHandle::durable("main", channel, 1 << 20, KeyPlace::default());
        Self { channel: channel.expect("keys in memory have nothing to open"), disk }
    }

    /// Appends events with a header `p` each, synced.
    pub(super) async fn append<'a>(&self, events: impl IntoIterator<Item = (&'a str, String)>) {
        append(&self.channel, events).await;
    }

    /// Starts the sink.
    pub(super) fn start(&self, config: S3SinkConfig, store: &Store, points: FailPoints) -> Running {
        self.start_as("s3", config, Seams { points, ..seams(store) })
    }

    /// Starts the sink `name`, on this channel's disk.
    pub(super) fn start_as(&self, name: &str, config: S3SinkConfig, seams: Seams) -> Running {
        start_as(&self.channel, name, config, Seams { disk: Arc::clone(&self.disk), ..seams })
    }

    /// Closes the channel, so that it can be opened again.
    pub(super) fn close(self) {
        self.channel.channel().close().expect("the channel closes");
    }
}

pub(super) async fn append<'a>(channel: &ChannelHandle, events: impl IntoIterator<Item = (&'a str, String)>) {
    let mut batch = channel.batch();
    for (partition, body) in events {
        let headers = (!partition.is_empty()).then_some(("p", partition));
        batch.push(|buf| event::encode(buf, None, headers, body.as_bytes()));
    }
    channel.append(batch).await.expect("the channel takes it");
}

/// The seams of a sink that has `store` for every bucket.
pub(super) fn seams(store: &Store) -> Seams {
    let store = store.clone();
    let buckets: Buckets = Arc::new(move |_| Arc::new(store.clone()) as Arc<dyn BlobStore>);
    Seams::new(buckets)
}

pub(super) fn start(
    channel: &ChannelHandle,
    config: S3SinkConfig,
    store: &Store,
    points: FailPoints,
) -> Running {
    start_as(channel, "s3", config, Seams { points, ..seams(store) })
}

pub(super) fn start_as(channel: &ChannelHandle, name: &str, config: S3SinkConfig, seams: Seams) -> Running {
    let (flush, requests) = mpsc::channel(4);
    let (metrics, shutdown) = (Arc::<SinkMetrics>::default(), CancellationToken::new());
    let context = SinkContext {
        name: name.parse().expect("a good name"),
        reader: channel.channel().reader(name, Start::Oldest).expect("the reader is free"),
        channel: channel.clone(),
        metrics: Arc::clone(&metrics),
        shutdown: shutdown.clone(),
        shutdown_timeout: Duration::from_secs(5),
        flush: requests,
    };
    let task = tokio::spawn(run_with(config, context, seams));
    Running { task, flush, shutdown, metrics, channel: channel.clone() }
}

impl Running {
    /// Flushes everything that is synced now, and waits for the answer.
    pub(super) async fn flush(&self) -> FlushReport {
        let (reply, answer) = oneshot::channel();
        let request = FlushRequest { upto: self.channel.synced_end(), reply };
        self.flush.send(request).await.expect("the sink runs");
        tokio::time::timeout(LONG, answer).await.expect("a flush ends").expect("the sink runs")
    }

    /// As [`flush`](Self::flush), but the sink may end instead.
    pub(super) async fn flush_or_end(&self) {
        let (reply, answer) = oneshot::channel();
        let request = FlushRequest { upto: self.channel.synced_end(), reply };
        if self.flush.send(request).await.is_ok() {
            let _ = tokio::time::timeout(LONG, answer).await.expect("a flush ends, or the sink");
        }
        // The end of a sink is seen a moment later than the end of its answers.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Stops it as a crash would: wherever it stands.
    pub(super) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
        // The uploads end with it, at their next turn.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(self) -> Result<(), S3SinkError> {
        let ended = tokio::time::timeout(LONG, self.task).await.expect("the sink ends").expect("no panic");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        ended
    }

    /// Whether it has ended by itself.
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks it to finish.
    pub(super) async fn stop(self) -> Result<(), S3SinkError> {
        self.shutdown.cancel();
        self.ended().await
    }
}

/// The files of the staging log on a simulated disk.
pub(super) fn staging_files(disk: &SimDisk) -> Vec<PathBuf> {
    let is_staging = |path: &PathBuf| path.to_string_lossy().contains("/staging-");
    disk.files().into_iter().filter(is_staging).collect()
}

/// An object of a cut.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) metadata: ObjectMetadata,
    pub(super) content_encoding: Option<String>,
    /// Uncompressed.
    pub(super) lines: Vec<String>,
    pub(super) bytes: usize,
}

/// Every object of this sink, in the order of their cuts; each is what its metadata says.
pub(super) async fn objects(store: &Store) -> Vec<Found> {
    let mut found = Vec::new();
    let memory = store.inner();
    for (key, bytes) in memory.contents().into_iter().filter(|(key, _)| !key.starts_with(CONTROL)) {
        let info = memory.head(&key, None).await.expect("it is there");
        let metadata = ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str));
        let metadata = metadata.expect("ours");
        assert_eq!(ObjectKey::cut_of(&key).as_ref(), Some(&metadata.cut), "{key}");
        assert_eq!((metadata.length, metadata.crc32c), (bytes.len() as u64, crc32c::crc32c(&bytes)), "{key}");
        let raw = decompress(&metadata.codec, &bytes);
        let lines: Vec<String> = raw.lines().map(str::to_owned).collect();
        assert_eq!(metadata.events, lines.len() as u64, "{key}");
        let content_encoding = info.content_encoding;
        found.push(Found { key, metadata, content_encoding, lines, bytes: bytes.len() });
    }
    found.sort_by_key(|found| found.metadata.cut.number);
    found
}

fn decompress(codec: &str, bytes: &[u8]) -> String {
    let mut raw = Vec::new();
    match codec {
        "none" => raw = bytes.to_vec(),
        "gzip" => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut raw).expect("gzip")),
        "zstd" => zstd::stream::copy_decode(bytes, &mut raw).expect("zstd"),
        other => panic!("codec {other}"),
    }
    String::from_utf8(raw).expect("text")
}

/// Shows that the cuts are dense and their totals add up, and returns how often each line of events was stored.
pub(super) fn audit(objects: &[Found]) -> BTreeMap<String, usize> {
    let (mut events, mut set_aside) = (0, 0);
    let mut lines = BTreeMap::new();
    for (index, found) in objects.iter().enumerate() {
        let metadata = &found.metadata;
        assert_eq!(metadata.cut.number, index as u64 + 1, "cut numbers are dense");
        set_aside += metadata.set_aside;
        if metadata.kind == CutKind::Events {
            events += metadata.events;
            for line in &found.lines {
                *lines.entry(line.clone()).or_default() += 1;
            }
        }
        assert_eq!(
            (metadata.total_events, metadata.total_dead_lettered),
            (events, set_aside),
            "{}",
            found.key
        );
    }
    lines
}

/// Waits until `condition` holds, one step of the runtime at a time.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("the condition is met in time");
}
